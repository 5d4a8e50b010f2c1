//! The loop itself: events in, effects out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use raft_core::{
    Boot, Envelope, GroupId, Incarnation, Index, Instant, Membership, NodeId, Position, Random,
};
use raft_log::{LogError, LogStats, SnapshotStore, WriteAheadLog};
use raft_state::{Input, Proposal, ReadId, Refusal, Status};

use super::config::EngineConfig;
use super::disk_watch::DiskWatch;
use super::effect::{Answer, Effect};
use super::event::Event;
use super::figures::{GroupFigures, Timings};
use super::group::{Collection, Group};
use super::job::JobDone;
use super::liveness::Liveness;
use super::outgoing::Outgoing;
use super::pace::SnapshotTraffic;
use super::under_way::{Forwarding, assert_own_name};

/// The replicas of one node, of any number of groups, with the log they share.
///
/// Invariants:
/// - At most one write of the log is under way.
/// - A group is handed its events in order, and its outputs are carried out in order
///   before the next event.
/// - Every proposal and every read that enters leaves as exactly one [`Answer`].
#[derive(Debug)]
pub struct Engine {
    pub(crate) me: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: Boot,
    pub(crate) seed: u64,
    /// Decides what is left to chance, apart from what the replicas leave to it.
    pub(crate) random: Random,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) log: WriteAheadLog,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) timers: BTreeSet<(Instant, GroupId)>,
    pub(crate) liveness: Liveness,
    pub(crate) outgoing: Outgoing,
    pub(crate) forwarding: Forwarding,
    pub(crate) timings: Timings,
    pub(crate) answers: Vec<Answer>,
    pub(crate) effects: VecDeque<Effect>,
    /// When the log has been idle for long enough to be sealed.
    pub(crate) seal_at: Option<Instant>,
    pub(crate) collecting: bool,
    /// The segment with which it was last seen what can go.
    pub(crate) collected_at: u64,
    pub(crate) disk: DiskWatch,
    pub(crate) collection: Collection,
    pub(crate) traffic: SnapshotTraffic,
}

/// How a group stands on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The replica.
    pub status: Status,
    /// The last index in the state machine.
    pub applied: Index,
    /// When the leader was last heard, by heartbeats between nodes as well; `None`
    /// where none is known, and on the leader itself.
    pub leader_heard: Option<Instant>,
    /// The membership in force: the latest in the log here, committed or not.
    pub members: Arc<Membership>,
    /// Where it stands in the log.
    pub members_at: Position,
    /// Where the membership without this node stands in the log, once the group has stopped
    /// here because of it.
    pub removed: Option<Index>,
    /// Why the group stopped here, where it did.
    pub halted: Option<String>,
    /// Why this node takes no writes, and what to do, where its disk is full.
    pub no_room: Option<String>,
    /// Whether this node lets go of what it does not need.
    pub collection: Collection,
    /// What it has counted.
    pub figures: GroupFigures,
}

impl Engine {
    /// Takes in one event. Several may be taken in before [`flush`](Self::flush),
    /// which lets them share a write and a message.
    ///
    /// # Errors
    /// Where the log has failed. That is final: nothing more can be promised, and the
    /// process must stop.
    pub fn handle(&mut self, now: Instant, event: Event) -> Result<(), LogError> {
        match event {
            Event::Timeout => self.on_timeout(now),
            Event::Received { from, boot, envelopes } => {
                self.forwarding.heard(from, boot);
                for envelope in envelopes {
                    self.on_envelope(now, from, boot, envelope);
                }
            }
            Event::Propose { group, proposals } => self.on_propose(now, group, proposals),
            Event::Read { group, ids } => self.on_read(now, group, ids),
            Event::ChangeMembers { group, id, changes, unheard } => {
                self.on_change(now, group, id, changes, unheard);
            }
            Event::Transfer { group, id, to } => self.on_transfer(now, group, id, to),
            Event::Campaign { group } => self.step(now, group, Input::Campaign),
            Event::WantSnapshot { group, id } => self.on_want_snapshot(group, id),
            Event::Collect(collection) => self.set_collection(now, collection),
            Event::Written(done) => self.on_written(now, done)?,
            Event::Machine(done) => self.on_machine(now, done),
            Event::Done(done) => self.on_job(now, *done)?,
        }
        Ok(())
    }

    /// Ends a batch of events: what they want written and sent becomes effects.
    pub fn flush(&mut self, now: Instant) {
        self.watch_room(now);
        self.send_beats(now);
        self.forwarding.sort_out(&mut self.answers);
        self.forwarding.send(self.config.replica.max_append_bytes, &mut self.outgoing);
        self.effects.extend(self.outgoing.drain());
        if let Some(job) = self.log.next_job() {
            self.timings.job_taken(now);
            self.effects.push_back(Effect::Write(job));
        }
        self.watch_writes(now);
        if !self.answers.is_empty() {
            self.effects.push_back(Effect::Answer(std::mem::take(&mut self.answers)));
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Puts back what was polled and is still to be carried out, before everything else.
    pub fn put_back(&mut self, effects: Vec<Effect>) {
        for effect in effects.into_iter().rev() {
            self.effects.push_front(effect);
        }
    }

    /// When to hand in [`Event::Timeout`] next.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let replicas = self.timers.first().map(|(at, _)| *at);
        let others = [
            self.liveness.deadline(),
            self.transfer_deadline(),
            self.forwarding.deadline(),
            self.disk_deadline(),
            self.traffic.deadline(),
            self.seal_at,
        ];
        let never = Instant(u64::MAX);
        others.into_iter().flatten().chain(replicas).fold(never, Instant::min)
    }

    /// This run of the node.
    #[must_use]
    pub const fn boot(&self) -> Boot {
        self.boot
    }

    /// The groups of this node.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }

    /// How a group stands; `None` for one this node does not have.
    #[must_use]
    pub fn view(&self, group: GroupId) -> Option<GroupView> {
        let state = self.groups.get(&group)?;
        let mut status = state.replica.status();
        // Beats between nodes are contact too; a replica hears of them when it decides.
        for (follower, at) in self.liveness.followers_heard(group, status.term) {
            if let Some(peer) = status.peers.iter_mut().find(|peer| peer.id == follower) {
                peer.contact = peer.contact.max(Some(at));
            }
        }
        let by_beats =
            status.leader.and_then(|leader| self.liveness.leader_heard(leader, group, status.term));
        Some(GroupView {
            applied: state.applying.applied,
            members: Arc::clone(&state.told.members),
            members_at: state.told.at,
            removed: state.removed.filter(|_| state.halted.is_some()),
            leader_heard: status.leader_heard.max(by_beats),
            halted: state.halted.clone(),
            no_room: self.no_room(),
            collection: self.collection,
            figures: state.figures(),
            status,
        })
    }

    /// A replica, to look at.
    #[must_use]
    pub fn replica(&self, group: GroupId) -> Option<&raft_state::Replica> {
        self.groups.get(&group).map(|group| &group.replica)
    }

    /// Figures of the log.
    #[must_use]
    pub fn log_stats(&self) -> LogStats {
        self.log.stats()
    }

    /// For whoever has nothing else to do until what was staged is written: see
    /// [`WriteAheadLog::give_up_waiting`].
    ///
    /// # Errors
    /// Why there was no room, where a write of the log waits for some.
    pub fn give_up_waiting(&mut self) -> Result<(), LogError> {
        self.log.give_up_waiting()
    }

    /// Prepares a clean stop: a seal vouches for everything written. The effects that
    /// follow are to be carried out, and nothing else handed in but the write's end.
    pub fn close(&mut self, now: Instant) {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            if let Some(state) = self.groups.get_mut(&group) {
                state.replica.stop();
                state.pending.stopped(&mut self.answers);
            }
            self.forwarding.stopped(group, &mut self.answers);
            self.drain(now, group);
        }
        self.log.seal();
        self.flush(now);
    }

    /// Hands one input to a replica and carries out what it wants. Where who was heard decides
    /// what comes of it, beats know of that first.
    pub(crate) fn step(&mut self, now: Instant, group: GroupId, input: Input) {
        match input {
            Input::Message(_)
            | Input::Timeout
            | Input::Campaign
            | Input::ChangeMembers { .. }
            | Input::Transfer { .. } => self.refresh_contacts(now, group),
            _ => {}
        }
        let Some(state) = self.groups.get_mut(&group) else { return };
        if state.halted.is_none() {
            state.replica.handle(now, input);
            self.drain(now, group);
        }
    }

    /// Carries out what a replica wants, and sets its timer anew.
    pub(crate) fn drain(&mut self, now: Instant, group: GroupId) {
        while let Some(state) = self.groups.get_mut(&group) {
            match state.replica.poll_output() {
                Some(output) => self.route(now, group, output),
                None => break,
            }
        }
        self.note_commit(now, group);
        self.note_changes(group);
        self.set_timer(group);
    }

    pub(crate) fn set_timer(&mut self, group: GroupId) {
        let snapshot_due = self.groups.get(&group).and_then(|state| self.snapshot_due(state));
        let Some(state) = self.groups.get_mut(&group) else { return };
        let never = Instant(u64::MAX);
        let of_replica = state.replica.deadline();
        let others = state.clock.due().into_iter().chain(snapshot_due);
        let deadline = others.fold(of_replica, Instant::min);
        let at = if state.halted.is_some() { never } else { deadline };
        if at != state.timer {
            self.timers.remove(&(state.timer, group));
            state.timer = at;
            if at != never {
                self.timers.insert((at, group));
            }
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        let due: Vec<GroupId> =
            self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, group)| *group).collect();
        for group in due {
            self.step(now, group, Input::Timeout);
            self.tell_time(now, group);
            self.take_snapshot_in_time(now, group);
        }
        self.give_up_transfers(now);
        self.go_on_sending(now);
        self.go_on_writing(now);
        self.forwarding.expire(now, &mut self.answers);
        self.give_up_unapplied(now);
        if self.seal_at.take_if(|at| now >= *at).is_some() {
            self.log.seal();
        }
    }

    fn on_envelope(&mut self, now: Instant, from: NodeId, boot: Boot, envelope: Envelope) {
        match envelope {
            Envelope::Group(message) => {
                if message.from == from && message.to == self.me {
                    self.on_message(now, message);
                }
            }
            Envelope::Beat(beat) => self.on_beat(now, from, boot, beat),
            Envelope::BeatReply(reply) => self.on_beat_reply(now, from, boot, reply),
            Envelope::Forward(forward) => self.on_forward(now, from, boot, forward),
            Envelope::ForwardReply(reply) => self.on_forward_reply(now, from, reply),
        }
    }

    fn on_propose(&mut self, now: Instant, group: GroupId, proposals: Vec<Proposal>) {
        assert_own_name(proposals.iter().map(|proposal| proposal.id.0));
        if self.serves(group) {
            if let Err(proposals) = self.forward_proposals(now, group, proposals) {
                self.propose(now, group, proposals);
            }
            return;
        }
        self.count(group, |figures| {
            figures.proposals += proposals.len() as u64;
            figures.refused_not_leader += proposals.len() as u64;
        });
        let why = Refusal::NotLeader { leader: None };
        let refused = |Proposal { id, .. }| Answer::ProposalRefused { id, why };
        self.answers.extend(proposals.into_iter().map(refused));
    }

    fn on_read(&mut self, now: Instant, group: GroupId, ids: Vec<ReadId>) {
        assert_own_name(ids.iter().map(|id| id.0));
        if self.serves(group) {
            if let Err(ids) = self.forward_reads(now, group, ids) {
                self.read(now, group, ids);
            }
            return;
        }
        let why = Refusal::NotLeader { leader: None };
        self.answers.extend(ids.into_iter().map(|id| Answer::ReadRefused { id, why }));
    }

    pub(crate) fn serves(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(|group| group.halted.is_none())
    }

    fn on_written(&mut self, now: Instant, done: raft_log::WriteDone) -> Result<(), LogError> {
        let durable = self.log.complete(done)?;
        self.disk.written();
        self.prepare_segment();
        self.collect_behind_segment();
        if !durable.is_empty() {
            self.seal_at = Some(now.after(super::housekeeping::SEAL_AFTER));
        }
        for (group, number) in durable {
            let damaged = self.is_damaged(group);
            self.step(now, group, Input::Persisted(number));
            self.report_healing(group, damaged);
        }
        Ok(())
    }

    fn on_job(&mut self, now: Instant, done: JobDone) -> Result<(), LogError> {
        match done {
            JobDone::EntriesRead { group, purpose, outcome } => {
                self.on_entries_read(now, group, purpose, outcome);
            }
            JobDone::Collected(outcome) => self.on_collected(outcome),
            JobDone::Relocated(done) => self.on_relocated(done),
            JobDone::Prepared(done) => self.on_prepared(done)?,
            JobDone::SpaceTold(outcome) => self.on_space(now, outcome),
            JobDone::Flushed { group, outcome: Ok(index) } => self.on_flushed(now, group, index),
            JobDone::Flushed { group, outcome: Err(why) } => {
                self.on_flush_failed(now, group, &why);
            }
            JobDone::SnapshotWritten { group, outcome } => {
                self.on_snapshot_written(now, group, outcome)?;
            }
            JobDone::PieceRead { group, to, number, reader, offset, outcome } => {
                self.on_piece_read(now, group, to, number, reader, offset, outcome);
            }
            JobDone::PieceStored { group, number, outcome } => {
                self.on_piece_stored(now, group, number, outcome)?;
            }
            JobDone::SnapshotsDropped(outcome) => {
                if let Err(why) = outcome {
                    let why = format!("an old snapshot could not be removed: {why}");
                    self.effects.push_back(Effect::Trouble { why });
                }
            }
        }
        Ok(())
    }
}
