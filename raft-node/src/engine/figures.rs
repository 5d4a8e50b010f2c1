//! What the engine counts, and hands out by value. Nothing is decided on it.

use std::collections::VecDeque;
use std::time::Duration;

use raft_core::{GroupId, Index, Instant, Message, NodeId};
use raft_log::LogStats;
use raft_state::Refusal;

use super::disk_watch::DiskFigures;
use super::engine::Engine;
use super::group::Group;

/// Timings that nobody has fetched are kept up to this number; what comes after them is
/// not measured.
const MAX_TIMINGS: usize = 1024;

/// Appends to one follower that are timed at once; what is older than that is lost.
const MAX_APPENDS: usize = 256;

/// What a group did on this node since it was opened. All but the last four only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GroupFigures {
    /// Commands that were handed in here, by clients and by other nodes, and not passed on.
    pub proposals: u64,
    /// Those refused because this node did not lead.
    pub refused_not_leader: u64,
    /// Those refused because too much was uncommitted, or on its way to the leader.
    pub refused_overloaded: u64,
    /// Those refused because the disk of the leader was full.
    pub refused_no_room: u64,
    /// Those whose outcome was unknown when leadership ended.
    pub lost: u64,
    /// Linearizable reads that were handed in.
    pub reads: u64,
    /// Those refused.
    pub reads_refused: u64,
    /// Confirmations of leadership, each for all the reads that waited.
    pub read_rounds: u64,
    /// Entries committed.
    pub committed: u64,
    /// Entries applied; those that a snapshot brought are not counted.
    pub applied: u64,
    /// How often another node, or this one, was found to lead.
    pub leader_changes: u64,
    /// Snapshots taken.
    pub snapshots_taken: u64,
    /// Snapshots sent, counted when the follower has installed them.
    pub snapshots_sent: u64,
    /// Snapshots of the leader installed here.
    pub snapshots_installed: u64,
    /// Bytes of snapshots read for sending.
    pub snapshot_bytes_sent: u64,
    /// Bytes of snapshots received.
    pub snapshot_bytes_received: u64,
    /// Commands in the log that wait to be applied, with somebody waiting for them.
    pub waiting_proposals: u64,
    /// Confirmed reads that wait for entries to be applied.
    pub waiting_reads: u64,
    /// Snapshots on their way to followers.
    pub sending_snapshots: u64,
    /// 1 while a snapshot of the leader is being received.
    pub receiving_snapshots: u64,
}

/// How the node stands as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EngineFigures {
    /// The log.
    pub log: LogStats,
    /// The disk it is on.
    pub disk: DiskFigures,
    /// How long each peer took to answer the last beat that it answered.
    pub round_trips: Vec<(NodeId, Duration)>,
}

/// A part of a write's way through the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedPart {
    /// From the first thing staged to the job that writes it.
    Staged,
    /// From an append's leaving to a follower's answer, which is durable there.
    Replicated,
    /// From being proposed to being committed.
    Committed,
    /// From being committed to being applied.
    Applied,
}

/// How long a part took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Which one.
    pub part: TimedPart,
    /// How long, to the accuracy of one batch of events.
    pub took: Duration,
    /// For how many writes at once; 1 where they are not counted.
    pub writes: u64,
}

/// The timings that wait to be fetched.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    waiting: Vec<Timing>,
    staged_at: Option<Instant>,
}

/// What a group's timings rest on: batches of proposals, and appends, by age.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    proposed: VecDeque<Batch>,
    committed: VecDeque<Batch>,
    appends: VecDeque<(NodeId, u64, Instant)>,
    pub(crate) commit: Index,
    pub(crate) leader: Option<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    last: Index,
    writes: u64,
    at: Instant,
}

impl Engine {
    /// How the node stands as a whole.
    #[must_use]
    pub fn figures(&self) -> EngineFigures {
        EngineFigures {
            log: self.log.stats(),
            disk: self.disk_figures(),
            round_trips: self.liveness.round_trips(),
        }
    }

    /// How long things took since the last call.
    pub fn take_timings(&mut self) -> Vec<Timing> {
        std::mem::take(&mut self.timings.waiting)
    }

    /// Counts for a group.
    pub(crate) fn count(&mut self, group: GroupId, add: impl FnOnce(&mut GroupFigures)) {
        if let Some(state) = self.groups.get_mut(&group) {
            add(&mut state.figures);
        }
    }

    /// Counts what a group has committed meanwhile.
    pub(crate) fn note_commit(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let (commit, before) = (state.replica.commit(), state.under_way.commit);
        if commit > before {
            state.figures.committed += commit.0 - before.0;
            state.under_way.commit = commit;
            state.under_way.committed_to(now, commit, &mut self.timings);
        }
    }
}

impl Engine {
    pub(crate) fn append_sent(&mut self, now: Instant, group: GroupId, to: NodeId, number: u64) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.under_way.append_sent(now, to, number);
        }
    }

    pub(crate) fn append_answered(&mut self, now: Instant, message: &Message, number: u64) {
        if let Some(state) = self.groups.get_mut(&message.group) {
            state.under_way.append_answered(now, message.from, number, &mut self.timings);
        }
    }
}

impl GroupFigures {
    /// Counts commands that were refused.
    pub(crate) const fn refused(&mut self, why: Refusal, commands: u64) {
        self.proposals += commands;
        match why {
            Refusal::NotLeader { .. } | Refusal::Transferring => {
                self.refused_not_leader += commands;
            }
            Refusal::Overloaded => self.refused_overloaded += commands,
            Refusal::NoRoom => self.refused_no_room += commands,
        }
    }
}

impl Group {
    /// Its figures, with those of the moment.
    pub(crate) fn figures(&self) -> GroupFigures {
        let (waiting_proposals, waiting_reads) = self.pending.waiting();
        // What an earlier leader has sent waits for one that goes on with it.
        let leader = self.replica.leader();
        let receiving =
            self.receiving.as_ref().is_some_and(|receiving| leader == Some(receiving.from));
        GroupFigures {
            waiting_proposals,
            waiting_reads,
            sending_snapshots: self.sending.len() as u64,
            receiving_snapshots: u64::from(receiving),
            ..self.figures
        }
    }
}

impl Timings {
    /// Something was staged for the log.
    pub(crate) fn staged(&mut self, now: Instant) {
        self.staged_at.get_or_insert(now);
    }

    /// A job takes what was staged; what it leaves is staged anew.
    pub(crate) fn job_taken(&mut self, now: Instant) {
        if let Some(at) = self.staged_at.take() {
            self.add(TimedPart::Staged, now.since(at), 1);
        }
    }

    fn add(&mut self, part: TimedPart, took: Duration, writes: u64) {
        if self.waiting.len() < MAX_TIMINGS {
            self.waiting.push(Timing { part, took, writes });
        }
    }
}

impl UnderWay {
    /// What a group has that begins with this commit index.
    pub(crate) fn new(commit: Index) -> Self {
        Self { commit, ..Self::default() }
    }

    pub(crate) fn proposed(&mut self, now: Instant, first: Index, writes: u64) {
        let last = Index(first.0 + writes.saturating_sub(1));
        self.proposed.push_back(Batch { last, writes, at: now });
    }

    fn committed_to(&mut self, now: Instant, commit: Index, timings: &mut Timings) {
        while let Some(batch) = pop_to(&mut self.proposed, commit) {
            timings.add(TimedPart::Committed, now.since(batch.at), batch.writes);
            self.committed.push_back(Batch { at: now, ..batch });
        }
    }

    pub(crate) fn applied_to(&mut self, now: Instant, applied: Index, timings: &mut Timings) {
        while let Some(batch) = pop_to(&mut self.committed, applied) {
            timings.add(TimedPart::Applied, now.since(batch.at), batch.writes);
        }
    }

    fn append_sent(&mut self, now: Instant, to: NodeId, number: u64) {
        if self.appends.len() == MAX_APPENDS {
            self.appends.pop_front();
        }
        self.appends.push_back((to, number, now));
    }

    fn append_answered(&mut self, now: Instant, from: NodeId, number: u64, timings: &mut Timings) {
        let this = |(to, sent, _): &(NodeId, u64, Instant)| *to == from && *sent == number;
        if let Some((_, _, at)) =
            self.appends.iter().position(this).and_then(|place| self.appends.remove(place))
        {
            timings.add(TimedPart::Replicated, now.since(at), 1);
        }
    }

    /// What was proposed in a leadership that is over is not timed.
    pub(crate) fn leadership_lost(&mut self) {
        self.proposed.clear();
        self.appends.clear();
    }

    /// True where this leader is another one than the last that was known.
    pub(crate) fn is_new_leader(&mut self, leader: Option<NodeId>) -> bool {
        leader.is_some() && std::mem::replace(&mut self.leader, leader) != leader
    }
}

/// The oldest batch, where it ends at `index` or before.
fn pop_to(batches: &mut VecDeque<Batch>, index: Index) -> Option<Batch> {
    batches.front().is_some_and(|batch| batch.last <= index).then(|| batches.pop_front())?
}
