//! What goes wrong, and how often, in one run.

use std::time::Duration;

use raft_core::{Instant, Random};

use super::damage::Damage;
use super::report::{Broken, Disks};

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(usize),
    PowerCut(usize),
    Blackout,
    /// Power is lost at the change of the disk with this number from now.
    TearAt(usize, u64),
    FailSync(usize),
    /// The change of the disk with this number from now on fails: a write, a file that is made,
    /// named or removed, or a sync.
    FailChange(usize, u64),
    Stall(usize, Duration),
    /// Writes of the log, flushes and whatever is done beside them take longer by so much, for so
    /// long.
    SlowDisk(usize, Duration, Duration),
    Pause(usize, Duration),
    /// As a pause, but the node's clock stands still as well.
    Suspend(usize, Duration),
    CutOff(usize),
    CutOffLeader,
    CutOneWay(usize, usize),
    /// Only this node is heard by all others, which fall into two parts.
    Bridge(usize),
    /// Nothing arrives on a link for so long; then everything does.
    Clog(usize, usize, Duration),
    /// Everything on a link takes longer by so much.
    Lag(usize, usize, Duration),
    /// Everything that a node is told takes longer by so much.
    HearsLate(usize, Duration),
    /// Everything that a leader is told takes longer by so much; after so long nobody hears it.
    FadeLeader(Duration, Duration),
    /// A process dies and leads anew, and what it is told then comes again when its next run leads.
    Echo(usize),
    Mend,
    /// A clock changes its pace.
    Drift(usize),
    DriftApart,
    /// A clock jumps forward.
    Jump(usize, Duration),
    /// A disk is lost for good, and the node with it.
    Wipe(usize),
    /// A process dies, and its disk has lost something.
    Rot(usize, Damage),
    /// A disk loses something while the process goes on.
    RotWhileRunning(usize, Damage),
    /// After so many reads, so many fail.
    FailReads(usize, u64, u64),
    /// So many reads return what stands elsewhere.
    MisdirectReads(usize, u64),
    /// Only so many bytes more find room, for so long.
    FillDisk(usize, u64, Duration),
}

const STROKES: usize = 22;
/// A multiple of any number of nodes.
const FAR: u64 = 720_720;
/// Whatever is cut off is joined again now and then.
const MEND: usize = 9;
/// Those that make a disk lose what it had confirmed.
const LOSSES: [usize; 3] = [12, 13, 19];
/// What a run with broken clocks has most of: nodes cut off, and clocks that drift.
const WILD: [u64; STROKES] = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Which faults a run has and how many; a random choice per seed.
#[derive(Debug)]
pub(crate) struct Faults {
    weights: [u64; STROKES],
    damages: Vec<Damage>,
    every: Duration,
    pub(crate) crash_starts: bool,
    /// Reads fail while a log is opened, and may succeed the next time.
    pub(crate) unreadable_starts: bool,
}

impl Faults {
    /// Where clocks are `broken`, that and what shows it happens most of all. Where leaders
    /// answer reads by their `leases`, no clock jumps or stands still: leases rely on that.
    pub(crate) fn draw(
        broken: Option<Broken>,
        disks: Disks,
        leases: bool,
        random: &mut Random,
    ) -> Self {
        let mut weights = [0; STROKES];
        for weight in &mut weights {
            *weight = if random.chance(500) { 1 + random.below(5) } else { 0 };
        }
        if broken == Some(Broken::Clocks) {
            weights = WILD;
        }
        if leases {
            weights[18] = 0;
        }
        // What a disk loses is little among all that can be: it comes more often.
        if broken.is_none() {
            weights[12] += random.below(4);
            weights[13] += random.below(4);
        }
        if disks == Disks::Keep {
            LOSSES.into_iter().for_each(|kind| weights[kind] = 0);
        }
        weights[MEND] = 4;
        // Some runs have more of one kind than of all others: what takes two of it to happen.
        if broken.is_none() && random.chance(300) {
            weights[random.below(STROKES as u64) as usize] *= 8;
        }
        let mut damages: Vec<Damage> = Vec::new();
        damages.extend(Damage::ALL.into_iter().filter(|_| random.chance(400)));
        if damages.is_empty() {
            damages.push(Damage::ALL[random.below(Damage::ALL.len() as u64) as usize]);
        }
        let every = Duration::from_millis(100 + random.below(900));
        let unreadable_starts = disks == Disks::Lose && damages.contains(&Damage::Unreadable);
        let crash_starts = random.chance(300);
        Self { weights, damages, every, crash_starts, unreadable_starts }
    }

    /// When the next one strikes.
    pub(crate) fn next_at(&self, now: Instant, random: &mut Random) -> Instant {
        now.after(random.up_to_twice(self.every))
    }

    /// Which one it is, in one of these places.
    pub(crate) fn pick(&self, places: &[usize], random: &mut Random) -> Fault {
        let mut at = random.below(self.weights.iter().sum());
        let mut kind = 0;
        while at >= self.weights[kind] {
            at -= self.weights[kind];
            kind += 1;
        }
        // The same numbers are drawn wherever nodes are just now.
        let (one, further) = (random.below(FAR) as usize, random.below(FAR) as usize);
        let node = places[one % places.len()];
        let others = places.len().saturating_sub(1).max(1);
        let other = places[(one + 1 + further % others) % places.len()];
        let long = Duration::from_millis(100 + random.below(2500));
        match kind {
            0 => Fault::Kill(node),
            1 => Fault::PowerCut(node),
            2 => Fault::Blackout,
            3 => Fault::TearAt(node, 1 + random.below(20)),
            4 if random.chance(500) => Fault::FailSync(node),
            4 => Fault::FailChange(node, 1 + random.below(8)),
            5 if random.chance(500) => Fault::Stall(node, long),
            5 => Fault::SlowDisk(node, late(250, random), long * 3),
            6 => Fault::Pause(node, long),
            7 if random.chance(500) => Fault::CutOff(node),
            7 => Fault::CutOffLeader,
            8 => Fault::CutOneWay(node, other),
            MEND => Fault::Mend,
            10 if random.chance(500) => Fault::Drift(node),
            10 => Fault::DriftApart,
            11 => Fault::Wipe(node),
            12 => Fault::Rot(node, self.damage(random)),
            13 => Fault::RotWhileRunning(node, self.damage(random)),
            14 if random.chance(500) => {
                Fault::FailReads(node, random.below(4), 1 + random.below(3))
            }
            14 => Fault::MisdirectReads(node, 1 + random.below(3)),
            15 => Fault::FillDisk(node, random.below(80_000), long),
            16 => Fault::Bridge(node),
            17 if random.chance(500) => Fault::Clog(node, other, long),
            17 if random.chance(500) => Fault::Lag(node, other, late(400, random)),
            17 => Fault::HearsLate(node, late(1500, random)),
            18 if random.chance(500) => Fault::Jump(node, long),
            18 => Fault::Suspend(node, long),
            19 => Fault::RotWhileRunning(node, Damage::Snapshot),
            20 => Fault::FadeLeader(late(1200, random), late(1200, random)),
            _ => Fault::Echo(node),
        }
    }

    fn damage(&self, random: &mut Random) -> Damage {
        self.damages[random.below(self.damages.len() as u64) as usize]
    }

    /// What keeps a leader that gives way, `one`, from hearing that `other` has taken over, or
    /// the other from hearing at once that it is asked to; nothing where they are spared.
    pub(crate) fn pick_between(&self, one: usize, other: usize, random: &mut Random) -> Vec<Fault> {
        if self.weights[17] == 0 || random.chance(400) {
            return Vec::new();
        }
        let mut long = || Duration::from_millis(100 + random.below(2500));
        let (there, back) = (Fault::Clog(one, other, long()), Fault::Clog(other, one, long()));
        let hears_late = Fault::HearsLate(one, late(800, random));
        // The asking comes when the leader goes on, since nobody has followed in time.
        let too_late = Duration::from_millis(1000 + random.below(1500));
        match random.below(6) {
            0 => vec![there, back],
            1 => vec![hears_late],
            2 => vec![Fault::CutOneWay(other, one)],
            _ => vec![Fault::Clog(one, other, too_late), hears_late],
        }
    }

    /// The fault that nobody reaches a node any more, where there is one.
    pub(crate) fn cuts_off(&self, node: usize) -> Option<Fault> {
        (self.weights[7] > 0).then_some(Fault::CutOff(node))
    }

    /// One that strikes a node which has just begun something; `None` where it is spared.
    pub(crate) fn pick_for(&self, node: usize, random: &mut Random) -> Option<Fault> {
        let long = Duration::from_millis(100 + random.below(2500));
        let all = [
            (0, Fault::Kill(node)),
            (1, Fault::PowerCut(node)),
            (3, Fault::TearAt(node, 1 + random.below(4))),
            (5, Fault::Stall(node, long)),
            (6, Fault::Pause(node, long)),
            (7, Fault::CutOff(node)),
        ];
        let (kind, fault) = all[random.below(all.len() as u64) as usize];
        (self.weights[kind] > 0 && random.chance(400)).then_some(fault)
    }
}

/// How much later something comes, at most.
fn late(most_ms: u64, random: &mut Random) -> Duration {
    Duration::from_millis(10 + random.below(most_ms))
}
