//! What a follower's rejection says of its log.

use raft_core::{Index, LogShape, Position};

/// The last index at which a follower can agree whose log parts from the leader's behind
/// `hint`.
pub(crate) fn agreed_below(hint: Position, log: &LogShape) -> Index {
    let agreed = log.last_at_or_below(hint.index, hint.term);
    // Where even the floor is later than the hint, the logs part below it.
    let below_floor = agreed.index > hint.index || agreed.term > hint.term;
    if below_floor { hint.index.min(agreed.index.prev()) } else { agreed.index }
}
