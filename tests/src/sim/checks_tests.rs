//! Each check, with what it must find, and with what it must let pass.

use raft_core::{
    AppendOutcome, Body, Boot, Entry, EntryKind, Envelope, HardState, Incarnation, Instant,
    LogShape, Membership, Message, Position, RecoveredGroup, Token,
};
use raft_node::sessions::SessionCall;
use raft_state::{Config, Replica, Start};

use super::*;
use crate::sim::promises::Promises;

const GROUP: GroupId = GroupId(1);

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn command(index: u64, text: &'static str) -> Command {
    Command { index: Index(index), payload: Bytes::from_static(text.as_bytes()) }
}

/// The check that found something.
fn finds(check: Check, outcome: Result<(), String>) {
    let why = outcome.unwrap_err();
    assert!(why.starts_with(check.name()), "{} finds {why}", check.name());
}

#[test]
fn a_second_leader_of_a_term_is_found_out() {
    let mut checks = Checks::default();
    checks.leads(GROUP, Term(1), id(1)).unwrap();
    checks.leads(GROUP, Term(1), id(1)).unwrap();
    checks.leads(GROUP, Term(2), id(2)).unwrap();
    checks.leads(GroupId(2), Term(1), id(2)).unwrap();
    finds(Check::OneLeader, checks.leads(GROUP, Term(1), id(2)));
    assert_eq!(checks.elections(), 3);
}

#[test]
fn commands_out_of_order_or_of_another_history_are_found_out() {
    let mut checks = Checks::default();
    let mut applies = |applied, commands: &[Command], up_to| {
        checks.applies(GROUP, id(1), Index(applied), commands, Index(up_to))
    };
    applies(0, &[command(1, "a"), command(3, "b")], 3).unwrap();
    applies(1, &[command(3, "b")], 3).unwrap();
    finds(Check::StateMachineSafety, applies(0, &[command(1, "c")], 3));
    finds(Check::StateMachineSafety, applies(3, &[command(3, "b")], 3));
    finds(Check::StateMachineSafety, applies(3, &[command(5, "d"), command(4, "e")], 5));
    finds(Check::StateMachineSafety, applies(3, &[command(6, "f")], 5));
    finds(Check::StateMachineSafety, applies(0, &[command(1, "a")], 3));
    finds(Check::StateMachineSafety, applies(0, &[command(2, "g")], 2));
}

#[test]
fn a_write_that_is_applied_twice_is_found_out() {
    let mut checks = Checks::default();
    let call =
        SessionCall { session: SessionId(1), sequence: Sequence(1), acknowledged: Sequence(0) };
    let put = KvCommand::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
    let payload = KvCommand::InSession { call, change: Box::new(put) }.encode();
    let mut answers = |index: u64, answer: KvAnswer| {
        let command = Command { index: Index(index), payload: payload.clone() };
        checks.answers(GROUP, &[command], &[answer.encode()])
    };
    answers(1, KvAnswer::Stored).unwrap();
    answers(1, KvAnswer::Stored).unwrap();
    let again =
        |index| KvAnswer::Repeated { index: Index(index), answer: KvAnswer::Stored.encode() };
    answers(2, again(1)).unwrap();
    finds(Check::AppliedOnce, answers(2, KvAnswer::Stored));
    finds(Check::AppliedOnce, answers(3, again(2)));
}

#[test]
fn states_that_differ_are_found_out() {
    let mut checks = Checks::default();
    checks.holds(GROUP, id(1), Index(5), 77).unwrap();
    checks.holds(GROUP, id(2), Index(5), 77).unwrap();
    checks.holds(GROUP, id(2), Index(6), 78).unwrap();
    finds(Check::EqualStates, checks.holds(GROUP, id(3), Index(6), 79));
    assert_eq!(checks.state(GROUP, Index(5)), Some(77));
}

#[test]
fn a_store_that_comes_back_elsewhere_is_found_out() {
    let restarts = |durable, store, floor, applied| {
        let (durable, store) = (Index(durable), Index(store));
        Checks::restarts(id(1), GROUP, durable, store, (Index(floor), Index(applied)))
    };
    restarts(7, 7, 3, 7).unwrap();
    restarts(2, 5, 5, 5).unwrap();
    finds(Check::RestartsWhereFlushed, restarts(7, 6, 3, 6));
    finds(Check::RestartsWhereFlushed, restarts(7, 8, 3, 8));
    finds(Check::RestartsWhereFlushed, restarts(7, 7, 3, 8));
    finds(Check::RestartsWhereFlushed, restarts(2, 4, 5, 4));
}

#[test]
fn a_log_that_lets_go_what_the_store_could_lose_is_found_out() {
    let lets_go = |durable, floor, applied| {
        Checks::lets_go(id(1), GROUP, Index(durable), (Index(floor), Index(applied)))
    };
    lets_go(5, 5, 9).unwrap();
    finds(Check::BoundsInOrder, lets_go(5, 12, 9));
    finds(Check::BoundsInOrder, lets_go(5, 6, 9));
}

/// Node 2, as it comes back with this term and vote and so many entries of term 1.
fn back(term: u64, vote: Option<u64>, entries: u64) -> Replica {
    lossy(term, vote, entries, None)
}

/// The same, where the disk says up to where it has lost something.
fn lossy(term: u64, vote: Option<u64>, entries: u64, lost: Option<Position>) -> Replica {
    let mut shape = LogShape::new(Position::ZERO, Membership::of_voters([1, 2, 3].map(id)));
    for index in 1..=entries {
        let (term, index, payload) = (Term(1), Index(index), Bytes::new());
        shape.append(&Entry { term, index, kind: EntryKind::Command, payload });
    }
    let hard_state = HardState { term: Term(term), vote: vote.map(id) };
    let recovered = RecoveredGroup { hard_state, shape, damaged_up_to: lost };
    let (me, incarnation, boot) = (id(2), Incarnation(0), Boot(2));
    let start =
        Start { group: GROUP, me, incarnation, boot, seed: 2, applied: Index(0), recovered };
    Replica::new(Config::default(), start, Instant(0))
}

/// Says something to a node, and follows node 1 meanwhile.
fn says(promises: &mut Promises, to: u64, term: u64, body: Body) {
    let (from, to, term) = (id(2), id(to), Term(term));
    let message = Message::new(GROUP, from, to, term, body);
    promises.sent(from, Some(id(1)), &Envelope::Group(message));
}

#[test]
fn a_vote_that_a_crash_has_taken_back_is_found_out() {
    let token = Token::default();
    let mut promises = Promises::default();
    promises.kept(id(2), &back(0, None, 0)).unwrap();
    says(&mut promises, 3, 5, Body::VoteReply { token, granted: false });
    promises.kept(id(2), &back(0, None, 0)).unwrap();
    says(&mut promises, 1, 4, Body::VoteReply { token, granted: true });
    promises.kept(id(2), &back(4, Some(1), 0)).unwrap();
    promises.kept(id(2), &back(5, None, 0)).unwrap();
    finds(Check::DurableBeforeSent, promises.kept(id(2), &back(4, None, 0)));
    finds(Check::DurableBeforeSent, promises.kept(id(2), &back(4, Some(3), 0)));
    finds(Check::NeverBack, promises.kept(id(2), &back(3, None, 0)));
}

#[test]
fn an_acknowledgement_that_a_crash_has_taken_back_is_found_out() {
    let token = Token::default();
    let mut promises = Promises::default();
    let outcome = AppendOutcome::Matched(Index(3));
    says(&mut promises, 1, 1, Body::AppendReply { token, outcome });
    promises.kept(id(2), &back(1, None, 3)).unwrap();
    promises.kept(id(2), &back(2, None, 2)).unwrap();
    promises.kept(id(2), &lossy(1, None, 2, Some(Position::new(1, 3)))).unwrap();
    finds(Check::DurableBeforeSent, promises.kept(id(2), &back(1, None, 2)));
    let more = Body::SnapshotInstalled { token, last: Index(7) };
    says(&mut promises, 1, 1, more);
    finds(Check::DurableBeforeSent, promises.kept(id(2), &back(1, None, 3)));
}

#[test]
fn a_term_that_a_heartbeat_was_answered_in_is_kept() {
    let mut promises = Promises::default();
    let reply = Body::HeartbeatReply { token: Token::default(), commit: Index(0) };
    says(&mut promises, 3, 5, reply.clone());
    promises.kept(id(2), &back(3, None, 0)).unwrap();
    says(&mut promises, 1, 4, reply);
    promises.kept(id(2), &back(4, None, 0)).unwrap();
    finds(Check::NeverBack, promises.kept(id(2), &back(3, None, 0)));
}
