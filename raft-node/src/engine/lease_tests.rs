//! Reads under a lease. Node 1 is real; its peers are played.

use std::time::Duration;

use raft_core::BeatReply;

use super::*;

/// The followers vouch for the leader by answering the beats of its node; a lease is counted
/// from when such a beat left.
#[test]
fn under_a_lease_a_read_is_answered_at_once_for_as_long_as_beats_are_answered() {
    let lease = |config: &mut EngineConfig| {
        config.replica.lease_drift = Some(Duration::from_millis(300));
    };
    let mut node = Node::open_as(SimDisk::new(1), [1, 2], Words::default(), lease);
    node.win_election();
    let beat = node.sent.iter().rev().find_map(|sent| match sent {
        Envelope::Beat(beat) => Some(beat.clone()),
        _ => None,
    });
    let Beat { sequence, groups: follows, .. } = beat.unwrap();
    assert_eq!(follows.len(), 1, "the beat names the group");
    let left = node.now;
    node.now = left.after(Duration::from_millis(500));
    let to_boot = node.engine.boot();
    let (refuses, stopped) = (Vec::new(), Vec::new());
    let reply = BeatReply { to_boot, sequence, resets: 0, follows, refuses, stopped };
    let envelopes = vec![Envelope::BeatReply(reply)];
    node.event(Event::Received { from: id(2), boot: LEADER_BOOT, envelopes });

    node.event(Event::Read { group: GROUP, ids: vec![ReadId(7)] });
    assert!(matches!(node.answers[..], [Answer::ReadReady { id: ReadId(7), .. }]));
    // Of the second that a vote waits, three tenths are for the clocks.
    node.now = left.after(Duration::from_millis(700));
    node.event(Event::Read { group: GROUP, ids: vec![ReadId(8)] });
    assert_eq!(node.answers.len(), 1, "the lease is over: {:?}", node.answers);
}

/// Follows node 2 in term 2 and has heard it 200 ms ago, by a beat that said nothing of the
/// group: only the link between the two knows.
fn silently_led() -> Node {
    let lease = |config: &mut EngineConfig| {
        config.replica.lease_drift = Some(Duration::from_millis(100));
    };
    let mut node = Node::open_as(SimDisk::new(1), [1, 2, 3], Words::default(), lease);
    node.win_election();
    node.now = Instant(5_100_000_000);
    node.append(2, Position::new(1, 1), &["a"], 1);
    let token = Token { boot: LEADER_BOOT, number: 9 };
    let named =
        GroupBeat { group: GROUP, to_disk: Incarnation(0), term: Term(2), token, commit: Index(1) };
    for (at, sequence, groups) in [(5_200_000_000, 1, vec![named]), (6_100_000_000, 2, vec![])] {
        node.now = Instant(at);
        let beat = Beat { sequence, groups, stopped: vec![] };
        let envelopes = vec![Envelope::Beat(beat)];
        node.event(Event::Received { from: id(2), boot: LEADER_BOOT, envelopes });
    }
    node.now = Instant(6_300_000_000);
    node.sent.clear();
    node
}

fn sent(node: &Node, wanted: impl Fn(&Body) -> bool) -> bool {
    let is_wanted =
        |sent: &Envelope| matches!(sent, Envelope::Group(Message { body, .. }) if wanted(body));
    node.sent.iter().any(is_wanted)
}

#[test]
fn who_is_asked_to_stand_knows_of_silent_beats() {
    let mut node = silently_led();
    node.event(Event::Campaign { group: GROUP });
    assert!(!sent(&node, |body| matches!(body, Body::PreVote { .. })), "{:?}", node.sent);
}

/// Node 2 may answer reads for 700 ms more.
#[test]
fn a_late_answer_to_a_beat_does_not_release_the_vote() {
    let mut node = silently_led();
    let (to_boot, refuses) = (node.engine.boot(), vec![(GROUP, Term(3))]);
    let (follows, stopped) = (vec![], vec![]);
    let reply = BeatReply { to_boot, sequence: 1, resets: 1, follows, refuses, stopped };
    let envelopes = vec![Envelope::BeatReply(reply)];
    node.event(Event::Received { from: id(3), boot: Boot(78), envelopes });
    assert_eq!(node.engine.replica(GROUP).unwrap().term(), Term(3));
    let token = Token { boot: Boot(78), number: 5 };
    let body = Body::Vote { token, last: Position::new(2, 9), transfer: false };
    let message = Message::new(GROUP, id(3), id(1), Term(3), body);
    let envelopes = vec![Envelope::Group(message)];
    node.event(Event::Received { from: id(3), boot: Boot(78), envelopes });
    let granted = |body: &Body| matches!(body, Body::VoteReply { granted: true, .. });
    assert!(!sent(&node, granted), "{:?}", node.sent);
}
