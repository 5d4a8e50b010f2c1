//! Frames: the unit that is written, checked and kept or cut as a whole.
//!
//! `FORMAT.md` describes the bytes; this file is what reads and writes them.

use bytes::{Buf, BufMut};
use raft_core::{GroupId, HardState, Index, NodeId, Position, Term};

/// The format that is written. Those before it are read.
pub(crate) const FORMAT_VERSION: u8 = 2;
/// Every job's write begins on a block of its own, so that no block that was synced
/// is ever written again.
pub(crate) const BLOCK: u64 = 4096;
/// Bytes before the body.
pub(crate) const HEADER: usize = 80;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
const MAGIC: u16 = 0x4c52;

/// What a frame does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Appends entries, cutting what stands in their place; with no entries it
    /// restates the term and vote only.
    Append = 1,
    /// Entries that stand elsewhere too, in a segment that is to go. Cuts nothing.
    Relocate = 2,
    /// A snapshot takes the place of the log's beginning.
    Reset = 3,
    /// The group is gone.
    Removed = 4,
    /// Covers what came before it, and does nothing.
    Seal = 5,
    /// The first frame of a segment.
    Head = 6,
}

impl FrameKind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Append, Self::Relocate, Self::Reset, Self::Removed, Self::Seal, Self::Head]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// Meaningless for seals and heads.
    pub(crate) group: GroupId,
    /// Of the segment; anything else is a leftover or went astray.
    pub(crate) epoch: u64,
    /// Of the segment as well: a number that nobody could foresee who put something into
    /// an entry, so that no payload that is left in a file passes for a frame of it.
    pub(crate) salt: u32,
    /// Rises by one with every frame of the log.
    pub(crate) sequence: u64,
    /// The last sequence known to be durable when this frame was written.
    pub(crate) durable_upto: u64,
    /// The group's term and vote from here on.
    pub(crate) hard_state: HardState,
    /// The group's last position from here on.
    pub(crate) last: Position,
}

/// Why there is no frame at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// Nothing here looks like one.
    Absent,
    /// Something was one, and its checksum no longer fits; this is what it claims, and the
    /// length without padding that it claims.
    Bad(Option<(FrameHeader, usize)>),
}

impl FrameHeader {
    /// Appends a whole frame, padded to [`ALIGN`], that will stand at `offset` of its file;
    /// answers its length without padding.
    pub(crate) fn encode(
        &self,
        offset: u64,
        out: &mut Vec<u8>,
        put_body: impl FnOnce(&mut Vec<u8>),
    ) -> u32 {
        let start = out.len();
        out.put_u32_le(0);
        out.put_u16_le(MAGIC);
        out.put_u8(FORMAT_VERSION);
        out.put_u8(self.kind as u8);
        out.put_u32_le(0);
        out.put_u32_le(self.salt);
        out.put_u64_le(self.group.0);
        out.put_u64_le(self.epoch);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.durable_upto);
        out.put_u64_le(self.hard_state.term.0);
        out.put_u64_le(self.hard_state.vote.map_or(0, NodeId::get));
        out.put_u64_le(self.last.term.0);
        out.put_u64_le(self.last.index.0);
        debug_assert_eq!(out.len() - start, HEADER);
        put_body(out);
        let whole = u32::try_from(out.len() - start).expect("a frame below 4 GiB");
        let body = whole - HEADER as u32;
        out[start + 8..start + 12].copy_from_slice(&body.to_le_bytes());
        let crc = checksum(offset, &out[start..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        out.put_bytes(0, (align_up(whole.into(), ALIGN) - u64::from(whole)) as usize);
        whole
    }

    /// The frame at the beginning of `bytes`, which stand at `offset` of the segment of
    /// `epoch`, and its length without padding.
    pub(crate) fn decode(
        bytes: &[u8],
        offset: u64,
        epoch: u64,
    ) -> Result<(FrameHeader, usize), NoFrame> {
        let plausible = bytes.len() >= HEADER
            && bytes[4..6] == MAGIC.to_le_bytes()
            && (1..=FORMAT_VERSION).contains(&bytes[6]);
        if !plausible {
            return Err(NoFrame::Absent);
        }
        let Some((header, body)) = read_fields(bytes) else { return Err(NoFrame::Bad(None)) };
        if header.epoch != epoch {
            return Err(NoFrame::Absent);
        }
        let length = HEADER + body;
        if length > bytes.len() || checksum(offset, &bytes[..length]) != (&bytes[..4]).get_u32_le()
        {
            return Err(NoFrame::Bad(Some((header, length))));
        }
        Ok((header, length))
    }
}

/// The format version that a frame names, where it names one.
pub(crate) fn version_of(bytes: &[u8]) -> Option<u8> {
    (bytes.len() >= 8 && bytes[4..6] == MAGIC.to_le_bytes()).then(|| bytes[6])
}

fn read_fields(bytes: &[u8]) -> Option<(FrameHeader, usize)> {
    let mut from = &bytes[7..HEADER];
    let kind = FrameKind::of(from.get_u8())?;
    let body = from.get_u32_le() as usize;
    let salt = from.get_u32_le();
    let header = FrameHeader {
        kind,
        group: GroupId(from.get_u64_le()),
        epoch: from.get_u64_le(),
        salt,
        sequence: from.get_u64_le(),
        durable_upto: from.get_u64_le(),
        hard_state: HardState {
            term: Term(from.get_u64_le()),
            vote: NodeId::new(from.get_u64_le()),
        },
        last: Position { term: Term(from.get_u64_le()), index: Index(from.get_u64_le()) },
    };
    Some((header, body))
}

/// Over the offset, the header after the checksum, and the body: a frame that was
/// written to another place than its own is none.
fn checksum(offset: u64, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), &frame[4..])
}

/// The least multiple of `to` that is not below `offset`.
pub(crate) const fn align_up(offset: u64, to: u64) -> u64 {
    offset.div_ceil(to) * to
}

/// The bytes that a frame with a body of this length takes up.
pub(crate) const fn frame_bytes(body: usize) -> u64 {
    align_up((HEADER + body) as u64, ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Append,
            group: GroupId(3),
            epoch: 7,
            salt: 99,
            sequence: 40,
            durable_upto: 38,
            hard_state: HardState { term: Term(5), vote: NodeId::new(2) },
            last: Position::new(5, 90),
        }
    }

    fn encoded(offset: u64) -> Vec<u8> {
        let mut out = Vec::new();
        header().encode(offset, &mut out, |out| out.put_slice(b"hello"));
        out
    }

    #[test]
    fn a_frame_is_what_was_written() {
        let bytes = encoded(4096);
        assert_eq!(bytes.len() as u64, frame_bytes(5));
        assert_eq!(FrameHeader::decode(&bytes, 4096, 7), Ok((header(), HEADER + 5)));
        assert_eq!(&bytes[HEADER..HEADER + 5], b"hello");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = encoded(0);
        for bit in 0..(HEADER + 5) * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&bytes, 0, 7).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_in_another_place_or_of_another_epoch_is_none() {
        let bytes = encoded(4096);
        let claimed = Err(NoFrame::Bad(Some((header(), HEADER + 5))));
        assert_eq!(FrameHeader::decode(&bytes, 0, 7), claimed);
        assert_eq!(FrameHeader::decode(&bytes, 4096, 8), Err(NoFrame::Absent));
        assert_eq!(FrameHeader::decode(&bytes[..HEADER + 4], 4096, 7), claimed);
    }
}
