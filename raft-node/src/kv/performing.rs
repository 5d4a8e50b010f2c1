//! What a command does to a state, wherever its pairs are kept.

use std::sync::Arc;

use bytes::Bytes;
use raft_core::Index;

use super::command::{KvAnswer, KvCommand, KvDecodeError};
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

/// Carries out the command that stands at `index`. `set` gives a key a value, or none, and
/// says whether it had one.
pub(super) fn perform(
    index: Index,
    command: KvResult,
    sessions: &mut Arc<Sessions>,
    set: impl FnOnce(Bytes, Option<Bytes>) -> Held,
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
            once(index, call, Arc::make_mut(sessions), || change_pair(*change, set))
        }
        Ok(change) => change_pair(change, set),
        Err(why) => KvAnswer::Refused { why: why.to_string() },
    }
}

/// Whether a key had a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Value,
    Nothing,
}

impl Held {
    pub(super) const fn of(had_value: bool) -> Self {
        if had_value { Self::Value } else { Self::Nothing }
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

fn change_pair(command: KvCommand, set: impl FnOnce(Bytes, Option<Bytes>) -> Held) -> KvAnswer {
    match command {
        KvCommand::Put { key, value } => {
            set(key, Some(value));
            KvAnswer::Stored
        }
        KvCommand::Delete { key } => KvAnswer::Deleted { existed: set(key, None) == Held::Value },
        KvCommand::OpenSession { .. }
        | KvCommand::CloseSession { .. }
        | KvCommand::InSession { .. } => {
            KvAnswer::Refused { why: KvDecodeError::NoChange.to_string() }
        }
    }
}
