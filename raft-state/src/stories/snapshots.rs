use raft_core::{Body, Index, Membership, Message, Position, SnapshotMeta, Term, Token};

use crate::cluster::{Cluster, GROUP, id};
use crate::{Evidence, Input, Output, RoleName};

/// A leader whose log no longer reaches node 3, and the transfer it wants.
fn behind() -> (Cluster, Output) {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    for text in ["a", "b", "c"] {
        cluster.propose(1, text);
        cluster.settle();
    }
    cluster.trim(1, 3);
    cluster.cut.clear();
    cluster.run(1200);
    let wanted = cluster.node(1).others.last().cloned().expect("a snapshot is wanted");
    (cluster, wanted)
}

#[test]
fn a_follower_behind_the_log_is_brought_up_by_a_snapshot() {
    let (mut cluster, wanted) = behind();
    let Output::SendSnapshot { to, term, token } = wanted else { panic!("{wanted:?}") };
    assert_eq!(to, id(3));
    let meta = cluster.snapshot(1);
    let received = Input::SnapshotReceived { from: id(1), term, token, meta: meta.clone() };
    cluster.input(3, received);
    assert_eq!(cluster.replica(3).commit(), Index(3));
    assert_eq!(cluster.node(3).others.last(), Some(&Output::Restore(meta)));
    cluster.settle();
    assert_eq!(cluster.replica(3).log().last(), cluster.replica(1).log().last());
    assert!(cluster.applied(3).is_empty(), "nothing is applied while it is being restored");
    cluster.input(3, Input::Restored(Index(3)));
    cluster.run(50);
    assert_eq!(cluster.applied(3), ["c"], "index 4 follows the snapshot at 3");
}

#[test]
fn the_state_machine_waits_until_the_reset_is_durable() {
    let (mut cluster, wanted) = behind();
    let Output::SendSnapshot { term, token, .. } = wanted else { panic!("{wanted:?}") };
    cluster.nodes.get_mut(&id(3)).unwrap().stalled = true;
    // An earlier write: its completion is not that of the reset.
    let body = Body::Append {
        token: raft_core::Token::default(),
        prev: cluster.replica(3).log().last(),
        entries: crate::cluster::entries(cluster.replica(3).log().last().index.0 + 1, &[1]),
        commit: Index(0),
    };
    let earlier = Message::new(GROUP, id(1), id(3), term, body);
    cluster.input(3, Input::Message(earlier));
    let meta = cluster.snapshot(1);
    cluster.input(3, Input::SnapshotReceived { from: id(1), term, token, meta: meta.clone() });
    assert!(!cluster.node(3).others.contains(&Output::Restore(meta.clone())));
    let installed = |cluster: &Cluster| {
        cluster.wire.iter().any(|message| matches!(message.body, Body::SnapshotInstalled { .. }))
    };
    assert!(!installed(&cluster), "nor is it acknowledged");
    cluster.sync_one(3);
    assert!(!cluster.node(3).others.contains(&Output::Restore(meta.clone())), "only the first");
    assert!(!installed(&cluster));
    cluster.sync(3);
    assert!(cluster.node(3).others.contains(&Output::Restore(meta)));
    assert!(installed(&cluster));
}

#[test]
fn nobody_campaigns_while_a_snapshot_is_being_installed() {
    let (mut cluster, wanted) = behind();
    let Output::SendSnapshot { term, token, .. } = wanted else { panic!("{wanted:?}") };
    let meta = cluster.snapshot(1);
    cluster.input(3, Input::SnapshotReceived { from: id(1), term, token, meta });
    cluster.settle();
    cluster.isolate(3);
    cluster.run(10_000);
    let role = |cluster: &Cluster| cluster.replica(3).status().role;
    assert_eq!(role(&cluster), RoleName::Follower, "it did not even ask");
    cluster.input(3, Input::Restored(Index(3)));
    cluster.run(3000);
    assert_eq!(role(&cluster), RoleName::PreCandidate);
}

#[test]
fn an_old_snapshot_is_acknowledged_and_changes_nothing() {
    let (mut cluster, _) = behind();
    let meta = cluster.snapshot(1);
    let (term, token) = (cluster.replica(1).term(), raft_core::Token::default());
    cluster.run(100);
    cluster.input(2, Input::SnapshotReceived { from: id(1), term, token, meta });
    assert_eq!(cluster.replica(2).log().floor().index, Index(0));
    let last = cluster.wire.back().unwrap();
    assert_eq!(last.body, Body::SnapshotInstalled { token, last: Index(3) });
}

#[test]
fn a_snapshot_counts_only_from_the_leader_followed_in_this_term() {
    let mut cluster = Cluster::new(3);
    let token = Token::default();
    let body = Body::Heartbeat { token, commit: Index(0) };
    let heartbeat = Message::new(GROUP, id(1), id(3), Term(5), body);
    cluster.input(3, Input::Message(heartbeat));
    let (position, membership) = (Position::new(2, 3), cluster.replica(3).membership().clone());
    let meta = Box::new(SnapshotMeta { position, membership, bytes: 0, checksum: 0 });
    let received = |from, term| {
        let (from, term) = (id(from), Term(term));
        Input::SnapshotReceived { from, term, token, meta: meta.clone() }
    };
    let said = cluster.node(3).others.len();
    for (from, term) in [(1, 4), (2, 5)] {
        cluster.input(3, received(from, term));
        assert_eq!(cluster.replica(3).log().floor(), Position::ZERO, "of {from} in term {term}");
        assert_eq!(cluster.node(3).others.len(), said);
    }
    cluster.input(3, received(1, 5));
    assert_eq!(cluster.replica(3).log().floor(), position);
}

#[test]
fn a_failed_transfer_is_tried_again() {
    let (mut cluster, wanted) = behind();
    let Output::SendSnapshot { token, .. } = wanted.clone() else { panic!("{wanted:?}") };
    cluster.input(1, Input::SnapshotFailed { to: id(3), number: token.number });
    cluster.run(150);
    let again = cluster.node(1).others.last().unwrap();
    assert!(matches!(again, Output::SendSnapshot { to, .. } if *to == id(3)), "{again:?}");
    assert_ne!(*again, wanted, "with a token of its own");
}

/// Hands node 3, which holds and has committed 1@1, a snapshot of its leader.
fn offered(change: impl Fn(&mut SnapshotMeta)) -> Cluster {
    let (mut cluster, wanted) = behind();
    let Output::SendSnapshot { term, token, .. } = wanted else { panic!("{wanted:?}") };
    let mut meta = cluster.snapshot(1);
    change(&mut meta);
    cluster.input(3, Input::SnapshotReceived { from: id(1), term, token, meta });
    cluster
}

#[test]
fn a_snapshot_that_no_leader_would_send_is_refused() {
    let cases: [fn(&mut SnapshotMeta); 3] = [
        |of_a_term_to_come| of_a_term_to_come.position = Position::new(2, 3),
        |out_of_all_proportion| out_of_all_proportion.position.index = Index(u64::MAX),
        |without_a_voter| without_a_voter.membership = Membership::empty(),
    ];
    for case in cases {
        let cluster = offered(case);
        let refused = Output::PeerBroken { peer: id(1), evidence: Evidence::Malformed };
        assert_eq!(cluster.node(3).others.last(), Some(&refused));
        assert_eq!(cluster.replica(3).log().floor(), Position::ZERO);
        assert!(!cluster.replica(3).is_halted());
    }
}

#[test]
fn a_snapshot_that_contradicts_what_is_committed_halts_the_group_with_evidence() {
    let own = Position::new(1, 1);
    // Another entry at the same index, and a later entry of an earlier term.
    for theirs in [Position::new(0, 1), Position::new(0, 3)] {
        let cluster = offered(|meta| meta.position = theirs);
        let evidence = Evidence::Contradiction { from: id(1), term: Term(1), own, theirs };
        assert_eq!(cluster.node(3).others.last(), Some(&Output::Halt(evidence)));
        assert_eq!(cluster.replica(3).log().last(), own);
    }
}

#[test]
fn a_snapshot_of_just_what_is_committed_is_acknowledged_and_changes_nothing() {
    let (mut cluster, wanted) = behind();
    let Output::SendSnapshot { term, token, .. } = wanted else { panic!("{wanted:?}") };
    let last = cluster.replica(2).log().last();
    assert_eq!(cluster.replica(2).commit(), last.index);
    let meta = Box::new(SnapshotMeta { position: last, ..*cluster.snapshot(1) });
    cluster.input(2, Input::SnapshotReceived { from: id(1), term, token, meta });
    assert_eq!(cluster.replica(2).log().floor(), Position::ZERO);
    let installed = Body::SnapshotInstalled { token, last: last.index };
    assert_eq!(cluster.wire.back().unwrap().body, installed);
}

#[test]
fn a_follower_may_install_all_of_the_log_and_no_more() {
    for (beyond, broken) in [(0, false), (1, true)] {
        let (mut cluster, wanted) = behind();
        let Output::SendSnapshot { term, token, .. } = wanted else { panic!("{wanted:?}") };
        let last = cluster.replica(1).log().last().index.plus(beyond);
        let body = Body::SnapshotInstalled { token, last };
        let message = Message::new(GROUP, id(3), id(1), term, body);
        cluster.input(1, Input::Message(message));
        let evidence = Output::PeerBroken { peer: id(3), evidence: Evidence::Invented };
        assert_eq!(cluster.node(1).others.contains(&evidence), broken, "{last}");
        assert_eq!(cluster.replica(1).status().peers[1].matched == last, !broken);
    }
}

/// Whoever trims the log asks for it.
#[test]
fn a_leader_knows_how_far_the_slowest_follower_that_needs_the_log_is() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "x");
    cluster.settle();
    assert_eq!(cluster.replica(1).slowest_match(), Some(Index(1)), "node 3 lacks the second");
    assert_eq!(cluster.replica(2).slowest_match(), None, "it serves nobody");
    let (cluster, _) = behind();
    assert_eq!(cluster.replica(1).slowest_match(), Some(Index(4)), "node 3 gets a snapshot");
}
