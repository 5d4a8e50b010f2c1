//! What a command does to a state, wherever its pairs are kept.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::Index;

use super::actual::Actual;
use super::command::{KvAnswer, KvCommand, KvDecodeError};
use crate::Command;
use crate::sessions::{Admission, Closing, SessionCall, SessionLimits, Sessions};

/// A committed command, or why it is none.
pub(super) type KvResult = Result<KvCommand, KvDecodeError>;

/// The same in every store of a group, whatever build it runs: whether a change is applied
/// depends on it.
pub(super) const LIMITS: SessionLimits =
    SessionLimits { sessions: 10_000, answers: 256, answer_bytes: 64 << 10 };

/// No sessions.
pub(super) fn no_sessions() -> Arc<Sessions> {
    Arc::new(Sessions::new(LIMITS))
}

/// The pairs of a state, as commands see and change them.
pub(super) trait Pairs {
    /// The value that a key has. It is asked of those that [`asks_for`] names.
    fn get(&self, key: &Bytes) -> Option<Bytes>;

    /// Gives a key a value, or none.
    fn set(&mut self, key: Bytes, value: Option<Bytes>);
}

/// Commands that stand in the log, with their indexes.
///
/// # Errors
/// Where one is of a kind or version that only a later build knows. What it changes is not known
/// here, and whoever went on without it would no longer equal the others: nothing is applied.
pub(super) fn decode(commands: &[Command]) -> io::Result<Vec<(Index, KvResult)>> {
    let decode = |Command { index, payload }: &Command| {
        let command = KvCommand::decode(payload.clone());
        match command {
            Err(why @ (KvDecodeError::Version(_) | KvDecodeError::Kind(_))) => {
                let text = format!(
                    "the command at index {index} is of a later version: {why}; nothing of it is \
                     applied; install the version that the other nodes run, and start this one \
                     again"
                );
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
            command => Ok((*index, command)),
        }
    };
    commands.iter().map(decode).collect()
}

/// The key whose value a command depends on.
pub(super) fn asks_for(command: &KvCommand) -> Option<&Bytes> {
    match command {
        KvCommand::Delete { key } | KvCommand::CompareAndSwap { key, .. } => Some(key),
        KvCommand::InSession { change, .. } => asks_for(change),
        KvCommand::Put { .. } | KvCommand::OpenSession { .. } | KvCommand::CloseSession { .. } => {
            None
        }
    }
}

/// Carries out the command that stands at `index`.
pub(super) fn perform(
    index: Index,
    command: KvResult,
    sessions: &mut Arc<Sessions>,
    pairs: &mut impl Pairs,
) -> KvAnswer {
    match command {
        Ok(KvCommand::OpenSession { expires_after }) => {
            match Arc::make_mut(sessions).open(index, expires_after) {
                Ok(session) => KvAnswer::SessionOpened { session, expires_after },
                Err(why) => KvAnswer::NoRoom { why: why.to_string() },
            }
        }
        Ok(KvCommand::CloseSession { session }) => {
            let closing = Arc::make_mut(sessions).close(session);
            KvAnswer::SessionClosed { existed: closing == Closing::Closed }
        }
        Ok(KvCommand::InSession { call, change }) => {
            once(index, call, Arc::make_mut(sessions), || change_pair(*change, pairs))
        }
        Ok(change) => change_pair(change, pairs),
        Err(why) => KvAnswer::Refused { why: why.to_string() },
    }
}

fn once(
    index: Index,
    call: SessionCall,
    sessions: &mut Sessions,
    change: impl FnOnce() -> KvAnswer,
) -> KvAnswer {
    match sessions.admit(call) {
        Admission::Fresh => {
            let answer = change();
            sessions.remember(call, index, answer.encode());
            answer
        }
        Admission::Repeated { index, answer } => KvAnswer::Repeated { index, answer },
        Admission::Stale { acknowledged } => KvAnswer::Stale { acknowledged },
        Admission::NotOpen => KvAnswer::SessionNotOpen { session: call.session },
        Admission::Full => {
            let session = call.session;
            let why = format!("session {session} has as many unacknowledged answers as it may");
            KvAnswer::NoRoom { why }
        }
    }
}

fn change_pair(command: KvCommand, pairs: &mut impl Pairs) -> KvAnswer {
    match command {
        KvCommand::Put { key, value } => {
            pairs.set(key, Some(value));
            KvAnswer::Stored
        }
        KvCommand::Delete { key } => {
            let existed = pairs.get(&key).is_some();
            pairs.set(key, None);
            KvAnswer::Deleted { existed }
        }
        KvCommand::CompareAndSwap { key, expected, value } => {
            let actual = pairs.get(&key);
            if actual != expected {
                return KvAnswer::Unequal { actual: Actual::of(actual) };
            }
            pairs.set(key, Some(value));
            KvAnswer::Stored
        }
        KvCommand::OpenSession { .. }
        | KvCommand::CloseSession { .. }
        | KvCommand::InSession { .. } => {
            KvAnswer::Refused { why: KvDecodeError::NoChange.to_string() }
        }
    }
}
