//! Whoever changes the members: what is under way, and what came of it.

use std::collections::BTreeMap;

use raft_core::{ChangeError, GroupId, Instant, MemberChange};
use raft_state::{ChangeRefusal, TransferOutcome, Unheard};

use super::invariant::Check;

/// How often members were changed and leadership was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberCounts {
    /// Changes that were committed, as whoever asked was told.
    pub changes_done: u64,
    /// Changes that were refused, by the reason.
    pub refused: RefusalCounts,
    /// Changes of which nobody knows what became of them.
    pub changes_unknown: u64,
    /// Members that groups have got, as learners first.
    pub added: u64,
    /// Members that groups have lost.
    pub removed: u64,
    /// Joint memberships that were committed.
    pub joint: u64,
    /// Replicas that learned that they are members no more, and stopped.
    pub told: u64,
    /// Nodes that began with an empty disk, to join.
    pub joined: u64,
    /// Nodes whose disk was lost.
    pub wiped: u64,
    /// Transfers after which another led.
    pub transfers_done: u64,
    /// Transfers that came to nothing in time.
    pub transfers_timed_out: u64,
    /// Transfers that were not begun.
    pub transfers_refused: u64,
    /// Transfers that ended with the process that was asked.
    pub transfers_unknown: u64,
    /// Nodes that were asked to stand for election.
    pub campaigns: u64,
}

/// Why changes were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts {
    /// Another node leads, or nobody.
    pub not_leader: u64,
    /// The leader was too new.
    pub no_commit_in_term: u64,
    /// Another change was under way.
    pub in_flight: u64,
    /// Leadership was being handed over.
    pub transferring: u64,
    /// The learner had not caught up.
    pub behind: u64,
    /// No majority of the new members was heard.
    pub unheard: u64,
    /// The change did not fit the members.
    pub invalid: u64,
}

impl MemberCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.changes_done += other.changes_done;
        self.refused.add(&other.refused);
        self.changes_unknown += other.changes_unknown;
        self.added += other.added;
        self.removed += other.removed;
        self.joint += other.joint;
        self.told += other.told;
        self.joined += other.joined;
        self.wiped += other.wiped;
        self.transfers_done += other.transfers_done;
        self.transfers_timed_out += other.transfers_timed_out;
        self.transfers_refused += other.transfers_refused;
        self.transfers_unknown += other.transfers_unknown;
        self.campaigns += other.campaigns;
    }

    fn transfer_ended(&mut self, outcome: &TransferOutcome) {
        match outcome {
            TransferOutcome::SteppedDown => self.transfers_done += 1,
            TransferOutcome::TimedOut => self.transfers_timed_out += 1,
            TransferOutcome::Refused(_) => self.transfers_refused += 1,
        }
    }
}

impl RefusalCounts {
    fn add(&mut self, other: &Self) {
        self.not_leader += other.not_leader;
        self.no_commit_in_term += other.no_commit_in_term;
        self.in_flight += other.in_flight;
        self.transferring += other.transferring;
        self.behind += other.behind;
        self.unheard += other.unheard;
        self.invalid += other.invalid;
    }

    fn refused(&mut self, why: &ChangeRefusal) {
        match why {
            ChangeRefusal::NotLeader { .. } => self.not_leader += 1,
            ChangeRefusal::NoCommitInTerm => self.no_commit_in_term += 1,
            ChangeRefusal::InFlight { .. } | ChangeRefusal::Invalid(ChangeError::Joint) => {
                self.in_flight += 1;
            }
            ChangeRefusal::Transferring => self.transferring += 1,
            ChangeRefusal::Behind { .. } => self.behind += 1,
            ChangeRefusal::Unheard { .. } => self.unheard += 1,
            ChangeRefusal::Invalid(_) => self.invalid += 1,
        }
    }
}

/// What a node is asked for.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Change { changes: Vec<MemberChange>, unheard: Unheard },
    Transfer { to: Option<raft_core::NodeId> },
    Campaign,
}

/// What came of a wish.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    Changed,
    Refused(ChangeRefusal),
    Transfer(TransferOutcome),
    Unknown,
}

/// A wish under way.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) node: usize,
    pub(super) group: GroupId,
    pub(super) at: Instant,
    pub(super) wish: Wish,
}

/// Invariant: whatever is asked for ends exactly once.
#[derive(Debug, Default)]
pub(super) struct Admin {
    asked: BTreeMap<u64, Asked>,
    last: u64,
    pub(super) counts: MemberCounts,
}

impl Admin {
    /// Clients' requests have smaller names, the engine's own larger ones.
    const FIRST: u64 = 1 << 40;

    /// Whether a request of this name is one of an administrator.
    pub(super) const fn names(id: u64) -> bool {
        id >= Self::FIRST
    }

    pub(super) fn ask(&mut self, node: usize, group: GroupId, at: Instant, wish: Wish) -> u64 {
        self.last += 1;
        let id = Self::FIRST + self.last;
        self.asked.insert(id, Asked { node, group, at, wish });
        id
    }

    /// Nothing is said to whoever asks a node to stand.
    pub(super) fn campaigned(&mut self, id: u64) {
        self.asked.remove(&id);
        self.counts.campaigns += 1;
    }

    pub(super) fn ended(&mut self, id: u64, ended: &Ended) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&id) else {
            return Err(Check::Answered
                .fails(format_args!("nobody waits for {id} any more, which ended as {ended:?}")));
        };
        let counts = &mut self.counts;
        match (&asked.wish, ended) {
            (Wish::Change { .. }, Ended::Changed) => counts.changes_done += 1,
            (Wish::Change { .. }, Ended::Refused(why)) => counts.refused.refused(why),
            (Wish::Change { .. }, Ended::Unknown) => counts.changes_unknown += 1,
            (Wish::Transfer { .. }, Ended::Transfer(outcome)) => counts.transfer_ended(outcome),
            (Wish::Transfer { .. }, Ended::Unknown) => counts.transfers_unknown += 1,
            _ => return Err(Check::Answered.fails(format_args!("{asked:?} ended as {ended:?}"))),
        }
        Ok(())
    }

    /// The node is gone: nobody knows what became of what it was asked for.
    pub(super) fn gone(&mut self, node: usize) -> Result<(), String> {
        let lost = self.asked.iter().filter(|(_, asked)| asked.node == node);
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        lost.into_iter().try_for_each(|id| self.ended(id, &Ended::Unknown))
    }

    pub(super) fn asked(&self, id: u64) -> Option<&Asked> {
        self.asked.get(&id)
    }

    /// What still waits for its end, the oldest first.
    pub(super) fn oldest(&self) -> Option<&Asked> {
        self.asked.first_key_value().map(|(_, asked)| asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_twice_or_as_something_else_is_found_out() {
        let mut admin = Admin::default();
        let mut ask = |wish| admin.ask(0, GroupId(1), Instant(0), wish);
        let change = ask(Wish::Change { changes: Vec::new(), unheard: Unheard::Refuse });
        let transfer = ask(Wish::Transfer { to: None });
        admin.ended(change, &Ended::Changed).unwrap();
        admin.ended(change, &Ended::Changed).unwrap_err();
        admin.ended(transfer, &Ended::Changed).unwrap_err();
        let left = ask_again(&mut admin);
        admin.gone(0).unwrap();
        admin.ended(left, &Ended::Unknown).unwrap_err();
        assert!(admin.oldest().is_none());
        assert_eq!((admin.counts.changes_done, admin.counts.transfers_unknown), (1, 1));
    }

    fn ask_again(admin: &mut Admin) -> u64 {
        admin.ask(0, GroupId(1), Instant(0), Wish::Transfer { to: None })
    }
}
