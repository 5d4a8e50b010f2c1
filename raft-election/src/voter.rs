//! Who gets this replica's vote.

use raft_core::{HardState, NodeId, Position, Term};

/// The facts that a vote is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub candidate: NodeId,
    /// The term the vote would be for.
    pub term: Term,
    /// Where the candidate's log ends.
    pub last: Position,
    /// Where the voter's own log ends.
    pub own_last: Position,
    /// Whether the voter heard from a leader within an election timeout, or leads.
    pub leader_alive: bool,
}

/// What the voter decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteVerdict {
    /// The candidate gets the vote.
    Granted,
    /// It does not.
    Refused {
        /// The first reason found.
        why: Refusal,
    },
}

/// Why a vote is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The term is over, or for a pre-vote not yet to come.
    StaleTerm,
    /// A leader was heard a moment ago; whoever asks has lost touch with it
    /// (thesis, section 4.2.3).
    LeaderAlive,
    /// In this term the vote is given already.
    VotedFor(NodeId),
    /// The candidate's log lacks what this voter has (thesis, section 3.6.1).
    LogBehind,
}

/// The term a replica is in and the vote it gave there.
///
/// Invariants, asserted on every change:
/// - The term never goes back.
/// - Within a term the vote is given once and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Voter {
    state: HardState,
}

impl Voter {
    /// A voter that goes on from what was durable.
    #[must_use]
    pub const fn new(state: HardState) -> Self {
        Self { state }
    }

    /// The term and vote as they must become durable.
    #[must_use]
    pub const fn hard_state(&self) -> HardState {
        self.state
    }

    /// The current term.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.state.term
    }

    /// Enters a later term, in which no vote is given yet.
    ///
    /// # Panics
    /// Where the term is not later.
    pub fn enter(&mut self, term: Term) {
        assert!(term > self.state.term, "entering term {term} from {}", self.state.term);
        self.state = HardState { term, vote: None };
    }

    /// Decides about a vote in the current term; changes nothing. The caller has
    /// entered the request's term before, unless a leader is alive.
    #[must_use]
    pub fn decide(&self, request: Request) -> VoteVerdict {
        let vote = self.state.vote.filter(|voted| *voted != request.candidate);
        match vote {
            _ if request.term < self.state.term => refused(Refusal::StaleTerm),
            // Leadership is settled for now: the candidate was partitioned or removed.
            _ if request.leader_alive => refused(Refusal::LeaderAlive),
            _ if request.term > self.state.term => refused(Refusal::StaleTerm),
            Some(other) => refused(Refusal::VotedFor(other)),
            None if request.last < request.own_last => refused(Refusal::LogBehind),
            None => VoteVerdict::Granted,
        }
    }

    /// Decides whether a vote *would* be given in a coming term; binds nobody
    /// (thesis, section 9.6).
    #[must_use]
    pub fn decide_pre_vote(&self, request: Request) -> VoteVerdict {
        if request.term <= self.state.term {
            refused(Refusal::StaleTerm)
        } else if request.leader_alive {
            refused(Refusal::LeaderAlive)
        } else if request.last < request.own_last {
            refused(Refusal::LogBehind)
        } else {
            VoteVerdict::Granted
        }
    }

    /// Gives the vote of the current term.
    ///
    /// # Panics
    /// Where another candidate has it.
    pub fn grant(&mut self, candidate: NodeId) {
        let vote = self.state.vote.get_or_insert(candidate);
        assert_eq!(*vote, candidate, "a second vote in term {}", self.state.term);
    }
}

const fn refused(why: Refusal) -> VoteVerdict {
    VoteVerdict::Refused { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn request(term: u64, last: Position) -> Request {
        Request {
            candidate: id(2),
            term: Term(term),
            last,
            own_last: Position::new(2, 5),
            leader_alive: false,
        }
    }

    fn voter(term: u64) -> Voter {
        Voter::new(HardState { term: Term(term), vote: None })
    }

    const UP_TO_DATE: Position = Position::new(2, 5);

    #[test]
    fn one_vote_per_term() {
        let mut voter = voter(3);
        assert_eq!(voter.decide(request(3, UP_TO_DATE)), VoteVerdict::Granted);
        voter.grant(id(3));
        assert_eq!(voter.decide(request(3, UP_TO_DATE)), refused(Refusal::VotedFor(id(3))));
        voter.enter(Term(4));
        assert_eq!(voter.decide(request(4, UP_TO_DATE)), VoteVerdict::Granted);
        voter.grant(id(2));
        assert_eq!(voter.decide(request(4, UP_TO_DATE)), VoteVerdict::Granted, "asked again");
    }

    #[test]
    fn a_candidate_whose_log_is_behind_gets_nothing() {
        let behind = [Position::new(1, 9), Position::new(2, 4), Position::ZERO];
        for last in behind {
            assert_eq!(voter(3).decide(request(3, last)), refused(Refusal::LogBehind));
            assert_eq!(voter(3).decide_pre_vote(request(4, last)), refused(Refusal::LogBehind));
        }
        assert_eq!(voter(3).decide(request(3, Position::new(3, 1))), VoteVerdict::Granted);
    }

    #[test]
    fn other_terms_are_stale() {
        assert_eq!(voter(3).decide(request(2, UP_TO_DATE)), refused(Refusal::StaleTerm));
        assert_eq!(voter(3).decide(request(4, UP_TO_DATE)), refused(Refusal::StaleTerm));
        assert_eq!(voter(3).decide_pre_vote(request(3, UP_TO_DATE)), refused(Refusal::StaleTerm));
        assert_eq!(voter(3).decide_pre_vote(request(4, UP_TO_DATE)), VoteVerdict::Granted);
    }

    #[test]
    fn a_living_leader_is_not_deposed() {
        let request = Request { leader_alive: true, ..request(4, UP_TO_DATE) };
        assert_eq!(voter(3).decide(request), refused(Refusal::LeaderAlive));
        assert_eq!(voter(3).decide_pre_vote(request), refused(Refusal::LeaderAlive));
    }

    #[test]
    #[should_panic(expected = "a second vote in term 3")]
    fn a_second_vote_is_a_broken_invariant() {
        let mut voter = voter(3);
        voter.grant(id(1));
        voter.grant(id(2));
    }

    #[test]
    #[should_panic(expected = "entering term 3 from 3")]
    fn a_term_that_is_not_later_is_a_broken_invariant() {
        voter(3).enter(Term(3));
    }
}
