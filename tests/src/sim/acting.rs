//! Nodes at work: events into their engines, effects out of them.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{Boot, GroupId, Index, Instant, NodeId};
use raft_log::{LogError, SnapshotError};
use raft_node::StateMachine as _;
use raft_node::engine::{
    Effect, Event, Job, JobDone, MachineDone, MachineTask, OpenError, ReadFor,
};
use raft_node::kv::MemoryStore;
use raft_rpc::codec;
use raft_state::RoleName;

use super::checks::Checks;
use super::happening::Happening;
use super::network::by_lane;
use super::world::World;

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
        let durable = self.nodes[node].durable();
        let opened = self.nodes[node].start(&self.members, seed, now);
        self.note(format_args!("node {} starts: {:?}", node + 1, opened.as_ref().err()));
        match opened {
            Ok(()) => {
                self.check_start(node, &durable)?;
                self.event(node, Event::Timeout)
            }
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

    fn check_start(
        &mut self,
        node: usize,
        durable: &[(GroupId, Option<Index>)],
    ) -> Result<(), String> {
        let id = self.nodes[node].id;
        for (group, durable) in durable {
            self.kept += u64::from(*durable > Some(Index::ZERO));
            let durable = durable.unwrap_or(Index::ZERO);
            let Some(store) = self.nodes[node].store(*group) else { continue };
            let (applied, hash) = store.with(|store| (store.applied(), store.state_hash()));
            self.checks.holds(*group, id, applied, hash)?;
            if let Some(engine) = self.engine_at(node, *group) {
                Checks::restarts(id, *group, durable, applied, engine)?;
            }
        }
        Ok(())
    }

    /// Where a group's log begins and up to where it is applied, as the engine has it.
    fn engine_at(&self, node: usize, group: GroupId) -> Option<(Index, Index)> {
        let engine = &self.nodes[node].running.as_ref()?.engine;
        Some((engine.replica(group)?.log().floor().index, engine.view(group)?.applied))
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
        if self.nodes[node].disk.is_stopped() {
            // A store has no power either.
            return self.crash(node, true);
        }
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
        let commands = match &task {
            MachineTask::Apply { commands, .. } => commands.clone(),
            _ => Vec::new(),
        };
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let done = running.machines.run(task);
        if let MachineDone::Applied { answers, .. } = &done {
            self.checks.answers(group, &commands, answers)?;
        }
        self.event(node, Event::Machine(done))
    }

    pub(super) fn run_job(&mut self, node: usize, job: Job) -> Result<(), String> {
        if self.nodes[node].disk.is_stopped() {
            return self.crash(node, true);
        }
        let done = Box::new(job.run());
        // A crash may come between the end of a job and the news of it.
        let at = self.now.after(Duration::from_micros(5 + self.random.below(200)));
        self.at(at, Happening::Done(node, self.nodes[node].life, done));
        Ok(())
    }

    /// Hands an event to a node's engine and carries out what it wants.
    pub(super) fn event(&mut self, node: usize, event: Event) -> Result<(), String> {
        let now = self.now;
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let flushed =
            matches!(&event, Event::Done(done) if matches!(**done, JobDone::Flushed { .. }));
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
        // Nothing but commands that waited for it can begin with the end of a flush.
        self.held += u64::from(flushed && effects.iter().any(begins_to_apply));
        for effect in effects {
            self.effect(node, effect)?;
        }
        self.set_timer(node);
        self.check_log(node)
    }

    fn check_log(&self, node: usize) -> Result<(), String> {
        let id = self.nodes[node].id;
        for (group, durable) in self.nodes[node].durable() {
            if let (Some(durable), Some(engine)) = (durable, self.engine_at(node, group)) {
                Checks::lets_go(id, group, durable, engine)?;
            }
        }
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
                let most = match *job {
                    // At times a segment is not prepared when the log switches.
                    Job::Prepare(_) => 50_000,
                    // At times much is applied beside a flush, or even a snapshot restored.
                    Job::Flush { .. } if self.random.chance(300) => 300_000,
                    Job::Flush { .. } if self.random.chance(60) => 4_000_000,
                    _ => 3000,
                };
                let took = Duration::from_micros(50 + self.random.below(most));
                self.at(self.now.after(took), Happening::Job(node, life, job));
            }
            Effect::Answer(answers) => self.answers(node, answers),
            Effect::MembersChanged { .. } => {}
            Effect::Removed { group, index } => {
                return Err(format!("node {} was removed from group {group} at {index}", node + 1));
            }
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

fn begins_to_apply(effect: &Effect) -> bool {
    match effect {
        Effect::Machine(task) => matches!(task, MachineTask::Apply { .. }),
        Effect::Run(job) => {
            matches!(**job, Job::ReadEntries { purpose: ReadFor::Applying { .. }, .. })
        }
        _ => false,
    }
}
