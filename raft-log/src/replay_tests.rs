//! Intact frames that contradict one another: nothing that this code writes, but nothing to
//! panic at either.

use super::*;
use crate::LogIdentity;
use crate::checkpoint::Head;
use crate::frame::{FrameHeader, FrameKind};
use crate::record::ResetBody;
use crate::scan::Appended;
use raft_core::{ClusterId, HardState, Index, Membership, NodeId, Position, TermRun};

const G: GroupId = GroupId(1);

fn checkpoint(floor: Position, last: Position) -> Checkpoint {
    let membership = Membership::of_voters(NodeId::new(1)).encode();
    let (hard_state, damaged_up_to) = (HardState::default(), None);
    Checkpoint { group: G, hard_state, floor, last, damaged_up_to, membership }
}

fn take(replay: &mut Replay, last: Position, content: Content) -> Result<(), String> {
    let header = FrameHeader {
        kind: FrameKind::Append,
        group: G,
        epoch: 1,
        salt: 0,
        sequence: 1,
        durable_upto: 0,
        hard_state: HardState::default(),
        last,
    };
    let found = Found { header, offset: 0, length: 80, content };
    replay.take(1, &found).map_err(|Contradiction(what)| what)
}

fn head(groups: Vec<Checkpoint>) -> Content {
    let identity = LogIdentity { cluster: ClusterId(7), node: NodeId::new(1).unwrap() };
    let (predecessor, predecessor_last, may_lack_groups) = (0, 0, false);
    Content::Head(Head { identity, predecessor, predecessor_last, may_lack_groups, groups })
}

fn reset(floor: Position, keeps_suffix: bool) -> Content {
    let membership = Membership::of_voters(NodeId::new(1)).encode();
    Content::Reset(ResetBody { floor, membership, keeps_suffix })
}

/// A log that a head has begun, with a group that a reset to `floor` has made.
fn begun(floor: Position) -> Replay {
    let mut replay = Replay::default();
    take(&mut replay, Position::ZERO, head(Vec::new())).unwrap();
    take(&mut replay, floor, reset(floor, false)).unwrap();
    replay
}

#[test]
fn a_reset_that_keeps_what_is_not_there_contradicts_the_log() {
    let floor = Position::new(2, 9);
    let mut replay = begun(Position::ZERO);
    let why = take(&mut replay, Position::ZERO, reset(floor, true)).unwrap_err();
    assert!(why.starts_with("a floor at 9@2"), "{why}");
    assert_eq!(begun(floor).finish().unwrap().groups[&G].recovered().shape.last(), floor);
}

#[test]
fn a_head_with_a_floor_above_the_end_contradicts_itself() {
    let (low, high) = (Position::new(2, 9), Position::new(3, 12));
    let mut replay = Replay::default();
    take(&mut replay, Position::ZERO, head(vec![checkpoint(low, high)])).unwrap();
    for (floor, last) in [(high, low), (Position::new(4, 9), high), (Position::new(1, 12), high)] {
        let why = take(&mut Replay::default(), last, head(vec![checkpoint(floor, last)]));
        assert!(why.is_err_and(|why| why.starts_with("a floor at")), "{floor}, {last}");
    }
}

#[test]
fn entries_of_a_term_below_the_floor_contradict_the_log() {
    let mut replay = begun(Position::new(2, 9));
    let (first, last) = (Index(10), Position::new(1, 10));
    let runs = vec![TermRun { first, term: last.term }];
    let appended = Appended { first, count: 1, runs, memberships: Vec::new() };
    let why = take(&mut replay, last, Content::Append(appended)).unwrap_err();
    assert!(why.starts_with("a floor at 9@2, below term 1"), "{why}");
}
