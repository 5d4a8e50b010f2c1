//! What goes wrong, and how often, in one run.

use std::time::Duration;

use raft_core::{Instant, Random};

use super::report::Broken;

/// How often each kind of fault struck; a kind that never does is a fault of the
/// simulator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Processes killed; the machine lived on.
    pub kills: u64,
    /// Machines that lost their power.
    pub power_cuts: u64,
    /// All machines losing their power at once.
    pub blackouts: u64,
    /// Power lost in the middle of a change of the disk.
    pub torn: u64,
    /// Starts that were cut off by a crash.
    pub crashed_starts: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Disks that stalled.
    pub stalls: u64,
    /// Processes that were paused.
    pub pauses: u64,
    /// Nodes cut off, in one direction or both.
    pub partitions: u64,
    /// Clocks that changed their pace.
    pub drifts: u64,
    /// Disks that lost a frame of the log which they had confirmed.
    pub rotten: u64,
    /// Of these, the ones that made a group lose entries.
    pub damaged: u64,
    /// And those that the log refused, so that an operator had to restore the file.
    pub restored: u64,
}

impl FaultCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.blackouts += other.blackouts;
        self.torn += other.torn;
        self.crashed_starts += other.crashed_starts;
        self.failed_syncs += other.failed_syncs;
        self.stalls += other.stalls;
        self.pauses += other.pauses;
        self.partitions += other.partitions;
        self.drifts += other.drifts;
        self.rotten += other.rotten;
        self.damaged += other.damaged;
        self.restored += other.restored;
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(usize),
    PowerCut(usize),
    Blackout,
    /// Power is lost at the change of the disk with this number from now.
    TearAt(usize, u64),
    FailSync(usize),
    Stall(usize, Duration),
    Pause(usize, Duration),
    CutOff(usize),
    CutOffLeader,
    CutOneWay(usize, usize),
    Mend,
    /// A clock changes its pace.
    Drift(usize),
    DriftApart,
    /// A disk is lost for good, and the node with it.
    Wipe(usize),
    /// A process dies, and its disk has lost a frame of the log.
    Rot(usize),
}

/// Which faults a run has and how many; a random choice per seed.
#[derive(Debug)]
pub(crate) struct Faults {
    weights: [u64; 13],
    every: Duration,
    pub(crate) crash_starts: bool,
}

impl Faults {
    /// Where clocks are `broken`, that and what shows it happens most of all.
    pub(crate) fn draw(broken: Option<Broken>, random: &mut Random) -> Self {
        let mut weights = [0; 13];
        for weight in &mut weights {
            *weight = if random.chance(600) { 1 + random.below(5) } else { 0 };
        }
        if broken == Some(Broken::Clocks) {
            weights = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 5, 0, 0];
        }
        // Whatever is cut off is joined again now and then.
        weights[9] = 4;
        let every = Duration::from_millis(100 + random.below(900));
        Self { weights, every, crash_starts: random.chance(300) }
    }

    /// When the next one strikes.
    pub(crate) fn next_at(&self, now: Instant, random: &mut Random) -> Instant {
        now.after(random.up_to_twice(self.every))
    }

    /// Which one it is.
    pub(crate) fn pick(&self, nodes: usize, random: &mut Random) -> Fault {
        let mut at = random.below(self.weights.iter().sum());
        let mut kind = 0;
        while at >= self.weights[kind] {
            at -= self.weights[kind];
            kind += 1;
        }
        let node = random.below(nodes as u64) as usize;
        let long = Duration::from_millis(100 + random.below(2500));
        match kind {
            0 => Fault::Kill(node),
            1 => Fault::PowerCut(node),
            2 => Fault::Blackout,
            3 => Fault::TearAt(node, 1 + random.below(20)),
            4 => Fault::FailSync(node),
            5 => Fault::Stall(node, long),
            6 => Fault::Pause(node, long),
            7 if random.chance(500) => Fault::CutOff(node),
            7 => Fault::CutOffLeader,
            8 => Fault::CutOneWay(node, random.below(nodes as u64) as usize),
            9 => Fault::Mend,
            10 if random.chance(500) => Fault::Drift(node),
            10 => Fault::DriftApart,
            11 => Fault::Wipe(node),
            _ => Fault::Rot(node),
        }
    }

    /// One that strikes a node which has just begun something; `None` where it is spared.
    pub(crate) fn pick_for(&self, node: usize, random: &mut Random) -> Option<Fault> {
        let all = [
            (0, Fault::Kill(node)),
            (1, Fault::PowerCut(node)),
            (3, Fault::TearAt(node, 1 + random.below(4))),
            (6, Fault::Pause(node, Duration::from_millis(100 + random.below(2500)))),
            (7, Fault::CutOff(node)),
        ];
        let (kind, fault) = all[random.below(all.len() as u64) as usize];
        (self.weights[kind] > 0 && random.chance(400)).then_some(fault)
    }
}
