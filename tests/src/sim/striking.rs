//! Faults striking, and the world healing.

use std::fmt::Display;
use std::time::Duration;

use raft_core::{GroupId, Instant};
use raft_state::Replica;

use super::clients::Told;
use super::faults::Fault;
use super::happening::Happening;
use super::node::GROUPS;
use super::recording::{Moment, Power};
use super::world::World;

impl World {
    pub(super) fn strike(&mut self) -> Result<(), String> {
        if self.healed {
            return Ok(());
        }
        let at = self.faults.next_at(self.now, &mut self.luck.faults);
        self.at(at, Happening::Fault);
        let fault = self.faults.pick(self.nodes.len(), &mut self.luck.faults);
        let number = self.luck.next_fault();
        if self.options.without.faults.has(number) {
            return Ok(());
        }
        self.inflict(&format_args!("fault {number}"), fault)
    }

    /// Lets a fault strike soon after the wish of this number.
    pub(super) fn strike_after(&mut self, wish: u64, fault: Fault) -> Result<(), String> {
        if self.options.without.strikes.has(wish) {
            return Ok(());
        }
        self.inflict(&format_args!("fault after change {wish}"), fault)
    }

    /// Lets a fault strike, unless everything is healed.
    fn inflict(&mut self, name: &dyn Display, fault: Fault) -> Result<(), String> {
        if self.healed {
            return Ok(());
        }
        let words = fault.words(|place| self.nodes[place].id);
        self.remember(format_args!("{name}: {words}"));
        self.record_fault(fault, &format!("{name}: {words}"));
        match fault {
            Fault::Kill(node) => {
                self.counts.kills += 1;
                self.crash(node, false)?;
            }
            Fault::PowerCut(node) => {
                self.counts.power_cuts += 1;
                self.crash(node, true)?;
            }
            Fault::Blackout => {
                self.counts.blackouts += 1;
                for node in 0..self.nodes.len() {
                    self.crash(node, true)?;
                }
            }
            Fault::TearAt(node, change) => {
                self.counts.torn += 1;
                self.nodes[node].disk.stop_at(change);
            }
            Fault::FailSync(node) => {
                self.counts.failed_syncs += 1;
                self.nodes[node].disk.fail_next_syncs(1);
            }
            Fault::Stall(node, long) => {
                self.counts.stalls += 1;
                self.stalled_until[node] = self.now.after(long);
            }
            Fault::Pause(node, long) => {
                self.counts.pauses += 1;
                self.pause(node, long);
            }
            Fault::CutOff(node) => self.cut_off(node),
            Fault::CutOffLeader => {
                let group = GROUPS[self.random.below(GROUPS.len() as u64) as usize];
                if let Some(node) = self.leader(group) {
                    self.cut_off(node);
                }
            }
            Fault::CutOneWay(from, to) => {
                self.counts.partitions += 1;
                self.network.cut.insert((self.nodes[from].id, self.nodes[to].id));
            }
            Fault::Mend => self.network.cut.clear(),
            Fault::Drift(node) => {
                self.counts.drifts += 1;
                let pace = self.drift.draw(&mut self.random);
                self.change_pace(node, pace);
            }
            Fault::DriftApart => {
                self.counts.drifts += 1;
                self.drift_apart();
            }
            Fault::Wipe(node) => self.wipe(node)?,
            Fault::Rot(node) => self.rot(node)?,
        }
        self.record(|world| Moment::Cuts(world.network.cut.clone()));
        Ok(())
    }

    fn cut_off(&mut self, node: usize) {
        self.counts.partitions += 1;
        let id = self.nodes[node].id;
        for other in self.nodes.iter().map(|other| other.id).filter(|other| *other != id) {
            self.network.cut.extend([(id, other), (other, id)]);
        }
    }

    /// Leaders get slow clocks and everybody else fast ones: the worst for leases. Left to
    /// themselves, those with fast clocks would win all elections.
    fn drift_apart(&mut self) {
        for node in 0..self.nodes.len() {
            let leads =
                |group: &GroupId| self.replica(node, *group).is_some_and(Replica::is_leader);
            let (slow, fast) = self.drift.bounds();
            let pace = if GROUPS.iter().any(leads) { slow } else { fast };
            self.change_pace(node, pace);
        }
    }

    fn change_pace(&mut self, node: usize, pace: u64) {
        if let Some(running) = &mut self.nodes[node].running {
            running.clock.change_pace(self.now, pace);
            self.set_timer(node);
        }
    }

    /// Lets everything that concerns a node happen only after the pause.
    pub(super) fn pause(&mut self, node: usize, long: Duration) {
        let until = self.now.after(long);
        if let Some(running) = &mut self.nodes[node].running {
            running.paused_until = until;
        }
        let due: Vec<(Instant, u64)> = self
            .queue
            .range(..(until, 0))
            .filter(|(_, happening)| happening.node() == Some(node))
            .map(|(at, _)| *at)
            .collect();
        for at in due {
            if let Some(happening) = self.queue.remove(&at) {
                self.at(until, happening);
            }
        }
    }

    pub(super) fn crash(&mut self, node: usize, power: bool) -> Result<(), String> {
        let torn = self.nodes[node].disk.is_stopped();
        if self.nodes[node].running.is_some() {
            let power_is_lost = if power || torn { Power::Lost } else { Power::StaysOn };
            self.record(|world| Moment::Down(world.nodes[node].id, power_is_lost));
            let after = 20 + self.random.below(1500);
            self.after_ms(after, Happening::Start(node, self.nodes[node].id));
        }
        if power || torn {
            self.nodes[node].disk.crash_power();
        } else {
            self.nodes[node].disk.crash_process();
        }
        self.end_process(node)
    }

    /// A process is gone, and whoever waits for it will never hear of it again.
    pub(super) fn end_process(&mut self, node: usize) -> Result<(), String> {
        let id = self.nodes[node].id;
        if let Some(recording) = &mut self.recording {
            recording.forget(id);
        }
        if let Some(running) = self.nodes[node].running.take() {
            for replica in GROUPS.iter().filter_map(|group| running.engine.replica(*group)) {
                self.stored.keep(id, replica);
            }
        }
        for id in self.clients.asked_of(node) {
            self.answer(id, Told::Unknown);
        }
        self.admin.gone(node)
    }

    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.note(format_args!("everything heals"));
        self.healed = true;
        self.network.heal();
        self.record(|world| Moment::Cuts(world.network.cut.clone()));
        self.stalled_until.fill(Instant(0));
        // In half of the runs what went wrong in memory must mend by itself.
        let restart = self.random.chance(500);
        for node in 0..self.nodes.len() {
            if restart && self.nodes[node].running.is_some() {
                self.crash(node, true)?;
            }
            // A fault that still lay in wait would strike after the healing.
            if !self.nodes[node].disk.is_stopped() {
                self.nodes[node].disk.stop_at(u64::MAX / 2);
            }
            self.nodes[node].disk.fail_next_syncs(0);
        }
        for (client, scan) in self.scans.iter_mut().enumerate() {
            // Who was left out has nothing to read.
            let out = self.options.without.clients.has(client as u64);
            *scan = Some(if out { u64::MAX } else { 0 });
        }
        Ok(())
    }
}
