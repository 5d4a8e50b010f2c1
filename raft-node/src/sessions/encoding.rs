//! Sessions as bytes, for snapshots and stores: version 1, little-endian, to the byte.
//!
//! ```text
//! u8   version (1)
//! u64  the group's time in milliseconds
//! u32  number of sessions, then per session in the order of names:
//!      u64 name, u64 expires after (milliseconds),
//!      u8 timed (0: used since the time was told, 1), u64 used at (0 where not timed),
//!      u64 acknowledged, u32 number of answers, then per answer in the order of numbers:
//!      u64 number, u64 index, u32 length, answer
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_core::{GroupTime, Index};
use thiserror::Error;

use super::{Remembered, Sequence, Session, SessionId, SessionLimits, Sessions};

const VERSION: u8 = 1;

/// Why bytes are no sessions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SessionsDecodeError {
    /// Written by a version this one does not know; use a newer build.
    #[error("version {0} of encoded sessions is not known, only version {VERSION} is")]
    Version(u8),
    /// They end too early, or go on: they are damaged.
    #[error("encoded sessions are too short or too long")]
    Length,
    /// They break an invariant: they are damaged.
    #[error("encoded sessions are damaged: {0}")]
    Invalid(&'static str),
}

use SessionsDecodeError::Invalid;

impl Sessions {
    /// All sessions as bytes; equal for equal sessions.
    ///
    /// # Panics
    /// Where there are 2^32 sessions, or as many answers or bytes of an answer.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(13 + self.open.len() * 64);
        out.put_u8(VERSION);
        out.put_u64_le(self.time.0);
        out.put_u32_le(count(self.open.len()));
        for (id, session) in &self.open {
            out.put_u64_le(id.0);
            out.put_u64_le(ms(session.expires_after));
            out.put_u8(u8::from(session.used_at.is_some()));
            out.put_u64_le(session.used_at.unwrap_or_default().0);
            out.put_u64_le(session.acknowledged.0);
            out.put_u32_le(count(session.answers.len()));
            for (sequence, Remembered { index, answer }) in &session.answers {
                out.put_u64_le(sequence.0);
                out.put_u64_le(index.0);
                out.put_u32_le(count(answer.len()));
                out.put_slice(answer);
            }
        }
        out.freeze()
    }

    /// The sessions that `bytes` encode. Answers are copied. They may be more than `limits`
    /// allow: those only bound what is added.
    ///
    /// # Errors
    /// Where they encode none.
    pub fn decode(limits: SessionLimits, mut bytes: &[u8]) -> Result<Self, SessionsDecodeError> {
        match u8_of(&mut bytes)? {
            VERSION => {}
            other => return Err(SessionsDecodeError::Version(other)),
        }
        let time = GroupTime(u64_of(&mut bytes)?);
        let mut sessions = Self { time, ..Self::new(limits) };
        for _ in 0..u32_of(&mut bytes)? {
            let id = SessionId(u64_of(&mut bytes)?);
            if sessions.open.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(Invalid("names out of order"));
            }
            let session = session(&mut bytes, time)?;
            match session.expiry() {
                Some(at) if at <= time => return Err(Invalid("a session that has expired")),
                Some(at) => sessions.expiries.insert((at, id)),
                None => sessions.used.insert(id),
            };
            sessions.open.insert(id, session);
        }
        if bytes.is_empty() { Ok(sessions) } else { Err(SessionsDecodeError::Length) }
    }
}

fn session(bytes: &mut &[u8], time: GroupTime) -> Result<Session, SessionsDecodeError> {
    let expires_after = Duration::from_millis(u64_of(bytes)?);
    let used_at = match (u8_of(bytes)?, GroupTime(u64_of(bytes)?)) {
        (0, GroupTime::ZERO) => None,
        (1, at) if at <= time => Some(at),
        _ => return Err(Invalid("a session that was used at no time")),
    };
    let acknowledged = Sequence(u64_of(bytes)?);
    let (mut answers, mut answer_bytes) = (BTreeMap::new(), 0);
    let mut last = acknowledged;
    for _ in 0..u32_of(bytes)? {
        let sequence = Sequence(u64_of(bytes)?);
        if sequence <= last {
            return Err(Invalid("numbers of answers out of order"));
        }
        last = sequence;
        let (index, length) = (Index(u64_of(bytes)?), u32_of(bytes)? as usize);
        let answer = bytes.get(..length).ok_or(SessionsDecodeError::Length)?;
        bytes.advance(length);
        answer_bytes += length;
        answers.insert(sequence, Remembered { index, answer: Bytes::copy_from_slice(answer) });
    }
    Ok(Session { expires_after, used_at, acknowledged, answers, answer_bytes })
}

fn count(of: usize) -> u32 {
    u32::try_from(of).expect("fewer than 2^32")
}

fn ms(of: Duration) -> u64 {
    GroupTime::ZERO.after(of).0
}

fn u8_of(bytes: &mut &[u8]) -> Result<u8, SessionsDecodeError> {
    bytes.try_get_u8().map_err(|_| SessionsDecodeError::Length)
}

fn u32_of(bytes: &mut &[u8]) -> Result<u32, SessionsDecodeError> {
    bytes.try_get_u32_le().map_err(|_| SessionsDecodeError::Length)
}

fn u64_of(bytes: &mut &[u8]) -> Result<u64, SessionsDecodeError> {
    bytes.try_get_u64_le().map_err(|_| SessionsDecodeError::Length)
}
