use super::*;
use crate::{NodeId, Random};
use alloc::vec::Vec;
use bytes::Bytes;

fn voters(ids: &[u64]) -> Membership {
    Membership::of_voters(ids.iter().map(|id| NodeId::new(*id).unwrap()))
}

fn blank(term: u64, index: u64) -> Entry {
    Entry { term: Term(term), index: Index(index), kind: EntryKind::Blank, payload: Bytes::new() }
}

fn shape(terms: &[u64]) -> LogShape {
    let mut shape = LogShape::new(Position::ZERO, voters(&[1]));
    for (place, term) in terms.iter().enumerate() {
        shape.append(&blank(*term, place as u64 + 1));
    }
    shape
}

#[test]
fn terms_are_found_at_every_index() {
    let shape = shape(&[1, 1, 3, 3, 4]);
    let terms: Vec<_> = (0..7).map(|at| shape.term_at(Index(at)).map(|term| term.0)).collect();
    assert_eq!(terms, [Some(0), Some(1), Some(1), Some(3), Some(3), Some(4), None]);
    assert_eq!(shape.last(), Position::new(4, 5));
}

#[test]
fn a_hint_passes_over_a_whole_term() {
    let shape = shape(&[1, 1, 3, 3, 4]);
    let hint = |index, term| shape.last_at_or_below(Index(index), Term(term));
    assert_eq!(hint(5, 3), Position::new(3, 4));
    assert_eq!(hint(5, 2), Position::new(1, 2));
    assert_eq!(hint(4, 9), Position::new(3, 4));
    assert_eq!(hint(9, 9), Position::new(4, 5));
    assert_eq!(hint(2, 0), Position::ZERO);
}

#[test]
fn entries_of_a_term_are_one_run() {
    let runs = shape(&[1, 1, 3, 3, 4]).runs;
    let runs: Vec<_> = runs.iter().map(|run| (run.first.0, run.term.0)).collect();
    assert_eq!(runs, [(1, 1), (3, 3), (5, 4)]);
}

#[test]
fn a_cut_takes_the_memberships_with_it() {
    let mut shape = shape(&[1]);
    let payload = voters(&[1, 2]).encode();
    shape.append(&Entry { kind: EntryKind::Membership, payload, ..blank(1, 2) });
    shape.append(&blank(1, 3));
    assert_eq!(shape.membership(), &voters(&[1, 2]));
    assert_eq!(shape.membership_at(Index(1)), &voters(&[1]));
    shape.truncate_from(Index(3));
    assert_eq!(shape.membership(), &voters(&[1, 2]), "it stands below the cut");
    assert_eq!(shape.membership_index(), Index(2));
    shape.truncate_from(Index(2));
    assert_eq!(shape.membership(), &voters(&[1]));
    assert_eq!(shape.last(), Position::new(1, 1));
}

#[test]
fn it_is_known_since_when_somebody_has_been_a_member() {
    let mut shape = shape(&[1]);
    let grown =
        Entry { kind: EntryKind::Membership, payload: voters(&[1, 2]).encode(), ..blank(1, 2) };
    shape.append(&grown);
    shape.append(&Entry {
        payload: voters(&[1, 2, 3]).encode(),
        ..Entry { index: Index(3), ..grown }
    });
    let since = |shape: &LogShape, n| shape.member_since(NodeId::new(n).unwrap(), Incarnation(0));
    assert_eq!(
        [1, 2, 3, 4].map(|n| since(&shape, n)),
        [Some(Index(0)), Some(Index(2)), Some(Index(3)), None]
    );
    shape.trim_to(Index(3));
    assert_eq!([1, 2, 3].map(|n| since(&shape, n)), [Some(Index(3)); 3], "what was before is gone");
    shape.reset(Position::new(2, 9), voters(&[1]));
    assert_eq!(since(&shape, 2), None);
    let me = NodeId::new(1).unwrap();
    assert_eq!(shape.member_since(me, Incarnation(1)), None, "that is another disk");
}

#[test]
fn a_trim_keeps_the_membership_in_force_at_the_floor() {
    let mut shape = shape(&[1]);
    let payload = voters(&[1, 2]).encode();
    shape.append(&Entry { kind: EntryKind::Membership, payload, ..blank(1, 2) });
    shape.append(&blank(2, 3));
    shape.trim_to(Index(1));
    assert_eq!(shape.membership_at(Index(1)), &voters(&[1]));
    assert_eq!(shape.membership(), &voters(&[1, 2]), "it stands above the floor");
    shape.trim_to(Index(2));
    assert_eq!(shape.membership_at(Index(2)), &voters(&[1, 2]));
    assert_eq!(shape.floor(), Position::new(1, 2));
    assert_eq!(shape.term_at(Index(1)), None);
    shape.trim_to(Index(3));
    let trimmed = LogShape::new(Position::new(2, 3), voters(&[1, 2]));
    assert_eq!(shape, trimmed, "as a log that begins where this one ends");
}

#[test]
fn a_reset_keeps_the_suffix_only_where_the_log_holds_the_position() {
    let mut same = shape(&[1, 1, 2]);
    same.reset(Position::new(1, 2), voters(&[1, 2]));
    assert_eq!((same.floor(), same.last()), (Position::new(1, 2), Position::new(2, 3)));
    assert_eq!(same.membership(), &voters(&[1, 2]));

    let mut other = shape(&[1, 1, 2]);
    other.reset(Position::new(2, 2), voters(&[1, 2]));
    assert_eq!((other.floor(), other.last()), (Position::new(2, 2), Position::new(2, 2)));
}

/// A change that only the replaced log had was never committed.
#[test]
fn a_reset_takes_the_members_of_the_snapshot_and_none_of_the_log_it_replaces() {
    let mut shape = shape(&[1]);
    let payload = voters(&[1, 2, 3]).encode();
    shape.append(&Entry { kind: EntryKind::Membership, payload, ..blank(1, 2) });
    shape.reset(Position::new(2, 2), voters(&[1, 2]));
    assert_eq!(shape.membership(), &voters(&[1, 2]));
    assert_eq!(shape.membership_at(Index(2)), &voters(&[1, 2]));
}

/// A log as a plain list of terms, with its floor.
struct Plain {
    floor: usize,
    terms: Vec<u64>,
}

#[test]
fn random_changes_agree_with_a_plain_list() {
    let mut random = Random::new(11);
    for _ in 0..500 {
        let mut shape = shape(&[]);
        let mut plain = Plain { floor: 0, terms: [0].into() };
        for _ in 0..40 {
            let last = plain.terms.len() - 1;
            match random.below(6) {
                0 if last > plain.floor => {
                    let from = plain.floor + 1 + random.below((last - plain.floor) as u64) as usize;
                    plain.terms.truncate(from);
                    shape.truncate_from(Index(from as u64));
                }
                1 => {
                    plain.floor += random.below((last - plain.floor) as u64 + 1) as usize;
                    shape.trim_to(Index(plain.floor as u64));
                }
                _ => {
                    let term = plain.terms[last] + random.below(2);
                    plain.terms.push(term);
                    shape.append(&blank(term, last as u64 + 1));
                }
            }
            for at in 0..plain.terms.len() + 1 {
                let expected = plain.terms.get(at).filter(|_| at >= plain.floor);
                assert_eq!(shape.term_at(Index(at as u64)).map(|term| term.0), expected.copied());
            }
            assert_eq!(shape.last().index.0 as usize, plain.terms.len() - 1);
        }
    }
}

#[test]
#[should_panic(expected = "entry 3@1 after 1@1")]
fn a_gap_is_a_broken_invariant() {
    shape(&[1]).append(&blank(1, 3));
}

#[test]
#[should_panic(expected = "cutting from 2 at floor 2@1")]
fn a_cut_below_the_floor_is_a_broken_invariant() {
    let mut shape = shape(&[1, 1, 1]);
    shape.trim_to(Index(2));
    shape.truncate_from(Index(2));
}

#[test]
#[should_panic(expected = "entry 2@1 after 1@2")]
fn a_term_that_falls_is_a_broken_invariant() {
    shape(&[2]).append(&blank(1, 2));
}

#[test]
#[should_panic(expected = "membership at 2@1: the encoded membership is 5 bytes too short")]
fn a_membership_that_cannot_be_read_is_a_broken_invariant() {
    shape(&[1]).append(&Entry { kind: EntryKind::Membership, ..blank(1, 2) });
}

#[test]
#[should_panic(expected = "trimming to 4, but the log ends at 3")]
fn to_trim_what_is_not_there_is_a_broken_invariant() {
    shape(&[1, 1, 1]).trim_to(Index(4));
}

#[test]
#[should_panic(expected = "index 1 is below the floor 2@1")]
fn what_was_in_force_below_the_floor_is_forgotten() {
    let mut shape = shape(&[1, 1, 1]);
    shape.trim_to(Index(2));
    let _ = shape.membership_at(Index(1));
}
