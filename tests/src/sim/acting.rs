//! Nodes at work: events into their engines, effects out of them.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{Boot, Envelope, GroupId, Incarnation, Instant, NodeId};
use raft_node::engine::{Answer, Effect, Event, Job, JobDone, MachineTask, ReadFor};
use raft_rpc::codec::{self, DecodeError};
use raft_state::{ReadId, RoleChange, RoleName};

use super::happening::Happening;
use super::invariant::Check;
use super::members::Succeeds;
use super::network::by_lane;
use super::node::GROUPS;
use super::recording::{Arrival, Message, Moment};
use super::words::Members;
use super::world::World;

impl World {
    pub(super) fn arrive(
        &mut self,
        (to, id, disk): (usize, NodeId, Incarnation),
        from: NodeId,
        boot: Boot,
        bytes: Bytes,
        message: Message,
    ) -> Result<(), String> {
        let there = &self.nodes[to];
        // What was sent to a disk does not reach the one that has its id later.
        let gone = there.running.is_none() || (there.id, there.incarnation) != (id, disk);
        let sender = self.nodes.iter().position(|node| node.id == from);
        // One connection carries all groups. It stands as long as there is one to talk of.
        let another = sender
            .is_some_and(|sender| !GROUPS.iter().any(|group| self.talk_of(*group, sender, to)));
        let cut = another || self.network.cut.contains(&(from, id));
        let damaged = match gone || cut {
            true => None,
            false => self.network.damages(&bytes, &mut self.random),
        };
        let arrival = match cut {
            _ if gone => Arrival::Nobody,
            true => Arrival::Cut,
            false if damaged.is_some() => Arrival::Damaged,
            false => Arrival::Received,
        };
        self.record(|_| Moment::Arrives(message, arrival));
        if let Some(damaged) = damaged {
            // The transport breaks the connection off, which loses more messages at most.
            return match codec::decode_batch(damaged) {
                Err(DecodeError::Damaged(_)) => Ok(()),
                other => Err(Check::Wire.fails(format_args!("damage passed for {other:?}"))),
            };
        }
        if arrival != Arrival::Received {
            return Ok(());
        }
        self.hears(to, (from, boot), &bytes, message);
        let mut envelopes = codec::decode_batch(bytes).map_err(|why| Check::Wire.fails(why))?;
        if let Some(sender) = sender {
            self.retain_of_taken(&mut envelopes, (sender, to));
        }
        self.event(to, Event::Received { from, boot, envelopes })
    }

    pub(super) fn run_machine(&mut self, node: usize, task: MachineTask) -> Result<(), String> {
        if self.nodes[node].is_stopped() {
            // A store has no power either.
            return self.crash(node, true);
        }
        self.check_task(node, &task)?;
        self.installed += u64::from(matches!(task, MachineTask::Restore { .. }));
        let commands = match &task {
            MachineTask::Apply { commands, .. } => commands.clone(),
            _ => Vec::new(),
        };
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let done = running.machines.run(task);
        self.check_done(node, &commands, &done)?;
        self.event(node, Event::Machine(done))
    }

    pub(super) fn run_job(&mut self, node: usize, job: Job) -> Result<(), String> {
        if self.nodes[node].is_stopped() {
            return self.crash(node, true);
        }
        let done = Box::new(job.run());
        if self.nodes[node].is_stopped() {
            return self.crash(node, true);
        }
        // A crash may come between the end of a job and the news of it.
        let at = self.now.after(Duration::from_micros(5 + self.random.below(200)));
        self.at(at, Happening::Done(node, self.nodes[node].life, done));
        Ok(())
    }

    /// Hands an event to a node's engine and carries out what it wants.
    pub(super) fn event(&mut self, node: usize, event: Event) -> Result<(), String> {
        // The only voter answers reads without asking anybody.
        let read = asked_to_read(&event).filter(|(group, _)| !self.decides_alone(node, *group));
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let now = running.clock.shows(self.now);
        running.moments.note(now, self.now);
        let received = matches!(event, Event::Received { .. });
        let flushed =
            matches!(&event, Event::Done(done) if matches!(**done, JobDone::Flushed { .. }));
        running.seen_before = running.seen;
        let handled = running.engine.handle(now, event);
        if self.nodes[node].is_stopped() {
            // The power went in the middle of a change; nothing more comes out.
            return self.crash(node, true);
        }
        if let Err(why) = handled {
            // A log that failed is final: the process stops, and starts again later.
            let id = self.nodes[node].id;
            self.note(format_args!("node {id} stops: {why}"));
            self.may_stop(node, &why)?;
            return self.crash(node, true);
        }
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        running.engine.flush(now);
        self.record_state(node);
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let mut effects = Vec::new();
        while let Some(effect) = running.engine.poll_effect() {
            effects.push(effect);
        }
        // Nothing but commands that waited for it can begin with the end of a flush.
        self.held += u64::from(flushed && effects.iter().any(begins_to_apply));
        let removed = running.engine.is_removed();
        self.observe(node)?;
        if received {
            self.counts_what_was_said(node)?;
        }
        if let Some((group, id)) = read.filter(|(_, id)| effects.iter().any(|e| answers(e, *id))) {
            self.read_at_once(node, group, id)?;
        }
        for effect in effects {
            self.effect(node, effect)?;
        }
        if removed {
            // Nothing is left to do there, as in production.
            return self.vacate(node, Succeeds::WhoIsForgotten);
        }
        self.set_timer(node);
        self.check_log(node)
    }

    pub(super) fn effect(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        let (id, life) = (self.nodes[node].id, self.nodes[node].life);
        match effect {
            Effect::Write(job) => {
                let took = Duration::from_micros(50 + self.random.below(1500));
                let at = self.paces[node].done(self.now, took);
                self.record(|_| Moment::Writes(id));
                self.at(at, Happening::Write(node, life, job));
            }
            Effect::Send { to, envelopes } => self.send(node, to, envelopes)?,
            Effect::Machine(task) => {
                let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
                let most = match task {
                    // At times a snapshot is large.
                    MachineTask::Restore { .. } if self.random.chance(200) => 3_000_000,
                    _ => 500,
                };
                let took = Duration::from_micros(20 + self.random.below(most));
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
                let at = self.paces[node].done(self.now, took);
                self.at(at, Happening::Job(node, life, job));
            }
            // Nobody in here asks for one.
            Effect::Snapshot { .. } => {}
            Effect::Answer(answers) => self.answers(node, answers)?,
            Effect::MembersChanged { group, at, members } => {
                let members = Members(&members);
                self.note(format_args!("node {id} group {group}: entry {at} makes {members}"));
            }
            Effect::Removed { group, .. } => self.was_removed(node, group)?,
            Effect::RoleChanged { group, change } => {
                let RoleChange { role, term, .. } = change;
                self.remember(format_args!("node {id} group {group}: {role:?}, term {term}"));
                if change.role == RoleName::Leader {
                    self.leads(node, group, change.term)?;
                    self.echoes(node);
                }
            }
            Effect::Halted { group, why } => {
                return self.halts(node, group, &why);
            }
            Effect::PeerBroken { group, peer, evidence } => {
                let other = self.nodes.iter().position(|node| node.id == peer);
                if self.reports_the_forgetful(group, [Some(node), other], &evidence) {
                    self.note(format_args!("node {id} calls {peer} broken: {evidence:?}"));
                    return Ok(());
                }
                let what =
                    format_args!("node {id} calls {peer} broken, group {group}: {evidence:?}");
                return Err(Check::PeerBroken.fails(what));
            }
            Effect::Trouble { why } => self.note(format_args!("node {id} has trouble: {why}")),
        }
        Ok(())
    }

    fn send(&mut self, node: usize, to: NodeId, envelopes: Vec<Envelope>) -> Result<(), String> {
        let from = self.nodes[node].id;
        for envelope in &envelopes {
            self.ledger.sent(envelope)?;
            self.says_what_leaders_say(node, envelope)?;
            let follows = match envelope {
                Envelope::Group(message) => self.replica(node, message.group),
                _ => None,
            };
            let follows = follows.and_then(raft_state::Replica::leader);
            self.promises.sent(from, follows, envelope);
            self.acknowledged.sent((from, self.nodes[node].incarnation), envelope);
            self.speaks_in_its_term(node, envelope)?;
            self.hands_over_to_who_has_all(node, envelope)?;
        }
        let Some(place) = self.nodes.iter().position(|other| other.id == to) else {
            return Ok(());
        };
        let Some(running) = &self.nodes[node].running else { return Ok(()) };
        let (boot, life) = (running.engine.boot(), self.nodes[node].life);
        for (lane, envelopes) in by_lane(envelopes) {
            let arrivals = self.network.arrivals(self.now, (from, to), lane, &mut self.random);
            let message = self.record_sent((from, to), &envelopes, arrivals.len());
            if arrivals.is_empty() {
                continue;
            }
            let bytes = self.network.said_by(from, life, codec::encode_batch(&envelopes));
            for at in arrivals {
                let (bytes, disk) = (bytes.clone(), self.nodes[place].incarnation);
                let (to, id) = (place, to);
                self.at(at, Happening::Arrive { to, id, disk, from, boot, bytes, message });
            }
        }
        Ok(())
    }

    pub(super) fn set_timer(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let Some(running) = &mut self.nodes[node].running else { return };
        let at = running.clock.when(running.engine.deadline()).max(self.now);
        if at < Instant(u64::MAX) && running.timer.is_none_or(|set| at < set) {
            running.timer = Some(at);
            self.at(at, Happening::Timer(node, life));
        }
    }
}

/// The first read that a client has asked for.
fn asked_to_read(event: &Event) -> Option<(GroupId, ReadId)> {
    match event {
        Event::Read { group, ids } => ids.first().map(|id| (*group, *id)),
        _ => None,
    }
}

fn answers(effect: &Effect, read: ReadId) -> bool {
    let ready = |answer: &Answer| matches!(answer, Answer::ReadReady { id, .. } if *id == read);
    matches!(effect, Effect::Answer(answers) if answers.iter().any(ready))
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
