//! Faults striking, and the world healing.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use raft_core::{GroupId, Instant, NodeId};
use raft_log::SimDisk;
use raft_node::engine::Event;
use raft_state::Replica;

use super::clients::Told;
use super::disk_pace::DiskPace;
use super::ending::Healing;
use super::fault_counts::FaultKind;
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
        let present: Vec<usize> =
            (0..self.nodes.len()).filter(|place| self.nodes[*place].present).collect();
        let fault = self.faults.pick(&present, &mut self.luck.faults);
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
        self.carry_out(fault)?;
        self.record(|world| Moment::Cuts(world.network.cut.clone()));
        Ok(())
    }

    fn carry_out(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Kill(_)
            | Fault::PowerCut(_)
            | Fault::Blackout
            | Fault::Pause(..)
            | Fault::Suspend(..)
            | Fault::Echo(_)
            | Fault::Wipe(_) => self.strike_process(fault),
            Fault::TearAt(..)
            | Fault::FailSync(_)
            | Fault::FailChange(..)
            | Fault::Stall(..)
            | Fault::SlowDisk(..)
            | Fault::Rot(..)
            | Fault::RotWhileRunning(..)
            | Fault::FailReads(..)
            | Fault::MisdirectReads(..)
            | Fault::FillDisk(..) => self.strike_disk(fault),
            Fault::Drift(_) | Fault::DriftApart | Fault::Jump(..) => {
                self.strike_clock(fault);
                Ok(())
            }
            Fault::CutOff(_)
            | Fault::CutOffLeader
            | Fault::CutOneWay(..)
            | Fault::Bridge(_)
            | Fault::Clog(..)
            | Fault::Lag(..)
            | Fault::HearsLate(..)
            | Fault::FadeLeader(..)
            | Fault::Mend => {
                self.strike_network(fault);
                Ok(())
            }
        }
    }

    pub(super) fn strike_process(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            // A process that is gone cannot go again, or be paused.
            Fault::Kill(node) | Fault::Pause(node, _) | Fault::Suspend(node, _)
                if self.nodes[node].running.is_none() =>
            {
                Ok(())
            }
            Fault::Kill(node) => {
                self.counts.count(FaultKind::Kill);
                self.crash(node, false)
            }
            Fault::PowerCut(node) => {
                self.counts.count(FaultKind::PowerCut);
                self.crash(node, true)
            }
            Fault::Blackout => {
                self.counts.count(FaultKind::Blackout);
                (0..self.nodes.len()).try_for_each(|node| self.crash(node, true))
            }
            Fault::Pause(node, long) => {
                self.counts.count(FaultKind::Pause);
                self.pause(node, long);
                Ok(())
            }
            Fault::Suspend(node, long) => {
                self.counts.count(FaultKind::Suspend);
                let goes_on = self.now.after(long);
                if let Some(running) = &mut self.nodes[node].running {
                    running.clock.stand_still(self.now, goes_on);
                }
                self.pause(node, long);
                Ok(())
            }
            Fault::Echo(node) => self.begin_echo(node),
            Fault::Wipe(node) => self.wipe(node),
            _ => Ok(()),
        }
    }

    fn strike_disk(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::TearAt(node, change) => self.nodes[node].stop_at(change),
            Fault::FailSync(node) => self.disk_to_fail(node).fail_next_syncs(1),
            Fault::FailChange(node, change) => {
                self.disk_to_fail(node).fail_at(change, io::ErrorKind::Other);
            }
            Fault::Stall(node, long) => {
                self.counts.count(FaultKind::Stall);
                self.paces[node].stall(self.now.after(long));
            }
            Fault::SlowDisk(node, more, long) => {
                self.counts.count(FaultKind::SlowDisk);
                self.paces[node].slow_down(self.now.after(long), more);
            }
            Fault::Rot(node, damage) => return self.rot(node, damage),
            Fault::RotWhileRunning(node, damage) => return self.rot_while_running(node, damage),
            // A log that is being opened takes what it cannot read for lost, and what it reads
            // wrong for torn.
            Fault::FailReads(node, passing, count) if self.nodes[node].running.is_some() => {
                self.nodes[node].disk.fail_reads_after(passing, count);
            }
            Fault::MisdirectReads(node, count) if self.nodes[node].running.is_some() => {
                self.nodes[node].disk.misdirect_next_reads(count);
            }
            Fault::FillDisk(node, left, long) => {
                let disk = &self.nodes[node].disk;
                disk.limit_bytes(disk.used_bytes() + left);
                self.at(self.now.after(long), Happening::EmptyDisk(node));
            }
            _ => {}
        }
        Ok(())
    }

    /// That of the log, or of the database where there is one.
    fn disk_to_fail(&mut self, node: usize) -> &SimDisk {
        let of_database = self.nodes[node].has_database() && self.random.chance(500);
        self.nodes[node].either_disk(of_database)
    }

    fn strike_clock(&mut self, fault: Fault) {
        match fault {
            Fault::Drift(node) => {
                self.counts.count(FaultKind::Drift);
                let pace = self.drift.draw(&mut self.random);
                self.change_pace(node, pace);
            }
            Fault::DriftApart => {
                self.counts.count(FaultKind::DriftApart);
                self.drift_apart();
            }
            Fault::Jump(node, by) => {
                if let Some(running) = &mut self.nodes[node].running {
                    self.counts.count(FaultKind::Jump);
                    running.clock.jump(by);
                    self.set_timer(node);
                }
            }
            _ => {}
        }
    }

    fn strike_network(&mut self, fault: Fault) {
        match fault {
            Fault::CutOff(node) => self.cut_off(node),
            Fault::CutOffLeader => {
                if let Some(node) = self.any_leader() {
                    self.counts.count(FaultKind::CutOffLeader);
                    self.cut_off(node);
                }
            }
            Fault::FadeLeader(late, then) => {
                if let Some(node) = self.any_leader() {
                    self.counts.count(FaultKind::Fade);
                    self.hears_late(node, late);
                    let silence = Happening::Silence(node, self.nodes[node].id);
                    self.at(self.now.after(then), silence);
                }
            }
            Fault::CutOneWay(from, to) => {
                self.counts.count(FaultKind::CutOneWay);
                let pair = self.pair(from, to);
                self.network.cut.insert(pair);
            }
            Fault::Bridge(node) => self.bridge(node),
            Fault::Clog(from, to, long) => {
                let pair = self.pair(from, to);
                self.network.clogged.insert(pair, self.now.after(long));
            }
            Fault::Lag(from, to, late) => {
                let pair = self.pair(from, to);
                self.network.lag.insert(pair, late);
            }
            Fault::HearsLate(node, late) => self.hears_late(node, late),
            Fault::Mend => self.network.mend(),
            _ => {}
        }
    }

    fn any_leader(&mut self) -> Option<usize> {
        let group = GROUPS[self.random.below(GROUPS.len() as u64) as usize];
        self.leader(group)
    }

    /// The node in this place is slow to hear, whoever speaks.
    pub(super) fn hears_late(&mut self, node: usize, late: Duration) {
        for from in 0..self.nodes.len() {
            let pair = self.pair(from, node);
            self.network.lag.insert(pair, late);
        }
    }

    /// Nobody hears a node any more.
    pub(super) fn silence(&mut self, node: usize, id: NodeId) {
        if self.healed || self.nodes[node].id != id {
            return;
        }
        self.counts.count(FaultKind::Silence);
        self.note(format_args!("nobody hears node {id} any more"));
        let others = self.nodes.iter().map(|other| other.id).filter(|other| *other != id);
        self.network.cut.extend(others.map(|other| (id, other)));
        self.record(|world| Moment::Cuts(world.network.cut.clone()));
    }

    fn pair(&self, from: usize, to: usize) -> (NodeId, NodeId) {
        (self.nodes[from].id, self.nodes[to].id)
    }

    /// All but one fall into two parts that do not hear each other; the one hears everybody.
    fn bridge(&mut self, bridge: usize) {
        self.counts.count(FaultKind::Bridge);
        let half: Vec<bool> = self.nodes.iter().map(|_| self.random.chance(500)).collect();
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if from != bridge && to != bridge && half[from] != half[to] {
                    let pair = self.pair(from, to);
                    self.network.cut.insert(pair);
                }
            }
        }
    }

    fn cut_off(&mut self, node: usize) {
        self.counts.count(FaultKind::CutOff);
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
        let Some(running) = &mut self.nodes[node].running else { return };
        // A shorter pause within a longer one changes nothing: otherwise what waits for the end of
        // the longer one would come after what happens later.
        let until = running.paused_until.max(self.now.after(long));
        running.paused_until = until;
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
        let torn = self.nodes[node].is_stopped();
        self.counts.count_all(FaultKind::TornChange, u64::from(torn));
        if self.nodes[node].running.is_some() {
            let power_is_lost = if power || torn { Power::Lost } else { Power::StaysOn };
            self.record(|world| Moment::Down(world.nodes[node].id, power_is_lost));
            let after = 20 + self.random.below(1500);
            self.after_ms(after, Happening::Start(node, self.nodes[node].id));
        }
        self.nodes[node].crash_disks(power || torn);
        self.end_process(node)
    }

    /// A process is gone, and whoever waits for it will never hear of it again.
    pub(super) fn end_process(&mut self, node: usize) -> Result<(), String> {
        let (id, disk) = (self.nodes[node].id, self.nodes[node].incarnation);
        if let Some(recording) = &mut self.recording {
            recording.forget(id);
        }
        if let Some(running) = self.nodes[node].running.take() {
            for replica in GROUPS.iter().filter_map(|group| running.engine.replica(*group)) {
                self.stored.keep((id, disk), replica);
            }
        }
        self.checks.asked.gone(node);
        for id in self.clients.asked_of(node) {
            self.answer(id, Told::Unknown);
        }
        self.admin.gone(node)
    }

    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.note(format_args!("everything heals"));
        self.healed = true;
        self.healing = Healing { at: self.now, settles_since: self.now };
        self.network.heal();
        self.record(|world| Moment::Cuts(world.network.cut.clone()));
        self.paces.fill(DiskPace::default());
        // What would come much later, from the time before, comes no more.
        let soon = self.now.after(Duration::from_millis(500));
        self.queue.retain(|(at, _), next| *at < soon || !matches!(next, Happening::Arrive { .. }));
        let asks_to_stand = |next: &Happening| match next {
            // However long ago it was that the leader wished so.
            Happening::Arrive { .. } => true,
            Happening::Ask(_, _, event) => matches!(event, Event::Campaign { .. }),
            _ => false,
        };
        let last = self.queue.iter().rev().find(|(_, next)| asks_to_stand(next));
        self.asked_until = last.map_or(self.now, |((at, _), _)| *at);
        // In half of the runs what went wrong in memory must mend by itself.
        let restart = self.random.chance(500);
        for node in 0..self.nodes.len() {
            if restart && self.nodes[node].running.is_some() {
                self.crash(node, true)?;
            }
            // A fault that still lay in wait would strike after the healing.
            self.nodes[node].heal_disks();
        }
        for (client, scan) in self.scans.iter_mut().enumerate() {
            // Who was left out has nothing to read.
            let out = self.options.without.clients.has(client as u64);
            *scan = Some(if out { u64::MAX } else { 0 });
        }
        Ok(())
    }
}
