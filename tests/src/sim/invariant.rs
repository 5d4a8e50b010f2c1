//! What is checked, by name.

use std::fmt::{self, Display};

/// One thing that must hold in every world. Its name begins the text of a failure, so that
/// runs can be told apart by what they broke.
///
/// The numbers are those of the table in `tests/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// 1: at most one leader in a term (thesis, figure 3.2).
    OneLeader,
    /// 2: where index and term are the same, so is all that stands before (figure 3.2).
    LogMatching,
    /// 3: a leader has every entry committed in an earlier term (section 3.6.3).
    LeaderCompleteness,
    /// 3: whoever leads was voted for by a quorum.
    ElectedByQuorum,
    /// 12: learners and those who were removed never lead.
    OnlyVotersLead,
    /// 4: one command per index, applied in order and without a gap.
    StateMachineSafety,
    /// 5: what is committed never changes, also below the beginning of a log.
    CommittedStays,
    /// 6: what is committed is durable on a quorum.
    DurableOnQuorum,
    /// 7: a leader commits by counting only entries of its own term (section 3.6.2).
    OwnTermOnly,
    /// 8: term, vote and commit of a process never go back, term and vote in no life.
    NeverBack,
    /// 8: a store starts where it was durable, and is brought forward from there.
    RestartsWhereFlushed,
    /// 9: what a log lets go of is in the store for good, and its bounds are in order.
    BoundsInOrder,
    /// 10: nothing is promised before it is durable.
    DurableBeforeSent,
    /// 11: one vote per term and node.
    OneVote,
    /// 12: one change of the members at a time, after the first commit of a term
    /// (section 4.1).
    OneChange,
    /// 12: who is told to stop was removed.
    RemovedForGood,
    /// 13: what a leader counts on of a follower is durable there.
    MatchIsDurable,
    /// 13: what was sent to a follower and is answered is not counted as under way.
    FlightsEnd,
    /// 14: a snapshot is the state at its index.
    SnapshotIsReplay,
    /// 15: who counts as heard had left no term when it was asked (section 6.4.1).
    ContactHolds,
    /// 15: a read by a lease is not overtaken by a newer leader.
    LeaseHolds,
    /// 16: what clients saw has an order, key by key.
    Linearizable,
    /// 16: a write of a session is applied once (section 6.3).
    AppliedOnce,
    /// 15: what a stale read shows was a state once, and never goes back at one node.
    StaleReads,
    /// 17: equal states where equal entries are applied.
    EqualStates,
    /// 18: after everything is healed there is a leader and progress.
    Progress,
    /// Whatever is asked for ends, once.
    Answered,
    /// A node starts on what its disk holds.
    Starts,
    /// No group halts.
    Halts,
    /// No node calls another one's promises broken.
    PeerBroken,
    /// Who has forgotten what it promised, though its disk is whole, is found out.
    LossReported,
    /// What is read from the network is what was sent, or nothing.
    Wire,
    /// An assertion of the product, or of the simulator.
    Assertion,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 33] = [
        Self::OneLeader,
        Self::LogMatching,
        Self::LeaderCompleteness,
        Self::ElectedByQuorum,
        Self::OnlyVotersLead,
        Self::StateMachineSafety,
        Self::CommittedStays,
        Self::DurableOnQuorum,
        Self::OwnTermOnly,
        Self::NeverBack,
        Self::RestartsWhereFlushed,
        Self::BoundsInOrder,
        Self::DurableBeforeSent,
        Self::OneVote,
        Self::OneChange,
        Self::RemovedForGood,
        Self::MatchIsDurable,
        Self::FlightsEnd,
        Self::SnapshotIsReplay,
        Self::ContactHolds,
        Self::LeaseHolds,
        Self::Linearizable,
        Self::AppliedOnce,
        Self::StaleReads,
        Self::EqualStates,
        Self::Progress,
        Self::Answered,
        Self::Starts,
        Self::Halts,
        Self::PeerBroken,
        Self::LossReported,
        Self::Wire,
        Self::Assertion,
    ];

    /// The name, which stays as it is.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneLeader => "one-leader",
            Self::LogMatching => "log-matching",
            Self::LeaderCompleteness => "leader-completeness",
            Self::ElectedByQuorum => "elected-by-quorum",
            Self::OnlyVotersLead => "only-voters-lead",
            Self::StateMachineSafety => "state-machine-safety",
            Self::CommittedStays => "committed-stays",
            Self::DurableOnQuorum => "durable-on-quorum",
            Self::OwnTermOnly => "own-term-only",
            Self::NeverBack => "never-back",
            Self::RestartsWhereFlushed => "restarts-where-flushed",
            Self::BoundsInOrder => "bounds-in-order",
            Self::DurableBeforeSent => "durable-before-sent",
            Self::OneVote => "one-vote",
            Self::OneChange => "one-change",
            Self::RemovedForGood => "removed-for-good",
            Self::MatchIsDurable => "match-is-durable",
            Self::FlightsEnd => "flights-end",
            Self::SnapshotIsReplay => "snapshot-is-replay",
            Self::ContactHolds => "contact-holds",
            Self::LeaseHolds => "lease-holds",
            Self::Linearizable => "linearizable",
            Self::AppliedOnce => "applied-once",
            Self::StaleReads => "stale-reads",
            Self::EqualStates => "equal-states",
            Self::Progress => "progress",
            Self::Answered => "answered",
            Self::Starts => "starts",
            Self::Halts => "halts",
            Self::PeerBroken => "peer-broken",
            Self::LossReported => "loss-reported",
            Self::Wire => "wire",
            Self::Assertion => "assertion",
        }
    }

    /// What must hold, for whoever sees it broken.
    #[must_use]
    pub const fn means(self) -> &'static str {
        match self {
            Self::OneLeader => "At most one node may lead a group in a term.",
            Self::LogMatching => "Where index and term are the same, so must be all before.",
            Self::LeaderCompleteness => "A leader must have every entry committed before.",
            Self::ElectedByQuorum => "Whoever leads must have the votes of a quorum.",
            Self::OnlyVotersLead => "Whoever is elected must have a vote.",
            Self::StateMachineSafety => "At one index all nodes must apply the same command.",
            Self::CommittedStays => "What is committed must never change or go.",
            Self::DurableOnQuorum => "What is committed must be durable on a quorum.",
            Self::OwnTermOnly => "A leader may commit by counting only entries of its own term.",
            Self::NeverBack => "Term, vote and commit must never go back.",
            Self::RestartsWhereFlushed => "A store must start where it was durable last.",
            Self::BoundsInOrder => "A log may let go only of what the store has for good.",
            Self::DurableBeforeSent => "A node may promise only what is durable already.",
            Self::OneVote => "A node may vote for one candidate only in a term.",
            Self::OneChange => "Members may change only one step at a time.",
            Self::RemovedForGood => "Only who was removed may be told to stop.",
            Self::MatchIsDurable => "What a leader counts on of a follower must be durable there.",
            Self::FlightsEnd => "What a follower has answered must not count as under way.",
            Self::SnapshotIsReplay => "A snapshot must be the state at its index.",
            Self::ContactHolds => "Whoever counts as heard must have followed when it was asked.",
            Self::LeaseHolds => "No newer leader may commit while a lease still answers reads.",
            Self::Linearizable => "All that clients saw must fit one order of their operations.",
            Self::AppliedOnce => "A write of a session must be applied once.",
            Self::StaleReads => "What a stale read shows must have been a state once.",
            Self::EqualStates => "Equal entries must give equal states.",
            Self::Progress => "Once everything is healed, the cluster must go on.",
            Self::Answered => "Whatever is asked for must end, once.",
            Self::Starts => "A node must start on what its disk holds.",
            Self::Halts => "No group may halt.",
            Self::PeerBroken => "No node may find that another one breaks its promises.",
            Self::LossReported => "Whoever has forgotten a promise must be found out.",
            Self::Wire => "What is read from the network must be what was sent.",
            Self::Assertion => "Assertions of the program must hold.",
        }
    }

    /// The check that a failure's text is about.
    #[must_use]
    pub fn of(failure: &str) -> Option<Self> {
        let (name, _) = failure.split_once(": ")?;
        Self::ALL.into_iter().find(|check| check.name() == name)
    }

    /// The text of a failure.
    pub(crate) fn fails(self, what: impl Display) -> String {
        format!("{self}: {what}")
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_check() {
        for check in Check::ALL {
            assert_eq!(Check::of(&check.fails("node 1: is odd")), Some(check));
        }
        assert_eq!(Check::of("something: else"), None);
    }
}
