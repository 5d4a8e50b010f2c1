//! Linearizable reads without writing the log (thesis, section 6.4).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use raft_core::{Index, Instant, NodeId, quorum};

use crate::input::ReadId;
use crate::output::{Output, Refusal};
use crate::replica::Replica;
use crate::role::Role;

/// Reads that wait for a quorum to confirm that this replica still leads.
///
/// Invariants:
/// - A read joins only a round that has not been sent yet, so every confirmation
///   comes from after it was asked.
/// - A round's index is the commit index when it was sent, at which an entry of the
///   leader's own term was committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    waiting: Vec<ReadId>,
    round: Option<Round>,
}

#[derive(Clone, Debug)]
struct Round {
    number: u64,
    index: Index,
    ids: Vec<ReadId>,
    confirmed: BTreeSet<NodeId>,
    sent_at: Instant,
}

impl Reads {
    /// Takes out every read, answered or not, for leadership is over.
    pub(crate) fn take_all(&mut self) -> Vec<ReadId> {
        let mut ids = self.round.take().map(|round| round.ids).unwrap_or_default();
        ids.append(&mut self.waiting);
        ids
    }

    /// When the round under way counts as lost and is sent again.
    pub(crate) fn retry_at(&self, after: Duration) -> Option<Instant> {
        self.round.as_ref().map(|round| round.sent_at.after(after))
    }
}

impl Replica {
    pub(crate) fn read(&mut self, now: Instant, mut ids: Vec<ReadId>) {
        let known = self.leader();
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.waiting.append(&mut ids);
            self.open_read_round(now);
        } else {
            let why = Refusal::NotLeader { leader: known };
            self.outputs.push_back(Output::ReadsRefused { ids, why });
        }
    }

    /// Sends one round for all reads that wait, unless one is under way, or nothing of
    /// the leader's own term is committed yet: until then it may not know of all that
    /// its predecessors acknowledged.
    pub(crate) fn open_read_round(&mut self, now: Instant) {
        let Role::Leader(leader) = &mut self.role else { return };
        let free = leader.reads.round.is_none() && !leader.reads.waiting.is_empty();
        if !free || !leader.commitment.in_term(self.commit) {
            return;
        }
        let ids = core::mem::take(&mut leader.reads.waiting);
        if self.lease_lasts(now) {
            return self.outputs.push_back(Output::ReadsReady { ids, index: self.commit });
        }
        let confirmed = BTreeSet::from([self.me]);
        let token = self.next_token();
        let number = token.number;
        let round = Round { number, index: self.commit, ids, confirmed, sent_at: now };
        let Role::Leader(leader) = &mut self.role else { return };
        leader.reads.round = Some(round);
        if !self.finish_read_round() {
            self.beat(now, token, |_| true);
        }
    }

    /// True where nobody else can have been elected yet: a quorum was heard so lately that
    /// those who were give no vote (thesis, section 6.4.1). Contact counts from when the
    /// heartbeat was sent; grace given to new members is no contact.
    fn lease_lasts(&self, now: Instant) -> bool {
        let (Role::Leader(leader), Some(drift)) = (&self.role, self.config.lease_drift) else {
            return false;
        };
        if leader.lease_given_up {
            return false;
        }
        let heard = |id| if id == self.me { Some(now) } else { leader.heartbeats.contact(id) };
        let since = quorum::agreed(self.log.membership(), heard);
        let lease = self.config.election_timeout.saturating_sub(drift);
        since.is_some_and(|since| now < since.after(lease))
    }

    /// The quorum may have shrunk, and no answer may come any more.
    pub(crate) fn recount_reads(&mut self, now: Instant) {
        if self.finish_read_round() {
            self.open_read_round(now);
        }
    }

    pub(crate) fn confirm_reads(&mut self, now: Instant, from: NodeId, number: u64) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(round) = leader.reads.round.as_mut().filter(|round| round.number == number) {
            round.confirmed.insert(from);
            if self.finish_read_round() {
                self.open_read_round(now);
            }
        }
    }

    /// Sends a round again whose answers are overdue. Its number stays: whoever
    /// confirms it did so after the reads were asked.
    pub(crate) fn retry_read_round(&mut self, now: Instant) {
        let interval = self.config.heartbeat_interval;
        let boot = self.boot;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(round) = &mut leader.reads.round else { return };
        if now >= round.sent_at.after(interval) {
            round.sent_at = now;
            let token = raft_core::Token { boot, number: round.number };
            self.beat(now, token, |_| true);
        }
    }

    fn finish_read_round(&mut self) -> bool {
        let Role::Leader(leader) = &mut self.role else { return false };
        let membership = self.log.membership();
        let confirmed = leader
            .reads
            .round
            .take_if(|round| quorum::reached(membership, |id| round.confirmed.contains(&id)));
        let Some(Round { ids, index, .. }) = confirmed else { return false };
        self.outputs.push_back(Output::ReadsReady { ids, index });
        true
    }
}
