//! Leading.

use alloc::vec;
use alloc::vec::Vec;

use raft_core::{
    AppendOutcome, Body, Entry, EntryKind, GroupTime, Index, Instant, LogChange, Message, NodeId,
    Position, Term, Token,
};
use raft_election::{Contact, HeartbeatVerdict};
use raft_replication::{AckVerdict, CommitVerdict, ConflictVerdict, LossVerdict, SendVerdict};

use crate::input::{Proposal, ProposalId};
use crate::output::{Evidence, Output, Refusal, SendEntries};
use crate::replica::Replica;
use crate::role::{Leader, Role};

impl Replica {
    pub(crate) fn propose(&mut self, proposals: Vec<Proposal>) {
        let leader = match &self.role {
            Role::Leader(leader) if leader.transfer.is_none() => leader,
            Role::Leader(_) => return self.refuse_proposals(&proposals, Refusal::Transferring),
            _ => {
                let leader = self.leader();
                return self.refuse_proposals(&proposals, Refusal::NotLeader { leader });
            }
        };
        let (term, first) = (self.term(), self.log.last().index.next());
        let limit = self.config.max_uncommitted_bytes;
        let (mut index, mut bytes) = (first, 0);
        let mut entries = Vec::with_capacity(proposals.len());
        let mut refused = Vec::new();
        let taken = proposals.into_iter().filter_map(|Proposal { id, payload }| {
            let entry = Entry { term, index, kind: EntryKind::Command, payload };
            if !leader.uncommitted.has_room(bytes, entry.weight(), limit) {
                refused.push(id);
                return None;
            }
            bytes += entry.weight();
            index = index.next();
            entries.push(entry);
            Some(id)
        });
        let ids: Vec<ProposalId> = taken.collect();
        if !refused.is_empty() {
            let why = Refusal::Overloaded;
            self.outputs.push_back(Output::ProposalsRefused { ids: refused, why });
        }
        if !ids.is_empty() {
            self.append_own(entries);
            self.outputs.push_back(Output::Proposed { first, term, ids });
        }
    }

    pub(crate) fn refuse_proposals(&mut self, proposals: &[Proposal], why: Refusal) {
        let ids = proposals.iter().map(|proposal| proposal.id).collect();
        self.outputs.push_back(Output::ProposalsRefused { ids, why });
    }

    /// Appends the group's time, if there is room and no transfer waits for a log that
    /// stands still.
    pub(crate) fn put_clock(&mut self, time: GroupTime) {
        let Role::Leader(leader) = &self.role else { return };
        let (term, index) = (self.term(), self.log.last().index.next());
        let entry = Entry { term, index, kind: EntryKind::Clock, payload: time.encode() };
        let limit = self.config.max_uncommitted_bytes;
        let has_room = leader.uncommitted.has_room(0, entry.weight(), limit);
        if has_room && leader.transfer.is_none() {
            self.append_own(vec![entry]);
        }
    }

    /// Appends entries of one's own. Their replication and their write run side by
    /// side; the leader counts itself once its disk has them (thesis, section 10.2.1).
    pub(crate) fn append_own(&mut self, entries: Vec<Entry>) {
        let Role::Leader(leader) = &mut self.role else { return };
        for entry in &entries {
            self.log.append(entry);
        }
        let weight = entries.iter().map(Entry::weight).sum();
        leader.uncommitted.proposed(self.log.last().index, weight);
        self.write(Some(LogChange::Append(entries)));
    }

    /// Sends every follower what it lacks and may be sent now.
    pub(crate) fn replicate(&mut self, now: Instant) {
        let Role::Leader(leader) = &self.role else { return };
        let limits = leader.replication.limits();
        // Most of the time nobody is to be sent anything, which takes no memory.
        let peers: Vec<(NodeId, SendVerdict)> = leader
            .replication
            .peers()
            .map(|(id, peer)| (id, peer.verdict(now, &self.log, limits)))
            .filter(|(_, verdict)| *verdict != SendVerdict::Nothing)
            .collect();
        for (to, verdict) in peers {
            match verdict {
                SendVerdict::Nothing => {}
                SendVerdict::Entries { from, up_to } => self.send_entries(to, from, up_to),
                SendVerdict::Snapshot => self.send_snapshot(to),
            }
        }
    }

    fn send_entries(&mut self, to: NodeId, from: Index, up_to: Index) {
        let (term, token, commit) = (self.term(), self.next_token(), self.commit);
        let before = from.prev();
        let prev_term = self.log.term_at(before).expect("what is sent follows what is in the log");
        let prev = Position { term: prev_term, index: before };
        let max_bytes = self.config.max_append_bytes;
        let Some(peer) = self.peer_mut(to) else { return };
        peer.read_started(token.number, commit);
        let to_disk = self.log.membership().disk_of(to);
        let request =
            SendEntries { to, to_disk, term, token, prev, from, up_to, max_bytes, commit };
        self.outputs.push_back(Output::SendEntries(request));
    }

    fn send_snapshot(&mut self, to: NodeId) {
        let (term, token) = (self.term(), self.next_token());
        let Some(peer) = self.peer_mut(to) else { return };
        peer.snapshot_started(token.number);
        self.outputs.push_back(Output::SendSnapshot { to, term, token });
    }

    pub(crate) fn on_sent(
        &mut self,
        now: Instant,
        to: NodeId,
        number: u64,
        last: Index,
        bytes: usize,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.unsent.remove(&to);
        if let Some(peer) = leader.replication.peer_mut(to) {
            peer.sent(number, last, bytes, now);
        }
    }

    pub(crate) fn on_snapshot_failed(&mut self, now: Instant, to: NodeId, number: u64) {
        let retry_at = now.after(self.config.heartbeat_interval);
        if let Some(peer) = self.peer_mut(to) {
            peer.snapshot_failed(number, retry_at);
        }
    }

    pub(crate) fn on_append_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        token: Token,
        outcome: AppendOutcome,
    ) {
        if token.boot != self.boot {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.replication.peer_mut(from) else { return };
        let heard = match outcome {
            AppendOutcome::StaleTerm => None,
            AppendOutcome::Matched(matched) => {
                match peer.acknowledged(token.number, matched, self.log.last().index) {
                    AckVerdict::Late => None,
                    AckVerdict::Heard { sent_at } => Some(sent_at),
                    AckVerdict::Broken => return self.quarantine(from, Evidence::Invented),
                }
            }
            AppendOutcome::Conflict(hint) => match peer.conflicted(token.number, hint, &self.log) {
                ConflictVerdict::Stale | ConflictVerdict::Late => None,
                ConflictVerdict::Retry { sent_at } => Some(sent_at),
                ConflictVerdict::Broken => return self.quarantine(from, Evidence::Denied),
            },
            AppendOutcome::Lost(hint) => {
                match peer.lost(token.number, hint, self.tokens, &self.log) {
                    LossVerdict::Known => {}
                    LossVerdict::Back => {
                        leader.replication.learner_lost(from, now, self.log.last().index);
                    }
                }
                None
            }
        };
        if let Some(sent_at) = heard {
            leader.heartbeats.heard(from, sent_at);
        }
        self.advance_commit(now);
        self.arm_notice(now, from);
    }

    pub(crate) fn on_snapshot_installed(
        &mut self,
        now: Instant,
        from: NodeId,
        token: Token,
        last: Index,
    ) {
        if token.boot != self.boot {
            return;
        }
        if last > self.log.last().index {
            return self.quarantine(from, Evidence::Invented);
        }
        if let Some(peer) = self.peer_mut(from) {
            peer.snapshot_installed(token.number, last);
        }
        self.advance_commit(now);
    }

    fn quarantine(&mut self, peer: NodeId, evidence: Evidence) {
        if let Some(progress) = self.peer_mut(peer) {
            progress.quarantine();
        }
        self.broken(peer, evidence);
    }

    /// Commits what a quorum has, the leader counting what its own disk has.
    pub(crate) fn advance_commit(&mut self, now: Instant) {
        let own = self.durability.durable_index();
        let me = self.me;
        let Role::Leader(leader) = &mut self.role else { return };
        let matched = |id| if id == me { own } else { leader.replication.matched(id) };
        match leader.commitment.verdict(self.log.membership(), self.commit, matched) {
            CommitVerdict::Unchanged => {}
            CommitVerdict::Advance(commit) => {
                self.commit = commit;
                leader.uncommitted.committed(commit);
                leader.notice_at.get_or_insert(now.after(self.config.commit_notice));
                self.open_read_round(now);
                self.leave_if_removed(now);
            }
        }
    }

    pub(crate) fn on_leader_timeout(&mut self, now: Instant) {
        let Role::Leader(leader) = &mut self.role else { return };
        match leader.heartbeats.verdict(now, self.me, self.log.membership()) {
            HeartbeatVerdict::Wait => {}
            HeartbeatVerdict::Beat => {
                let token = self.next_token();
                self.beat(now, token, |_| true);
            }
            HeartbeatVerdict::QuorumLost => return self.step_down(now),
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let heartbeats = &leader.heartbeats;
        leader.replication.resend_overdue(now, |id| heartbeats.is_heard(id, now));
        if leader.notice_at.take_if(|at| now >= *at).is_some() {
            self.notice(now);
        }
        self.retry_read_round(now);
    }

    /// Tells the followers that nothing else tells how far the commit index is. Those
    /// that were heard lately are told again until they say that they know; the others
    /// when they are heard.
    fn notice(&mut self, now: Instant) {
        let Role::Leader(leader) = &mut self.role else { return };
        let commit = self.commit;
        let news = leader.replication.peers().filter(|(_, peer)| peer.commit_is_news(commit));
        let untold: Vec<NodeId> = news.map(|(id, _)| id).collect();
        if untold.iter().any(|id| leader.heartbeats.is_heard(*id, now)) {
            leader.notice_at = Some(now.after(self.config.heartbeat_interval));
        }
        if !untold.is_empty() {
            let token = self.next_token();
            self.beat(now, token, |id| untold.contains(&id));
        }
    }

    /// Sees to it that a follower that was just heard learns of the commit index.
    fn arm_notice(&mut self, now: Instant, from: NodeId) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.replication.peer(from).is_some_and(|peer| peer.commit_is_news(self.commit)) {
            leader.notice_at.get_or_insert(now.after(self.config.commit_notice));
        }
    }

    /// Sends a heartbeat to the followers that `chosen` names.
    pub(crate) fn beat(&mut self, now: Instant, token: Token, chosen: impl Fn(NodeId) -> bool) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.heartbeats.beat_sent(token.number, now);
        let followers: Vec<NodeId> =
            leader.replication.peers().map(|(id, _)| id).filter(|id| chosen(*id)).collect();
        for to in followers {
            let message = self.heartbeat_message(to, token);
            self.outputs.extend(message.map(Output::Send));
        }
    }

    /// A heartbeat for one follower, to be sent now on behalf of this group; `None`
    /// where this replica does not lead or `to` is no member.
    pub fn heartbeat(&mut self, now: Instant, to: NodeId) -> Option<Message> {
        let token = self.next_token();
        let Role::Leader(leader) = &mut self.role else { return None };
        leader.heartbeats.beat_sent(token.number, now);
        self.heartbeat_message(to, token)
    }

    fn heartbeat_message(&mut self, to: NodeId, token: Token) -> Option<Message> {
        let commit = self.commit;
        let peer = self.peer_mut(to)?;
        // Never above what it acknowledged: it might hold something else there.
        let commit = peer.commit_for(commit);
        Some(self.message(to, Body::Heartbeat { token, commit }))
    }

    pub(crate) fn on_heartbeat_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        token: Token,
        commit: Index,
    ) {
        if token.boot != self.boot {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let sent_at = leader.heartbeats.sent_at(token.number);
        let contact = sent_at.map(|sent_at| leader.heartbeats.heard(from, sent_at));
        if let Some(peer) = leader.replication.peer_mut(from) {
            peer.commit_told(commit);
            if contact == Some(Contact::AfterSilence) {
                peer.found_again();
            }
        }
        self.arm_notice(now, from);
        self.confirm_reads(now, from, token.number);
    }

    pub(crate) fn on_follower_heard(&mut self, follower: NodeId, term: Term, sent_at: Instant) {
        let current = term == self.term();
        if let Role::Leader(leader) = &mut self.role
            && current
            && leader.heartbeats.heard(follower, sent_at) == Contact::AfterSilence
            && let Some(peer) = leader.replication.peer_mut(follower)
        {
            peer.found_again();
        }
    }

    pub(crate) fn leader_deadline(&self, leader: &Leader) -> Instant {
        let heartbeats = leader.heartbeats.deadline(self.me, self.log.membership());
        let others = [
            leader.replication.deadline(),
            self.transfer_deadline(leader),
            leader.notice_at,
            leader.reads.retry_at(self.config.heartbeat_interval),
        ];
        others.into_iter().flatten().fold(heartbeats, Instant::min)
    }

    pub(crate) fn peer_mut(&mut self, id: NodeId) -> Option<&mut raft_replication::Progress> {
        match &mut self.role {
            Role::Leader(leader) => leader.replication.peer_mut(id),
            _ => None,
        }
    }
}
