//! The bodies of frames: entries and resets.

use std::slice::from_ref;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use raft_core::{Entry, EntryKind, Index, Membership, Position, Term};

use crate::checkpoint::Seal;
use crate::frame::FrameKind;
use crate::packing::{self, Packer};
use crate::relocating::Relocated;

/// A body that cannot be understood although its checksum fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// What a frame to be written holds.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Entries, possibly none, each of the writes that were staged together on its own.
    Append(Vec<Arc<Vec<Entry>>>),
    /// Entries that stand elsewhere too, at least one.
    Relocate(Relocated),
    /// A snapshot's position and the membership there.
    Reset(ResetBody),
    /// The group is removed.
    Removed,
    /// What is different from what the segment's head says.
    Seal(Seal),
}

/// What a reset says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResetBody {
    pub(crate) floor: Position,
    /// Encoded.
    pub(crate) membership: Bytes,
    /// Whether the log held `floor`, so that what follows it stayed. It is written
    /// down because the entry at `floor` itself may be gone when the log is replayed.
    pub(crate) keeps_suffix: bool,
}

/// Terms, indexes, sequences and epochs stay below it, so that whoever counts on from one
/// that was read never runs over.
pub(crate) const LIMIT: u64 = 1 << 63;

const APPEND_FIXED: usize = 12;
const ENTRY_HEADER: usize = 16;

/// In the word of an entry's kind: the payload is compressed.
const PACKED: u32 = 1 << 31;

impl Body {
    pub(crate) fn kind(&self) -> FrameKind {
        match self {
            Self::Append(_) => FrameKind::Append,
            Self::Relocate(_) => FrameKind::Relocate,
            Self::Reset(_) => FrameKind::Reset,
            Self::Removed => FrameKind::Removed,
            Self::Seal(_) => FrameKind::Seal,
        }
    }

    /// Its length, where no payload is compressed: it takes no more than that.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Append(writes) => {
                APPEND_FIXED + writes.iter().map(|entries| entries_len(entries)).sum::<usize>()
            }
            Self::Relocate(relocated) => APPEND_FIXED + entries_len(&relocated.entries),
            Self::Reset(reset) => 24 + reset.membership.len(),
            Self::Removed => 0,
            Self::Seal(seal) => seal.len(),
        }
    }

    /// Appends it. Large payloads are compressed on the way.
    pub(crate) fn put(&self, packer: &mut Packer, out: &mut Vec<u8>) {
        match self {
            Self::Append(writes) => put_entries(writes, packer, out),
            Self::Relocate(Relocated { entries, .. }) => {
                put_entries(from_ref(entries), packer, out);
            }
            Self::Reset(reset) => reset.put(out),
            Self::Removed => {}
            Self::Seal(seal) => seal.put(out),
        }
    }
}

/// What entries take up in the body of an append.
pub(crate) fn entries_len(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| ENTRY_HEADER + entry.payload.len()).sum()
}

fn put_entries(writes: &[Arc<Vec<Entry>>], packer: &mut Packer, out: &mut Vec<u8>) {
    let count: usize = writes.iter().map(|entries| entries.len()).sum();
    out.put_u32_le(u32::try_from(count).expect("fewer than 2^32 entries in a frame"));
    let mut entries = writes.iter().flat_map(|entries| entries.iter()).peekable();
    out.put_u64_le(entries.peek().map_or(0, |entry| entry.index.0));
    for entry in entries {
        let (kind, packed) = match entry.kind {
            EntryKind::Blank => (0, None),
            // Recovery reads all others, and they are small.
            EntryKind::Command => (1, packer.pack(&entry.payload)),
            EntryKind::Membership => (2, None),
            EntryKind::Clock => (3, None),
        };
        let flag = if packed.is_some() { PACKED } else { 0 };
        let stored = packed.unwrap_or(&entry.payload);
        out.put_u64_le(entry.term.0);
        out.put_u32_le(u32::try_from(stored.len()).expect("a payload below 4 GiB"));
        out.put_u32_le(kind | flag);
        out.put_slice(stored);
    }
}

/// The entries of an append or relocate frame. Payloads share the memory of `body`.
pub(crate) fn decode_entries(mut body: Bytes) -> Result<Vec<Entry>, Malformed> {
    need(&body, APPEND_FIXED)?;
    let count = body.get_u32_le() as usize;
    let first = get_number(&mut body)?;
    let mut entries = Vec::with_capacity(count.min(body.len() / ENTRY_HEADER));
    for place in 0..count as u64 {
        let EntryHead { term, kind, is_packed, length } = EntryHead::get(&mut body)?;
        let stored = body.split_to(length);
        let payload = if is_packed { packing::unpack(&stored)? } else { stored };
        entries.push(Entry { term, index: Index(first + place), kind, payload });
    }
    finished(&body)?;
    Ok(entries)
}

/// Goes over the entries of an append or relocate frame without taking memory for them.
/// Payloads that are compressed stay so.
pub(crate) fn for_each_entry(
    mut body: &[u8],
    mut each: impl FnMut(Index, EntryHead, &[u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    need(&body, APPEND_FIXED)?;
    let count = body.get_u32_le();
    let first = get_number(&mut body)?;
    for place in 0..u64::from(count) {
        let head = EntryHead::get(&mut body)?;
        let payload;
        (payload, body) = body.split_at(head.length);
        if head.is_packed {
            packing::check(payload)?;
        }
        each(Index(first + place), head, payload)?;
    }
    finished(&body)
}

/// What stands before an entry's payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryHead {
    pub(crate) term: Term,
    pub(crate) kind: EntryKind,
    is_packed: bool,
    /// Of the payload, which is there.
    length: usize,
}

impl EntryHead {
    fn get(from: &mut impl Buf) -> Result<Self, Malformed> {
        need(from, ENTRY_HEADER)?;
        let term = Term(get_number(from)?);
        let length = from.get_u32_le() as usize;
        let kind = from.get_u32_le();
        let is_packed = kind & PACKED != 0;
        let kind = match kind & !PACKED {
            0 => EntryKind::Blank,
            1 => EntryKind::Command,
            2 => EntryKind::Membership,
            3 => EntryKind::Clock,
            _ => return Err(Malformed("an entry of an unknown kind")),
        };
        if is_packed && kind != EntryKind::Command {
            return Err(Malformed("a compressed payload of something else than a command"));
        }
        need(from, length)?;
        Ok(Self { term, kind, is_packed, length })
    }
}

impl ResetBody {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.floor.term.0);
        out.put_u64_le(self.floor.index.0);
        out.put_u32_le(u32::from(self.keeps_suffix));
        put_bytes(&self.membership, out);
    }

    pub(crate) fn decode(mut body: Bytes) -> Result<Self, Malformed> {
        need(&body, 24)?;
        let floor = get_position(&mut body)?;
        let keeps_suffix = match body.get_u32_le() {
            0 => false,
            1 => true,
            _ => return Err(Malformed("a reset that neither keeps nor drops what follows")),
        };
        let membership = get_membership(&mut body)?;
        finished(&body)?;
        Ok(Self { floor, membership, keeps_suffix })
    }
}

/// The membership that [`Membership::encode`] made these bytes of.
pub(crate) fn decode_membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    Membership::decode(bytes).map_err(|_| Malformed("a membership that cannot be decoded"))
}

pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("a membership below 4 GiB"));
    out.put_slice(bytes);
}

pub(crate) fn get_membership(from: &mut Bytes) -> Result<Bytes, Malformed> {
    need(from, 4)?;
    let length = from.get_u32_le() as usize;
    need(from, length)?;
    // A copy, so that a few bytes do not keep a whole segment in memory.
    let membership = Bytes::copy_from_slice(&from.split_to(length));
    decode_membership(&membership)?;
    Ok(membership)
}

pub(crate) fn get_position(from: &mut Bytes) -> Result<Position, Malformed> {
    Ok(Position { term: Term(get_number(from)?), index: Index(get_number(from)?) })
}

/// A term, an index, a sequence or an epoch.
pub(crate) fn get_number(from: &mut impl Buf) -> Result<u64, Malformed> {
    reachable(from.get_u64_le())
}

/// See [`LIMIT`].
pub(crate) fn reachable(number: u64) -> Result<u64, Malformed> {
    if number < LIMIT { Ok(number) } else { Err(Malformed("a number that no log reaches")) }
}

pub(crate) fn need(from: &impl Buf, bytes: usize) -> Result<(), Malformed> {
    if from.remaining() < bytes { Err(Malformed("a body that is too short")) } else { Ok(()) }
}

pub(crate) fn finished(from: &impl Buf) -> Result<(), Malformed> {
    if !from.has_remaining() { Ok(()) } else { Err(Malformed("a body that is too long")) }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
