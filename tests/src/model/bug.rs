//! Rules broken on purpose, around the replica and not in it, so that the model can show that
//! it finds what they lead to.

use std::collections::BTreeMap;

use raft_core::{AppendOutcome, Body, Index, Message, NodeId, Term};
use raft_state::Replica;

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The replica is told that a write is durable before it is (thesis, section 3.8).
    RepliesBeforeFlush,
    /// A restart remembers the term and not the vote given in it (thesis, figure 3.1).
    VoteIsForgotten,
    /// Followers are told that an entry of an earlier term is committed because a quorum has
    /// it (thesis, figure 3.7).
    CountsEarlierTerms,
    /// A restart takes the membership for what it was at the beginning of the log (thesis,
    /// section 4.1).
    MembershipIsForgotten,
    /// A replica whose disk has lost a part of the log is not told so, and votes by what is
    /// left.
    DamageIsForgotten,
    /// Leases last as long as votes are bound, although clocks differ (thesis, section 6.4.1).
    LeasesIgnoreDrift,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::RepliesBeforeFlush,
        Self::VoteIsForgotten,
        Self::CountsEarlierTerms,
        Self::MembershipIsForgotten,
        Self::DamageIsForgotten,
        Self::LeasesIgnoreDrift,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RepliesBeforeFlush => "replies-before-flush",
            Self::VoteIsForgotten => "vote-is-forgotten",
            Self::CountsEarlierTerms => "counts-earlier-terms",
            Self::MembershipIsForgotten => "membership-is-forgotten",
            Self::DamageIsForgotten => "damage-is-forgotten",
            Self::LeasesIgnoreDrift => "leases-ignore-drift",
        }
    }

    /// Changes what leaves a node.
    pub(crate) fn alter(self, counted: &Counted, replica: &Replica, sent: &mut [Message]) {
        if self != Self::CountsEarlierTerms {
            return;
        }
        for message in sent {
            let acknowledged = counted.acknowledged(replica.term(), message.to);
            let counts = counted.majority(replica);
            if let Body::Append { commit, .. } | Body::Heartbeat { commit, .. } = &mut message.body
            {
                *commit = (*commit).max(counts.min(acknowledged));
            }
        }
    }
}

/// What the followers of a leader have acknowledged in its term.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    term: Term,
    matched: BTreeMap<NodeId, Index>,
}

impl Counted {
    /// Notes an acknowledgement on its way to a leader.
    pub(crate) fn note(&mut self, message: &Message, replica: &Replica) {
        let Body::AppendReply { outcome: AppendOutcome::Matched(last), .. } = message.body else {
            return;
        };
        if message.term == replica.term() && replica.is_leader() {
            if self.term != message.term {
                *self = Self { term: message.term, matched: BTreeMap::new() };
            }
            let matched = self.matched.entry(message.from).or_default();
            *matched = last.max(*matched);
        }
    }

    fn acknowledged(&self, term: Term, by: NodeId) -> Index {
        let matched = self.matched.get(&by).filter(|_| self.term == term);
        matched.copied().unwrap_or_default()
    }

    /// What a majority has, whatever term it is of.
    fn majority(&self, replica: &Replica) -> Index {
        let voters = replica.membership().voters();
        let own = |id: NodeId| replica.is_leader() && replica.leader() == Some(id);
        let mut has: Vec<Index> = voters
            .iter()
            .map(|id| match own(*id) {
                true => replica.durable(),
                false => self.acknowledged(replica.term(), *id),
            })
            .collect();
        has.sort_unstable();
        has.get(has.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }
}
