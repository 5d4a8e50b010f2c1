//! What shows that a batch is as it left: its length and a checksum before it.
//!
//! TCP's sum of 16 bits misses one damaged segment in some ten thousand, and none of the
//! layers above it looks. An entry that changes on its way would get a good checksum of
//! its own in the follower's log, and its copies would differ for ever.

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use thiserror::Error;

use crate::wire;

/// What stands before a batch, each little-endian: the length of what follows (4 bytes),
/// and the CRC-32C of these four bytes and of what follows (4 bytes).
const HEAD: usize = 8;

/// How bytes show that they are not what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// Fewer bytes than stand before any batch.
    #[error("{found} bytes are too few for any")]
    TooShort {
        /// How many there are.
        found: usize,
    },
    /// Not as many bytes as the batch states.
    #[error("it states {stated} bytes and has {found}")]
    Length {
        /// How many bytes it states.
        stated: u32,
        /// How many it has.
        found: usize,
    },
    /// Other bytes than were sent.
    #[error("it states the checksum {stated:08x} and has {found:08x}")]
    Checksum {
        /// The checksum it states.
        stated: u32,
        /// That of the bytes which arrived.
        found: u32,
    },
}

/// The batch with its length and checksum before it.
///
/// # Panics
/// Where it takes 4 GiB or more, which no transport accepts either.
pub(crate) fn seal(batch: &wire::Batch) -> Bytes {
    let length = batch.encoded_len();
    let stated = u32::try_from(length).expect("a batch takes less than 4 GiB").to_le_bytes();
    let mut sealed = Vec::with_capacity(HEAD + length);
    sealed.extend_from_slice(&stated);
    sealed.extend_from_slice(&[0; 4]);
    batch.encode_raw(&mut sealed);
    let checksum = checksum(stated, &sealed[HEAD..]);
    sealed[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
    sealed.into()
}

/// What was sealed, or how it shows that it is something else.
pub(super) fn unseal(mut sealed: Bytes) -> Result<Bytes, Damage> {
    if sealed.len() < HEAD {
        return Err(Damage::TooShort { found: sealed.len() });
    }
    let (length, stated) = (sealed.get_u32_le(), sealed.get_u32_le());
    if u32::try_from(sealed.len()) != Ok(length) {
        return Err(Damage::Length { stated: length, found: sealed.len() });
    }
    let found = checksum(length.to_le_bytes(), &sealed);
    if found != stated {
        return Err(Damage::Checksum { stated, found });
    }
    Ok(sealed)
}

fn checksum(length: [u8; 4], batch: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), batch)
}
