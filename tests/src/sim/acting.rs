//! Nodes at work: events into their engines, effects out of them.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{Boot, Instant, NodeId};
use raft_log::{LogError, SnapshotError};
use raft_node::StateMachine as _;
use raft_node::engine::{Effect, Event, Job, MachineTask, OpenError};
use raft_node::kv::MemoryStore;
use raft_rpc::codec;
use raft_state::RoleName;

use super::network::by_lane;
use super::world::{Happening, World};

impl World {
    pub(super) fn start(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].running.is_some() {
            return Ok(());
        }
        if !self.healed && self.faults.crash_starts && self.random.chance(400) {
            let changes = 1 + self.random.below(8);
            self.nodes[node].disk.stop_at(changes);
        }
        let seed = self.random.next_u64();
        let now = self.now;
        let opened = self.nodes[node].start(&self.members, seed, now);
        self.note(format_args!("node {} starts: {:?}", node + 1, opened.as_ref().err()));
        match opened {
            Ok(()) => self.event(node, Event::Timeout),
            // The operating system refused, as it was told to; the operator tries again.
            Err(OpenError::Log(LogError::Io { .. }))
            | Err(OpenError::Snapshots(SnapshotError::Io { .. })) => {
                self.counts.crashed_starts += 1;
                self.nodes[node].disk.crash_power();
                self.after_ms(50, Happening::Start(node));
                Ok(())
            }
            Err(why) => Err(format!("node {} does not start: {why}", node + 1)),
        }
    }

    pub(super) fn arrive(
        &mut self,
        to: usize,
        from: NodeId,
        boot: Boot,
        bytes: Bytes,
    ) -> Result<(), String> {
        if self.nodes[to].running.is_none() || self.network.cut.contains(&(from, self.nodes[to].id))
        {
            return Ok(());
        }
        let envelopes = codec::decode_batch(bytes).map_err(|why| format!("on the wire: {why}"))?;
        self.event(to, Event::Received { from, boot, envelopes })
    }

    pub(super) fn run_machine(&mut self, node: usize, task: MachineTask) -> Result<(), String> {
        let id = self.nodes[node].id;
        let group = task.group();
        if let Some(store) = self.nodes[node].store(group).cloned() {
            let (applied, hash) =
                store.with(|store| (store.applied(), MemoryStore::state_hash(store)));
            self.checks.holds(group, id, applied, hash)?;
            if let MachineTask::Apply { commands, up_to, .. } = &task {
                self.checks.applies(group, id, applied, commands, *up_to)?;
            }
        }
        if matches!(task, MachineTask::Restore { .. }) {
            self.installed += 1;
        }
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let done = running.machines.run(task);
        self.event(node, Event::Machine(done))
    }

    /// Hands an event to a node's engine and carries out what it wants.
    pub(super) fn event(&mut self, node: usize, event: Event) -> Result<(), String> {
        let now = self.now;
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let handled = running.engine.handle(now, event);
        if self.nodes[node].disk.is_stopped() {
            // The power went in the middle of a change; nothing more comes out.
            return self.crash(node, true);
        }
        if let Err(why) = handled {
            // A log that failed is final: the process stops, and starts again later.
            self.note(format_args!("node {} stops: {why}", node + 1));
            return self.crash(node, true);
        }
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        running.engine.flush(now);
        let mut effects = Vec::new();
        while let Some(effect) = running.engine.poll_effect() {
            effects.push(effect);
        }
        for effect in effects {
            self.effect(node, effect)?;
        }
        self.set_timer(node);
        Ok(())
    }

    pub(super) fn effect(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        let life = self.nodes[node].life;
        match effect {
            Effect::Write(job) => {
                let at = self.now.max(self.stalled_until[node]);
                let at = at.after(Duration::from_micros(50 + self.random.below(1500)));
                self.at(at, Happening::Write(node, life, job));
            }
            Effect::Send { to, envelopes } => self.send(node, to, envelopes),
            Effect::Machine(task) => {
                let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
                let took = Duration::from_micros(20 + self.random.below(500));
                let at = running.machines_busy_until.max(self.now).after(took);
                running.machines_busy_until = at;
                self.at(at, Happening::Machine(node, life, task));
            }
            Effect::Run(job) => {
                // At times a segment is not prepared when the log switches.
                let most = if matches!(*job, Job::Prepare(_)) { 50_000 } else { 3000 };
                let took = Duration::from_micros(50 + self.random.below(most));
                self.at(self.now.after(took), Happening::Job(node, life, job));
            }
            Effect::Answer(answers) => self.answers(node, answers),
            Effect::RoleChanged { group, change } => {
                self.note(format_args!("node {} group {group}: {change:?}", node + 1));
                if change.role == RoleName::Leader {
                    self.checks.leads(group, change.term, self.nodes[node].id)?;
                }
            }
            Effect::Halted { group, why } => {
                return Err(format!("node {} halts group {group}: {why}", node + 1));
            }
            Effect::PeerBroken { group, peer, evidence } => {
                return Err(format!(
                    "node {} calls {peer} broken in group {group}: {evidence:?}",
                    node + 1
                ));
            }
            Effect::Trouble { why } => {
                self.note(format_args!("node {} has trouble: {why}", node + 1));
            }
        }
        Ok(())
    }

    pub(super) fn send(&mut self, node: usize, to: NodeId, envelopes: Vec<raft_core::Envelope>) {
        let from = self.nodes[node].id;
        let Some(place) = self.nodes.iter().position(|other| other.id == to) else { return };
        let Some(running) = &self.nodes[node].running else { return };
        let boot = running.engine.boot();
        for (lane, envelopes) in by_lane(envelopes) {
            let bytes = codec::encode_batch(&envelopes);
            let arrivals = self.network.arrivals(self.now, from, to, lane, &mut self.random);
            for at in arrivals {
                let bytes = bytes.clone();
                self.at(at, Happening::Arrive { to: place, from, boot, bytes });
            }
        }
    }

    pub(super) fn set_timer(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let Some(running) = &mut self.nodes[node].running else { return };
        let at = running.engine.deadline().max(self.now);
        if at < Instant(u64::MAX) && running.timer.is_none_or(|set| at < set) {
            running.timer = Some(at);
            self.at(at, Happening::Timer(node, life));
        }
    }
}
