//! What the engine keeps of one group.

use std::collections::{BTreeMap, VecDeque};

use raft_core::{Index, Instant, NodeId, Position, SnapshotMeta, Token};
use raft_log::{SnapshotReader, SnapshotReceiver};
use raft_state::{Replica, RoleName};

use super::clock::GroupClock;
use super::figures::{GroupFigures, UnderWay};
use super::members::Told;
use super::pending::Pending;
use super::snapshots::Wanted;
use crate::state_machine::Timekeeping;

/// One group on this node.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) replica: Replica,
    pub(crate) role: RoleName,
    pub(crate) pending: Pending,
    pub(crate) applying: Applying,
    pub(crate) clock: GroupClock,
    /// A snapshot is being taken of the state at this index.
    pub(crate) snapshotting: Option<Index>,
    /// After a failure no snapshot is taken before this moment.
    pub(crate) snapshot_not_before: Instant,
    /// The newest snapshot of this state reaches this far.
    pub(crate) snapshotted: Index,
    /// When it was finished, or the group opened.
    pub(crate) snapshot_at: Instant,
    /// Those who wait for a snapshot.
    pub(crate) wanted: Vec<Wanted>,
    /// An entry from here on could not be read to be sent: who lacks it needs a snapshot that
    /// reaches this far.
    pub(crate) unreadable: Index,
    /// The snapshots of which followers may have a part.
    pub(crate) sent: BTreeMap<NodeId, Position>,
    /// How many snapshots this node has begun to receive.
    pub(crate) receptions: u64,
    pub(crate) sending: BTreeMap<NodeId, SendingSnapshot>,
    pub(crate) receiving: Option<ReceivingSnapshot>,
    pub(crate) halted: Option<String>,
    /// This node is no member any more, by the membership at this index. The group halts
    /// once what is committed here is applied.
    pub(crate) removed: Option<Index>,
    /// Where the group stands in the engine's timers.
    pub(crate) timer: Instant,
    pub(crate) figures: GroupFigures,
    pub(crate) under_way: UnderWay,
    pub(crate) told: Told,
}

/// How far the state machine is and what is on its way to it.
#[derive(Debug)]
pub(crate) struct Applying {
    /// Everything up to here may be applied.
    pub(crate) target: Index,
    /// Everything up to here was handed over.
    pub(crate) handed: Index,
    /// Everything up to here is applied.
    pub(crate) applied: Index,
    /// Everything up to here is durable in the state machine.
    pub(crate) flushed: Index,
    /// A flush has been asked for and not answered.
    pub(crate) flushing: bool,
    /// The next flush is due after this much of what is configured. It changes from flush
    /// to flush, or all replicas of a group would be busy with theirs at the same time.
    flush_percent: u64,
    /// What was handed over since the last flush that has ended began, in two parts: up
    /// to the flush under way, and since then.
    bytes_flushing: u64,
    bytes_since_flush: u64,
    /// Entries are being read, or applied: one page at a time.
    pub(crate) busy: bool,
    /// What was applied since the last snapshot weighs this much.
    pub(crate) bytes_since_snapshot: u64,
    /// The pages above the log's floor: where each ends and what it weighs. What was
    /// applied before the last start is not counted.
    pub(crate) pages_above_floor: VecDeque<(Index, u64)>,
    /// Their sum.
    pub(crate) bytes_above_floor: u64,
    /// The commands of the page under way, in order.
    pub(crate) page: VecDeque<Position>,
}

impl Applying {
    pub(crate) const fn new(applied: Index, flushed: Index) -> Self {
        Self {
            target: applied,
            handed: applied,
            applied,
            flushed,
            flushing: false,
            flush_percent: 100,
            bytes_flushing: 0,
            bytes_since_flush: 0,
            busy: false,
            bytes_since_snapshot: 0,
            pages_above_floor: VecDeque::new(),
            bytes_above_floor: 0,
            page: VecDeque::new(),
        }
    }
}

/// A snapshot on its way to a follower.
#[derive(Debug)]
pub(crate) struct SendingSnapshot {
    pub(crate) token: Token,
    pub(crate) meta: SnapshotMeta,
    /// Away while a piece is being read.
    pub(crate) reader: Option<SnapshotReader>,
    /// Where the next piece begins, while that waits for its turn.
    pub(crate) waits_at: Option<u64>,
    /// When the follower last asked for more, or its turn came.
    pub(crate) progress_at: Instant,
}

/// A snapshot on its way from the leader.
#[derive(Debug)]
pub(crate) struct ReceivingSnapshot {
    /// Which of this node's receptions it is.
    pub(crate) number: u64,
    /// Who sent the last piece.
    pub(crate) from: NodeId,
    pub(crate) token: Token,
    pub(crate) meta: SnapshotMeta,
    /// Away while a piece is being stored.
    pub(crate) receiver: Option<SnapshotReceiver>,
}

impl Applying {
    /// What the entries weigh that a restart might apply again.
    pub(crate) const fn bytes_unflushed(&self) -> u64 {
        self.bytes_flushing + self.bytes_since_flush
    }

    /// Whether so much is not flushed that a flush is due.
    pub(crate) fn flush_is_due(&self, every_entries: u64, every_bytes: u64) -> bool {
        let behind = self.applied.0.saturating_sub(self.flushed.0);
        let share = |of: u64, percent: u64| (of / 100).saturating_mul(percent) + of % 100;
        behind > 0
            && (behind >= share(every_entries, self.flush_percent)
                || self.bytes_unflushed() >= share(every_bytes, self.flush_percent))
    }

    /// A flush is asked for. The next one is due after `percent` of what is configured.
    pub(crate) fn begin_flush(&mut self, percent: u64) {
        self.flushing = true;
        self.flush_percent = percent;
        self.bytes_flushing += std::mem::take(&mut self.bytes_since_flush);
    }

    /// Everything up to `index` is durable in the state machine.
    pub(crate) fn end_flush(&mut self, index: Index) {
        self.flushed = self.flushed.max(index);
        self.flushing = false;
        self.bytes_flushing = 0;
    }

    /// Notes a page that is handed over.
    pub(crate) fn count(&mut self, up_to: Index, bytes: u64) {
        self.bytes_since_flush += bytes;
        self.bytes_since_snapshot += bytes;
        self.bytes_above_floor += bytes;
        self.pages_above_floor.push_back((up_to, bytes));
    }

    /// Forgets the pages that the floor covers.
    pub(crate) fn trimmed(&mut self, floor: Index) {
        while let Some((at, bytes)) = self.pages_above_floor.front() {
            if *at > floor {
                break;
            }
            self.bytes_above_floor -= bytes;
            self.pages_above_floor.pop_front();
        }
    }
}

/// Whether the node lets go of what it does not need any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Collection {
    /// As the policy says.
    #[default]
    Running,
    /// No snapshot is taken by itself, no entry trimmed, no segment and no snapshot removed,
    /// until somebody says otherwise or the process ends. Snapshots are still taken for who
    /// asks for one, and a snapshot from the leader still takes the place of the log.
    Paused,
}

impl Group {
    /// There is a snapshot of the state up to `index`.
    pub(crate) fn has_snapshot(&mut self, now: Instant, index: Index) {
        self.snapshotted = self.snapshotted.max(index);
        self.snapshot_at = now;
        self.applying.bytes_since_snapshot = 0;
    }

    pub(crate) fn new(replica: Replica, applied: Index, time: Timekeeping) -> Self {
        let under_way = UnderWay::new(replica.commit());
        Self {
            told: Told::of(&replica),
            replica,
            role: RoleName::Follower,
            pending: Pending::default(),
            applying: Applying::new(applied, applied),
            clock: GroupClock::new(time),
            snapshotting: None,
            snapshot_not_before: Instant(0),
            snapshotted: Index::ZERO,
            snapshot_at: Instant(0),
            wanted: Vec::new(),
            unreadable: Index::ZERO,
            sent: BTreeMap::new(),
            receptions: 0,
            sending: BTreeMap::new(),
            receiving: None,
            halted: None,
            removed: None,
            timer: Instant(u64::MAX),
            figures: GroupFigures::default(),
            under_way,
        }
    }
}
