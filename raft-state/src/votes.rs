//! Answering those who stand for election.

use raft_core::{Body, Instant, NodeId, Position, Term, Token};
use raft_election::{Request, VoteVerdict};

use crate::replica::Replica;
use crate::role::Role;

impl Replica {
    pub(crate) fn on_pre_vote(
        &mut self,
        now: Instant,
        from: NodeId,
        term: Term,
        token: Token,
        last: Position,
    ) {
        self.tell_whether_removed(from, token);
        let request = self.request(now, from, term.next(), last, false);
        let granted = self.voter.decide_pre_vote(request) == VoteVerdict::Granted;
        // The reply carries the own term, so a rejection teaches a later one.
        self.send(from, Body::PreVoteReply { token, granted });
    }

    pub(crate) fn on_vote(
        &mut self,
        now: Instant,
        from: NodeId,
        term: Term,
        token: Token,
        last: Position,
        transfer: bool,
    ) {
        let request = self.request(now, from, term, last, transfer);
        if term > self.term() && !request.leader_alive {
            self.enter(now, term);
        }
        let granted = self.voter.decide(request) == VoteVerdict::Granted;
        let body = Body::VoteReply { token, granted };
        if granted {
            self.voter.grant(from);
            self.election.restart(now, &mut self.random);
            let write = self.durability.latest_term(self.voter.hard_state());
            self.send_after(write, from, body);
        } else {
            self.send(from, body);
        }
    }

    /// Refuses what is meant for another life of this id: `from` knows of members that are
    /// no more, and a promise of this disk is none of that one. It learns the term, and
    /// whether it was removed.
    pub(crate) fn refuse_for_another(&mut self, from: NodeId, body: &Body) {
        if let Body::PreVote { token, .. } = *body {
            self.tell_whether_removed(from, token);
            self.send(from, Body::PreVoteReply { token, granted: false });
        }
    }

    fn request(
        &self,
        now: Instant,
        candidate: NodeId,
        term: Term,
        last: Position,
        transfer: bool,
    ) -> Request {
        // A leader counts as heard: it steps down by itself where no quorum follows it. A
        // candidate that the leader itself asked to stand does not depose it, and that
        // leader has given up its lease before.
        let leads = matches!(self.role, Role::Leader(_));
        let leader_alive = !transfer && (leads || self.election.leader_alive(now));
        Request { candidate, term, last, own_last: self.promised_last(), leader_alive }
    }
}
