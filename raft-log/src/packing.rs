//! Large payloads are compressed as they are written.

use bytes::{Buf, Bytes, BytesMut};

use crate::record::Malformed;

/// The length that is stored before what is compressed.
const LENGTH: usize = 4;

/// One byte of an LZ4 block stands for so many at most: what claims more is refused before any
/// memory is taken for it.
const MOST_PER_BYTE: usize = 255;

/// A payload is compressed where at least this part of it is saved: less is not worth the
/// work of whoever reads it.
const SAVED_PARTS: usize = 8;

/// Compresses payloads, with memory that is used again for the next one.
#[derive(Debug)]
pub(crate) struct Packer {
    above_bytes: usize,
    scratch: Vec<u8>,
}

impl Packer {
    /// One that leaves payloads of up to `above_bytes` as they are.
    pub(crate) const fn new(above_bytes: usize) -> Self {
        Self { above_bytes, scratch: Vec::new() }
    }

    /// What is stored in the place of the payload, where that is worth it.
    pub(crate) fn pack(&mut self, payload: &[u8]) -> Option<&[u8]> {
        if payload.len() <= self.above_bytes {
            return None;
        }
        let length = u32::try_from(payload.len()).ok()?;
        let most = LENGTH + lz4_flex::block::get_maximum_output_size(payload.len());
        if self.scratch.len() < most {
            self.scratch.resize(most, 0);
        }
        self.scratch[..LENGTH].copy_from_slice(&length.to_le_bytes());
        let packed = lz4_flex::block::compress_into(payload, &mut self.scratch[LENGTH..]).ok()?;
        let stored = &self.scratch[..LENGTH + packed];
        (stored.len() <= payload.len() - payload.len() / SAVED_PARTS).then_some(stored)
    }
}

/// Whether this can be a payload that a [`Packer`] has compressed, and how long that was.
pub(crate) fn check(stored: &[u8]) -> Result<usize, Malformed> {
    let mut from = stored;
    let length = from.try_get_u32_le().map_err(|_| Malformed("a compressed payload too short"))?;
    let length = length as usize;
    if length <= stored.len() || length > from.len().saturating_mul(MOST_PER_BYTE) {
        return Err(Malformed("a compressed payload of a length that it cannot have"));
    }
    Ok(length)
}

/// The payload that was compressed.
pub(crate) fn unpack(stored: &[u8]) -> Result<Bytes, Malformed> {
    let mut payload = BytesMut::zeroed(check(stored)?);
    match lz4_flex::block::decompress_into(&stored[LENGTH..], &mut payload) {
        Ok(length) if length == payload.len() => Ok(payload.freeze()),
        _ => Err(Malformed("a payload that cannot be decompressed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_get_smaller_stays_as_it_is() {
        let mut packer = Packer::new(100);
        let same = vec![7; 101];
        assert_eq!(packer.pack(&same[..100]), None, "not above the limit");
        let packed = packer.pack(&same).expect("all the same").to_vec();
        assert!(packed.len() < 30);
        assert_eq!(unpack(&packed), Ok(Bytes::from(same)));
        let mut random = raft_core::Random::new(1);
        let noise: Vec<u8> = (0..5000).map(|_| random.below(256) as u8).collect();
        assert_eq!(packer.pack(&noise), None);
        let half = [&noise[..], &noise[..]].concat();
        let packed = packer.pack(&half).expect("the second half is the first").to_vec();
        assert_eq!(unpack(&packed), Ok(Bytes::from(half)));
    }

    #[test]
    fn no_bytes_at_all_decompress_to_more_than_is_said_or_to_a_panic() {
        let text = b"some text, and some more text, and some more text after that".repeat(5);
        let whole = Packer::new(0).pack(&text).expect("text").to_vec();
        let mut random = raft_core::Random::new(1);
        let (mut refused, mut other) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            bytes.truncate(1 + random.below(whole.len() as u64) as usize);
            match unpack(&bytes) {
                Ok(payload) => {
                    assert!(payload.len() <= bytes.len() * MOST_PER_BYTE);
                    other += 1;
                }
                Err(Malformed(_)) => refused += 1,
            }
        }
        assert!(refused > 15_000 && other > 10, "{refused} {other}");
        for short in 0..=LENGTH {
            assert!(unpack(&[0xff, 0xff, 0xff, 0xff, 0][..short]).is_err());
        }
    }
}
