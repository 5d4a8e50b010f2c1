//! What clients may ask of the store, and what it answers, as bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// The version that starts every command and answer.
const VERSION: u8 = 1;

const PUT: u8 = 1;
const DELETE: u8 = 2;

const STORED: u8 = 0;
const DELETED: u8 = 1;
const ABSENT: u8 = 2;
const REFUSED: u8 = 3;

/// A change of one key.
///
/// Encoded: version, kind, length of the key (32 bits, little-endian), key, value.
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
    /// The bytes that were committed are no command; the state did not change. Every
    /// replica answers this in the same words.
    Refused {
        /// What is wrong with them.
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
}

impl KvCommand {
    /// The command as bytes.
    ///
    /// # Panics
    /// Where the key has 4 GiB or more.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (kind, key, value) = match self {
            Self::Put { key, value } => (PUT, key, value.as_ref()),
            Self::Delete { key } => (DELETE, key, &[][..]),
        };
        let key_len = u32::try_from(key.len()).expect("a key is shorter than 4 GiB");
        let mut out = BytesMut::with_capacity(6 + key.len() + value.len());
        out.put_u8(VERSION);
        out.put_u8(kind);
        out.put_u32_le(key_len);
        out.put_slice(key);
        out.put_slice(value);
        out.freeze()
    }

    /// The command that `bytes` encode; key and value share their memory.
    ///
    /// # Errors
    /// Where they encode none.
    pub fn decode(mut bytes: Bytes) -> Result<Self, KvDecodeError> {
        let kind = start(&mut bytes)?;
        let key_len = bytes.try_get_u32_le().map_err(|_| KvDecodeError::Short)?;
        let key_len = usize::try_from(key_len).map_err(|_| KvDecodeError::Short)?;
        if bytes.len() < key_len {
            return Err(KvDecodeError::Short);
        }
        let key = bytes.split_to(key_len);
        match kind {
            PUT => Ok(Self::Put { key, value: bytes }),
            DELETE if bytes.is_empty() => Ok(Self::Delete { key }),
            DELETE => Err(KvDecodeError::Long(bytes.len())),
            other => Err(KvDecodeError::Kind(other)),
        }
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
            Self::Refused { why } => {
                let mut out = BytesMut::with_capacity(2 + why.len());
                out.put_slice(&[VERSION, REFUSED]);
                out.put_slice(why.as_bytes());
                out.freeze()
            }
        }
    }

    /// The answer that `bytes` encode.
    ///
    /// # Errors
    /// Where they encode none.
    pub fn decode(mut bytes: Bytes) -> Result<Self, KvDecodeError> {
        let answer = match start(&mut bytes)? {
            REFUSED => {
                return Ok(Self::Refused { why: String::from_utf8_lossy(&bytes).into_owned() });
            }
            STORED => Self::Stored,
            DELETED => Self::Deleted { existed: true },
            ABSENT => Self::Deleted { existed: false },
            other => return Err(KvDecodeError::Kind(other)),
        };
        if bytes.is_empty() { Ok(answer) } else { Err(KvDecodeError::Long(bytes.len())) }
    }
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
mod tests {
    use raft_core::Random;

    use super::*;

    fn put(key: &'static [u8], value: &'static [u8]) -> KvCommand {
        KvCommand::Put { key: Bytes::from_static(key), value: Bytes::from_static(value) }
    }

    #[test]
    fn commands_and_answers_survive_the_way_there_and_back() {
        let delete = KvCommand::Delete { key: Bytes::from_static(b"k") };
        for command in [put(b"k", b"v"), put(b"", b""), put(b"\xff\x00", b""), delete] {
            assert_eq!(KvCommand::decode(command.encode()), Ok(command));
        }
        let refused = KvAnswer::Refused { why: "no".to_owned() };
        let (gone, absent) =
            (KvAnswer::Deleted { existed: true }, KvAnswer::Deleted { existed: false });
        for answer in [KvAnswer::Stored, gone, absent, refused] {
            assert_eq!(KvAnswer::decode(answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn the_encoding_is_fixed() {
        assert_eq!(put(b"ab", b"c").encode().as_ref(), b"\x01\x01\x02\0\0\0abc");
    }

    #[test]
    fn what_is_no_command_says_why() {
        let decode = |bytes: &'static [u8]| KvCommand::decode(Bytes::from_static(bytes));
        assert_eq!(decode(b""), Err(KvDecodeError::Short));
        assert_eq!(decode(b"\x01\x01\x05\0\0\0abc"), Err(KvDecodeError::Short));
        assert_eq!(decode(b"\x02\x01\x01\0\0\0a"), Err(KvDecodeError::Version(2)));
        assert_eq!(decode(b"\x01\x09\x01\0\0\0a"), Err(KvDecodeError::Kind(9)));
        assert_eq!(decode(b"\x01\x02\x01\0\0\0ab"), Err(KvDecodeError::Long(1)));
    }

    #[test]
    fn no_bytes_make_decoding_panic() {
        let mut random = Random::new(11);
        for _ in 0..20_000 {
            let len = usize::try_from(random.below(12)).unwrap();
            let bytes: Vec<u8> = (0..len).map(|_| random.below(4) as u8).collect();
            let command = KvCommand::decode(Bytes::from(bytes.clone()));
            if let Ok(command) = command {
                assert_eq!(command.encode(), bytes);
            }
            let _ = KvAnswer::decode(Bytes::from(bytes));
        }
    }
}
