//! Standing for election.

use alloc::vec::Vec;

use raft_core::quorum::Outcome;
use raft_core::{
    Body, Entry, EntryKind, Incarnation, Index, Instant, Membership, NodeId, Term, Token,
};
use raft_election::{Ballots, Candidacy, ElectionVerdict};

use crate::output::{Output, Refusal};
use crate::replica::Replica;
use crate::role::{Leader, OwnVote, Role};
use crate::transfer::TransferOutcome;

impl Replica {
    pub(crate) fn on_election_timeout(&mut self, now: Instant) {
        let candidacy = self.candidacy();
        match self.election.verdict(now, candidacy, &mut self.random) {
            ElectionVerdict::Wait => {}
            ElectionVerdict::Abstain => self.miss_leader(),
            ElectionVerdict::Campaign => self.ask_for_pre_votes(now),
        }
    }

    /// Stands for election without waiting for the deadline. Nothing happens where it may
    /// not stand, leads already, or where a leader may rely on this replica's vote.
    pub(crate) fn campaign_on_request(&mut self, now: Instant) {
        if self.may_stand() && !self.is_leader() && !self.election.is_bound(now) {
            self.election.restart(now, &mut self.random);
            self.ask_for_pre_votes(now);
        }
    }

    /// Full for voters, unless a snapshot is being installed or the log is damaged: until that
    /// is over the log is not what it claims to be. Who has lost its vote by a membership that is not committed
    /// still stands: it may be the only one whose log is long enough to win, and it counts
    /// on the votes of the others alone (thesis, section 4.2.2). It lets the others go
    /// first, for after a restart it does not know whether it is committed. A membership
    /// that names another disk under this id speaks of another replica.
    fn candidacy(&self) -> Candidacy {
        let votes = |membership: &Membership| {
            membership.is_voter(self.me) && membership.names(self.me, self.incarnation)
        };
        if self.installing.is_some() || self.damage.is_some() {
            Candidacy::None
        } else if votes(self.log.membership()) {
            Candidacy::Full
        } else if votes(self.committed_membership()) {
            Candidacy::AfterOthers
        } else {
            Candidacy::None
        }
    }

    /// Whether it may stand at all.
    pub(crate) fn may_stand(&self) -> bool {
        self.candidacy() != Candidacy::None
    }

    /// The latest membership that is certain to be committed. The one before the latest in
    /// the log is, however far the commit index here is behind: another change is only made
    /// then.
    fn committed_membership(&self) -> &Membership {
        self.log.membership_at(self.commit.max(self.log.membership_index().prev()))
    }

    /// Who cannot stand forgets a leader that is silent, which may be gone for good.
    fn miss_leader(&mut self) {
        self.election.forget_leader();
        self.role = Role::Follower { leader: None };
        self.ask_whether_removed();
    }

    /// Asks whether an election would be won, before disturbing anybody's term
    /// (thesis, section 9.6).
    fn ask_for_pre_votes(&mut self, now: Instant) {
        let token = self.next_token();
        self.role = Role::PreCandidate { ballots: Ballots::new(token.number) };
        let last = self.log.last();
        for voter in self.other_voters() {
            self.send(voter, Body::PreVote { token, last });
        }
        // A pre-vote binds nobody, so one's own needs no disk.
        self.on_pre_vote_reply(now, self.me, token, true);
    }

    pub(crate) fn on_pre_vote_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        token: Token,
        granted: bool,
    ) {
        let ours = token.boot == self.boot;
        let Role::PreCandidate { ballots } = &mut self.role else { return };
        if !ours {
            return;
        }
        match ballots.record(token.number, from, granted, self.log.membership()) {
            Outcome::Pending => {}
            Outcome::Won => self.campaign(now, false),
            Outcome::Lost => self.role = Role::Follower { leader: None },
        }
    }

    /// Enters the next term and asks for votes. Nothing leaves, and the own vote does
    /// not count, before both are durable: a candidate whose term was lost in a crash
    /// would campaign in it again. In a `transfer` the leader itself asked for it.
    pub(crate) fn campaign(&mut self, now: Instant, transfer: bool) {
        self.enter(now, self.term().next());
        self.voter.grant(self.me);
        let token = self.next_token();
        let write = self.durability.latest_term(self.voter.hard_state());
        let own_vote = Some(OwnVote { round: token.number, write });
        self.role = Role::Candidate { ballots: Ballots::new(token.number), own_vote };
        let last = self.log.last();
        for voter in self.other_voters() {
            self.send_after(write, voter, Body::Vote { token, last, transfer });
        }
    }

    pub(crate) fn count_own_vote(&mut self, now: Instant) {
        let Role::Candidate { own_vote, .. } = &mut self.role else { return };
        let durable = own_vote.take_if(|vote| self.durability.reached(vote.write));
        if let Some(OwnVote { round, .. }) = durable {
            self.on_vote_reply(now, self.me, Token { boot: self.boot, number: round }, true);
        }
    }

    pub(crate) fn on_vote_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        token: Token,
        granted: bool,
    ) {
        let ours = token.boot == self.boot;
        let Role::Candidate { ballots, .. } = &mut self.role else { return };
        if !ours {
            return;
        }
        match ballots.record(token.number, from, granted, self.log.membership()) {
            Outcome::Pending => {}
            Outcome::Won => self.lead(now),
            Outcome::Lost => self.role = Role::Follower { leader: None },
        }
    }

    /// Leads, and begins with a blank entry that commits what came before it
    /// (thesis, section 3.6.2). The first entry of a group restates its membership, so that
    /// who joins later and is sent the log from its beginning knows it at every index.
    fn lead(&mut self, now: Instant) {
        let term_start = self.log.last().index.next();
        let membership = self.log.membership();
        let (kind, payload) = match term_start {
            Index(1) => (EntryKind::Membership, membership.encode()),
            _ => (EntryKind::Blank, bytes::Bytes::new()),
        };
        let leader = Leader::new(&self.config, self.me, membership, term_start, self.tokens, now);
        self.role = Role::Leader(alloc::boxed::Box::new(leader));
        let first = Entry { term: self.term(), index: term_start, kind, payload };
        self.append_own(alloc::vec![first]);
    }

    /// Enters a later term as a follower of nobody yet.
    pub(crate) fn enter(&mut self, now: Instant, term: Term) {
        self.voter.enter(term);
        self.step_down(now);
    }

    /// Stops leading or standing. Reads that wait are refused; proposals that wait
    /// are answered by whoever made them, once the change of role is told.
    pub(crate) fn step_down(&mut self, now: Instant) {
        self.election.forget_leader();
        self.election.restart(now, &mut self.random);
        self.stop_leading();
    }

    pub(crate) fn stop_leading(&mut self) {
        let role = core::mem::replace(&mut self.role, Role::Follower { leader: None });
        if let Role::Leader(mut leader) = role {
            let ids = leader.reads.take_all();
            if !ids.is_empty() {
                let why = Refusal::NotLeader { leader: None };
                self.outputs.push_back(Output::ReadsRefused { ids, why });
            }
            if let Some(id) = leader.transfer.and_then(|transfer| transfer.id) {
                let outcome = TransferOutcome::SteppedDown;
                self.outputs.push_back(Output::TransferEnded { id, outcome });
            }
        }
    }

    pub(crate) fn other_voters(&self) -> Vec<NodeId> {
        let membership = self.log.membership();
        let voters = membership.members().keys().filter(|id| membership.is_voter(**id));
        voters.copied().filter(|id| *id != self.me).collect()
    }
}

/// Whether nobody else has a vote.
pub(crate) fn is_only_voter(membership: &Membership, me: NodeId, disk: Incarnation) -> bool {
    let mut voters = membership.voters().iter().chain(membership.outgoing());
    membership.is_voter(me) && membership.names(me, disk) && voters.all(|voter| *voter == me)
}
