//! One operation of a simulated client, as it is sent.

use bytes::Bytes;
use raft_core::{GroupId, Instant};
use raft_node::kv::KvCommand;
use raft_node::sessions::SessionCall;

use super::node::GROUPS;
use crate::linearizability::Action;

/// Keys that clients write and read.
pub(crate) const KEYS: u64 = 6;
/// One that no client reads.
pub(crate) const SCRATCH_KEY: u64 = KEYS;

/// An operation, however often it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) key: u64,
    pub(crate) action: Action<u64>,
    pub(crate) called_at: Instant,
    /// A write of a session is sent again until it is answered, or the client gives it up.
    pub(crate) call: Option<SessionCall>,
    pub(crate) attempts_left: u64,
    /// An earlier attempt may have been applied.
    pub(crate) in_doubt: bool,
}

impl Attempt {
    /// An operation that is sent once.
    pub(crate) const fn once(key: u64, action: Action<u64>, called_at: Instant) -> Self {
        Self { key, action, called_at, call: None, attempts_left: 1, in_doubt: false }
    }

    pub(crate) fn words(&self) -> String {
        let what = match self.action {
            Action::Put(value) => format!("put key {} = {value}", self.key),
            Action::Delete => format!("delete key {}", self.key),
            Action::CompareAndSwap { expected: Some(expected), value } => {
                format!("swap key {} from {expected} to {value}", self.key)
            }
            Action::CompareAndSwap { expected: None, value } => {
                format!("put key {} = {value} if nothing is there", self.key)
            }
            Action::Get => format!("get key {}", self.key),
        };
        let again = if self.in_doubt { ", again" } else { "" };
        match self.call {
            Some(call) => {
                let (session, sequence) = (call.session.0, call.sequence.0);
                format!("{what} (session {session}, number {sequence}{again})")
            }
            None => what,
        }
    }

    pub(crate) fn command(&self) -> Option<KvCommand> {
        let key = key_bytes(self.key);
        let change = match self.action {
            Action::Put(value) => KvCommand::Put { key, value: value_bytes(value) },
            Action::CompareAndSwap { expected, value } => KvCommand::CompareAndSwap {
                key,
                expected: expected.map(value_bytes),
                value: value_bytes(value),
            },
            Action::Delete => KvCommand::Delete { key },
            Action::Get => return None,
        };
        Some(match self.call {
            Some(call) => KvCommand::InSession { call, change: Box::new(change) },
            None => change,
        })
    }
}

pub(crate) const fn group_of(key: u64) -> GroupId {
    GROUPS[(key % 2) as usize]
}

pub(crate) fn key_bytes(key: u64) -> Bytes {
    Bytes::from(key.to_be_bytes().to_vec())
}

/// A value as it is stored: of differing length, so that frames and pages end anywhere.
fn value_bytes(value: u64) -> Bytes {
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.resize(8 + (value as usize * 37) % 300, 0);
    bytes.into()
}

/// The value that a stored one stands for.
pub(crate) fn value_of(stored: &Bytes) -> u64 {
    let first: [u8; 8] = stored[..8].try_into().expect("values have eight bytes and more");
    u64::from_be_bytes(first)
}
