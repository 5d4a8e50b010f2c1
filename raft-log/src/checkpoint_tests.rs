use super::*;
use raft_core::Membership;

fn checkpoint(id: u64, damaged_up_to: Option<Position>) -> Checkpoint {
    Checkpoint {
        group: GroupId(id),
        hard_state: HardState { term: Term(9), vote: NodeId::new(id) },
        floor: Position::new(3, 40),
        last: Position::new(8, 77),
        damaged_up_to,
        membership: Membership::of_voters([1, 2, 3].map(|id| NodeId::new(id).unwrap())).encode(),
    }
}

fn head(may_lack_groups: bool) -> Head {
    Head {
        identity: LogIdentity { cluster: ClusterId(5), node: NodeId::new(2).unwrap() },
        predecessor: 11,
        predecessor_last: 1234,
        may_lack_groups,
        groups: vec![checkpoint(1, None), checkpoint(2, Some(Position::new(8, 90)))],
    }
}

#[test]
fn a_head_is_what_was_written() {
    for may_lack_groups in [false, true] {
        let mut out = Vec::new();
        head(may_lack_groups).put(&mut out);
        assert_eq!(out.len(), head(may_lack_groups).len());
        assert_eq!(Head::decode(out.into(), 2), Ok(head(may_lack_groups)));
    }
}

#[test]
fn a_seal_is_what_was_written() {
    let seals = [
        Seal::default(),
        Seal { removed: vec![GroupId(7), GroupId(9)], groups: vec![checkpoint(3, None)] },
    ];
    for seal in seals {
        let mut out = Vec::new();
        seal.put(&mut out);
        assert_eq!(out.len(), seal.len());
        for length in 1..out.len() {
            assert!(Seal::decode(Bytes::copy_from_slice(&out[..length]), 2).is_err(), "{length}");
        }
        let refused = Err(Malformed("a seal of format 1 that restates groups"));
        assert_eq!(Seal::decode(out.clone().into(), 1), refused, "it would be copied as format 2");
        assert_eq!(Seal::decode(out.into(), 2), Ok(Some(seal)));
    }
    assert_eq!(Seal::decode(Bytes::new(), 1), Ok(None), "of format 1");
}

#[test]
fn every_shorter_or_longer_head_is_refused() {
    let mut whole = Vec::new();
    head(false).put(&mut whole);
    for length in 0..whole.len() {
        let shorter = Bytes::copy_from_slice(&whole[..length]);
        assert!(Head::decode(shorter, 2).is_err(), "{length} bytes");
    }
    whole.put_u8(0);
    assert_eq!(Head::decode(whole.into(), 2), Err(Malformed("a body that is too long")));
}

/// So large that counting on from them runs over: a file that says so was never a log.
#[test]
fn numbers_that_no_log_reaches_are_refused() {
    let beyond = Err(Malformed("a number that no log reaches"));
    let mut whole = Vec::new();
    head(false).put(&mut whole);
    for number in [crate::record::LIMIT, u64::MAX] {
        // Predecessor and its last sequence; of the first group the term, floor, last and damage.
        for begin in [16, 24, 48, 64, 72, 80, 88, 96, 104] {
            let mut body = whole.clone();
            body[begin..begin + 8].copy_from_slice(&number.to_le_bytes());
            assert_eq!(Head::decode(body.into(), 2).map(drop), beyond, "{begin}");
        }
    }
}
