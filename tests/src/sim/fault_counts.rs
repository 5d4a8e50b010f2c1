//! How often each kind of fault struck.

use std::fmt;

/// A kind of fault, or what one led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A process was killed; the machine lived on.
    Kill,
    /// A machine lost its power.
    PowerCut,
    /// All machines lost their power at once.
    Blackout,
    /// Power was lost in the middle of a change of the disk.
    TornChange,
    /// A start was cut off by a crash, or by a disk that refused something.
    CrashedStart,
    /// A process was paused, and its clock went on.
    Pause,
    /// A machine was suspended, and its clock stood still.
    Suspend,
    /// A disk was lost for good, and the node with it.
    Wipe,
    /// A sync failed.
    FailedSync,
    /// A write failed, or a change of a file's name.
    FailedChange,
    /// The disk of a database failed a sync or a change.
    FailedDatabase,
    /// A disk did nothing for a while.
    Stall,
    /// A disk was slow for a while.
    SlowDisk,
    /// A read failed.
    FailedRead,
    /// A log was opened on a disk that failed to read something.
    UnreadableStart,
    /// A read returned what stood elsewhere in the file.
    MisdirectedRead,
    /// A write found no room.
    NoRoom,
    /// A bit of a frame of the log flipped.
    BitFlip,
    /// A part of a frame of the log was zeroed.
    Zeros,
    /// A sector of the log was zeroed.
    LostSector,
    /// A sector of the log could not be read any more.
    UnreadableSector,
    /// A frame of the log was written where another one stood.
    MisplacedWrite,
    /// A file of the log was set back to what it had been.
    StaleFile,
    /// A store was set back to what it had been.
    StaleStore,
    /// A snapshot lost something.
    RottenSnapshot,
    /// Any of these came while the process ran.
    RotWhileRunning,
    /// A group lost entries by what a disk had lost.
    EntriesLost,
    /// A group halted by what its node could not read, or its database not write; the operator
    /// started it again.
    Halted,
    /// A node refused to start on what was left; the operator restored the file.
    Restored,
    /// A whole disk was old, or its last write gone, and what its node had promised with it; and
    /// that was found out.
    Forgotten,
    /// A message was lost.
    Lost,
    /// A message came twice.
    Repeated,
    /// A message came once more after seconds, to another run perhaps.
    Replayed,
    /// A message came once more to the next run of a leader.
    Echoed,
    /// A message took long.
    Delayed,
    /// A message overtook another one of its lane.
    Overtaken,
    /// Bits of a message flipped on its way.
    Damaged,
    /// A message found no room among those on their way.
    QueueFull,
    /// A message came from a later version, with fields that this one does not know.
    LaterVersion,
    /// A node was cut off.
    CutOff,
    /// A leader was.
    CutOffLeader,
    /// One node heard another no more, and was heard.
    CutOneWay,
    /// A node was heard no more, and heard the others.
    Silence,
    /// A leader heard everything late, and then was heard no more.
    Fade,
    /// Two parts of the cluster heard each other no more, and both heard one node.
    Bridge,
    /// A link held everything back for a while.
    Clogged,
    /// A link became slow.
    Lagging,
    /// A clock changed its pace.
    Drift,
    /// Leaders got slow clocks and the others fast ones.
    DriftApart,
    /// A clock jumped forward.
    Jump,
    /// A client did nothing for longer than some sessions live.
    ClientPause,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 51] = [
        Self::Kill,
        Self::PowerCut,
        Self::Blackout,
        Self::TornChange,
        Self::CrashedStart,
        Self::Pause,
        Self::Suspend,
        Self::Wipe,
        Self::FailedSync,
        Self::FailedChange,
        Self::FailedDatabase,
        Self::Stall,
        Self::SlowDisk,
        Self::FailedRead,
        Self::UnreadableStart,
        Self::MisdirectedRead,
        Self::NoRoom,
        Self::BitFlip,
        Self::Zeros,
        Self::LostSector,
        Self::UnreadableSector,
        Self::MisplacedWrite,
        Self::StaleFile,
        Self::StaleStore,
        Self::RottenSnapshot,
        Self::RotWhileRunning,
        Self::EntriesLost,
        Self::Halted,
        Self::Restored,
        Self::Forgotten,
        Self::Lost,
        Self::Repeated,
        Self::Replayed,
        Self::Echoed,
        Self::Delayed,
        Self::Overtaken,
        Self::Damaged,
        Self::QueueFull,
        Self::LaterVersion,
        Self::CutOff,
        Self::CutOffLeader,
        Self::CutOneWay,
        Self::Silence,
        Self::Fade,
        Self::Bridge,
        Self::Clogged,
        Self::Lagging,
        Self::Drift,
        Self::DriftApart,
        Self::Jump,
        Self::ClientPause,
    ];
}

impl FaultKind {
    /// Whether it strikes only where disks lose what they had confirmed.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        matches!(
            self,
            Self::BitFlip
                | Self::Zeros
                | Self::LostSector
                | Self::UnreadableSector
                | Self::MisplacedWrite
                | Self::StaleFile
                | Self::UnreadableStart
                | Self::StaleStore
                | Self::RottenSnapshot
                | Self::RotWhileRunning
                | Self::EntriesLost
                | Self::Halted
                | Self::Restored
        )
    }
}

/// How often each kind of fault struck; a kind that never does is a fault of the simulator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FaultCounts([u64; FaultKind::ALL.len()]);

impl FaultCounts {
    /// Counts one.
    pub(crate) const fn count(&mut self, kind: FaultKind) {
        self.count_all(kind, 1);
    }

    /// Counts several.
    pub(crate) const fn count_all(&mut self, kind: FaultKind, times: u64) {
        self.0[kind as usize] += times;
    }

    /// How often this kind struck.
    #[must_use]
    pub const fn of(&self, kind: FaultKind) -> u64 {
        self.0[kind as usize]
    }

    /// The kinds that never struck.
    pub fn never(&self) -> impl Iterator<Item = FaultKind> {
        FaultKind::ALL.into_iter().filter(|kind| self.of(*kind) == 0)
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

impl Default for FaultCounts {
    fn default() -> Self {
        Self([0; FaultKind::ALL.len()])
    }
}

impl fmt::Debug for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = FaultKind::ALL.iter().map(|kind| (kind, self.of(*kind)));
        f.debug_map().entries(counts).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        for (place, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?}");
        }
        let mut counts = FaultCounts::default();
        counts.count(FaultKind::Jump);
        counts.add(&counts.clone());
        assert_eq!(counts.of(FaultKind::Jump), 2);
        assert_eq!(counts.never().count(), FaultKind::ALL.len() - 1);
    }
}
