//! Simulated clients, and what each of them saw.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{GroupId, Instant, Random};
use raft_node::kv::KvCommand;
use raft_node::sessions::{Sequence, SessionCall, SessionId};

use super::attempt::{Attempt, KEYS, group_of};
use crate::linearizability::{Action, History, Operation, Outcome};

/// How long a client that writes waits before it gives an operation up as unknown.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long one waits that sends the same once more: less than an election takes, so that
/// the first attempt still stands in some log, or at times so little that it is on its way.
const SESSIONS_PATIENCE: [Duration; 2] = [Duration::from_millis(700), Duration::from_millis(8)];
/// How long one that only reads waits.
const READERS_PATIENCE: Duration = Duration::from_millis(400);

/// Sessions live for one of these times: while a node is cut off, some expire.
const EXPIRIES_MS: [u64; 4] = [1000, 2000, 4000, 60_000];

/// What a client was told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    Done,
    /// It was applied by an earlier attempt.
    Repeated,
    /// Nothing was swapped, now or by an earlier attempt, as this is what was there.
    Unequal(Option<u64>, Applied),
    Read(Option<u64>),
    Refused,
    Unknown,
    Opened(SessionId),
    NotOpen,
}

/// When a command was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Now,
    Before,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct UnderWay {
    pub(crate) client: usize,
    /// The node that was asked.
    pub(crate) node: usize,
    wish: Wish,
}

#[derive(Clone, Debug)]
enum Wish {
    Operation(Attempt),
    /// A session for the client in this group.
    Session(GroupId),
}

/// A client's session in a group.
#[derive(Clone, Copy, Debug)]
struct Session {
    id: SessionId,
    last: Sequence,
}

/// How often sessions and swaps made a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Sessions that were opened.
    pub opened: u64,
    /// Writes that were sent again.
    pub sent_again: u64,
    /// Writes that had been applied already when they were sent again.
    pub repeated: u64,
    /// Writes whose session was gone.
    pub not_open: u64,
    /// Writes that were not applied since the client had gone on, as replicas saw them.
    pub stale: u64,
    /// Compare-and-swaps that were told to have happened, and those that found another value.
    pub swapped: u64,
    /// See [`Self::swapped`].
    pub unequal: u64,
}

impl ClientCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.sent_again += other.sent_again;
        self.repeated += other.repeated;
        self.not_open += other.not_open;
        self.stale += other.stale;
        self.swapped += other.swapped;
        self.unequal += other.unequal;
    }
}

/// All clients of a run.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) history: History<u64, u64>,
    pub(crate) under_way: BTreeMap<u64, UnderWay>,
    /// Where each client sends its next operation.
    targets: Vec<usize>,
    /// The clients from here on only read, each at its own node. Of the others every second
    /// writes in sessions.
    writers: usize,
    /// Where each client that only reads does so.
    homes: Vec<usize>,
    sessions: BTreeMap<(usize, GroupId), Session>,
    /// What any client has seen last of each key.
    seen: BTreeMap<u64, Option<u64>>,
    /// What a client is to send again.
    again: BTreeMap<usize, Attempt>,
    /// Whether those with sessions do nothing for long at times.
    pub(crate) may_pause: bool,
    /// When the latest write was asked for that is done, by group.
    written: BTreeMap<GroupId, Instant>,
    requests: u64,
    values: u64,
    nodes: usize,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) counts: ClientCounts,
}

/// What a client asks of a node.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) node: usize,
    pub(crate) group: GroupId,
    /// `None` to read.
    pub(crate) command: Option<Bytes>,
}

impl Clients {
    pub(crate) fn new(writers: usize, readers: usize, nodes: usize) -> Self {
        Self {
            writers,
            history: History::new(),
            under_way: BTreeMap::new(),
            targets: (0..writers + readers).map(|client| client % nodes).collect(),
            homes: (0..writers + readers).map(|client| client % nodes).collect(),
            sessions: BTreeMap::new(),
            seen: BTreeMap::new(),
            again: BTreeMap::new(),
            may_pause: true,
            written: BTreeMap::new(),
            requests: 0,
            values: 0,
            nodes,
            acknowledged: 0,
            unknown: 0,
            counts: ClientCounts::default(),
        }
    }

    /// Where a client that only reads does so.
    pub(crate) fn home(&self, client: usize) -> Option<usize> {
        (client >= self.writers).then(|| self.homes[client])
    }

    /// How long a client waits for an answer.
    pub(crate) fn patience(&self, client: usize, random: &mut Random) -> Duration {
        match client {
            _ if client >= self.writers => READERS_PATIENCE,
            _ if self.has_sessions(client) => SESSIONS_PATIENCE[usize::from(random.chance(200))],
            _ => PATIENCE,
        }
    }

    /// Whether a client does nothing at times for longer than some of its sessions live.
    pub(crate) const fn pauses(&self, client: usize) -> bool {
        self.may_pause && self.has_sessions(client)
    }

    const fn has_sessions(&self, client: usize) -> bool {
        client < self.writers && client.is_multiple_of(2)
    }

    /// The next operation of a client, which has nothing to send again.
    pub(crate) fn next(&mut self, client: usize, now: Instant, random: &mut Random) -> Request {
        let key = random.below(KEYS);
        if client >= self.writers {
            self.targets[client] = self.homes[client];
            return self.ask(client, Attempt::once(key, Action::Get, now));
        }
        let action = match random.below(10) {
            0..=3 => {
                self.values += 1;
                Action::Put(self.values)
            }
            4 => Action::Delete,
            5..=6 => {
                self.values += 1;
                let expected = self.seen.get(&key).copied().flatten();
                Action::CompareAndSwap { expected, value: self.values }
            }
            _ => Action::Get,
        };
        let attempt = Attempt::once(key, action, now);
        if attempt.action == Action::Get || !self.has_sessions(client) {
            return self.ask(client, attempt);
        }
        let group = group_of(key);
        let Some(session) = self.sessions.get_mut(&(client, group)) else {
            return self.open(client, group, random);
        };
        session.last = Sequence(session.last.0 + 1);
        let call = Some(SessionCall::one_at_a_time(session.id, session.last));
        // Some are given up while an attempt may still be applied.
        let attempts_left = [1, 3, 1000][random.below(3) as usize];
        self.ask(client, Attempt { call, attempts_left, ..attempt })
    }

    /// What a client has to send again, if anything.
    pub(crate) fn again(&mut self, client: usize) -> Option<Request> {
        let attempt = self.again.remove(&client)?;
        self.counts.sent_again += 1;
        Some(self.ask(client, attempt))
    }

    /// A read of every key, one after another, or a write; `None` once all are through.
    pub(crate) fn scan(&mut self, client: usize, key: u64, now: Instant) -> Option<Request> {
        if key >= KEYS {
            return None;
        }
        let action = if self.writes_at_last(client) {
            self.values += 1;
            Action::Put(self.values)
        } else {
            Action::Get
        };
        Some(self.ask(client, Attempt::once(key, action, now)))
    }

    /// Whether a client writes while the others read everything: there must be room for that
    /// again.
    pub(crate) const fn writes_at_last(&self, client: usize) -> bool {
        client < self.writers && !self.has_sessions(client)
    }

    /// Whether a write in a group is done that was asked for after this moment.
    pub(crate) fn has_written_since(&self, moment: Instant, group: GroupId) -> bool {
        self.written.get(&group).is_some_and(|asked| *asked > moment)
    }

    /// The name of a request whose answer nobody waits for.
    pub(crate) const fn nobody(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    fn open(&mut self, client: usize, group: GroupId, random: &mut Random) -> Request {
        let ms = EXPIRIES_MS[random.below(EXPIRIES_MS.len() as u64) as usize];
        let command = KvCommand::OpenSession { expires_after: Duration::from_millis(ms) };
        self.send(client, group, Some(command.encode()), Wish::Session(group))
    }

    fn ask(&mut self, client: usize, attempt: Attempt) -> Request {
        let command = attempt.command().map(|command| command.encode());
        self.send(client, group_of(attempt.key), command, Wish::Operation(attempt))
    }

    fn send(
        &mut self,
        client: usize,
        group: GroupId,
        command: Option<Bytes>,
        wish: Wish,
    ) -> Request {
        self.requests += 1;
        let (id, node) = (self.requests, self.targets[client]);
        self.under_way.insert(id, UnderWay { client, node, wish });
        Request { id, node, group, command }
    }

    /// An answer came. Returns the client, if it still waited for it.
    pub(crate) fn answered(&mut self, id: u64, told: Told, now: Instant) -> Option<usize> {
        let UnderWay { client, wish, .. } = self.under_way.remove(&id)?;
        if matches!(told, Told::Refused | Told::Unknown) {
            self.targets[client] = (self.targets[client] + 1) % self.nodes;
        }
        match wish {
            Wish::Operation(attempt) => self.operated(client, attempt, told, now),
            Wish::Session(group) => {
                if let Told::Opened(id) = told {
                    self.counts.opened += 1;
                    self.sessions.insert((client, group), Session { id, last: Sequence(0) });
                }
            }
        }
        Some(client)
    }

    fn operated(&mut self, client: usize, mut attempt: Attempt, told: Told, now: Instant) {
        let outcome = match told {
            Told::Done => Outcome::Done,
            Told::Repeated => {
                self.repeated(&attempt);
                Outcome::Done
            }
            Told::Unequal(actual, applied) => {
                if applied == Applied::Before {
                    self.repeated(&attempt);
                }
                Outcome::Read(actual)
            }
            Told::Read(value) => Outcome::Read(value),
            Told::NotOpen => {
                self.counts.not_open += 1;
                self.sessions.remove(&(client, group_of(attempt.key)));
                // Sent once only, it never was applied and never will be.
                if attempt.in_doubt { Outcome::Unknown } else { Outcome::Refused }
            }
            Told::Refused if !attempt.in_doubt => Outcome::Refused,
            Told::Refused | Told::Unknown => {
                attempt.in_doubt = true;
                attempt.attempts_left -= 1;
                if attempt.attempts_left > 0 {
                    self.again.insert(client, attempt);
                    return;
                }
                Outcome::Unknown
            }
            Told::Opened(_) => panic!("{attempt:?} has opened a session"),
        };
        self.acknowledged += u64::from(outcome == Outcome::Done);
        self.unknown += u64::from(outcome == Outcome::Unknown);
        let Attempt { key, action, called_at, .. } = attempt;
        if matches!(action, Action::CompareAndSwap { .. }) {
            self.counts.swapped += u64::from(outcome == Outcome::Done);
            self.counts.unequal += u64::from(matches!(outcome, Outcome::Read(_)));
        }
        self.seen.extend(outcome.seen(action.written()).map(|value| (key, value)));
        if outcome == Outcome::Done {
            let latest = self.written.entry(group_of(key)).or_default();
            *latest = called_at.max(*latest);
        }
        let (called_at, returned_at) = (called_at.0, Some(now.0));
        let client = client as u64;
        self.history.push(Operation { client, key, action, outcome, called_at, returned_at });
    }

    fn repeated(&mut self, attempt: &Attempt) {
        assert!(attempt.in_doubt, "sent once and applied before: {attempt:?}");
        self.counts.repeated += 1;
    }

    /// The leader is said to be there.
    pub(crate) fn redirect(&mut self, client: usize, node: usize) {
        self.targets[client] = node;
    }

    /// Where this client reads, there is nobody who could answer it.
    pub(crate) fn move_home(&mut self, client: usize) {
        self.homes[client] = (self.homes[client] + 1) % self.nodes;
    }

    /// The key that is read, where this request is a read under way.
    pub(crate) fn read_key(&self, id: u64) -> Option<u64> {
        match &self.under_way.get(&id)?.wish {
            Wish::Operation(attempt) => Some(attempt.key),
            Wish::Session(_) => None,
        }
    }

    /// What a request under way asks for, in words.
    pub(crate) fn words(&self, id: u64) -> String {
        match self.under_way.get(&id).map(|under_way| &under_way.wish) {
            Some(Wish::Operation(attempt)) => attempt.words(),
            Some(Wish::Session(group)) => format!("open a session in group {group}"),
            None => String::new(),
        }
    }

    /// The requests that a node will never answer, for it is gone.
    pub(crate) fn asked_of(&self, node: usize) -> Vec<u64> {
        let asked = self.under_way.iter().filter(|(_, under_way)| under_way.node == node);
        asked.map(|(id, _)| *id).collect()
    }
}
