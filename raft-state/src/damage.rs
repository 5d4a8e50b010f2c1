//! Taking part with a log that is damaged.
//!
//! A disk may lose a part of what it had confirmed. The log then says what is left, an earlier
//! state of the log, and where it had ended. A replica that starts from that
//!
//! - votes as before: only for candidates whose logs reach at least as far as its own did.
//!   Everything it ever acknowledged is in such a log, so nothing that it helped to commit
//!   is lost for it (thesis, section 3.6.1);
//! - never stands for election, as it could not restore what it lacks;
//! - takes nothing of its own log for committed but what stands at its floor, and believes no
//!   heartbeat that it may commit: what is left may have been cut later, and be the truth of
//!   nobody;
//! - tells the leader, which may believe that there is nothing to send, and is sent what it
//!   lacks from the log or as a snapshot.
//!
//! Once its log reaches as far as it had, durably, it is a replica like the others: every
//! position it holds then was agreed to by a leader that was elected over what is lost.

use raft_core::{AppendOutcome, Body, Position, Term, Token};

use crate::replica::Replica;
use crate::role::Role;

/// What a disk has lost.
///
/// Invariant, asserted when it is found: what is left ends before `up_to`.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    /// Where the log ended.
    up_to: Position,
    /// The term of the leader that was told last, and its token, which it must hear again.
    told: Option<(Term, Token)>,
}

impl Damage {
    pub(crate) fn new(up_to: Position, left: Position) -> Self {
        assert!(left < up_to, "a log damaged up to {up_to:?} that reaches {left:?}");
        Self { up_to, told: None }
    }
}

impl Replica {
    /// Where the log ended before a part of it was lost; nothing where it is whole, or
    /// has been made whole.
    #[must_use]
    pub fn damaged_up_to(&self) -> Option<Position> {
        self.damage.as_ref().map(|damage| damage.up_to)
    }

    /// Where the log ends as far as votes are concerned.
    pub(crate) fn promised_last(&self) -> Position {
        self.damaged_up_to().map_or(self.log.last(), |up_to| up_to.max(self.log.last()))
    }

    /// Says what is left, in answer to a request with this token that asks for something else.
    pub(crate) fn tell_of_damage(&mut self, token: Token) {
        let (term, left) = (self.term(), self.log.last());
        let (Some(damage), Role::Follower { leader: Some(leader) }) =
            (&mut self.damage, &self.role)
        else {
            return;
        };
        damage.told = Some((term, token));
        let (leader, outcome) = (*leader, AppendOutcome::Lost(left));
        // No promise: it takes some back.
        self.send(leader, Body::AppendReply { token, outcome });
    }

    /// Says so again: what was said may be lost on the way, and a leader that has nothing
    /// to send says nothing but that it is there.
    pub(crate) fn tell_of_damage_again(&mut self) {
        let term = self.term();
        let told = self.damage.as_ref().and_then(|damage| damage.told);
        if let Some((_, token)) = told.filter(|(told_in, _)| *told_in == term) {
            self.tell_of_damage(token);
        }
    }

    /// The damage is made good once the log reaches as far as it had, durably.
    pub(crate) fn forget_damage_if_healed(&mut self) {
        let index = self.durability.durable_index();
        let reached = self.log.term_at(index).map(|term| Position { term, index });
        self.damage.take_if(|damage| reached.is_some_and(|reached| reached >= damage.up_to));
    }
}
