//! Following a leader.

use alloc::boxed::Box;
use alloc::vec::Vec;

use raft_core::{
    AppendOutcome, Body, Entry, Index, Instant, LogChange, NodeId, Position, SnapshotMeta, Term,
    Token,
};
use raft_replication::{Acceptance, accept};

use crate::output::{Evidence, Output};
use crate::replica::{Installing, Replica};
use crate::role::Role;
use crate::sanity::is_sane_position;

/// Whether the sender of a leader's message is the leader here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// It is.
    Sender,
    /// Another node leads this term; what this one says is not believed.
    Another,
}

impl Replica {
    /// Follows `from`, which says that it leads the current term.
    pub(crate) fn follow(&mut self, now: Instant, from: NodeId) -> Following {
        let known = self.leader();
        if let Some(known) = known.filter(|known| *known != from) {
            let term = self.term();
            self.broken(from, Evidence::TwoLeaders { term, known, other: from });
            return Following::Another;
        }
        self.role = Role::Follower { leader: Some(from) };
        self.election.leader_heard(now);
        Following::Sender
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one message")]
    pub(crate) fn on_append(
        &mut self,
        now: Instant,
        from: NodeId,
        term: Term,
        token: Token,
        prev: Position,
        mut entries: Vec<Entry>,
        commit: Index,
    ) {
        if term < self.term() {
            let outcome = AppendOutcome::StaleTerm;
            return self.send(from, Body::AppendReply { token, outcome });
        }
        if self.follow(now, from) == Following::Another {
            return;
        }
        let last = Index(prev.index.0 + entries.len() as u64);
        let from_the_future = entries.last().is_some_and(|entry| entry.term > term);
        match accept(&self.log, self.commit, prev, &entries) {
            Acceptance::Malformed => self.broken(from, Evidence::Malformed),
            _ if from_the_future => self.broken(from, Evidence::Malformed),
            Acceptance::Contradiction { own, theirs } => {
                self.halt(Evidence::Contradiction { from, term, own, theirs });
            }
            Acceptance::Conflict { hint } => {
                let until = self.durability.latest_term(self.voter.hard_state());
                let damaged = self.damage.is_some();
                let outcome = if damaged { AppendOutcome::Lost } else { AppendOutcome::Conflict };
                let outcome = outcome(hint);
                self.send_after(until, from, Body::AppendReply { token, outcome });
            }
            Acceptance::Known { last } => self.agree(from, token, last, commit),
            Acceptance::Append { skip } => {
                entries.drain(..skip);
                self.take_in(entries);
                self.agree(from, token, last, commit);
            }
        }
    }

    fn take_in(&mut self, entries: Vec<Entry>) {
        let first = entries[0].index;
        if first <= self.log.last().index {
            self.log.truncate_from(first);
        }
        for entry in &entries {
            self.log.append(entry);
        }
        self.write(Some(LogChange::Append(entries)));
    }

    /// Agrees with the leader up to `last`, once everything written so far is durable.
    fn agree(&mut self, from: NodeId, token: Token, last: Index, commit: Index) {
        self.commit = self.commit.max(commit.min(last));
        let until = self.durability.latest(self.voter.hard_state());
        let outcome = AppendOutcome::Matched(last);
        self.send_after(until, from, Body::AppendReply { token, outcome });
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        now: Instant,
        from: NodeId,
        term: Term,
        token: Token,
        commit: Index,
    ) {
        if term < self.term() {
            // The reply carries the later term.
            return self.send(from, Body::HeartbeatReply { token, commit: self.commit });
        }
        if self.follow(now, from) == Following::Another {
            return;
        }
        if self.damage.is_some() {
            self.tell_of_damage(token);
        } else {
            let last = self.log.last().index;
            if commit > last {
                return self.broken(from, Evidence::CommitBeyondLog { commit, last });
            }
            self.commit = self.commit.max(commit);
        }
        let until = self.durability.latest_term(self.voter.hard_state());
        self.send_after(until, from, Body::HeartbeatReply { token, commit: self.commit });
    }

    pub(crate) fn on_leader_heard(&mut self, leader: NodeId, term: Term, at: Instant) {
        let follows =
            matches!(self.role, Role::Follower { leader: Some(known) } if known == leader);
        if follows && term == self.term() {
            self.election.leader_heard(at);
            self.tell_of_damage_again();
        }
    }

    /// Puts a snapshot in the place of the log it covers: first in the log, durably,
    /// then in the state machine. A crash in between is made good when both are opened.
    pub(crate) fn on_snapshot_received(
        &mut self,
        from: NodeId,
        term: Term,
        token: Token,
        meta: Box<SnapshotMeta>,
    ) {
        let follows = matches!(self.role, Role::Follower { leader: Some(known) } if known == from);
        if term != self.term() || !follows {
            return;
        }
        let SnapshotMeta { position, membership, .. } = &*meta;
        let last = position.index;
        let malformed = position.term > term || membership.voters().is_empty();
        if malformed || !is_sane_position(*position) {
            return self.broken(from, Evidence::Malformed);
        }
        if let Some(own) = self.contradicted_by(*position) {
            return self.halt(Evidence::Contradiction { from, term, own, theirs: *position });
        }
        if last > self.commit {
            let boxed = Box::new(membership.clone());
            let change = LogChange::Reset { floor: *position, membership: boxed };
            let write = self.write(Some(change));
            self.log.reset(*position, membership.clone());
            self.commit = last;
            self.applied = last;
            self.installing = Some(Installing { write, meta, restoring: false });
        }
        let until = self.durability.latest(self.voter.hard_state());
        self.send_after(until, from, Body::SnapshotInstalled { token, last });
    }

    /// What is committed here and cannot be, if `other` is committed: another term at its
    /// index, or a later one before it.
    fn contradicted_by(&self, other: Position) -> Option<Position> {
        let index = self.commit.min(other.index);
        let own = Position { term: self.log.term_at(index)?, index };
        let agrees = if index == other.index { own == other } else { own.term <= other.term };
        (!agrees).then_some(own)
    }

    pub(crate) fn restore_if_durable(&mut self) {
        let Some(installing) = &mut self.installing else { return };
        if !installing.restoring && self.durability.reached(installing.write) {
            installing.restoring = true;
            self.outputs.push_back(Output::Restore(installing.meta.clone()));
        }
    }

    pub(crate) fn on_restored(&mut self, index: Index) {
        self.installing.take_if(|installing| installing.meta.position.index == index);
    }
}
