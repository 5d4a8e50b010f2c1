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
