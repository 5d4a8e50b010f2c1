//! What a replica must remember across a restart, and the writes that make it so.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::{Entry, LogShape, Membership, NodeId, Position, Term};

/// The term a replica is in and whom it voted for there (thesis, figure 3.1).
///
/// Invariant, kept by whoever changes it: within one term the vote is given once
/// and never taken back; the term never decreases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HardState {
    /// The latest term the replica has seen.
    pub term: Term,
    /// The candidate that got its vote in that term.
    pub vote: Option<NodeId>,
}

/// Numbers the writes of one replica, from 1 and without a gap. Promises wait for
/// a number, not for an index, so that an entry cut away and replaced between
/// write and sync is never mistaken for a durable one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WriteNumber(pub u64);

impl WriteNumber {
    /// The number of the write after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One write of a replica to its log. Writes of a replica become durable in the
/// order of their numbers, each as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The number its completion is reported by.
    pub number: WriteNumber,
    /// The term and vote from here on. Always given, so that every frame of the log
    /// restates them and no entry is ever durable before the term it belongs to.
    pub hard_state: HardState,
    /// What happens to the entries, if anything.
    pub change: Option<LogChange>,
}

/// A change of a group's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogChange {
    /// Append these, at least one, in order and without a gap. Where the first is
    /// not above the last entry, everything from its index on is cut first.
    Append(Vec<Entry>),
    /// A snapshot at `floor` takes the place of everything up to it. What follows
    /// stays only where the log holds that very position.
    Reset {
        /// The last position that the snapshot covers.
        floor: Position,
        /// The membership in force there.
        membership: Box<Membership>,
    },
}

/// What a log knows of one group when it is opened: all that a replica needs to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The term and vote.
    pub hard_state: HardState,
    /// Where the log begins and ends, its terms and memberships.
    pub shape: LogShape,
    /// Where the log ended before the disk lost a part of it; nothing where nothing is lost.
    /// The shape is then an earlier state of the log and ends at an earlier position. What the
    /// replica has promised was promised for a log up to here.
    pub damaged_up_to: Option<Position>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_gap() {
        assert_eq!(WriteNumber::default().next(), WriteNumber(1));
        assert_eq!(WriteNumber(7).next(), WriteNumber(8));
    }
}
