//! Client sessions: a command that is sent again is applied once (Raft thesis, section 6.3).
//!
//! A client that hears no answer does not know whether its command was applied. If it
//! sends the command again, the command may be applied twice, unless the state machine
//! knows it. So a client opens a session and numbers its commands; the state machine
//! remembers the answers and gives them again. [`Sessions`] is what it remembers: part of
//! the state, changed only by entries of the log, and therefore the same on every replica,
//! after a failover, in a snapshot and after a restart.
//!
//! A session that nobody uses is closed by time, as the leaders count it and put it into the
//! log ([`crate::StateMachine::advance`]). From then on its commands are never applied again,
//! and nobody can tell any more whether they once were.
//!
//! What is deliberately absent: input and output, clocks, and what commands look like. A
//! state machine of one's own keeps a [`Sessions`] beside its data:
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use raft_core::Index;
//! use raft_node::sessions::{Admission, Sequence, SessionCall, SessionLimits, Sessions};
//!
//! let (mut sessions, mut counter) = (Sessions::new(SessionLimits::default()), 0);
//! let session = sessions.open(Index(5), Duration::from_secs(60)).unwrap();
//!
//! let mut increment = |index, call| match sessions.admit(call) {
//!     Admission::Fresh => {
//!         counter += 1;
//!         let answer = Bytes::from(counter.to_string());
//!         sessions.remember(call, index, answer.clone());
//!         answer
//!     }
//!     Admission::Repeated { answer, .. } => answer,
//!     other => panic!("{other:?}"),
//! };
//! let call = SessionCall::one_at_a_time(session, Sequence(1));
//! assert_eq!(increment(Index(6), call), "1");
//! assert_eq!(increment(Index(9), call), "1", "the same command once more");
//! assert_eq!(increment(Index(10), SessionCall::one_at_a_time(session, Sequence(2))), "2");
//! ```

mod encoding;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{GroupTime, Index};
use thiserror::Error;

use crate::state_machine::{Timekeeping, WantsTime};

pub use encoding::SessionsDecodeError;

/// Names a session: the index of the entry that opened it. So no name is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Numbers the commands of a session, from 1. Each command has a number of its own; one
/// that is sent again keeps its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client says of a command beside the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCall {
    /// The session.
    pub session: SessionId,
    /// The command's number.
    pub sequence: Sequence,
    /// The client asks for no answer up to this number any more: it has them all, or has
    /// given them up. It lies below `sequence`.
    pub acknowledged: Sequence,
}

impl SessionCall {
    /// What a client says that sends a command only once it is done with the one before.
    #[must_use]
    pub const fn one_at_a_time(session: SessionId, sequence: Sequence) -> Self {
        Self { session, sequence, acknowledged: Sequence(sequence.0.saturating_sub(1)) }
    }
}

/// What to do with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It was never applied: apply it now, and say what the answer is
    /// ([`Sessions::remember`]).
    Fresh,
    /// It was applied: answer as then.
    Repeated {
        /// Where it stands in the log.
        index: Index,
        /// What was answered.
        answer: Bytes,
    },
    /// Do not apply it: it may have been applied, but the client has said that it needs no
    /// answer.
    Stale {
        /// The client needs no answer up to this number.
        acknowledged: Sequence,
    },
    /// Do not apply it: nobody knows whether it was, for there is no such session (any more).
    NotOpen,
    /// Do not apply it. It never was: there is no room for its answer until the client
    /// acknowledges others.
    Full,
}

/// No session is opened: there are as many as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are {0} sessions, as many as there may be")]
pub struct TooManySessions(pub usize);

/// What closing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The session is closed.
    Closed,
    /// It was not open.
    NotOpen,
}

/// How much is remembered. The same on every replica of a group, for ever: whether a
/// command is applied depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// So many sessions at once.
    pub sessions: usize,
    /// So many answers per session.
    pub answers: usize,
    /// A session that remembers answers of so many bytes takes no more commands.
    pub answer_bytes: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { sessions: 10_000, answers: 256, answer_bytes: 64 << 10 }
    }
}

/// The sessions of one group.
///
/// Invariants, asserted:
/// - A command that was applied in an open session, and that the client has not
///   acknowledged, has its answer here. So what is neither acknowledged nor here was never
///   applied.
/// - Answers are remembered only above what is acknowledged, and no more of them than the
///   limits allow, the last one not counted.
/// - The time never goes back.
/// - An open session was either used since the time was last told, or stands among the
///   expiries, and then above that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    limits: SessionLimits,
    time: GroupTime,
    open: BTreeMap<SessionId, Session>,
    /// Those used since the time was last told: when, is told next.
    used: BTreeSet<SessionId>,
    /// When the others expire.
    expiries: BTreeSet<(GroupTime, SessionId)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    expires_after: Duration,
    /// `None` where it was used since the time was last told.
    used_at: Option<GroupTime>,
    acknowledged: Sequence,
    answers: BTreeMap<Sequence, Remembered>,
    answer_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remembered {
    index: Index,
    answer: Bytes,
}

impl Sessions {
    /// No sessions.
    #[must_use]
    pub const fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            time: GroupTime::ZERO,
            open: BTreeMap::new(),
            used: BTreeSet::new(),
            expiries: BTreeSet::new(),
        }
    }

    /// Opens a session by the entry at `index`. It is closed once it has not been used for
    /// `expires_after`, of which whole milliseconds count and at least one, or a little
    /// later.
    ///
    /// # Errors
    /// Where there are too many; nothing changed.
    ///
    /// # Panics
    /// Where that entry has opened one before.
    pub fn open(
        &mut self,
        index: Index,
        expires_after: Duration,
    ) -> Result<SessionId, TooManySessions> {
        if self.open.len() >= self.limits.sessions {
            return Err(TooManySessions(self.open.len()));
        }
        let id = SessionId(index.0);
        let whole_ms = GroupTime::ZERO.after(expires_after).since(GroupTime::ZERO);
        let session = Session {
            expires_after: whole_ms.max(Duration::from_millis(1)),
            used_at: None,
            acknowledged: Sequence(0),
            answers: BTreeMap::new(),
            answer_bytes: 0,
        };
        assert!(self.open.insert(id, session).is_none(), "session {id} is opened twice");
        self.used.insert(id);
        Ok(id)
    }

    /// Closes a session, and forgets it.
    pub fn close(&mut self, id: SessionId) -> Closing {
        let Some(session) = self.open.remove(&id) else { return Closing::NotOpen };
        match session.expiry() {
            Some(at) => self.expiries.remove(&(at, id)),
            None => self.used.remove(&id),
        };
        Closing::Closed
    }

    /// What to do with a command. Whatever it is, the session has been used, and what the
    /// client acknowledges is forgotten.
    pub fn admit(&mut self, call: SessionCall) -> Admission {
        let SessionCall { session: id, sequence, acknowledged } = call;
        let Some(session) = self.open.get_mut(&id) else { return Admission::NotOpen };
        if let Some(at) = session.expiry() {
            self.expiries.remove(&(at, id));
            self.used.insert(id);
            session.used_at = None;
        }
        session.acknowledge(acknowledged.min(Sequence(sequence.0.saturating_sub(1))));
        let full = session.answers.len() >= self.limits.answers
            || session.answer_bytes >= self.limits.answer_bytes;
        match session.answers.get(&sequence) {
            _ if sequence <= session.acknowledged => {
                Admission::Stale { acknowledged: session.acknowledged }
            }
            Some(Remembered { index, answer }) => {
                Admission::Repeated { index: *index, answer: answer.clone() }
            }
            None if full => Admission::Full,
            None => Admission::Fresh,
        }
    }

    /// Remembers that the command was applied by the entry at `index`, and the answer.
    ///
    /// # Panics
    /// Where [`admit`](Self::admit) did not say just before that the command is fresh.
    pub fn remember(&mut self, call: SessionCall, index: Index, answer: Bytes) {
        let SessionCall { session: id, sequence, .. } = call;
        let session = self.open.get_mut(&id);
        let session = session.unwrap_or_else(|| panic!("session {id} is not open"));
        assert!(sequence > session.acknowledged, "{sequence} of session {id} is acknowledged");
        session.answer_bytes += answer.len();
        let before = session.answers.insert(sequence, Remembered { index, answer });
        assert!(before.is_none(), "{sequence} of session {id} is applied twice");
        assert!(session.answers.len() <= self.limits.answers, "session {id} has no room");
    }

    /// Takes in the group's time: sessions expire by it, and those used since the last one
    /// were used now. A time before that is taken for the last one. Returns whom it closed.
    pub fn advance(&mut self, time: GroupTime) -> Vec<SessionId> {
        self.time = self.time.max(time);
        let mut expired = Vec::new();
        while let Some(&(at, id)) = self.expiries.first().filter(|(at, _)| *at <= self.time) {
            self.expiries.remove(&(at, id));
            self.open.remove(&id).expect("what may expire is open");
            expired.push(id);
        }
        for id in std::mem::take(&mut self.used) {
            let session = self.open.get_mut(&id).expect("what was used is open");
            session.used_at = Some(self.time);
            self.expiries.extend(session.expiry().map(|at| (at, id)));
        }
        assert_eq!(self.open.len(), self.expiries.len(), "each open session expires once");
        expired
    }

    /// The time that was told last, and what time is waited for.
    #[must_use]
    pub fn timekeeping(&self) -> Timekeeping {
        let wants = match self.expiries.first() {
            _ if !self.used.is_empty() => WantsTime::Soon,
            Some((at, _)) => WantsTime::At(*at),
            None => WantsTime::Never,
        };
        Timekeeping { reached: self.time, wants }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl Session {
    /// When it expires, unless it was used since the time was last told.
    fn expiry(&self) -> Option<GroupTime> {
        self.used_at.map(|at| at.after(self.expires_after))
    }

    fn acknowledge(&mut self, up_to: Sequence) {
        if up_to > self.acknowledged {
            self.acknowledged = up_to;
            let kept = self.answers.split_off(&Sequence(up_to.0.saturating_add(1)));
            let dropped = std::mem::replace(&mut self.answers, kept).into_values();
            self.answer_bytes -= dropped.map(|dropped| dropped.answer.len()).sum::<usize>();
        }
    }
}

#[cfg(test)]
mod sessions_tests;
