//! The answers to one's own request for votes.

use alloc::collections::BTreeMap;

use raft_core::quorum::{self, Outcome};
use raft_core::{Membership, NodeId};

/// One round of asking for votes or pre-votes.
///
/// Invariants: an answer counts only for the round whose number it echoes; each
/// voter's first answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballots {
    round: u64,
    answers: BTreeMap<NodeId, bool>,
}

impl Ballots {
    /// A round without answers. Its number tells its answers from those of others.
    #[must_use]
    pub const fn new(round: u64) -> Self {
        Self { round, answers: BTreeMap::new() }
    }

    /// Notes an answer to round `round` and says how the ballot stands now. Answers
    /// of stale rounds and of those who do not vote change nothing.
    pub fn record(
        &mut self,
        round: u64,
        from: NodeId,
        granted: bool,
        membership: &Membership,
    ) -> Outcome {
        if round == self.round && membership.is_voter(from) {
            self.answers.entry(from).or_insert(granted);
        }
        quorum::tally(membership, |id| self.answers.get(&id).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    #[test]
    fn only_first_answers_of_voters_in_this_round_count() {
        let three = Membership::of_voters([id(1), id(2), id(3)]);
        let mut ballots = Ballots::new(7);
        assert_eq!(ballots.record(7, id(1), true, &three), Outcome::Pending);
        assert_eq!(ballots.record(6, id(2), true, &three), Outcome::Pending, "a stale round");
        assert_eq!(ballots.record(7, id(9), true, &three), Outcome::Pending, "a stranger");
        assert_eq!(ballots.record(7, id(1), true, &three), Outcome::Pending, "said before");
        assert_eq!(ballots.record(7, id(2), false, &three), Outcome::Pending);
        assert_eq!(ballots.record(7, id(2), true, &three), Outcome::Pending, "changed its mind");
        assert_eq!(ballots.record(7, id(3), true, &three), Outcome::Won);
    }

    #[test]
    fn a_majority_of_refusals_loses() {
        let three = Membership::of_voters([id(1), id(2), id(3)]);
        let mut ballots = Ballots::new(1);
        assert_eq!(ballots.record(1, id(2), false, &three), Outcome::Pending);
        assert_eq!(ballots.record(1, id(3), false, &three), Outcome::Lost);
    }
}
