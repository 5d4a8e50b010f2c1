//! Taking snapshots.

use std::io::Read;
use std::time::Duration;

use raft_core::{GroupId, Index, Instant, Position};
use raft_log::{LogError, SnapshotReader};
use raft_state::ProposalId;
use thiserror::Error;

use super::effect::Effect;
use super::engine::Engine;
use super::group::{Collection, Group};
use super::job::{Job, SnapshotTrouble, WriteSnapshot, Written, survivable};
use super::machine::MachineTask;

/// A snapshot that failed is tried again after this long: each try costs an image of
/// the whole state.
pub(crate) const RETRY_SNAPSHOT_AFTER: Duration = Duration::from_secs(10);

/// As much of a snapshot is written at once. Between two parts the writing can be put off,
/// and a node that stops does not wait for the rest.
const WRITE_BYTES: u64 = 4 << 20;

/// Why there is no snapshot for somebody who wanted one. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotRefusal {
    /// This node has no such group: ask one that has.
    #[error("group {0} does not exist on this node")]
    NoSuchGroup(GroupId),
    /// The group stopped here: ask another node.
    #[error("the group has stopped on this node: {0}")]
    Halted(String),
    /// There is nothing in it yet: write something, or wait for the first leader.
    #[error("nothing has been applied on this node yet, so there is nothing to take a snapshot of")]
    Nothing,
    /// This node joined and cannot tell yet who the members were at its state: ask another.
    #[error("this node does not know the members as of its state yet; ask another one")]
    MembersUnknown,
    /// It failed, mostly for want of room: mend that, or ask another node.
    #[error("the snapshot could not be taken: {0}")]
    Failed(String),
}

/// Somebody who wants a snapshot that reaches this far at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    id: ProposalId,
    index: Index,
}

/// Whether a snapshot is being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    UnderWay,
    NotPossible,
}

impl Engine {
    /// Somebody wants a snapshot of everything that is applied here now.
    pub(crate) fn on_want_snapshot(&mut self, group: GroupId, id: ProposalId) {
        let no_room = self.no_room();
        let refusal = match self.groups.get_mut(&group) {
            None => SnapshotRefusal::NoSuchGroup(group),
            Some(Group { halted: Some(why), .. }) => SnapshotRefusal::Halted(why.clone()),
            Some(state) if state.applying.applied == Index::ZERO => SnapshotRefusal::Nothing,
            // What little there is belongs to the log.
            Some(_) if no_room.is_some() => SnapshotRefusal::Failed(no_room.unwrap_or_default()),
            Some(state) => {
                state.wanted.push(Wanted { id, index: state.applying.applied });
                return self.serve_wanted(group);
            }
        };
        self.effects.push_back(Effect::Snapshot { id, outcome: Err(refusal) });
    }

    /// Hands a snapshot to those it reaches far enough for, and has one taken for the rest.
    fn serve_wanted(&mut self, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let newest = self.snapshots.newest_up_to(group, state.applying.applied);
        let reached = newest.map_or(Index::ZERO, |meta| meta.position.index);
        let served = |wanted: &mut Wanted| wanted.index <= reached;
        for Wanted { id, .. } in state.wanted.extract_if(.., served) {
            let outcome = self.snapshots.reader(group, reached);
            let outcome = outcome.map_err(|why| SnapshotRefusal::Failed(why.to_string()));
            self.effects.push_back(Effect::Snapshot { id, outcome });
        }
        if !state.wanted.is_empty() && self.begin_snapshot(group) == Taking::NotPossible {
            self.refuse_wanted(group, &SnapshotRefusal::MembersUnknown);
        }
    }

    pub(crate) fn refuse_wanted(&mut self, group: GroupId, why: &SnapshotRefusal) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        for Wanted { id, .. } in state.wanted.drain(..) {
            self.effects.push_back(Effect::Snapshot { id, outcome: Err(why.clone()) });
        }
    }

    /// Asks the state machine for an image, unless one failed a moment ago.
    pub(crate) fn take_snapshot(&mut self, now: Instant, group: GroupId) {
        if self.groups.get(&group).is_some_and(|state| now >= state.snapshot_not_before) {
            self.begin_snapshot(group);
        }
    }

    /// Asks the state machine for an image, unless a snapshot is being taken already.
    fn begin_snapshot(&mut self, group: GroupId) -> Taking {
        let Some(state) = self.groups.get_mut(&group) else { return Taking::NotPossible };
        if state.snapshotting.is_some() {
            return Taking::UnderWay;
        }
        let applied = state.applying.applied;
        if applied == Index::ZERO || !state.knows_members_at(applied) {
            return Taking::NotPossible;
        }
        state.snapshotting = Some(applied);
        self.effects.push_back(Effect::Machine(MachineTask::Image { group }));
        // The log is let go only below what is durable in the state machine as well.
        self.flush_machine(group);
        Taking::UnderWay
    }

    /// When a snapshot is due because of the time since the last one.
    pub(crate) fn snapshot_due(&self, state: &Group) -> Option<Instant> {
        let every = self.config.gc.snapshot_every?;
        let applied = state.applying.applied;
        let is_new = applied > state.snapshotted && state.knows_members_at(applied);
        let waits = is_new && state.snapshotting.is_none() && state.halted.is_none();
        let due = state.snapshot_at.after(every).max(state.snapshot_not_before);
        (waits && self.collection == Collection::Running).then_some(due)
    }

    pub(crate) fn on_image(
        &mut self,
        now: Instant,
        group: GroupId,
        index: Index,
        image: Box<dyn Read + Send>,
    ) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let log = state.replica.log();
        // A snapshot from the leader may have overtaken this one.
        let Some(term) = log.term_at(index) else {
            state.snapshotting = None;
            return self.serve_wanted(group);
        };
        let membership = log.membership_at(index).clone();
        match self.snapshots.writer(group, Position { term, index }, membership) {
            Ok(writer) => {
                let max_bytes = self.write_part_bytes();
                self.traffic.writes.push_back(WriteSnapshot { group, image, writer, max_bytes });
                self.go_on_writing(now);
            }
            Err(why) => self.snapshot_trouble(now, group, "cannot be begun", &why),
        }
    }

    /// A tenth of a second's worth, so that the disk is not kept busy for long at once.
    fn write_part_bytes(&self) -> u64 {
        let rate = self.config.snapshot_write_bytes_per_s;
        rate.map_or(WRITE_BYTES, |rate| (rate.get() / 10).clamp(64 << 10, WRITE_BYTES))
    }

    /// Has the next parts of snapshots written, as far as the rate allows it.
    pub(crate) fn go_on_writing(&mut self, now: Instant) {
        while self.traffic.writing.is_free(now) {
            let Some(part) = self.traffic.writes.pop_front() else { return };
            let rate = self.config.snapshot_write_bytes_per_s;
            self.traffic.writing.take(now, part.max_bytes, rate);
            self.effects.push_back(Effect::Run(Box::new(Job::WriteSnapshot(part))));
        }
    }

    pub(crate) fn on_snapshot_written(
        &mut self,
        now: Instant,
        group: GroupId,
        outcome: Result<Written, SnapshotTrouble>,
    ) -> Result<(), LogError> {
        match outcome {
            Ok(Written::Partly(rest)) => {
                self.traffic.writes.push_back(*rest);
                self.go_on_writing(now);
            }
            Ok(Written::Whole { meta, unused_bytes }) => {
                let rate = self.config.snapshot_write_bytes_per_s;
                self.traffic.writing.give_back(unused_bytes, rate);
                let index = meta.position.index;
                self.snapshots.add(group, meta);
                self.drop_old_snapshots();
                if let Some(state) = self.groups.get_mut(&group) {
                    state.snapshotting = None;
                    state.figures.snapshots_taken += 1;
                    state.has_snapshot(now, index);
                }
                self.keep_house(now, group);
                self.serve_wanted(group);
                self.set_timer(group);
            }
            Err(SnapshotTrouble::Snapshot(why)) => {
                let why = survivable(why)?;
                self.snapshot_trouble(now, group, "could not be written", &why);
            }
            Err(why) => self.snapshot_trouble(now, group, "could not be written", &why),
        }
        Ok(())
    }

    /// Lets old snapshots go, unless a newer one still waits to be installed: should
    /// the node stop before that, the older one is what its state is made from.
    pub(crate) fn drop_old_snapshots(&mut self) {
        let waits = |(group, state): (&GroupId, &Group)| {
            let newest = self.snapshots.newest(*group).map(|meta| meta.position.index);
            newest > Some(state.applying.applied)
        };
        if self.collection == Collection::Running && !self.groups.iter().any(waits) {
            let excess = self.snapshots.excess();
            self.effects.extend(excess.map(|job| Effect::Run(Box::new(Job::DropSnapshots(job)))));
        }
    }

    fn snapshot_trouble(
        &mut self,
        now: Instant,
        group: GroupId,
        what: &str,
        why: &dyn std::error::Error,
    ) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.snapshotting = None;
            state.snapshot_not_before = now.after(RETRY_SNAPSHOT_AFTER);
        }
        self.refuse_wanted(group, &SnapshotRefusal::Failed(why.to_string()));
        self.set_timer(group);
        let why = format!("a snapshot of group {group} {what}: {why}");
        self.effects.push_back(Effect::Trouble { why });
    }
}

/// A snapshot for whoever wanted one, which can be read also when it is removed meanwhile.
pub type SnapshotOutcome = Result<SnapshotReader, SnapshotRefusal>;
