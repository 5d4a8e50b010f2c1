use super::*;

fn written(body: &Body) -> Bytes {
    let mut out = Vec::new();
    body.put(&mut Packer::new(usize::MAX), &mut out);
    assert_eq!(out.len(), body.len(), "the announced length of {body:?}");
    out.into()
}

fn membership() -> Bytes {
    Membership::of_voters([1, 2, 3].map(|id| raft_core::NodeId::new(id).unwrap())).encode()
}

#[test]
fn entries_are_what_was_written() {
    let entry = |index, kind, payload: &'static [u8]| Entry {
        term: Term(4),
        index: Index(index),
        kind,
        payload: Bytes::from_static(payload),
    };
    let entries = vec![
        entry(7, EntryKind::Blank, b""),
        entry(8, EntryKind::Command, b"set a"),
        entry(9, EntryKind::Membership, b"opaque here"),
        entry(10, EntryKind::Clock, b"12345678"),
    ];
    let (one, two) = (Arc::new(entries[..1].to_vec()), Arc::new(entries[1..].to_vec()));
    for writes in [vec![Arc::new(entries.clone())], vec![one, two]] {
        assert_eq!(decode_entries(written(&Body::Append(writes))), Ok(entries.clone()));
    }
    for nothing in [vec![], vec![Arc::default()]] {
        assert_eq!(decode_entries(written(&Body::Append(nothing))), Ok(vec![]));
    }
}

#[test]
fn large_commands_are_compressed_and_are_what_was_written() {
    let entry = |index, kind, payload: Vec<u8>| Entry {
        term: Term(4),
        index: Index(index),
        kind,
        payload: Bytes::from(payload),
    };
    let large = vec![b'x'; 3000];
    let entries = vec![
        entry(7, EntryKind::Command, large[..1000].to_vec()),
        entry(8, EntryKind::Command, large.clone()),
        entry(9, EntryKind::Membership, large),
    ];
    let body = Body::Append(vec![Arc::new(entries.clone())]);
    let mut out = Vec::new();
    body.put(&mut Packer::new(1000), &mut out);
    let saved = body.len() - out.len();
    assert!((2900..3000).contains(&saved), "{saved} bytes fewer: of one command");
    assert_eq!(decode_entries(Bytes::from(out.clone())), Ok(entries));
    let begin = APPEND_FIXED + ENTRY_HEADER + 1000;
    for (offset, why) in [
        (12, "an entry of an unknown kind"),
        (15, "an entry of an unknown kind"),
        (18, "a compressed payload of a length that it cannot have"),
        (30, "a payload that cannot be decompressed"),
    ] {
        let mut bytes = out.clone();
        bytes[begin + offset] ^= 0x46;
        assert_eq!(decode_entries(bytes.into()), Err(Malformed(why)), "{offset}");
    }
    // A membership that says it is compressed.
    let mut bytes = out;
    let kind = bytes.len() - 3000 - 1;
    bytes[kind] |= 0x80;
    let why = Malformed("a compressed payload of something else than a command");
    assert_eq!(decode_entries(Bytes::from(bytes.clone())), Err(why));
    assert_eq!(for_each_entry(&bytes, |_, _, _| Ok(())), Err(why));
}

#[test]
fn a_reset_is_what_was_written() {
    for keeps_suffix in [true, false] {
        let reset =
            ResetBody { floor: Position::new(3, 9), membership: membership(), keeps_suffix };
        assert_eq!(ResetBody::decode(written(&Body::Reset(reset.clone()))), Ok(reset));
    }
}

/// So large that counting on from them runs over: a file that says so was never a log.
#[test]
fn numbers_that_no_log_reaches_are_refused() {
    let beyond = Err(Malformed("a number that no log reaches"));
    for number in [LIMIT, u64::MAX] {
        let at = |begin: usize, mut whole: Vec<u8>| {
            whole[begin..begin + 8].copy_from_slice(&number.to_le_bytes());
            Bytes::from(whole)
        };
        let entry =
            Entry { term: Term(1), index: Index(1), kind: EntryKind::Blank, payload: Bytes::new() };
        let entries = written(&Body::Append(vec![Arc::new(vec![entry])]));
        // The index of the first, and the term.
        for begin in [4, 12] {
            let body = at(begin, entries.to_vec());
            assert_eq!(decode_entries(body.clone()).map(drop), beyond);
            assert_eq!(for_each_entry(&body, |_, _, _| Ok(())), beyond);
        }
        let floor = Position::new(3, 9);
        let reset = written(&Body::Reset(ResetBody {
            floor,
            membership: membership(),
            keeps_suffix: true,
        }));
        for begin in [0, 8] {
            assert_eq!(ResetBody::decode(at(begin, reset.to_vec())).map(drop), beyond);
        }
    }
}
