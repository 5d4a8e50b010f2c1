//! Who takes part in a group, and in which part.

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use thiserror::Error;

use crate::{Incarnation, NodeId};

/// What a membership holds about one of its members.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Member {
    /// The life of the member's disk that this membership knows. Another one is
    /// another replica, whatever its id.
    pub incarnation: Incarnation,
    /// Opaque to Raft; the node keeps addresses here.
    pub data: Bytes,
    /// What a leader does with this learner by itself. A voter waits for nothing.
    pub when_caught_up: WhenCaughtUp,
}

/// What becomes of a learner once its log has caught up with the leader's. It is part of
/// the membership, so that a change survives the leader that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenCaughtUp {
    /// It stays a learner, until it is promoted on request.
    #[default]
    Stay,
    /// It becomes a voter.
    Promote,
    /// It becomes a voter in the place of this one, which is removed.
    Replace(NodeId),
}

/// The members of a group: voters, learners, and during a joint change the
/// outgoing voters as well (Raft thesis, chapter 4).
///
/// Invariants, asserted whenever one is made:
/// - Voters are empty only where everything is: a replica that has joined no
///   group yet.
/// - A learner is not an incoming voter. It may still be an outgoing one, which is
///   how a voter is demoted.
/// - Every voter and learner has a [`Member`], and nobody else has.
/// - Only learners wait to be promoted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Membership {
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) outgoing: BTreeSet<NodeId>,
    pub(crate) learners: BTreeSet<NodeId>,
    pub(crate) members: BTreeMap<NodeId, Member>,
}

/// Why a membership cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// Learners or outgoing voters without a single voter; name at least one voter.
    #[error("a membership needs at least one voter")]
    NoVoter,
    /// The node is both; choose one.
    #[error("node {0} cannot be a voter and a learner at once")]
    VoterAndLearner(NodeId),
    /// The node is named as a voter or learner but not described; describe it.
    #[error("node {0} has a part in the membership but no member record")]
    NotDescribed(NodeId),
    /// The node is described but has no part; give it one or leave it out.
    #[error("node {0} has a member record but no part in the membership")]
    NoPart(NodeId),
    /// The node waits to be promoted and is no learner; let it stay what it is.
    #[error("node {0} is no learner and cannot wait to be promoted")]
    WaitingVoter(NodeId),
}

impl Membership {
    /// The membership of a replica that has joined no group: nobody.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A membership of voters about whom nothing else is known.
    #[must_use]
    pub fn of_voters(ids: impl IntoIterator<Item = NodeId>) -> Self {
        let voters: BTreeSet<NodeId> = ids.into_iter().collect();
        let members = voters.iter().map(|id| (*id, Member::default())).collect();
        Self { voters, members, ..Self::default() }
    }

    /// A membership from its parts. `outgoing` is empty unless the membership is joint.
    ///
    /// # Errors
    /// Where the parts break an invariant of the type; see [`MembershipError`].
    pub fn new(
        voters: BTreeSet<NodeId>,
        outgoing: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
        members: BTreeMap<NodeId, Member>,
    ) -> Result<Self, MembershipError> {
        if voters.is_empty() && !(outgoing.is_empty() && learners.is_empty() && members.is_empty())
        {
            return Err(MembershipError::NoVoter);
        }
        if let Some(both) = voters.intersection(&learners).next() {
            return Err(MembershipError::VoterAndLearner(*both));
        }
        let has_part =
            |id: &NodeId| voters.contains(id) || outgoing.contains(id) || learners.contains(id);
        if let Some(stranger) = members.keys().find(|id| !has_part(id)) {
            return Err(MembershipError::NoPart(*stranger));
        }
        let parts = voters.iter().chain(&outgoing).chain(&learners);
        if let Some(unknown) = parts.into_iter().find(|id| !members.contains_key(id)) {
            return Err(MembershipError::NotDescribed(*unknown));
        }
        let waits = |id: &NodeId| members[id].when_caught_up != WhenCaughtUp::Stay;
        if let Some(voter) = members.keys().find(|id| !learners.contains(id) && waits(id)) {
            return Err(MembershipError::WaitingVoter(*voter));
        }
        Ok(Self { voters, outgoing, learners, members })
    }

    /// The voters; of a joint membership the incoming ones.
    #[must_use]
    pub const fn voters(&self) -> &BTreeSet<NodeId> {
        &self.voters
    }

    /// The outgoing voters of a joint membership; empty otherwise.
    #[must_use]
    pub const fn outgoing(&self) -> &BTreeSet<NodeId> {
        &self.outgoing
    }

    /// Members that receive the log and do not vote (thesis, section 4.2.1).
    #[must_use]
    pub const fn learners(&self) -> &BTreeSet<NodeId> {
        &self.learners
    }

    /// Every member with what is held about it, in the order of ids.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// True while both the outgoing and the incoming voters must agree.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// True for incoming and outgoing voters.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// True where the member with this id is the replica on this disk.
    #[must_use]
    pub fn names(&self, id: NodeId, incarnation: Incarnation) -> bool {
        self.members.get(&id).is_some_and(|member| member.incarnation == incarnation)
    }

    /// The life of a member's disk; zero where `id` is no member.
    #[must_use]
    pub fn disk_of(&self, id: NodeId) -> Incarnation {
        self.members.get(&id).map_or(Incarnation(0), |member| member.incarnation)
    }

    /// True for everyone with a part in the group.
    #[must_use]
    pub fn is_member(&self, id: NodeId) -> bool {
        self.members.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[u64]) -> BTreeSet<NodeId> {
        of.iter().map(|id| NodeId::new(*id).unwrap()).collect()
    }

    fn described(of: &[u64]) -> BTreeMap<NodeId, Member> {
        ids(of).into_iter().map(|id| (id, Member::default())).collect()
    }

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    #[test]
    fn each_invariant_has_its_error() {
        let none = BTreeSet::new;
        let make = Membership::new;
        assert_eq!(make(none(), none(), ids(&[1]), described(&[1])), Err(MembershipError::NoVoter));
        assert_eq!(
            make(ids(&[1]), none(), ids(&[1]), described(&[1])),
            Err(MembershipError::VoterAndLearner(id(1)))
        );
        assert_eq!(
            make(ids(&[1, 2]), none(), none(), described(&[1])),
            Err(MembershipError::NotDescribed(id(2)))
        );
        assert_eq!(
            make(ids(&[1]), none(), none(), described(&[1, 2])),
            Err(MembershipError::NoPart(id(2)))
        );
        let mut waiting = described(&[1, 2]);
        waiting.get_mut(&id(2)).unwrap().when_caught_up = WhenCaughtUp::Promote;
        assert!(make(ids(&[1]), none(), ids(&[2]), waiting.clone()).is_ok());
        assert_eq!(
            make(ids(&[1, 2]), none(), none(), waiting),
            Err(MembershipError::WaitingVoter(id(2)))
        );
    }

    #[test]
    fn a_voter_that_is_being_demoted_is_outgoing_and_a_learner() {
        let joint =
            Membership::new(ids(&[1, 2]), ids(&[1, 3]), ids(&[3]), described(&[1, 2, 3])).unwrap();
        assert!(joint.is_joint());
        assert!(joint.is_voter(id(3)) && joint.is_member(id(3)));
        assert!(!joint.is_voter(id(4)) && !joint.is_member(id(4)));
    }

    #[test]
    fn voters_are_members_and_nothing_else() {
        let plain = Membership::of_voters([id(1), id(2)]);
        assert_eq!(
            Membership::new(ids(&[1, 2]), ids(&[]), ids(&[]), described(&[1, 2])),
            Ok(plain)
        );
    }

    #[test]
    fn nobody_is_a_membership_without_members() {
        assert!(!Membership::empty().is_member(id(1)));
        assert!(Membership::new(ids(&[]), ids(&[]), ids(&[]), described(&[])).is_ok());
    }
}
