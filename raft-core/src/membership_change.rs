//! From one membership to the next.

use alloc::collections::BTreeSet;

use bytes::Bytes;
use thiserror::Error;

use crate::{Member, Membership, MembershipError, NodeId, WhenCaughtUp};

/// One step of a change. Several at once are one change, which happens as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new member, which receives the log and does not vote (thesis, section 4.2.1).
    /// Every member begins like this.
    AddLearner {
        /// The new member.
        id: NodeId,
        /// What is known of it, and what becomes of it once it has caught up.
        member: Member,
    },
    /// A learner votes from now on.
    Promote {
        /// The learner.
        id: NodeId,
    },
    /// A voter becomes a learner.
    Demote {
        /// The voter.
        id: NodeId,
    },
    /// A voter or learner is no member any more.
    Remove {
        /// The member.
        id: NodeId,
    },
    /// What is known of a member, such as its addresses, is replaced.
    Update {
        /// The member.
        id: NodeId,
        /// The new data.
        data: Bytes,
    },
}

/// Why a change cannot be made to a membership. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// An earlier change has not been left; wait for it.
    #[error("the membership is joint: an earlier change is still being made")]
    Joint,
    /// The change says nothing; name a member.
    #[error("the change has no step")]
    Nothing,
    /// Two steps concern one member; make two changes of them.
    #[error("two steps of the change concern node {0}")]
    Twice(NodeId),
    /// It takes part already; remove it first where it is another replica.
    #[error("node {0} is a member already")]
    AlreadyMember(NodeId),
    /// There is no such member; look at the list of members.
    #[error("node {0} is not a member")]
    NotMember(NodeId),
    /// Only a learner can be promoted, and this member votes already.
    #[error("node {0} is not a learner")]
    NotLearner(NodeId),
    /// Only a voter can be demoted or replaced, and this member does not vote.
    #[error("node {0} is not a voter")]
    NotVoter(NodeId),
    /// Nobody could commit anything again; keep at least one voter.
    #[error("the change would leave no voter")]
    NoVoter,
}

impl MemberChange {
    /// Whom the step concerns.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        match self {
            Self::AddLearner { id, .. }
            | Self::Promote { id }
            | Self::Demote { id }
            | Self::Remove { id }
            | Self::Update { id, .. } => *id,
        }
    }
}

impl Membership {
    /// The membership to append for these changes. Where the voters change by one at most
    /// it is the final one, since any quorums of both overlap (thesis, section 4.1);
    /// otherwise it is joint, and is left by [`left_joint`](Self::left_joint) once it is
    /// committed (thesis, section 4.3).
    ///
    /// # Errors
    /// Where a step does not fit this membership; see [`ChangeError`].
    pub fn changed(&self, changes: &[MemberChange]) -> Result<Self, ChangeError> {
        if self.is_joint() {
            return Err(ChangeError::Joint);
        }
        if changes.is_empty() {
            return Err(ChangeError::Nothing);
        }
        let mut named = BTreeSet::new();
        let mut next = self.clone();
        for change in changes {
            if !named.insert(change.id()) {
                return Err(ChangeError::Twice(change.id()));
            }
            next.step(change)?;
        }
        if next.voters.is_empty() {
            return Err(ChangeError::NoVoter);
        }
        if self.voters.symmetric_difference(&next.voters).count() > 1 {
            next.outgoing = self.voters.clone();
            // Who goes has a say until the joint membership is left.
            for id in &self.voters {
                next.members.entry(*id).or_insert_with(|| self.members[id].clone());
            }
        }
        next.forget_fulfilled();
        Ok(next.checked())
    }

    /// The membership that follows a joint one once that is committed: its incoming voters
    /// decide alone (thesis, section 4.3). Any other membership stays as it is.
    #[must_use]
    pub fn left_joint(&self) -> Self {
        let mut next = self.clone();
        next.outgoing.clear();
        let Self { voters, learners, .. } = self;
        next.members.retain(|id, _| voters.contains(id) || learners.contains(id));
        next.checked()
    }

    /// What a learner that has caught up is waiting for: the steps that make it a voter,
    /// in the place of another where it was added for that. `None` where it is to stay.
    #[must_use]
    pub fn promotion(&self, id: NodeId) -> Option<alloc::vec::Vec<MemberChange>> {
        let learner = self.members.get(&id).filter(|_| self.learners.contains(&id))?;
        let promote = MemberChange::Promote { id };
        match learner.when_caught_up {
            WhenCaughtUp::Stay => None,
            WhenCaughtUp::Promote => Some([promote].into()),
            WhenCaughtUp::Replace(old) => Some([promote, MemberChange::Remove { id: old }].into()),
        }
    }

    fn step(&mut self, change: &MemberChange) -> Result<(), ChangeError> {
        match change {
            MemberChange::AddLearner { id, member } => {
                if self.is_member(*id) {
                    return Err(ChangeError::AlreadyMember(*id));
                }
                if let WhenCaughtUp::Replace(old) = member.when_caught_up
                    && !self.voters.contains(&old)
                {
                    return Err(ChangeError::NotVoter(old));
                }
                self.learners.insert(*id);
                self.members.insert(*id, member.clone());
            }
            MemberChange::Promote { id } => {
                if !self.is_member(*id) {
                    return Err(ChangeError::NotMember(*id));
                }
                if !self.learners.remove(id) {
                    return Err(ChangeError::NotLearner(*id));
                }
                self.voters.insert(*id);
            }
            MemberChange::Demote { id } => {
                if !self.is_member(*id) {
                    return Err(ChangeError::NotMember(*id));
                }
                if !self.voters.remove(id) {
                    return Err(ChangeError::NotVoter(*id));
                }
                self.learners.insert(*id);
            }
            MemberChange::Remove { id } => {
                if self.members.remove(id).is_none() {
                    return Err(ChangeError::NotMember(*id));
                }
                self.voters.remove(id);
                self.learners.remove(id);
            }
            MemberChange::Update { id, data } => {
                let member = self.members.get_mut(id).ok_or(ChangeError::NotMember(*id))?;
                member.data = data.clone();
            }
        }
        Ok(())
    }

    /// Forgets wishes that have come true, and those that name who votes no more: a
    /// learner whose predecessor is gone takes a place of its own.
    fn forget_fulfilled(&mut self) {
        let Self { voters, learners, members, .. } = self;
        for (id, member) in members {
            match member.when_caught_up {
                _ if !learners.contains(id) => member.when_caught_up = WhenCaughtUp::Stay,
                WhenCaughtUp::Replace(old) if !voters.contains(&old) => {
                    member.when_caught_up = WhenCaughtUp::Promote;
                }
                WhenCaughtUp::Stay | WhenCaughtUp::Promote | WhenCaughtUp::Replace(_) => {}
            }
        }
    }

    fn checked(self) -> Self {
        let Self { voters, outgoing, learners, members } = self;
        let checked: Result<Self, MembershipError> = Self::new(voters, outgoing, learners, members);
        checked.unwrap_or_else(|why| panic!("a change broke the membership: {why}"))
    }
}

#[cfg(test)]
#[path = "membership_change_tests.rs"]
mod tests;
