//! Simulated clients, and what each of them saw.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{GroupId, Instant, Random};
use raft_node::kv::KvCommand;

use super::node::GROUPS;
use crate::linearizability::{Action, History, Operation, Outcome};

/// How long a client that writes waits before it gives an operation up as unknown.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long one that only reads waits.
const READERS_PATIENCE: Duration = Duration::from_millis(400);

const KEYS: u64 = 6;

/// An operation under way.
#[derive(Clone, Debug)]
pub(crate) struct UnderWay {
    pub(crate) client: usize,
    pub(crate) key: u64,
    action: Action<u64>,
    called_at: Instant,
    /// The node that was asked.
    pub(crate) node: usize,
}

/// All clients of a run.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) history: History<u64, u64>,
    pub(crate) under_way: BTreeMap<u64, UnderWay>,
    /// Where each client sends its next operation.
    targets: Vec<usize>,
    /// The clients from here on only read, each at its own node.
    writers: usize,
    requests: u64,
    values: u64,
    nodes: usize,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
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
            requests: 0,
            values: 0,
            nodes,
            acknowledged: 0,
            unknown: 0,
        }
    }

    /// How long a client waits for an answer.
    pub(crate) const fn patience(&self, client: usize) -> Duration {
        if client < self.writers { PATIENCE } else { READERS_PATIENCE }
    }

    /// The next operation of a client.
    pub(crate) fn next(&mut self, client: usize, now: Instant, random: &mut Random) -> Request {
        let key = random.below(KEYS);
        if client >= self.writers {
            self.targets[client] = client % self.nodes;
            return self.ask(client, key, Action::Get, now);
        }
        let action = match random.below(10) {
            0..=4 => {
                self.values += 1;
                Action::Put(self.values)
            }
            5 => Action::Delete,
            _ => Action::Get,
        };
        self.ask(client, key, action, now)
    }

    /// A read of every key, one after another; `None` once all are read.
    pub(crate) fn scan(&mut self, client: usize, key: u64, now: Instant) -> Option<Request> {
        (key < KEYS).then(|| self.ask(client, key, Action::Get, now))
    }

    fn ask(&mut self, client: usize, key: u64, action: Action<u64>, now: Instant) -> Request {
        self.requests += 1;
        let (id, node) = (self.requests, self.targets[client]);
        let command = command(key, &action);
        self.under_way.insert(id, UnderWay { client, key, action, called_at: now, node });
        Request { id, node, group: group_of(key), command }
    }

    /// An answer came. Returns the client, if it still waited for it.
    pub(crate) fn answered(
        &mut self,
        id: u64,
        outcome: Outcome<u64>,
        now: Instant,
    ) -> Option<usize> {
        let UnderWay { client, key, action, called_at, .. } = self.under_way.remove(&id)?;
        match outcome {
            Outcome::Refused => self.targets[client] = (self.targets[client] + 1) % self.nodes,
            Outcome::Unknown => {
                self.unknown += 1;
                self.targets[client] = (self.targets[client] + 1) % self.nodes;
            }
            Outcome::Done => self.acknowledged += 1,
            Outcome::Read(_) => {}
        }
        self.history.push(Operation {
            client: client as u64,
            key,
            action,
            outcome,
            called_at: called_at.0,
            returned_at: Some(now.0),
        });
        Some(client)
    }

    /// The leader is said to be there.
    pub(crate) fn redirect(&mut self, client: usize, node: usize) {
        self.targets[client] = node;
    }

    /// The requests that a node will never answer, for it is gone.
    pub(crate) fn asked_of(&self, node: usize) -> Vec<u64> {
        let asked = self.under_way.iter().filter(|(_, under_way)| under_way.node == node);
        asked.map(|(id, _)| *id).collect()
    }
}

pub(crate) const fn group_of(key: u64) -> GroupId {
    GROUPS[(key % 2) as usize]
}

pub(crate) fn key_bytes(key: u64) -> Bytes {
    Bytes::from(key.to_be_bytes().to_vec())
}

fn command(key: u64, action: &Action<u64>) -> Option<Bytes> {
    let key = key_bytes(key);
    match action {
        Action::Put(value) => {
            // Of differing length, so that frames and pages end anywhere.
            let mut value_bytes = value.to_be_bytes().to_vec();
            value_bytes.resize(8 + (*value as usize * 37) % 300, 0);
            Some(KvCommand::Put { key, value: value_bytes.into() }.encode())
        }
        Action::Delete => Some(KvCommand::Delete { key }.encode()),
        Action::Get => None,
    }
}

/// The value that a stored one stands for.
pub(crate) fn value_of(stored: &Bytes) -> u64 {
    let first: [u8; 8] = stored[..8].try_into().expect("values have eight bytes and more");
    u64::from_be_bytes(first)
}
