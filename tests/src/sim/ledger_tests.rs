use raft_core::{
    Boot, Entry, EntryKind, GroupId, HardState, Instant, LogShape, Member, RecoveredGroup, Token,
};
use raft_state::{Config, Start};

use super::*;

const GROUP: GroupId = GroupId(1);

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn entry(term: u64, index: u64, text: &'static str) -> Entry {
    let payload = Bytes::from_static(text.as_bytes());
    Entry { term: Term(term), index: Index(index), kind: EntryKind::Command, payload }
}

/// The only voter, or so it believes, with entries of these terms, all of them committed.
fn replica(n: u64, terms: &[u64]) -> Replica {
    let mut shape = LogShape::new(Position::ZERO, Membership::of_voters([id(n)]));
    for (place, term) in terms.iter().enumerate() {
        shape.append(&entry(*term, place as u64 + 1, "x"));
    }
    let term = shape.last().term;
    let start = Start {
        group: GROUP,
        me: id(n),
        incarnation: raft_core::Incarnation(0),
        boot: Boot(n),
        seed: n,
        applied: shape.last().index,
        recovered: RecoveredGroup {
            hard_state: HardState { term, vote: None },
            shape,
            damaged_up_to: None,
        },
    };
    Replica::new(Config::default(), start, Instant(0))
}

fn note(ledger: &mut Ledger, n: u64, terms: &[u64]) -> Result<News, String> {
    let replica = replica(n, terms);
    ledger.note(id(n), &replica, Seen::default(), Seen::of(&replica))
}

fn message(from: u64, to: u64, term: u64, body: Body) -> Envelope {
    let (group, from, to, term) = (GROUP, id(from), id(to), Term(term));
    Envelope::Group(Message::new(group, from, to, term, body))
}

#[test]
fn two_entries_that_are_committed_in_one_place_are_found_out() {
    let mut ledger = Ledger::default();
    assert_eq!(note(&mut ledger, 1, &[1, 1]).unwrap().committed, Some(Position::new(1, 2)));
    assert_eq!(note(&mut ledger, 2, &[1, 1]).unwrap().committed, None, "known already");
    let why = note(&mut ledger, 3, &[1, 2]).unwrap_err();
    assert!(why.contains("2 is committed in"), "{why}");
}

/// The commit index does not move, and what stands there does.
#[test]
fn a_committed_entry_that_is_replaced_in_place_is_found_out() {
    let mut ledger = Ledger::default();
    note(&mut ledger, 1, &[1, 1]).unwrap();
    let (before, after) = (Seen::of(&replica(1, &[1, 1])), replica(1, &[1, 2]));
    let why = ledger.note(id(1), &after, before, Seen::of(&after)).unwrap_err();
    assert!(why.contains("2 was committed as"), "{why}");
}

#[test]
fn a_leader_that_lacks_what_is_committed_or_has_no_quorum_is_found_out() {
    let mut ledger = Ledger::default();
    note(&mut ledger, 1, &[1, 1]).unwrap();
    ledger.leads(id(2), Term(2), &replica(2, &[1, 1])).unwrap();
    let why = ledger.leads(id(2), Term(2), &replica(2, &[1])).unwrap_err();
    assert!(why.contains("lacks the entry"), "{why}");
    let why = ledger.leads(id(3), Term(2), &replica(2, &[1, 1])).unwrap_err();
    assert!(why.contains("without a quorum"), "its voter is another: {why}");
}

#[test]
fn a_leader_that_has_no_vote_is_found_out() {
    let mut ledger = Ledger::default();
    let token = Token::default();
    ledger.sent(&message(1, 2, 5, Body::VoteReply { token, granted: true })).unwrap();
    let only_1_votes = replica(1, &[1, 1]);
    let why = ledger.leads(id(2), Term(5), &only_1_votes).unwrap_err();
    assert!(why.contains("without a vote"), "{why}");
}

#[test]
fn two_votes_in_a_term_are_found_out() {
    let mut ledger = Ledger::default();
    let token = Token::default();
    let vote = |to, term| message(3, to, term, Body::VoteReply { token, granted: true });
    ledger.sent(&vote(1, 5)).unwrap();
    ledger.sent(&vote(1, 5)).unwrap();
    ledger.sent(&vote(2, 6)).unwrap();
    ledger.sent(&vote(2, 5)).unwrap_err();
    let last = Position::ZERO;
    let own = message(3, 1, 6, Body::Vote { token, last, transfer: false });
    ledger.sent(&own).unwrap_err();
}

#[test]
fn logs_that_part_and_agree_again_are_found_out() {
    let mut ledger = Ledger::default();
    let append = |prev: Position, entries: &[Entry]| {
        let (token, commit, entries) = (Token::default(), Index::ZERO, entries.to_vec());
        message(1, 2, 3, Body::Append { token, prev, entries, commit })
    };
    let (first, second) = (entry(1, 1, "a"), entry(2, 2, "b"));
    ledger.sent(&append(Position::ZERO, &[first.clone(), second.clone()])).unwrap();
    ledger.sent(&append(first.position(), &[second])).unwrap();
    ledger.sent(&append(first.position(), &[entry(2, 2, "c")])).unwrap_err();
    ledger.sent(&append(Position::new(2, 1), &[entry(2, 2, "b")])).unwrap_err();
}

#[test]
fn a_quorum_of_a_joint_membership_is_one_of_both_halves() {
    let (incoming, outgoing) = ([1, 2, 3].map(id), [3, 4, 5].map(id));
    let members = (1..=5).map(|n| (id(n), Member::default())).collect();
    let joint = Membership::new(incoming.into(), outgoing.into(), [].into(), members).unwrap();
    let reached = |of: &[u64]| is_quorum(&joint, |voter| of.contains(&voter.get()));
    assert!(reached(&[1, 3, 4]) && !reached(&[1, 2, 3]) && !reached(&[3, 4, 5]));
    let four = Membership::of_voters([1, 2, 3, 4].map(id));
    assert!(!is_quorum(&four, |voter| voter.get() < 3), "half of them");
}
