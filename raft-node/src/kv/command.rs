//! What clients may ask of the store, and what it answers, as bytes.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_core::Index;
use thiserror::Error;

use super::actual::Actual;
use crate::sessions::{Sequence, SessionCall, SessionId};

/// The version that starts every command and answer.
const VERSION: u8 = 1;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const OPEN_SESSION: u8 = 3;
const CLOSE_SESSION: u8 = 4;
const IN_SESSION: u8 = 5;
const COMPARE_AND_SWAP: u8 = 6;

const STORED: u8 = 0;
const DELETED: u8 = 1;
const ABSENT: u8 = 2;
const REFUSED: u8 = 3;
const SESSION_OPENED: u8 = 4;
const SESSION_CLOSED: u8 = 5;
const SESSION_ABSENT: u8 = 6;
const SESSION_NOT_OPEN: u8 = 7;
const STALE: u8 = 8;
const REPEATED: u8 = 9;
const NO_ROOM: u8 = 10;
const UNEQUAL: u8 = 11;
const UNEQUAL_TO_NONE: u8 = 12;
const UNEQUAL_TO_LONG: u8 = 13;

/// In place of a length: there is to be no value.
const NO_VALUE: u32 = u32::MAX;

/// A change of one key, alone or in a client's session ([`crate::sessions`]), or of the
/// sessions.
///
/// Encoded: version, kind, and then, numbers little-endian, for a put and a delete the
/// length of the key (32 bits), key, value; for a swap the key with its length, the length of
/// what is expected (32 bits, all of them set for no value), that, and the value; for opening a session when it expires
/// (milliseconds, 64 bits); for closing one its name (64 bits); for a change in a session
/// the session, the number and what is acknowledged (64 bits each), and the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvCommand {
    /// Stores `value` under `key`, whatever was there.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes `key`.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Stores `value` under `key` where what is there is what the client expects.
    CompareAndSwap {
        /// The key.
        key: Bytes,
        /// What is to be there; `None` where nothing is.
        expected: Option<Bytes>,
        /// The value.
        value: Bytes,
    },
    /// Opens a session.
    OpenSession {
        /// It is closed when it was not used for so long, in whole milliseconds.
        expires_after: Duration,
    },
    /// Closes a session.
    CloseSession {
        /// Which one.
        session: SessionId,
    },
    /// Changes a key once, however often it is sent.
    InSession {
        /// The session, and what the client says of the command.
        call: SessionCall,
        /// A put, a delete or a swap.
        change: Box<KvCommand>,
    },
}

/// What a [`KvCommand`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvAnswer {
    /// The value is stored.
    Stored,
    /// The key is gone.
    Deleted {
        /// Whether it was there before.
        existed: bool,
    },
    /// Nothing happened: the key has another value than the client expects.
    Unequal {
        /// What it has.
        actual: Actual,
    },
    /// The bytes that were committed are no command; the state did not change. Every
    /// replica answers this in the same words.
    Refused {
        /// What is wrong with them.
        why: String,
    },
    /// The session is open.
    SessionOpened {
        /// Its name.
        session: SessionId,
        /// It is closed when it was not used for so long.
        expires_after: Duration,
    },
    /// The session is closed.
    SessionClosed {
        /// Whether it was open before.
        existed: bool,
    },
    /// There is no such session (any more): the change was not applied now, and nobody
    /// knows whether it was before.
    SessionNotOpen {
        /// The session that was named.
        session: SessionId,
    },
    /// The change was not applied now. The client has said that it needs no answer up to
    /// this number, so nobody knows whether it was before.
    Stale {
        /// What the client has acknowledged.
        acknowledged: Sequence,
    },
    /// The change was applied before and is not applied again.
    Repeated {
        /// Where in the log it was applied.
        index: Index,
        /// What was answered then, encoded.
        answer: Bytes,
    },
    /// There is no room for another session, or another answer: nothing happened.
    NoRoom {
        /// What there is no room for.
        why: String,
    },
}

/// Bytes that are no command or no answer. Nothing can be done with them; whoever
/// wrote them speaks another version or is broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KvDecodeError {
    /// They end too early.
    #[error("the bytes of a key-value command or answer end too early")]
    Short,
    /// They go on after the end.
    #[error("{0} bytes follow the end of a key-value command or answer")]
    Long(usize),
    /// They start with a version this program does not know.
    #[error("version {0} of key-value commands and answers is unknown here")]
    Version(u8),
    /// Their kind is unknown.
    #[error("{0} is no kind of key-value command or answer")]
    Kind(u8),
    /// A session holds something other than a change of a key.
    #[error("a session takes changes of keys only")]
    NoChange,
}

impl KvCommand {
    /// The command as bytes.
    ///
    /// # Panics
    /// Where the key, or what is expected, has 4 GiB or more.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.room());
        self.put(&mut out);
        out.freeze()
    }

    /// How many bytes it takes at most.
    fn room(&self) -> usize {
        match self {
            Self::Put { key, value } => 6 + key.len() + value.len(),
            Self::Delete { key } => 6 + key.len(),
            Self::CompareAndSwap { key, expected, value } => {
                10 + key.len() + expected.as_ref().map_or(0, Bytes::len) + value.len()
            }
            Self::OpenSession { .. } | Self::CloseSession { .. } => 10,
            Self::InSession { change, .. } => 26 + change.room(),
        }
    }

    fn put(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        match self {
            Self::Put { key, value } => put_pair(PUT, key, value, out),
            Self::Delete { key } => put_pair(DELETE, key, &[], out),
            Self::CompareAndSwap { key, expected, value } => {
                out.put_u8(COMPARE_AND_SWAP);
                put_with_length(key, out);
                match expected {
                    Some(expected) => put_with_length(expected, out),
                    None => out.put_u32_le(NO_VALUE),
                }
                out.put_slice(value);
            }
            Self::OpenSession { expires_after } => {
                out.put_u8(OPEN_SESSION);
                out.put_u64_le(ms(*expires_after));
            }
            Self::CloseSession { session } => {
                out.put_u8(CLOSE_SESSION);
                out.put_u64_le(session.0);
            }
            Self::InSession { call, change } => {
                out.put_u8(IN_SESSION);
                out.put_u64_le(call.session.0);
                out.put_u64_le(call.sequence.0);
                out.put_u64_le(call.acknowledged.0);
                change.put(out);
            }
        }
    }

    /// The command that `bytes` encode; key and value share their memory.
    ///
    /// # Errors
    /// Where they encode none.
    pub fn decode(mut bytes: Bytes) -> Result<Self, KvDecodeError> {
        let command = match start(&mut bytes)? {
            PUT => {
                let key = take_part(&mut bytes)?;
                return Ok(Self::Put { key, value: bytes });
            }
            DELETE => Self::Delete { key: take_part(&mut bytes)? },
            COMPARE_AND_SWAP => {
                let key = take_part(&mut bytes)?;
                let expected = match bytes.starts_with(&NO_VALUE.to_le_bytes()) {
                    true => None,
                    false => Some(take_part(&mut bytes)?),
                };
                if expected.is_none() {
                    bytes.advance(size_of_val(&NO_VALUE));
                }
                return Ok(Self::CompareAndSwap { key, expected, value: bytes });
            }
            OPEN_SESSION => Self::OpenSession { expires_after: take_ms(&mut bytes)? },
            CLOSE_SESSION => Self::CloseSession { session: SessionId(take(&mut bytes)?) },
            IN_SESSION => {
                let session = SessionId(take(&mut bytes)?);
                let sequence = Sequence(take(&mut bytes)?);
                let call =
                    SessionCall { session, sequence, acknowledged: Sequence(take(&mut bytes)?) };
                // Looked at before it is decoded: nothing may lie within itself.
                if let [VERSION, OPEN_SESSION | CLOSE_SESSION | IN_SESSION, ..] = bytes[..] {
                    return Err(KvDecodeError::NoChange);
                }
                return Ok(Self::InSession { call, change: Box::new(Self::decode(bytes)?) });
            }
            other => return Err(KvDecodeError::Kind(other)),
        };
        at_end(&bytes).map(|()| command)
    }
}

impl KvAnswer {
    /// The answer as bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Stored => Bytes::from_static(&[VERSION, STORED]),
            Self::Deleted { existed: true } => Bytes::from_static(&[VERSION, DELETED]),
            Self::Deleted { existed: false } => Bytes::from_static(&[VERSION, ABSENT]),
            Self::SessionClosed { existed: true } => Bytes::from_static(&[VERSION, SESSION_CLOSED]),
            Self::SessionClosed { existed: false } => {
                Bytes::from_static(&[VERSION, SESSION_ABSENT])
            }
            Self::Unequal { actual: Actual::Nothing } => {
                Bytes::from_static(&[VERSION, UNEQUAL_TO_NONE])
            }
            Self::Unequal { actual: Actual::Value(value) } => with(UNEQUAL, &[], value),
            Self::Unequal { actual: Actual::Long(bytes) } => with(UNEQUAL_TO_LONG, &[*bytes], &[]),
            Self::Refused { why } => with(REFUSED, &[], why.as_bytes()),
            Self::NoRoom { why } => with(NO_ROOM, &[], why.as_bytes()),
            Self::SessionOpened { session, expires_after } => {
                with(SESSION_OPENED, &[session.0, ms(*expires_after)], &[])
            }
            Self::SessionNotOpen { session } => with(SESSION_NOT_OPEN, &[session.0], &[]),
            Self::Stale { acknowledged } => with(STALE, &[acknowledged.0], &[]),
            Self::Repeated { index, answer } => with(REPEATED, &[index.0], answer),
        }
    }

    /// The answer that `bytes` encode.
    ///
    /// # Errors
    /// Where they encode none.
    pub fn decode(mut bytes: Bytes) -> Result<Self, KvDecodeError> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let answer = match start(&mut bytes)? {
            REFUSED => return Ok(Self::Refused { why: text(&bytes) }),
            NO_ROOM => return Ok(Self::NoRoom { why: text(&bytes) }),
            REPEATED => {
                let index = Index(take(&mut bytes)?);
                return Ok(Self::Repeated { index, answer: bytes });
            }
            UNEQUAL => return Ok(Self::Unequal { actual: Actual::Value(bytes) }),
            UNEQUAL_TO_NONE => Self::Unequal { actual: Actual::Nothing },
            UNEQUAL_TO_LONG => Self::Unequal { actual: Actual::Long(take(&mut bytes)?) },
            STORED => Self::Stored,
            DELETED => Self::Deleted { existed: true },
            ABSENT => Self::Deleted { existed: false },
            SESSION_OPENED => {
                let session = SessionId(take(&mut bytes)?);
                Self::SessionOpened { session, expires_after: take_ms(&mut bytes)? }
            }
            SESSION_CLOSED => Self::SessionClosed { existed: true },
            SESSION_ABSENT => Self::SessionClosed { existed: false },
            SESSION_NOT_OPEN => Self::SessionNotOpen { session: SessionId(take(&mut bytes)?) },
            STALE => Self::Stale { acknowledged: Sequence(take(&mut bytes)?) },
            other => return Err(KvDecodeError::Kind(other)),
        };
        at_end(&bytes).map(|()| answer)
    }
}

fn put_pair(kind: u8, key: &[u8], value: &[u8], out: &mut BytesMut) {
    out.put_u8(kind);
    put_with_length(key, out);
    out.put_slice(value);
}

fn put_with_length(part: &[u8], out: &mut BytesMut) {
    let length = u32::try_from(part.len()).expect("a part of a command is shorter than 4 GiB");
    out.put_u32_le(length);
    out.put_slice(part);
}

fn take_part(bytes: &mut Bytes) -> Result<Bytes, KvDecodeError> {
    let length = bytes.try_get_u32_le().map_err(|_| KvDecodeError::Short)?;
    let length = usize::try_from(length).map_err(|_| KvDecodeError::Short)?;
    if bytes.len() < length {
        return Err(KvDecodeError::Short);
    }
    Ok(bytes.split_to(length))
}

fn take(bytes: &mut Bytes) -> Result<u64, KvDecodeError> {
    bytes.try_get_u64_le().map_err(|_| KvDecodeError::Short)
}

fn take_ms(bytes: &mut Bytes) -> Result<Duration, KvDecodeError> {
    take(bytes).map(Duration::from_millis)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn at_end(bytes: &Bytes) -> Result<(), KvDecodeError> {
    if bytes.is_empty() { Ok(()) } else { Err(KvDecodeError::Long(bytes.len())) }
}

/// An answer of this kind, with numbers and what follows them.
fn with(kind: u8, numbers: &[u64], rest: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(2 + numbers.len() * 8 + rest.len());
    out.put_slice(&[VERSION, kind]);
    numbers.iter().for_each(|number| out.put_u64_le(*number));
    out.put_slice(rest);
    out.freeze()
}

/// Checks the version and takes the kind.
fn start(bytes: &mut Bytes) -> Result<u8, KvDecodeError> {
    match bytes.try_get_u8() {
        Ok(VERSION) => bytes.try_get_u8().map_err(|_| KvDecodeError::Short),
        Ok(other) => Err(KvDecodeError::Version(other)),
        Err(_) => Err(KvDecodeError::Short),
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
