//! In which way one follower is being served.

use raft_core::Instant;

use crate::window::{Flight, Window};

/// In which way a follower is being served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Where its log agrees is not known: one append at a time until one matches.
    Probe {
        /// The append that is awaited.
        flight: Option<Flight>,
        /// Nothing is sent before this moment.
        not_before: Instant,
    },
    /// Its log agrees: appends follow one another without waiting.
    Replicate {
        /// What is under way.
        window: Window,
    },
    /// The log no longer reaches back to where it is: a snapshot is on its way.
    Snapshot {
        /// The number in the transfer's token.
        number: u64,
    },
    /// It denied what it had acknowledged. Nothing is sent until leadership changes.
    Quarantined,
}
