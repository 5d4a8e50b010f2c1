//! The bodies of frames: entries, resets and segment heads.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, Membership, NodeId, Position, Term,
};

use crate::LogIdentity;
use crate::frame::FrameKind;

/// A body that cannot be understood although its checksum fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// What a frame to be written holds.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Entries, possibly none, each of the writes that were staged together on its own.
    Append(Vec<Arc<Vec<Entry>>>),
    /// A snapshot's position and the membership there.
    Reset(ResetBody),
    /// The group is removed.
    Removed,
    /// Nothing.
    Seal,
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

/// What a segment head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) identity: LogIdentity,
    /// The epoch of the segment before this one; 0 where there is none.
    pub(crate) predecessor: u64,
    /// Nothing with a higher sequence is ever read from an earlier segment.
    pub(crate) predecessor_last: u64,
    /// Every group there is.
    pub(crate) groups: Vec<Checkpoint>,
}

/// What a segment head restates about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) group: GroupId,
    pub(crate) hard_state: HardState,
    pub(crate) floor: Position,
    pub(crate) last: Position,
    /// The membership in force at the floor, encoded.
    pub(crate) membership: Bytes,
}

/// Terms, indexes, sequences and epochs stay below it, so that whoever counts on from one
/// that was read never runs over.
pub(crate) const LIMIT: u64 = 1 << 63;

const APPEND_FIXED: usize = 12;
const ENTRY_HEADER: usize = 16;
const CHECKPOINT_FIXED: usize = 60;
const HEAD_FIXED: usize = 36;

impl Body {
    pub(crate) fn kind(&self) -> FrameKind {
        match self {
            Self::Append(_) => FrameKind::Append,
            Self::Reset(_) => FrameKind::Reset,
            Self::Removed => FrameKind::Removed,
            Self::Seal => FrameKind::Seal,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Append(writes) => {
                APPEND_FIXED + writes.iter().map(|entries| entries_len(entries)).sum::<usize>()
            }
            Self::Reset(reset) => 24 + reset.membership.len(),
            Self::Removed | Self::Seal => 0,
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Append(writes) => put_entries(writes, out),
            Self::Reset(reset) => reset.put(out),
            Self::Removed | Self::Seal => {}
        }
    }
}

/// What entries take up in the body of an append.
pub(crate) fn entries_len(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| ENTRY_HEADER + entry.payload.len()).sum()
}

fn put_entries(writes: &[Arc<Vec<Entry>>], out: &mut Vec<u8>) {
    let count: usize = writes.iter().map(|entries| entries.len()).sum();
    out.put_u32_le(u32::try_from(count).expect("fewer than 2^32 entries in a frame"));
    let mut entries = writes.iter().flat_map(|entries| entries.iter()).peekable();
    out.put_u64_le(entries.peek().map_or(0, |entry| entry.index.0));
    for entry in entries {
        out.put_u64_le(entry.term.0);
        out.put_u32_le(u32::try_from(entry.payload.len()).expect("a payload below 4 GiB"));
        out.put_u32_le(match entry.kind {
            EntryKind::Blank => 0,
            EntryKind::Command => 1,
            EntryKind::Membership => 2,
            EntryKind::Clock => 3,
        });
        out.put_slice(&entry.payload);
    }
}

/// The entries of an append or relocate frame. Payloads share the memory of `body`.
pub(crate) fn decode_entries(mut body: Bytes) -> Result<Vec<Entry>, Malformed> {
    need(&body, APPEND_FIXED)?;
    let count = body.get_u32_le() as usize;
    let first = get_number(&mut body)?;
    let mut entries = Vec::with_capacity(count.min(body.len() / ENTRY_HEADER));
    for place in 0..count as u64 {
        let EntryHead { term, kind, length } = EntryHead::get(&mut body)?;
        let payload = body.split_to(length);
        entries.push(Entry { term, index: Index(first + place), kind, payload });
    }
    finished(&body)?;
    Ok(entries)
}

/// Goes over the entries of an append or relocate frame without taking memory for them.
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
        each(Index(first + place), head, payload)?;
    }
    finished(&body)
}

/// What stands before an entry's payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryHead {
    pub(crate) term: Term,
    pub(crate) kind: EntryKind,
    /// Of the payload, which is there.
    length: usize,
}

impl EntryHead {
    fn get(from: &mut impl Buf) -> Result<Self, Malformed> {
        need(from, ENTRY_HEADER)?;
        let term = Term(get_number(from)?);
        let length = from.get_u32_le() as usize;
        let kind = match from.get_u32_le() {
            0 => EntryKind::Blank,
            1 => EntryKind::Command,
            2 => EntryKind::Membership,
            3 => EntryKind::Clock,
            _ => return Err(Malformed("an entry of an unknown kind")),
        };
        need(from, length)?;
        Ok(Self { term, kind, length })
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

impl Head {
    pub(crate) fn len(&self) -> usize {
        let groups = self.groups.iter().map(|group| CHECKPOINT_FIXED + group.membership.len());
        HEAD_FIXED + groups.sum::<usize>()
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.identity.cluster.0);
        out.put_u64_le(self.identity.node.get());
        out.put_u64_le(self.predecessor);
        out.put_u64_le(self.predecessor_last);
        out.put_u32_le(u32::try_from(self.groups.len()).expect("fewer than 2^32 groups"));
        for group in &self.groups {
            out.put_u64_le(group.group.0);
            out.put_u64_le(group.hard_state.term.0);
            out.put_u64_le(group.hard_state.vote.map_or(0, NodeId::get));
            for position in [group.floor, group.last] {
                out.put_u64_le(position.term.0);
                out.put_u64_le(position.index.0);
            }
            put_bytes(&group.membership, out);
        }
    }

    pub(crate) fn decode(mut body: Bytes) -> Result<Self, Malformed> {
        need(&body, HEAD_FIXED)?;
        let cluster = ClusterId(body.get_u64_le());
        let node = NodeId::new(body.get_u64_le()).ok_or(Malformed("a head of node zero"))?;
        let predecessor = get_number(&mut body)?;
        let predecessor_last = get_number(&mut body)?;
        let count = body.get_u32_le() as usize;
        let mut groups = Vec::with_capacity(count.min(body.len() / CHECKPOINT_FIXED));
        for _ in 0..count {
            need(&body, CHECKPOINT_FIXED)?;
            groups.push(Checkpoint {
                group: GroupId(body.get_u64_le()),
                hard_state: HardState {
                    term: Term(get_number(&mut body)?),
                    vote: NodeId::new(body.get_u64_le()),
                },
                floor: get_position(&mut body)?,
                last: get_position(&mut body)?,
                membership: get_membership(&mut body)?,
            });
        }
        finished(&body)?;
        let identity = LogIdentity { cluster, node };
        Ok(Self { identity, predecessor, predecessor_last, groups })
    }
}

/// The membership that [`Membership::encode`] made these bytes of.
pub(crate) fn decode_membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    Membership::decode(bytes).map_err(|_| Malformed("a membership that cannot be decoded"))
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("a membership below 4 GiB"));
    out.put_slice(bytes);
}

fn get_membership(from: &mut Bytes) -> Result<Bytes, Malformed> {
    need(from, 4)?;
    let length = from.get_u32_le() as usize;
    need(from, length)?;
    // A copy, so that a few bytes do not keep a whole segment in memory.
    let membership = Bytes::copy_from_slice(&from.split_to(length));
    decode_membership(&membership)?;
    Ok(membership)
}

fn get_position(from: &mut Bytes) -> Result<Position, Malformed> {
    Ok(Position { term: Term(get_number(from)?), index: Index(get_number(from)?) })
}

/// A term, an index, a sequence or an epoch.
fn get_number(from: &mut impl Buf) -> Result<u64, Malformed> {
    reachable(from.get_u64_le())
}

/// See [`LIMIT`].
pub(crate) fn reachable(number: u64) -> Result<u64, Malformed> {
    if number < LIMIT { Ok(number) } else { Err(Malformed("a number that no log reaches")) }
}

fn need(from: &impl Buf, bytes: usize) -> Result<(), Malformed> {
    if from.remaining() < bytes { Err(Malformed("a body that is too short")) } else { Ok(()) }
}

fn finished(from: &impl Buf) -> Result<(), Malformed> {
    if !from.has_remaining() { Ok(()) } else { Err(Malformed("a body that is too long")) }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
