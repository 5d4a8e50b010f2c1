//! What a replica must remember across a restart besides its log.

use crate::{NodeId, Term};

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
