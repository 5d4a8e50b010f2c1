//! The replica: its state, its calls, and nothing but control flow.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use raft_core::{
    Body, Boot, GroupId, Incarnation, Index, Instant, LogChange, LogShape, Membership, Message,
    NodeId, Position, Random, RecoveredGroup, SnapshotMeta, Token, WriteNumber,
};
use raft_election::{ElectionManager, Voter};

use crate::campaign::is_only_voter;
use crate::changing::ChangeRefusal;
use crate::config::Config;
use crate::damage::Damage;
use crate::durability::Durability;
use crate::input::{Input, Proposal};
use crate::output::{Evidence, Output, Refusal, RoleChange};
use crate::role::Role;
use crate::sanity::is_sane;
use crate::start::Start;
use crate::transfer::{TransferOutcome, TransferRefusal};

/// One replica of one group.
///
/// Invariants, asserted:
/// - `floor <= applied <= commit <= last`, and nothing is applied that is not durable
///   here, so that a state machine is never ahead of its log.
/// - Term, vote, commit and applied never go back while it lives.
/// - No promise leaves before the write it rests on is durable: an append's
///   acknowledgement, a vote, a request for votes, leadership itself, the leader
///   counting itself.
/// - The membership in force is the latest one in the log, on every path.
/// - While its log is damaged it never stands for election, commits nothing but what a leader
///   has just agreed to, and votes as if it still held what it has lost.
#[derive(Clone, Debug)]
pub struct Replica {
    pub(crate) config: Config,
    pub(crate) group: GroupId,
    pub(crate) me: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: Boot,
    pub(crate) tokens: u64,
    pub(crate) random: Random,
    pub(crate) voter: Voter,
    pub(crate) election: ElectionManager,
    pub(crate) role: Role,
    pub(crate) log: LogShape,
    pub(crate) durability: Durability,
    pub(crate) commit: Index,
    pub(crate) applied: Index,
    pub(crate) installing: Option<Installing>,
    /// What its disk has lost, until that is made good.
    pub(crate) damage: Option<Damage>,
    /// Where the membership without this replica stands, once that is committed.
    pub(crate) removed: Option<Position>,
    pub(crate) halted: bool,
    pub(crate) outputs: VecDeque<Output>,
    /// What was proposed since anything else happened or the outputs were taken, and when.
    staged: Vec<Proposal>,
    staged_at: Instant,
    told: RoleChange,
    told_membership: (Position, Membership),
}

/// A snapshot on its way into the log and the state machine.
#[derive(Clone, Debug)]
pub(crate) struct Installing {
    pub(crate) write: WriteNumber,
    pub(crate) meta: Box<SnapshotMeta>,
    pub(crate) restoring: bool,
}

impl Replica {
    /// A follower that goes on from what was durable.
    ///
    /// # Panics
    /// Where the state machine is ahead of the log, or behind its floor: whoever
    /// opens the two checks that first.
    #[must_use]
    pub fn new(config: Config, start: Start, now: Instant) -> Self {
        let Start { group, me, incarnation, boot, seed, recovered, applied } = start;
        let RecoveredGroup { hard_state, shape: log, damaged_up_to } = recovered;
        let (floor, last) = (log.floor().index, log.last().index);
        let damage = damaged_up_to.map(|up_to| Damage::new(up_to, log.last()));
        let applied = if damage.is_some() { floor } else { applied };
        assert!(floor <= applied && applied <= last, "{applied} applied, log {floor}..{last}");
        let mut random = Random::new(seed);
        let mut election = ElectionManager::new(
            config.election_timeout,
            config.priority,
            config.loyalty(),
            now,
            &mut random,
        );
        if damage.is_none() && is_only_voter(log.membership(), me, incarnation) {
            election.hasten(now);
        }
        let role = Role::Follower { leader: None };
        let told_membership = (log.membership_position(), log.membership().clone());
        Self {
            told_membership,
            told: RoleChange { role: role.name(), term: hard_state.term, leader: None },
            config,
            group,
            me,
            incarnation,
            boot,
            tokens: 0,
            random,
            voter: Voter::new(hard_state),
            election,
            role,
            durability: Durability::new(hard_state, last),
            log,
            commit: applied,
            applied,
            installing: None,
            damage,
            removed: None,
            halted: false,
            outputs: VecDeque::new(),
            staged: Vec::new(),
            staged_at: now,
        }
    }

    /// Takes in one thing that happened. Afterwards [`poll_output`](Self::poll_output)
    /// is to be drained; proposals that come one after the other before that are taken in
    /// together, and become one write.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if let Input::Propose(mut proposals) = input {
            self.staged_at = now;
            return self.staged.append(&mut proposals);
        }
        self.propose_staged();
        self.step(now, input);
    }

    fn propose_staged(&mut self) {
        if !self.staged.is_empty() {
            let proposals = mem::take(&mut self.staged);
            self.step(self.staged_at, Input::Propose(proposals));
        }
    }

    fn step(&mut self, now: Instant, input: Input) {
        if self.halted {
            return self.refuse(input);
        }
        match input {
            Input::Timeout => self.on_timeout(now),
            Input::Message(message) => self.on_message(now, message),
            Input::Propose(proposals) => self.propose(proposals),
            Input::Clock(time) => self.put_clock(time),
            Input::ChangeMembers { id, changes, unheard } => {
                self.change_members(now, id, &changes, unheard);
            }
            Input::Transfer { id, to } => self.transfer(now, id, to),
            Input::Campaign => self.campaign_on_request(now),
            Input::Read(ids) => self.read(now, ids),
            Input::Persisted(number) => self.on_persisted(now, number),
            Input::Sent { to, number, last, bytes } => self.on_sent(now, to, number, last, bytes),
            Input::EntriesGone { to, number } => self.on_entries_gone(now, to, number),
            Input::EntriesUnreadable { to, number, from } => {
                self.on_entries_unreadable(now, to, number, from);
            }
            Input::SnapshotFailed { to, number } => self.on_snapshot_failed(now, to, number),
            Input::SnapshotReceived { from, term, token, meta } => {
                self.on_snapshot_received(from, term, token, meta);
            }
            Input::Restored(index) => self.on_restored(index),
            Input::Trimmed(index) => self.log.trim_to(index.min(self.applied)),
            Input::LeaderHeard { leader, term, at } => self.on_leader_heard(leader, term, at),
            Input::FollowerHeard { follower, term, sent_at } => {
                self.on_follower_heard(follower, term, sent_at);
            }
        }
        if !self.halted {
            self.settle(now);
        }
    }

    /// The next thing to do, until there is none.
    #[inline]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.propose_staged();
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::Timeout`] next; it changes with every input.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.role {
            _ if self.halted => Instant(u64::MAX),
            Role::Leader(leader) => self.leader_deadline(leader),
            _ => self.election.deadline(),
        }
    }

    /// Ends this replica for good, because whoever drives it stops: reads that wait are
    /// refused, and nothing but refusals comes out of it any more.
    pub fn stop(&mut self) {
        self.halted = true;
        self.stop_leading();
    }

    fn on_timeout(&mut self, now: Instant) {
        if matches!(self.role, Role::Leader(_)) {
            self.on_leader_timeout(now);
        } else {
            self.on_election_timeout(now);
        }
    }

    fn on_message(&mut self, now: Instant, message: Message) {
        if message.group != self.group || message.to != self.me || message.from == self.me {
            return;
        }
        let (from, term) = (message.from, message.term);
        if !is_sane(&message) {
            return self.broken(from, Evidence::Malformed);
        }
        if !message.means(self.incarnation) {
            return self.refuse_for_another(from, &message.body);
        }
        // Requests for votes may be refused without entering their term.
        match message.body {
            Body::PreVote { token, last } => return self.on_pre_vote(now, from, term, token, last),
            Body::Vote { token, last, transfer } => {
                return self.on_vote(now, from, term, token, last, transfer);
            }
            _ if term > self.term() => self.enter(now, term),
            _ => {}
        }
        match message.body {
            Body::PreVote { .. } | Body::Vote { .. } => {}
            Body::PreVoteReply { token, granted } => {
                self.on_pre_vote_reply(now, from, token, granted);
            }
            Body::VoteReply { token, granted } => self.on_vote_reply(now, from, token, granted),
            Body::Append { token, prev, entries, commit } => {
                self.on_append(now, from, term, token, prev, entries, commit);
            }
            Body::Heartbeat { token, commit } => self.on_heartbeat(now, from, term, token, commit),
            // These two are of any term: who was removed may have missed many.
            Body::Belong { token } => self.tell_whether_removed(from, token),
            Body::Removed { token, at } => self.on_removed(token, at),
            // What answers a request of an earlier term counts for nothing now.
            _ if term < self.term() => {}
            Body::TimeoutNow { last, .. } => self.on_timeout_now(now, from, last),
            Body::AppendReply { token, outcome } => {
                self.on_append_reply(now, from, token, outcome);
            }
            Body::HeartbeatReply { token, commit } => {
                self.on_heartbeat_reply(now, from, token, commit);
            }
            Body::SnapshotInstalled { token, last } => {
                self.on_snapshot_installed(now, from, token, last);
            }
            // Whoever stores snapshots handles their pieces; here they are signs of life.
            Body::SnapshotChunk { .. } => {
                self.follow(now, from);
            }
            Body::SnapshotChunkReply { .. } => {}
        }
    }

    fn on_persisted(&mut self, now: Instant, number: WriteNumber) {
        self.durability.persisted(number, self.voter.term(), &mut self.outputs);
        self.forget_damage_if_healed();
        self.count_own_vote(now);
        self.restore_if_durable();
        self.advance_commit(now);
    }

    /// What follows from any input: entries to send, a term or vote to write, a
    /// change of role to tell, entries to apply.
    fn settle(&mut self, now: Instant) {
        self.lead_change_on(now);
        self.hand_over(now);
        self.write_hard_state();
        self.replicate(now);
        self.tell_membership();
        let change =
            RoleChange { role: self.role.name(), term: self.voter.term(), leader: self.leader() };
        if change != self.told {
            self.told = change;
            self.outputs.push_back(Output::RoleChanged(change));
        }
        let up_to = self.commit.min(self.durability.durable_index());
        if self.installing.is_none() && up_to > self.applied {
            self.applied = up_to;
            self.outputs.push_back(Output::Apply { up_to });
        }
        if let Some(at) = self.removed {
            self.halted = true;
            self.outputs.push_back(Output::Removed { at });
        }
        let (floor, last) = (self.log.floor().index, self.log.last().index);
        assert!(
            floor <= self.applied && self.applied <= self.commit && self.commit <= last,
            "floor {floor}, applied {}, commit {}, last {last}",
            self.applied,
            self.commit
        );
    }

    fn tell_membership(&mut self) {
        let at = self.log.membership_position();
        let (told_at, told) = &mut self.told_membership;
        if at != *told_at {
            *told_at = at;
            if told != self.log.membership() {
                told.clone_from(self.log.membership());
                self.outputs.push_back(Output::MembershipChanged);
            }
        }
    }

    /// Answers requests to a halted group; everything else is too late.
    fn refuse(&mut self, input: Input) {
        let why = Refusal::NotLeader { leader: None };
        match input {
            Input::ChangeMembers { id, .. } => {
                let why = ChangeRefusal::NotLeader { leader: None };
                self.outputs.push_back(Output::ChangeRefused { id, why });
            }
            Input::Transfer { id, .. } => {
                let why = TransferRefusal::NotLeader { leader: None };
                let outcome = TransferOutcome::Refused(why);
                self.outputs.push_back(Output::TransferEnded { id, outcome });
            }
            Input::Propose(proposals) => self.refuse_proposals(&proposals, why),
            Input::Read(ids) => self.outputs.push_back(Output::ReadsRefused { ids, why }),
            _ => {}
        }
    }

    pub(crate) fn write_hard_state(&mut self) {
        if self.durability.is_news(self.voter.hard_state()) {
            self.write(None);
        }
    }

    /// Gives a write to the disk. The shape of the log is changed by the caller.
    pub(crate) fn write(&mut self, change: Option<LogChange>) -> WriteNumber {
        let write = self.durability.write(self.voter.hard_state(), change, &self.log);
        let number = write.number;
        self.outputs.push_back(Output::Persist(write));
        number
    }

    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        let message = self.message(to, body);
        self.outputs.push_back(Output::Send(message));
    }

    /// Sends once `until` is durable, provided that the term is still this one.
    pub(crate) fn send_after(&mut self, until: WriteNumber, to: NodeId, body: Body) {
        let output = Output::Send(self.message(to, body));
        self.durability.hold(until, self.voter.term(), output, &mut self.outputs);
    }

    /// A message of this replica in the term it is in. What is for a member is for the disk
    /// that the membership in force names.
    #[must_use]
    pub fn message(&self, to: NodeId, body: Body) -> Message {
        let anyone = Message::new(self.group, self.me, to, self.voter.term(), body);
        if !anyone.body.is_for_a_member() {
            return anyone;
        }
        Message { to_disk: self.log.membership().disk_of(to), ..anyone }
    }

    pub(crate) const fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token { boot: self.boot, number: self.tokens }
    }

    pub(crate) fn halt(&mut self, evidence: Evidence) {
        self.halted = true;
        self.outputs.push_back(Output::Halt(evidence));
    }

    pub(crate) fn broken(&mut self, peer: NodeId, evidence: Evidence) {
        self.outputs.push_back(Output::PeerBroken { peer, evidence });
    }
}
