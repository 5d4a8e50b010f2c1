//! Changing who takes part (thesis, chapter 4).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use raft_core::{
    Body, ChangeError, Entry, EntryKind, Index, Instant, MemberChange, Membership, NodeId,
    Position, Token, quorum,
};
use raft_replication::CatchUpVerdict;
use thiserror::Error;

use crate::input::{ProposalId, Unheard};
use crate::output::Output;
use crate::replica::Replica;
use crate::role::{Leader, Role};

/// Why a change of the membership is refused. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeRefusal {
    /// Somebody else leads, or nobody known; ask there.
    #[error("this replica does not lead")]
    NotLeader {
        /// The leader, where known.
        leader: Option<NodeId>,
    },
    /// The leader is too new: until an entry of its own term is committed, an earlier
    /// change may be hidden from it. Try again in a moment.
    #[error("the leader has not yet committed an entry of its own term; try again")]
    NoCommitInTerm,
    /// An earlier change is under way; try again once it is done.
    #[error("an earlier change, at index {at}, is under way; try again once it is done")]
    InFlight {
        /// Where it stands in the log.
        at: Index,
    },
    /// Leadership is being handed over; try again in a moment.
    #[error("leadership is being handed over; try again")]
    Transferring,
    /// The learner to be promoted has not caught up; let it.
    #[error("node {id} is behind or not heard: it holds the log up to {matched} of {last}")]
    Behind {
        /// The learner.
        id: NodeId,
        /// Its log agrees up to here.
        matched: Index,
        /// The leader's log ends here.
        last: Index,
    },
    /// Too many of those who would decide have not been heard for an election timeout:
    /// nothing could be committed after the change. Start them first.
    #[error("no majority of the new membership is heard; silent: {}", listed(.missing))]
    Unheard {
        /// The silent voters of the new membership.
        missing: Vec<NodeId>,
    },
    /// The change does not fit the membership.
    #[error(transparent)]
    Invalid(#[from] ChangeError),
}

fn listed(ids: &[NodeId]) -> String {
    let each: Vec<String> = ids.iter().map(|id| format!("node {id}")).collect();
    each.join(", ")
}

impl Replica {
    pub(crate) fn change_members(
        &mut self,
        now: Instant,
        id: ProposalId,
        changes: &[MemberChange],
        unheard: Unheard,
    ) {
        match self.change_verdict(now, changes, unheard) {
            Ok(membership) => {
                let first = self.append_membership(now, &membership);
                let (term, ids) = (self.term(), [id].into());
                self.outputs.push_back(Output::Proposed { first, term, ids });
            }
            Err(why) => self.outputs.push_back(Output::ChangeRefused { id, why }),
        }
    }

    fn change_verdict(
        &self,
        now: Instant,
        changes: &[MemberChange],
        unheard: Unheard,
    ) -> Result<Membership, ChangeRefusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(ChangeRefusal::NotLeader { leader: self.leader() });
        };
        self.may_change(leader)?;
        let next = self.log.membership().changed(changes)?;
        for change in changes {
            if let MemberChange::Promote { id } = change {
                self.has_caught_up(now, leader, *id)?;
            }
        }
        if unheard == Unheard::Refuse {
            self.is_heard_by(now, leader, &next)?;
        }
        Ok(next)
    }

    /// One change at a time, and none before the leader knows of all earlier ones: else two
    /// leaders could each commit with a majority that knows nothing of the other's
    /// (thesis, section 4.1, and the correction of 2015 for single-server changes).
    fn may_change(&self, leader: &Leader) -> Result<(), ChangeRefusal> {
        let at = self.log.membership_index();
        if leader.transfer.is_some() {
            Err(ChangeRefusal::Transferring)
        } else if !leader.commitment.in_term(self.commit) {
            Err(ChangeRefusal::NoCommitInTerm)
        } else if at > self.commit || self.log.membership().is_joint() {
            Err(ChangeRefusal::InFlight { at })
        } else {
            Ok(())
        }
    }

    fn has_caught_up(
        &self,
        now: Instant,
        leader: &Leader,
        id: NodeId,
    ) -> Result<(), ChangeRefusal> {
        let caught_up = leader.replication.catch_up(id) == Some(CatchUpVerdict::CaughtUp);
        if caught_up && leader.heartbeats.is_heard(id, now) {
            return Ok(());
        }
        let (matched, last) = (leader.replication.matched(id), self.log.last().index);
        Err(ChangeRefusal::Behind { id, matched, last })
    }

    fn is_heard_by(
        &self,
        now: Instant,
        leader: &Leader,
        next: &Membership,
    ) -> Result<(), ChangeRefusal> {
        let heard = |id: NodeId| id == self.me || leader.heartbeats.is_heard(id, now);
        if quorum::reached(next, heard) {
            return Ok(());
        }
        let voters = next.members().keys().copied().filter(|id| next.is_voter(*id));
        Err(ChangeRefusal::Unheard { missing: voters.filter(|id| !heard(*id)).collect() })
    }

    /// Appends a membership, which is in force from here on: everything that counts or
    /// sends follows it at once.
    fn append_membership(&mut self, now: Instant, membership: &Membership) -> Index {
        let index = self.log.last().index.next();
        let payload = membership.encode();
        let entry = Entry { term: self.term(), index, kind: EntryKind::Membership, payload };
        self.append_own([entry].into());
        let number = self.tokens;
        if let Role::Leader(leader) = &mut self.role {
            leader.replication.follow(membership, index, number, now);
            leader.heartbeats.follow(membership, now);
        }
        self.recount_reads(now);
        index
    }

    /// What a leader does about the membership by itself: it leaves a joint one once that
    /// is committed, whoever appended it, and gives a learner that has caught up the part
    /// it was added for.
    pub(crate) fn lead_change_on(&mut self, now: Instant) {
        let last = self.log.last().index;
        let within = self.config.election_timeout;
        let Role::Leader(leader) = &mut self.role else { return };
        if !leader.commitment.in_term(self.commit) || leader.transfer.is_some() {
            return;
        }
        leader.replication.note_learners(now, last, within);
        let membership = self.log.membership();
        if self.log.membership_index() > self.commit {
            return;
        }
        if membership.is_joint() {
            let left = membership.left_joint();
            self.append_membership(now, &left);
            return;
        }
        let learners = membership.learners().iter();
        let wishes: Vec<_> = learners.filter_map(|id| membership.promotion(*id)).collect();
        let granted =
            wishes.iter().find_map(|steps| self.change_verdict(now, steps, Unheard::Refuse).ok());
        if let Some(next) = granted {
            self.append_membership(now, &next);
        }
    }

    /// A leader without a vote goes on until the membership without it is committed, since
    /// nobody else may be able to commit it (thesis, section 4.2.2). Then it tells the
    /// others how far it is, asks the best of them to stand, and steps down.
    pub(crate) fn leave_if_removed(&mut self, now: Instant) {
        let membership = self.log.membership();
        let done = self.log.membership_index() <= self.commit && !membership.is_joint();
        if !done || !self.is_leader() || membership.is_voter(self.me) {
            return;
        }
        let (member, at) = (membership.is_member(self.me), self.log.membership_position());
        let token = self.next_token();
        self.beat(now, token, |_| true);
        if let Some(successor) = self.successor(now, None) {
            self.ask_to_stand(now, successor);
        }
        self.step_down(now);
        if !member {
            self.removed = Some(at);
        }
    }

    /// Asks those it knows whether it is still a member.
    pub(crate) fn ask_whether_removed(&mut self) {
        let token = self.next_token();
        for voter in self.other_voters() {
            self.send(voter, Body::Belong { token });
        }
    }

    /// Tells a stranger how far it is known to be no member. Whoever it asks may answer: of
    /// those it knows, none may lead any more.
    pub(crate) fn tell_whether_removed(&mut self, from: NodeId, token: Token) {
        let committed = self.log.membership_at(self.commit);
        let known = committed.is_member(from) || self.log.membership().is_member(from);
        if !known && !committed.voters().is_empty() {
            let term = self.log.term_at(self.commit).expect("what is committed is in the log");
            let at = Position { term, index: self.commit };
            self.send(from, Body::Removed { token, at });
        }
    }

    /// Stops, where the membership in force at a committed position has this replica no
    /// more, in answer to a question of this run. Where the membership in its own log stands
    /// after that position, it was added since; where it stands before, it is part of what
    /// is committed there, or was overwritten.
    pub(crate) fn on_removed(&mut self, token: Token, at: Position) {
        let later = self.log.membership_position() <= at;
        if token.boot == self.boot && later && self.was_member(at) {
            self.stop_leading();
            self.removed = Some(at);
        }
    }

    /// True where a membership that is committed has had this replica. Whom only an entry has
    /// added that may be overwritten was never removed, and may be added yet: it waits, like
    /// one that has never been a member as far as its log goes.
    fn was_member(&self, committed: Position) -> bool {
        let Some(since) = self.log.member_since(self.me, self.incarnation) else { return false };
        // Another change is only made once the one before it is committed; and a leader's log
        // has everything before what it commits.
        let of_that_leader = || self.log.term_at(since) == Some(committed.term);
        since <= self.commit
            || since < self.log.membership_index()
            || since <= committed.index && of_that_leader()
    }
}
