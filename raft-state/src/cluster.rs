//! A test cluster: replicas, their logs and disks, a clock and a network in one struct.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use raft_core::{
    Boot, Entry, EntryKind, GroupId, HardState, Incarnation, Index, Instant, LogChange, LogShape,
    Membership, Message, NodeId, Position, RecoveredGroup, SnapshotMeta, Term, Write,
};

use crate::{Config, Input, Output, Proposal, ProposalId, ReadId, Replica, SendEntries, Start};

pub(crate) const GROUP: GroupId = GroupId(1);

/// A node that wants to be woken at one moment more often than this never has enough.
const MOST_WAKES: usize = 1000;

/// So many earlier states of each log are remembered.
const EARLIER: usize = 12;

/// Messages that follow from one another, while no time passes, come to an end before.
const MOST_DELIVERED: usize = 100_000;

pub(crate) fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

/// A log in memory: what a disk holds, or what a replica sees.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) floor: Position,
    pub(crate) membership: Membership,
    pub(crate) entries: Vec<Entry>,
}

impl Log {
    fn change(&mut self, change: LogChange) {
        match change {
            LogChange::Append(entries) => {
                let keep = entries[0].index.0 - self.floor.index.0 - 1;
                self.entries.truncate(usize::try_from(keep).unwrap());
                self.entries.extend(entries);
            }
            LogChange::Reset { floor, membership } => {
                let holds = self.entries.iter().any(|entry| entry.position() == floor);
                self.entries.retain(|entry| holds && entry.index > floor.index);
                (self.floor, self.membership) = (floor, *membership);
            }
        }
    }

    fn shape(&self) -> LogShape {
        let mut shape = LogShape::new(self.floor, self.membership.clone());
        self.entries.iter().for_each(|entry| shape.append(entry));
        shape
    }

    fn read(&self, request: &SendEntries) -> Vec<Entry> {
        let asked = request.from..=request.up_to;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.weight();
            first || bytes <= request.max_bytes
        };
        let entries = self.entries.iter().filter(|entry| asked.contains(&entry.index));
        entries.take_while(fits).cloned().collect()
    }

    pub(crate) fn terms(&self) -> Vec<u64> {
        self.entries.iter().map(|entry| entry.term.0).collect()
    }
}

/// One node: a replica, what it wrote, and what its disk has of it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) replica: Replica,
    pub(crate) log: Log,
    pub(crate) disk: (HardState, Log),
    pub(crate) writes: VecDeque<Write>,
    /// While set, nothing that is written becomes durable.
    pub(crate) stalled: bool,
    pub(crate) applied: Vec<(Index, Bytes)>,
    pub(crate) others: Vec<Output>,
    /// What of the log cannot be read to be sent.
    pub(crate) unreadable: BTreeSet<Index>,
    incarnation: Incarnation,
    boots: u64,
    /// Where the log on the disk ended before a part of it was lost.
    damaged_up_to: Option<Position>,
}

impl Node {
    /// The same, as long as the disk has not been given that much again.
    fn damaged_up_to(&self) -> Option<Position> {
        self.damaged_up_to.filter(|up_to| self.disk.1.shape().last() < *up_to)
    }
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) now: Instant,
    pub(crate) wire: VecDeque<Message>,
    /// Pairs between which nothing is carried, from the first to the second.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) delivered: usize,
    pub(crate) config: Config,
    /// Decides how long each waits, together with its id.
    pub(crate) seed: u64,
    /// The logs that each disk held before its latest writes.
    pub(crate) earlier: BTreeMap<NodeId, VecDeque<Log>>,
    /// How often a disk has lost something.
    pub(crate) damaged: u64,
}

impl Cluster {
    /// Voters 1 to `count`, none of which has ever run.
    pub(crate) fn new(count: u64) -> Self {
        let config = Config { own_heartbeats: true, ..Config::default() };
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            now: Instant(0),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            delivered: 0,
            config,
            seed: 0,
            earlier: BTreeMap::new(),
            damaged: 0,
        };
        let membership = Membership::of_voters((1..=count).map(id));
        for n in 1..=count {
            let log =
                Log { floor: Position::ZERO, membership: membership.clone(), entries: Vec::new() };
            cluster.boot(id(n), (HardState::default(), log), 1);
        }
        cluster
    }

    /// Starts a node that knows of nobody, and is going to be added.
    pub(crate) fn join(&mut self, n: u64) {
        self.join_with(n, Incarnation(n));
    }

    /// As [`join`](Self::join), on a disk that members may know under another id, or not.
    pub(crate) fn join_with(&mut self, n: u64, disk: Incarnation) {
        let membership = Membership::empty();
        let log = Log { floor: Position::ZERO, membership, entries: Vec::new() };
        self.boot_as(id(n), disk, (HardState::default(), log), 1, None);
    }

    /// Starts a node on what its disk holds.
    pub(crate) fn boot(&mut self, me: NodeId, disk: (HardState, Log), boots: u64) {
        let incarnation = self.nodes.get(&me).map_or(Incarnation(0), |node| node.incarnation);
        self.boot_as(me, incarnation, disk, boots, None);
    }

    fn boot_as(
        &mut self,
        me: NodeId,
        incarnation: Incarnation,
        disk: (HardState, Log),
        boots: u64,
        damaged_up_to: Option<Position>,
    ) {
        let (hard_state, shape) = (disk.0, disk.1.shape());
        let recovered = RecoveredGroup { hard_state, shape, damaged_up_to };
        let start = Start {
            group: GROUP,
            me,
            incarnation,
            boot: Boot(me.get() << 32 | boots),
            seed: self.seed << 32 | (me.get() * 1000 + boots),
            applied: recovered.shape.floor().index,
            recovered,
        };
        let replica = Replica::new(self.config.clone(), start, self.now);
        let log = disk.1.clone();
        let node = Node {
            replica,
            log,
            disk,
            writes: VecDeque::new(),
            stalled: false,
            applied: Vec::new(),
            others: Vec::new(),
            unreadable: BTreeSet::new(),
            incarnation,
            boots,
            damaged_up_to,
        };
        self.nodes.insert(me, node);
    }

    /// Loses everything of a node that is not durable, and starts it again.
    pub(crate) fn crash(&mut self, n: u64) {
        let node = self.nodes.remove(&id(n)).unwrap();
        self.wire.retain(|message| message.from != id(n));
        let damaged_up_to = node.damaged_up_to();
        self.boot_as(id(n), node.incarnation, node.disk, node.boots + 1, damaged_up_to);
    }

    /// As [`crash`](Self::crash), and the disk has lost all that was written to the log after
    /// it was as `left` says; of what it had said then, only the floor is certain where it
    /// ended later than now.
    pub(crate) fn damage(&mut self, n: u64, left: Log) {
        let node = self.nodes.get_mut(&id(n)).unwrap();
        let ended = node.disk.1.shape().last();
        node.disk.1 = left;
        if node.disk.1.shape().last() >= ended {
            node.disk.1.entries.clear();
        }
        node.damaged_up_to = node.damaged_up_to.max(Some(ended));
        self.damaged += 1;
        self.crash(n);
    }

    /// The log on a node's disk, cut so that `first` is the first entry that is missing.
    pub(crate) fn log_before(&self, n: u64, first: u64) -> Log {
        let mut log = self.node(n).disk.1.clone();
        log.entries.retain(|entry| entry.index < Index(first));
        log
    }

    pub(crate) fn node(&self, n: u64) -> &Node {
        &self.nodes[&id(n)]
    }

    pub(crate) fn replica(&self, n: u64) -> &Replica {
        &self.node(n).replica
    }

    pub(crate) fn leaders(&self) -> Vec<u64> {
        let leads = |node: &&Node| node.replica.is_leader();
        self.nodes.values().filter(leads).map(|node| node.replica.me.get()).collect()
    }

    /// Hands an input to a node and carries out what it wants.
    pub(crate) fn input(&mut self, n: u64, input: Input) {
        let now = self.now;
        self.nodes.get_mut(&id(n)).unwrap().replica.handle(now, input);
        self.drain(n);
    }

    fn drain(&mut self, n: u64) {
        let now = self.now;
        let node = self.nodes.get_mut(&id(n)).unwrap();
        while let Some(output) = node.replica.poll_output() {
            match output {
                Output::Persist(write) => {
                    write.change.clone().into_iter().for_each(|change| node.log.change(change));
                    node.writes.push_back(write);
                }
                Output::Send(message) => self.wire.push_back(message),
                Output::SendEntries(request) => {
                    let entries = node.log.read(&request);
                    if entries.iter().any(|entry| node.unreadable.contains(&entry.index)) {
                        let SendEntries { to, token, from, .. } = request;
                        let number = token.number;
                        node.replica.handle(now, Input::EntriesUnreadable { to, number, from });
                        continue;
                    }
                    let (message, sent) = request.append(GROUP, id(n), entries);
                    self.wire.push_back(message);
                    node.replica.handle(now, sent);
                }
                Output::Apply { up_to } => {
                    let from = node.applied.last().map_or(node.log.floor.index, |(at, _)| *at);
                    let entries = node.log.entries.iter();
                    let fresh = entries.filter(|entry| entry.index > from && entry.index <= up_to);
                    node.applied.extend(fresh.map(|entry| (entry.index, command(entry))));
                }
                other => node.others.push(other),
            }
        }
        if !node.stalled {
            self.sync(n);
        }
    }

    /// Makes everything a node has written durable.
    pub(crate) fn sync(&mut self, n: u64) {
        let node = self.nodes.get_mut(&id(n)).unwrap();
        let Some(number) = node.writes.back().map(|write| write.number) else { return };
        for write in node.writes.drain(..) {
            remember(self.earlier.entry(id(n)).or_default(), &node.disk.1);
            node.disk.0 = write.hard_state;
            write.change.into_iter().for_each(|change| node.disk.1.change(change));
        }
        self.input(n, Input::Persisted(number));
    }

    /// Makes only the oldest write of a node durable.
    pub(crate) fn sync_one(&mut self, n: u64) {
        let node = self.nodes.get_mut(&id(n)).unwrap();
        let Some(write) = node.writes.pop_front() else { return };
        remember(self.earlier.entry(id(n)).or_default(), &node.disk.1);
        node.disk.0 = write.hard_state;
        write.change.into_iter().for_each(|change| node.disk.1.change(change));
        self.input(n, Input::Persisted(write.number));
    }

    /// Delivers one message; what is cut is lost.
    pub(crate) fn deliver(&mut self, message: Message) {
        if !self.cut.contains(&(message.from, message.to)) {
            self.delivered += 1;
            self.input(message.to.get(), Input::Message(message));
        }
    }

    /// Delivers what is under way, and what follows from it, until all is quiet.
    pub(crate) fn settle(&mut self) {
        let end = self.delivered + MOST_DELIVERED;
        while let Some(message) = self.wire.pop_front() {
            assert!(self.delivered < end, "{message:?} is one of messages without end");
            self.deliver(message);
        }
    }

    /// Lets time pass; messages take none.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now.after(Duration::from_millis(ms));
        let mut wakes = 0;
        loop {
            self.settle();
            let next = self.nodes.values().map(|node| (node.replica.deadline(), node.replica.me));
            let Some((at, me)) = next.min().filter(|(at, _)| *at <= end) else { break };
            wakes = if at > self.now { 0 } else { wakes + 1 };
            assert!(wakes < MOST_WAKES, "node {me} wants to be woken at {at:?} for ever");
            self.now = self.now.max(at);
            self.input(me.get(), Input::Timeout);
        }
        self.now = end;
    }

    /// Lets time pass for one node alone until it stands for election, and lets it win.
    pub(crate) fn elect(&mut self, n: u64) {
        // Whoever heard another leader must have time to forget it.
        self.now = self.now.after(self.config.election_timeout * 2);
        for _ in 0..10 {
            self.input(n, Input::Timeout);
            self.settle();
            if self.replica(n).is_leader() {
                return;
            }
            self.now = self.now.max(self.replica(n).deadline());
        }
        panic!("node {n} was not elected: {self:#?}");
    }

    pub(crate) fn propose(&mut self, n: u64, text: &'static str) {
        let proposal = Proposal { id: ProposalId(0), payload: Bytes::from_static(text.as_bytes()) };
        self.input(n, Input::Propose([proposal].into()));
    }

    pub(crate) fn read(&mut self, n: u64, read: u64) {
        self.input(n, Input::Read([ReadId(read)].into()));
    }

    /// The reads that a node has answered, with their index.
    pub(crate) fn reads_ready(&self, n: u64) -> Vec<(u64, u64)> {
        let mut ready = Vec::new();
        for output in &self.node(n).others {
            if let Output::ReadsReady { ids, index } = output {
                ready.extend(ids.iter().map(|read| (read.0, index.0)));
            }
        }
        ready
    }

    /// The commands that a node has applied.
    pub(crate) fn applied(&self, n: u64) -> Vec<&str> {
        let commands = self.node(n).applied.iter().filter(|(_, payload)| !payload.is_empty());
        commands.map(|(_, payload)| core::str::from_utf8(payload).unwrap()).collect()
    }

    /// Separates a node from all others, in both directions.
    pub(crate) fn isolate(&mut self, n: u64) {
        for other in self.nodes.keys().filter(|other| **other != id(n)) {
            self.cut.extend([(id(n), *other), (*other, id(n))]);
        }
    }

    /// Gives a node a log and a term as if it had run before.
    pub(crate) fn with_log(&mut self, n: u64, terms: &[u64]) {
        let mut disk = self.node(n).disk.clone();
        disk.0.term = Term(terms.iter().copied().max().unwrap_or_default());
        disk.1.entries = entries(1, terms);
        self.boot(id(n), disk, 2);
    }

    /// Trims a node's log and hands the snapshot that covers it to `to`.
    pub(crate) fn trim(&mut self, n: u64, index: u64) {
        let node = self.nodes.get_mut(&id(n)).unwrap();
        let term = node.replica.log().term_at(Index(index)).unwrap();
        node.log.floor = Position { term, index: Index(index) };
        node.log.entries.retain(|entry| entry.index.0 > index);
        self.input(n, Input::Trimmed(Index(index)));
    }

    /// What a snapshot of node `n` at its floor would say of itself.
    pub(crate) fn snapshot(&self, n: u64) -> Box<SnapshotMeta> {
        let Log { floor, membership, .. } = &self.node(n).log;
        let (position, membership) = (*floor, membership.clone());
        Box::new(SnapshotMeta { position, membership, bytes: 0, checksum: 0 })
    }
}

/// Keeps what a disk held before its latest writes.
fn remember(earlier: &mut VecDeque<Log>, log: &Log) {
    if earlier.len() == EARLIER {
        earlier.pop_front();
    }
    earlier.push_back(log.clone());
}

/// What a state machine is given of an entry.
fn command(entry: &Entry) -> Bytes {
    match entry.kind {
        EntryKind::Command => entry.payload.clone(),
        _ => Bytes::new(),
    }
}

/// Commands of these terms from index `first` on.
pub(crate) fn entries(first: u64, terms: &[u64]) -> Vec<Entry> {
    let entry = |(place, term): (usize, &u64)| Entry {
        term: Term(*term),
        index: Index(first + place as u64),
        kind: EntryKind::Command,
        payload: Bytes::from_static(b"old"),
    };
    terms.iter().enumerate().map(entry).collect()
}
