//! Numbers that no replica would send.

use raft_core::{AppendOutcome, Body, Message, Position};

/// No count ever comes near the end of its range; a number that does would only serve to
/// make additions overflow.
const MOST: u64 = u64::MAX / 2;

/// True where no number of the message is out of all proportion.
pub(crate) fn is_sane(message: &Message) -> bool {
    message.term.0 <= MOST
        && match &message.body {
            Body::PreVote { last, .. } | Body::Vote { last, .. } => is_sane_position(*last),
            Body::Append { prev, .. } => is_sane_position(*prev),
            Body::AppendReply {
                outcome: AppendOutcome::Conflict(hint) | AppendOutcome::Lost(hint),
                ..
            } => is_sane_position(*hint),
            _ => true,
        }
}

/// True where neither number of the position is.
pub(crate) const fn is_sane_position(at: Position) -> bool {
    at.index.0 <= MOST && at.term.0 <= MOST
}
