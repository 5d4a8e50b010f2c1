//! What follows from what a follower says, or does not say.

use raft_core::{Index, Instant};

/// What to send a follower now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendVerdict {
    /// Nothing: it has everything, or enough is under way.
    Nothing,
    /// Entries from `from` to `up_to`, both included.
    Entries {
        /// The first.
        from: Index,
        /// The last there is.
        up_to: Index,
    },
    /// A snapshot: the entries it needs are gone.
    Snapshot,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckVerdict {
    /// It answers a request that counts as lost. What it says of the follower's log is
    /// true all the same: nothing that agreed with a leader is cut in the leader's term.
    Late,
    /// The follower was heard, in answer to a request sent at this moment.
    Heard {
        /// When the request left.
        sent_at: Instant,
    },
    /// It acknowledged more than it was sent: it breaks its promises.
    Broken,
}

/// What a conflict means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictVerdict {
    /// It answers nothing that is under way.
    Stale,
    /// Sending goes on from an earlier entry.
    Retry {
        /// When the request left.
        sent_at: Instant,
    },
    /// It answers a request that was given up, and sending goes on from an earlier entry.
    Late,
    /// It denies what it acknowledged before: it breaks its promises.
    Broken,
}

/// What it means that a follower's disk has lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossVerdict {
    /// Nothing new: what is sent next is not above it.
    Known,
    /// Sending goes on from what the follower has left.
    Back,
}
