use bytes::Bytes;
use prost::Message as _;
use raft_core::{
    Body, Entry, EntryKind, Envelope, GroupId, Index, Message, NodeId, Position, Random, Term,
    Token,
};

use super::{Damage, DecodeError, decode_batch, encode_batch, envelopes_of, weight};
use crate::{random_envelopes, wire};

fn append(term: u64, prev: Position, entries: Vec<Entry>) -> Envelope {
    Envelope::Group(Message::new(
        GroupId(1),
        NodeId::new(1).unwrap(),
        NodeId::new(2).unwrap(),
        Term(term),
        Body::Append { token: Token::default(), prev, entries, commit: Index(0) },
    ))
}

fn command(term: u64, index: u64, payload: Bytes) -> Entry {
    Entry { term: Term(term), index: Index(index), kind: EntryKind::Command, payload }
}

/// The batch of one good append, changed by `damage`, and what decoding says.
fn refused(damage: impl FnOnce(&mut wire::Batch, &mut wire::GroupMessage)) -> String {
    let entries = vec![command(3, 8, Bytes::new()), command(4, 9, Bytes::new())];
    let mut batch = super::batch_of(&[append(5, Position::new(3, 7), entries)]);
    let Some(wire::EnvelopeContent::Group(mut message)) = batch.envelopes[0].content.take() else {
        panic!("the append is a group's message");
    };
    batch.envelopes.clear();
    damage(&mut batch, &mut message);
    if batch.envelopes.is_empty() {
        let content = Some(wire::EnvelopeContent::Group(message));
        batch.envelopes.push(wire::Envelope { content });
    }
    decode_batch(super::seal(&batch)).unwrap_err().to_string()
}

fn append_in(message: &mut wire::GroupMessage) -> &mut wire::Append {
    match &mut message.body {
        Some(wire::GroupMessageBody::Append(append)) => append,
        other => panic!("{other:?} is not an append"),
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut random = Random::new(1);
    for _ in 0..5_000 {
        let batch = random_envelopes::batch(&mut random);
        let bytes = encode_batch(&batch);
        assert!(bytes.len() <= 16 + batch.iter().map(weight).sum::<usize>(), "{batch:?}");
        assert_eq!(decode_batch(bytes), Ok(batch));
    }
}

#[test]
fn a_batch_cut_anywhere_is_refused() {
    let mut random = Random::new(2);
    for _ in 0..200 {
        let bytes = encode_batch(&random_envelopes::batch(&mut random));
        for length in 0..bytes.len() {
            let cut = decode_batch(bytes.slice(..length));
            assert!(matches!(cut, Err(DecodeError::Damaged(_))), "cut at {length}: {cut:?}");
        }
        let nothing = Err(DecodeError::Damaged(Damage::TooShort { found: 0 }));
        assert_eq!(decode_batch(Bytes::new()), nothing);
    }
}

#[test]
fn every_single_flipped_bit_of_a_batch_is_found() {
    let mut random = Random::new(6);
    let payload: Bytes = (0..2_000).map(|_| random.next_u64() as u8).collect();
    let mut batches: Vec<_> = (0..100).map(|_| random_envelopes::batch(&mut random)).collect();
    batches.push(vec![append(1, Position::ZERO, vec![command(1, 1, payload)])]);
    for batch in batches {
        let sent = encode_batch(&batch);
        for bit in 0..sent.len() * 8 {
            let mut bytes = sent.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refused = decode_batch(bytes.into());
            assert!(matches!(refused, Err(DecodeError::Damaged(_))), "bit {bit}: {refused:?}");
        }
    }
}

#[test]
fn what_a_broken_sender_sealed_never_panics_and_what_decodes_can_be_encoded() {
    let mut random = Random::new(3);
    let mut still_decoded = 0;
    for _ in 0..20_000 {
        let mut bytes = super::batch_of(&random_envelopes::batch(&mut random)).encode_to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        let Ok(batch) = wire::Batch::decode(Bytes::from(bytes)) else { continue };
        if let Ok(batch) = envelopes_of(batch) {
            still_decoded += 1;
            assert_eq!(decode_batch(encode_batch(&batch)), Ok(batch));
        }
    }
    assert!(still_decoded > 1_000, "{still_decoded} of the damaged batches are batches");
}

#[test]
fn payloads_are_slices_of_what_arrived() {
    let payload = Bytes::from(vec![7; 1_000]);
    let bytes = encode_batch(&[append(1, Position::ZERO, vec![command(1, 1, payload)])]);
    let arrived = bytes.as_ptr_range();
    let decoded = decode_batch(bytes).unwrap();
    let Envelope::Group(Message { body: Body::Append { entries, .. }, .. }) = &decoded[0] else {
        panic!("{decoded:?} is not an append");
    };
    assert!(arrived.contains(&entries[0].payload.as_ptr()), "the payload was copied");
}

#[test]
fn a_small_entry_costs_few_bytes_besides_its_payload() {
    let entries = (1..=100).map(|index| command(9, index, Bytes::from_static(b"payload")));
    let bytes = encode_batch(&[append(9, Position::ZERO, entries.collect())]);
    assert!(bytes.len() < 100 * (7 + 7), "{} bytes for 100 entries of 7 bytes", bytes.len());
}

#[test]
fn what_is_missing_is_named() {
    let says = refused(|batch, _| batch.envelopes.push(wire::Envelope { content: None }));
    assert_eq!(says, "envelope 0: content is missing or not known");
    let says = refused(|_, message| message.body = None);
    assert_eq!(says, "envelope 0: group.body is missing or not known");
    let says = refused(|_, message| append_in(message).token = None);
    assert_eq!(says, "envelope 0: append.token is missing or not known");
    let says = refused(|_, message| append_in(message).prev = None);
    assert_eq!(says, "envelope 0: append.prev is missing or not known");
}

#[test]
fn node_zero_and_unknown_versions_and_kinds_are_refused() {
    let says = refused(|_, message| message.from = 0);
    assert_eq!(says, "envelope 0: group.from is 0, which names no node");
    let says = refused(|_, message| message.to = 0);
    assert_eq!(says, "envelope 0: group.to is 0, which names no node");
    let says = refused(|batch, _| batch.version = 1);
    assert_eq!(says, "message format 1 is not known, only format 2 is");
    let says = refused(|_, message| append_in(message).entries[1].kind = 9);
    assert_eq!(says, "envelope 0: append.entries.kind 9 of the entry at 9 is not known");
}

#[test]
fn entries_that_no_log_can_hold_are_refused() {
    let says = refused(|_, message| append_in(message).entries[1].term = 2);
    assert_eq!(
        says,
        "envelope 0: append.entries.term of the entry at 9 is 2, which is not from 3 to 5"
    );
    let says = refused(|_, message| append_in(message).entries[1].term = 6);
    assert_eq!(
        says,
        "envelope 0: append.entries.term of the entry at 9 is 6, which is not from 3 to 5"
    );
    let says = refused(|_, message| append_in(message).prev.as_mut().unwrap().index = u64::MAX);
    assert_eq!(says, "envelope 0: append.prev has an index that no entry can follow");
    let says = refused(|_, message| append_in(message).entries[0].kind = 2);
    assert!(says.starts_with("envelope 0: append.entries.payload holds no membership: "), "{says}");
    let says = refused(|_, message| append_in(message).entries[1].kind = 3);
    assert!(says.contains("of the entry at 9 holds no time: "), "{says}");
}

#[test]
#[should_panic(expected = "have a gap")]
fn entries_with_a_gap_are_our_own_broken_invariant() {
    let entry = command(1, 3, Bytes::new());
    let _ = encode_batch(&[append(1, Position::new(1, 1), vec![entry])]);
}
