//! One node of the model: the real replica, its log and disk, and a clock of its own.

use std::collections::VecDeque;

use bytes::Bytes;
use raft_core::{
    Body, Boot, GroupId, HardState, Index, Instant, Membership, Message, NodeId, Position,
    RecoveredGroup, SnapshotMeta, Term, Write, WriteNumber,
};
use raft_state::{
    Input, Output, Proposal, ProposalId, ReadId, Replica, RoleName, SendEntries, Start,
};

use super::bug::{Bug, Counted};
use super::canon;
use super::log::{Disk, Log};
use super::rules::Rules;
use super::stimulus::{Change, Stimulus};

pub(crate) const GROUP: GroupId = GroupId(1);

/// Moments begin here, so that none is taken for the beginning of time.
const BEGIN: u64 = 1000;

pub(crate) fn id(n: u8) -> NodeId {
    NodeId::new(u64::from(n)).expect("nodes are counted from 1")
}

/// Everything of one node that decides what it will do.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) me: NodeId,
    pub(crate) replica: Replica,
    pub(crate) log: Log,
    pub(crate) disk: Disk,
    /// Given to the disk and not durable.
    pub(crate) pending: VecDeque<Write>,
    /// A snapshot that the state machine does not hold yet.
    restoring: Option<Index>,
    /// Logs that the disk held earlier, where the world damages disks.
    earlier: Option<Vec<Log>>,
    /// Where the disk's log ended before a part of it was lost.
    damaged_up_to: Option<Position>,
    boots: u64,
    /// What a broken rule counts.
    counted: Counted,
}

/// What has left a node in one step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) messages: Vec<Message>,
    /// Reads that were answered, with the index they may be answered at.
    pub(crate) reads: Vec<(u64, Index)>,
    /// Reads that were refused.
    pub(crate) refused: Vec<u64>,
    /// What no correct replica says.
    pub(crate) broken: Option<String>,
}

/// A node, the time on its clock, and the number of its latest durable write.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) durable: WriteNumber,
}

impl Timed {
    /// A node that has never run. Without a membership it has joined no group.
    pub(crate) fn fresh(n: u8, membership: Membership, rules: &Rules, damages: bool) -> Self {
        let disk = Disk { hard_state: HardState::default(), log: Log::new(membership) };
        let earlier = damages.then(Vec::new);
        Self::boot(id(n), disk, 1, None, earlier, Instant(BEGIN), rules)
    }

    fn boot(
        me: NodeId,
        disk: Disk,
        boots: u64,
        damaged_up_to: Option<Position>,
        earlier: Option<Vec<Log>>,
        now: Instant,
        rules: &Rules,
    ) -> Self {
        let log = disk.log.clone();
        let told = damaged_up_to.filter(|_| rules.bug != Some(Bug::DamageIsForgotten));
        let start = Start {
            group: GROUP,
            me,
            incarnation: raft_core::Incarnation(0),
            boot: Boot(me.get() << 8 | boots),
            seed: 0,
            recovered: RecoveredGroup {
                hard_state: rules.remembered(disk.hard_state),
                shape: rules.recovered(&log).shape(),
                damaged_up_to: told,
            },
            applied: log.floor.index,
        };
        let node = Node {
            me,
            replica: Replica::new(rules.config.clone(), start, now),
            log,
            disk,
            pending: VecDeque::new(),
            restoring: None,
            earlier,
            damaged_up_to,
            boots,
            counted: Counted::default(),
        };
        Self { node, now, durable: WriteNumber(0) }
    }

    /// What tells this node from others that will act otherwise.
    pub(crate) fn text(&self) -> String {
        canon::text(&self.node, self.now.0, self.durable.0)
    }

    /// Lets one thing happen. Without `late` the disk completes at once what is written.
    pub(crate) fn step(&mut self, what: &Stimulus, late: bool, rules: &Rules) -> Sent {
        let mut sent = Sent::default();
        let on_time = !late && self.node.pending.is_empty() && self.node.restoring.is_none();
        self.happens(what, rules, &mut sent);
        while on_time && self.complete_one(rules, &mut sent) {}
        if let Some(bug) = rules.bug {
            bug.alter(&self.node.counted, &self.node.replica, &mut sent.messages);
        }
        sent
    }

    fn happens(&mut self, what: &Stimulus, rules: &Rules, sent: &mut Sent) {
        let node = &mut self.node;
        match what {
            Stimulus::Receive(message) => self.receive(message.clone(), rules, sent),
            Stimulus::Complete => {
                self.complete_one(rules, sent);
            }
            Stimulus::Stand => self.stand(rules, sent),
            Stimulus::Lapse => self.now = self.now.max(node.replica.deadline()),
            Stimulus::Tick => {
                self.now = Instant(self.now.0 + 1);
                self.input(Input::Timeout, rules, sent);
            }
            Stimulus::Pass => self.now = Instant(self.now.0 + 1),
            Stimulus::Beat { to } => {
                let message = node.replica.heartbeat(self.now, id(*to));
                sent.messages.extend(message);
            }
            Stimulus::Propose(n) => {
                let payload = Bytes::copy_from_slice(&[b'a' + n]);
                let proposal = Proposal { id: ProposalId(0), payload };
                self.input(Input::Propose(vec![proposal]), rules, sent);
            }
            Stimulus::Change(change) => self.change(*change, rules, sent),
            Stimulus::Transfer { to } => {
                let to = Some(id(*to));
                self.input(Input::Transfer { id: ProposalId(0), to }, rules, sent);
            }
            Stimulus::Read(n) => self.input(Input::Read(vec![ReadId(u64::from(*n))]), rules, sent),
            Stimulus::Trim => self.trim(rules, sent),
            Stimulus::Crash => self.crash(rules),
            Stimulus::Damage { left } => self.damage(*left, rules),
        }
    }

    fn change(&mut self, change: Change, rules: &Rules, sent: &mut Sent) {
        let changes = change.steps();
        let unheard = raft_state::Unheard::DangerouslyAllow;
        self.input(Input::ChangeMembers { id: ProposalId(0), changes, unheard }, rules, sent);
    }

    /// Whoever relies on leases may stand whenever its vote is not bound; everybody else once
    /// its deadline has come, which may be at any time.
    fn stand(&mut self, rules: &Rules, sent: &mut Sent) {
        if rules.config.lease_drift.is_some() {
            return self.input(Input::Campaign, rules, sent);
        }
        self.now = self.now.max(self.node.replica.deadline());
        self.input(Input::Timeout, rules, sent);
    }

    fn receive(&mut self, message: Message, rules: &Rules, sent: &mut Sent) {
        if rules.bug == Some(Bug::CountsEarlierTerms) {
            self.node.counted.note(&message, &self.node.replica);
        }
        let (from, term) = (message.from, message.term);
        let snapshot = match &message.body {
            Body::SnapshotChunk { token, meta, .. } => {
                Some(Input::SnapshotReceived { from, term, token: *token, meta: meta.clone() })
            }
            _ => None,
        };
        self.input(Input::Message(message), rules, sent);
        if let Some(received) = snapshot {
            self.input(received, rules, sent);
        }
    }

    fn input(&mut self, input: Input, rules: &Rules, sent: &mut Sent) {
        self.node.replica.handle(self.now, input);
        self.drain(rules, sent);
    }

    fn drain(&mut self, rules: &Rules, sent: &mut Sent) {
        while let Some(output) = self.node.replica.poll_output() {
            let node = &mut self.node;
            match output {
                Output::Persist(write) => {
                    let number = write.number;
                    write.change.clone().into_iter().for_each(|change| node.log.change(change));
                    node.pending.push_back(write);
                    if rules.bug == Some(Bug::RepliesBeforeFlush) {
                        self.durable = number;
                        node.replica.handle(self.now, Input::Persisted(number));
                    }
                }
                Output::Send(message) => sent.messages.push(message),
                Output::SendEntries(request) => self.send_entries(request, sent),
                Output::SendSnapshot { to, term, token } => {
                    let Log { floor, membership, .. } = &node.log;
                    let (position, membership) = (*floor, membership.clone());
                    let meta = SnapshotMeta { position, membership, bytes: 0, checksum: 0 };
                    let (meta, data) = (Box::new(meta), Bytes::new());
                    let body = Body::SnapshotChunk { token, meta, offset: 0, data, checksum: 0 };
                    let from = node.me;
                    sent.messages.push(Message::new(GROUP, from, to, term, body));
                }
                Output::Restore(meta) => node.restoring = Some(meta.position.index),
                Output::ReadsReady { ids, index } => {
                    sent.reads.extend(ids.iter().map(|read| (read.0, index)));
                }
                Output::ReadsRefused { ids, .. } => {
                    sent.refused.extend(ids.iter().map(|read| read.0));
                }
                Output::PeerBroken { .. } | Output::Halt(_) | Output::Unreadable { .. } => {
                    sent.broken = Some(format!("node {} says {output:?}", node.me));
                }
                _ => {}
            }
        }
    }
}

/// The log and the disk.
impl Timed {
    fn send_entries(&mut self, request: SendEntries, sent: &mut Sent) {
        let node = &mut self.node;
        let entries = node.log.read(&request);
        if entries.is_empty() {
            let gone = Input::EntriesGone { to: request.to, number: request.token.number };
            return node.replica.handle(self.now, gone);
        }
        let (message, left) = request.append(GROUP, node.me, entries);
        sent.messages.push(message);
        node.replica.handle(self.now, left);
    }

    /// Completes the oldest write, or else the restoration of a snapshot. False where there
    /// is neither.
    fn complete_one(&mut self, rules: &Rules, sent: &mut Sent) -> bool {
        let node = &mut self.node;
        if let Some(write) = node.pending.pop_front() {
            let before = node.disk.log.clone();
            node.disk.hard_state = write.hard_state;
            write.change.into_iter().for_each(|change| node.disk.log.change(change));
            if let Some(earlier) = &mut node.earlier
                && before != node.disk.log
                && !earlier.contains(&before)
            {
                earlier.push(before);
            }
            if write.number > self.durable {
                self.durable = write.number;
                self.input(Input::Persisted(write.number), rules, sent);
            }
        } else if let Some(index) = node.restoring.take() {
            self.input(Input::Restored(index), rules, sent);
        } else {
            return false;
        }
        true
    }

    /// Takes a snapshot of all that is applied, and trims the log to it.
    fn trim(&mut self, rules: &Rules, sent: &mut Sent) {
        let node = &mut self.node;
        let index = node.replica.applied();
        let term = node.replica.log().term_at(index).expect("what is applied is in the log");
        let membership = node.replica.log().membership_at(index).clone();
        let floor = Position { term, index };
        node.log.trim(floor, membership.clone());
        node.disk.log.trim(floor, membership);
        self.input(Input::Trimmed(index), rules, sent);
    }

    /// Loses what is not durable, and starts again.
    fn crash(&mut self, rules: &Rules) {
        let Node { me, disk, earlier, damaged_up_to, boots, .. } = self.node.clone();
        let damaged_up_to = damaged_up_to.filter(|up_to| disk.log.last() < *up_to);
        *self = Self::boot(me, disk, boots + 1, damaged_up_to, earlier, self.now, rules);
    }

    /// Loses what the disk wrote to its log after an earlier moment, and starts again.
    fn damage(&mut self, left: u8, rules: &Rules) {
        let node = &mut self.node;
        let ended = node.disk.log.last();
        node.disk.log = node.shorter_logs().swap_remove(usize::from(left));
        node.damaged_up_to = node.damaged_up_to.max(Some(ended));
        self.crash(rules);
    }
}

impl Node {
    /// What may be left of the log after damage: any beginning of it, and what the disk held
    /// earlier, as far as it ends at an earlier position.
    pub(crate) fn shorter_logs(&self) -> Vec<Log> {
        let log = &self.disk.log;
        let cut = |keep| Log { entries: log.entries[..keep].to_vec(), ..log.clone() };
        let mut logs: Vec<Log> = (0..log.entries.len()).map(cut).collect();
        for earlier in self.earlier.iter().flatten() {
            let fits = earlier.floor == log.floor && earlier.last() < log.last();
            if fits && !logs.contains(earlier) {
                logs.push(earlier.clone());
            }
        }
        logs
    }

    /// Whether the disk has work to do.
    pub(crate) fn is_busy(&self) -> bool {
        !self.pending.is_empty() || self.restoring.is_some()
    }

    /// Whether the disk has lost a part of its log that is not made good.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged_up_to.is_some_and(|up_to| self.disk.log.last() < up_to)
    }

    pub(crate) const fn boots(&self) -> u64 {
        self.boots
    }

    pub(crate) fn role(&self) -> RoleName {
        self.replica.status().role
    }

    pub(crate) fn term(&self) -> Term {
        self.replica.term()
    }
}
