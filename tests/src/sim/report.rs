//! What a run is asked for, and what came of it.

use std::time::Duration;

use raft_log::LogStats;

use super::admin::MemberCounts;
use super::clients::ClientCounts;
use super::fault_counts::FaultCounts;
use super::node::add;
use super::without::Without;

/// What a run is like, apart from its seed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes at first, each a member of every group.
    pub nodes: u64,
    /// Simulated seconds with faults, before everything is healed.
    pub seconds: u64,
    /// What does not keep to what Raft relies on. Such a run must fail.
    pub broken: Option<Broken>,
    /// Whether disks lose what they had confirmed.
    pub disks: Disks,
    /// What is left out of what the seed has drawn.
    pub without: Without,
}

/// Whether disks lose what they had confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Disks {
    /// They keep it.
    Keep,
    /// In most runs they lose some of it, within a minority of each group's voters.
    #[default]
    Lose,
}

/// Something that Raft relies on and that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Syncs report success and make nothing durable.
    Syncs,
    /// Clocks drift apart further than leases allow for.
    Clocks,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            seconds: 8,
            broken: None,
            disks: Disks::default(),
            without: Without::default(),
        }
    }
}

/// What a clean run was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A hash of everything that happened: equal for equal seeds.
    pub trace_hash: u64,
    /// Things that happened.
    pub steps: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Operations whose outcome nobody knows.
    pub unknown: u64,
    /// Reads that a leader answered by its lease.
    pub lease_reads: u64,
    /// Reads of a node's own state, as old as it may be.
    pub stale_reads: u64,
    /// Terms with a leader, over all groups.
    pub elections: u64,
    /// Snapshots that were installed from a leader.
    pub installed: u64,
    /// Segments that logs in use have begun.
    pub segments: SegmentCounts,
    /// Flushes that made something durable, and those that a snapshot overtook.
    pub flushes: (u64, u64),
    /// How often commands waited for the end of a flush.
    pub held: u64,
    /// Stores that a start found with something in them.
    pub kept: u64,
    /// What sessions and swaps came to.
    pub clients: ClientCounts,
    /// Members that came and went, and leadership that was handed over.
    pub members: MemberCounts,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// What went wrong on purpose.
    pub faults: FaultCounts,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.trace_hash ^= other.trace_hash;
        self.steps += other.steps;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.lease_reads += other.lease_reads;
        self.stale_reads += other.stale_reads;
        self.elections += other.elections;
        self.installed += other.installed;
        self.segments = self.segments.plus(other.segments);
        self.flushes = add(self.flushes, other.flushes);
        self.held += other.held;
        self.kept += other.kept;
        self.clients.add(&other.clients);
        self.members.add(&other.members);
        self.simulated_ms += other.simulated_ms;
        self.faults.add(&other.faults);
    }
}

/// A run in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
    /// The last things that happened.
    pub trace: Vec<String>,
    /// How far it came.
    pub extent: Extent,
}

/// How much of a run came before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Things that happened.
    pub steps: u64,
    /// Simulated time from the first start on.
    pub length: Duration,
    /// Whether everything was healed by then.
    pub healed: bool,
    /// Moments at which a fault was drawn, counting those left out.
    pub faults: u64,
    /// Moments at which a change of the members was drawn, counting those left out.
    pub changes: u64,
}

/// Segments that logs have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SegmentCounts {
    /// All of them.
    pub begun: u64,
    /// Those for which a file was ready.
    pub prepared: u64,
    /// Those whose file had their name already.
    pub named: u64,
}

impl SegmentCounts {
    pub(crate) const fn of(log: &LogStats) -> Self {
        let LogStats { begun_segments, prepared_segments, named_segments, .. } = *log;
        Self { begun: begun_segments, prepared: prepared_segments, named: named_segments }
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            begun: self.begun + other.begun,
            prepared: self.prepared + other.prepared,
            named: self.named + other.named,
        }
    }
}
