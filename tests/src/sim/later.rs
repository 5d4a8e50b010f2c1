//! What a later version of the program says: all that this one does, and more.
//!
//! While a cluster is upgraded, versions stand side by side. A later one may add fields to any
//! message (`proto/raft.proto`), and whoever does not know them passes over them.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// What stands before a batch: its length, and a checksum.
const HEAD: usize = 8;
/// A number that no field has.
const UNKNOWN: u32 = 999;

/// Where a message stands in a batch.
#[derive(Clone, Copy)]
enum Level {
    Batch,
    Envelope,
    /// What an envelope has in it; its number tells which.
    Content(u32),
    Body,
}

impl Level {
    /// What a field of this number is; nothing where it is no message, or one in a body.
    const fn below(self, field: u32) -> Option<Self> {
        match self {
            Self::Batch if field == 2 => Some(Self::Envelope),
            Self::Envelope => Some(Self::Content(field)),
            Self::Content(1) => Some(Self::Body),
            _ => None,
        }
    }
}

/// The batch with a field more in itself, in each envelope, in what that has in it, and in the
/// body of a message.
///
/// # Panics
/// Where it is none.
pub(super) fn with_later_fields(sealed: &Bytes) -> Bytes {
    let batch = with_more(sealed.slice(HEAD..), Level::Batch);
    let length = u32::try_from(batch.len()).expect("it is small").to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), &batch);
    [&length[..], &checksum.to_le_bytes(), &batch].concat().into()
}

fn with_more(mut message: Bytes, level: Level) -> Vec<u8> {
    let mut more = Vec::with_capacity(message.len() + 64);
    while message.has_remaining() {
        let (field, wire_type) = decode_key(&mut message).expect("a batch is fields");
        encode_key(field, wire_type, &mut more);
        match wire_type {
            WireType::Varint => encode_varint(varint(&mut message), &mut more),
            WireType::SixtyFourBit => more.put(message.split_to(8)),
            WireType::ThirtyTwoBit => more.put(message.split_to(4)),
            WireType::LengthDelimited => {
                let length = varint(&mut message) as usize;
                let part = message.split_to(length);
                let part = match level.below(field) {
                    Some(below) => with_more(part, below),
                    None => part.to_vec(),
                };
                encode_varint(part.len() as u64, &mut more);
                more.extend(part);
            }
            other => panic!("no message has {other:?}"),
        }
    }
    encode_key(UNKNOWN, WireType::LengthDelimited, &mut more);
    encode_varint(3, &mut more);
    more.extend(b"new");
    more
}

fn varint(from: &mut Bytes) -> u64 {
    decode_varint(from).expect("a number is whole")
}

#[cfg(test)]
mod tests {
    use raft_core::{
        Beat, Body, Entry, EntryKind, Envelope, GroupId, Incarnation, Index, Message, NodeId,
        Position, Term, Token,
    };
    use raft_rpc::codec::{decode_batch, encode_batch};

    use super::*;

    #[test]
    fn whoever_does_not_know_a_field_passes_over_it() {
        let (from, to) = (NodeId::new(1).unwrap(), NodeId::new(2).unwrap());
        let (term, prev) = (Term(3), Position { term: Term(2), index: Index(6) });
        let payload = Bytes::from_static(b"\x0a\x02no message");
        let entry = Entry { term, index: Index(7), kind: EntryKind::Command, payload };
        let append =
            Body::Append { token: Token::default(), prev, entries: vec![entry], commit: Index(5) };
        let message = Message::new(GroupId(1), from, to, term, append);
        let named = Message { to_disk: Incarnation(9), ..message.clone() };
        let beat = Beat { sequence: 4, groups: Vec::new(), stopped: Vec::new() };
        let said = vec![Envelope::Group(message), Envelope::Group(named), Envelope::Beat(beat)];
        let bytes = encode_batch(&said);
        let later = with_later_fields(&bytes);
        // A key of two bytes, a length and three letters: in the batch, three envelopes, what
        // each has in it, and two bodies.
        let lengths_grow = later.len() - bytes.len() - (1 + 3 + 3 + 2) * 6;
        assert!(lengths_grow < 8, "{lengths_grow}");
        assert_eq!(decode_batch(later).unwrap(), said);
    }
}
