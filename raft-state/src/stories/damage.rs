//! A disk loses a part of the log that it had confirmed.

use raft_core::{
    AppendOutcome, Body, Index, Instant, LogShape, Membership, Message, NodeId, Position, Term,
    Token,
};

use crate::cluster::{Cluster, GROUP, Log, id};
use crate::{Config, Input, Output, ProposalId, Replica, RoleName, Start};

/// Three nodes that have committed `a`, `b` and `c` at 2, 3 and 4; node 1 leads.
fn three() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for text in ["a", "b", "c"] {
        cluster.propose(1, text);
        cluster.settle();
    }
    cluster.run(200);
    cluster
}

fn lose(cluster: &mut Cluster, n: u64, first: u64) {
    let left = cluster.log_before(n, first);
    cluster.damage(n, left);
}

/// Node 1, which leads, is heard by another.
fn beat(cluster: &mut Cluster, to: u64) -> Token {
    let token = Token { boot: cluster.replica(1).boot, number: 77 };
    let body = Body::Heartbeat { token, commit: Index(4) };
    let beat = Message::new(GROUP, id(1), id(to), Term(1), body);
    cluster.input(to, Input::Message(beat));
    token
}

#[test]
fn what_is_lost_comes_from_a_leader_that_has_nothing_else_to_send() {
    let mut cluster = three();
    lose(&mut cluster, 2, 3);
    assert_eq!(cluster.replica(2).damaged_up_to(), Some(Position::new(1, 4)));
    assert_eq!(cluster.replica(2).log().last().index, Index(2));
    cluster.run(300);
    assert_eq!(cluster.leaders(), [1], "nobody stood for election");
    assert_eq!(cluster.replica(2).damaged_up_to(), None);
    assert_eq!(cluster.applied(2), ["a", "b", "c"]);
    assert_eq!(cluster.replica(2).log(), cluster.replica(1).log());
}

/// What it says may be lost, and the leader, which hears that it is there, asks nothing.
#[test]
fn what_is_lost_is_reported_until_it_is_sent() {
    let mut cluster = three();
    lose(&mut cluster, 2, 3);
    let token = beat(&mut cluster, 2);
    let reports = |cluster: &Cluster| {
        let lost = AppendOutcome::Lost(Position::new(1, 2));
        let report = Body::AppendReply { token, outcome: lost };
        cluster.wire.iter().filter(|message| message.body == report).count()
    };
    assert_eq!(reports(&cluster), 1);
    let at = cluster.now;
    cluster.input(2, Input::LeaderHeard { leader: id(1), term: Term(1), at });
    assert_eq!(reports(&cluster), 2);
    cluster.wire.clear();
    cluster.run(300);
    assert_eq!(cluster.replica(2).damaged_up_to(), None);
    cluster.input(2, Input::LeaderHeard { leader: id(1), term: Term(1), at });
    assert_eq!(cluster.wire.len(), 0, "there is nothing to report any more");
}

/// Nodes 1 and 2 have committed `d`, which node 3 lacks. If node 2 forgot what it has
/// acknowledged and voted for node 3, `d` would be lost.
#[test]
fn a_damaged_replica_votes_as_if_it_held_what_it_has_lost() {
    let mut cluster = three();
    cluster.isolate(3);
    cluster.propose(1, "d");
    cluster.run(100);
    assert_eq!(cluster.replica(1).commit(), Index(5));
    cluster.cut.clear();
    cluster.isolate(1);
    lose(&mut cluster, 2, 3);
    cluster.run(20_000);
    assert_eq!(cluster.leaders(), [0u64; 0], "neither of them has what is committed");
    assert_eq!(cluster.replica(2).status().role, RoleName::Follower, "it never stands");
    cluster.cut.clear();
    cluster.run(5000);
    assert_eq!(cluster.leaders(), [1]);
    assert!((1..=3).all(|n| cluster.applied(n).ends_with(&["c", "d"])), "{cluster:#?}");
    assert_eq!(cluster.replica(2).damaged_up_to(), None);
}

/// The node that has lost something is the one that led, and a majority has it.
#[test]
fn a_leader_that_loses_a_part_of_its_log_comes_back_as_a_follower() {
    let mut cluster = three();
    lose(&mut cluster, 1, 1);
    cluster.run(5000);
    assert_eq!(cluster.leaders().len(), 1);
    assert_ne!(cluster.leaders(), [1], "not before it is whole");
    assert_eq!(cluster.replica(1).damaged_up_to(), None);
    assert_eq!(cluster.applied(1), ["a", "b", "c"]);
}

#[test]
fn a_damaged_replica_stands_neither_alone_nor_when_it_is_asked_to() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle();
    lose(&mut cluster, 1, 2);
    cluster.run(10_000);
    cluster.input(1, Input::Campaign);
    cluster.settle();
    assert_eq!(cluster.leaders(), [0u64; 0], "nobody has what it has lost");
    assert_eq!(cluster.replica(1).term(), Term(1), "it has not even tried");

    let mut cluster = three();
    cluster.isolate(1);
    lose(&mut cluster, 2, 3);
    let token = Token::default();
    let append = Body::Append { token, prev: Position::ZERO, entries: [].into(), commit: Index(0) };
    let hand_over = Body::TimeoutNow { token, last: Position::new(1, 2) };
    for body in [append, hand_over] {
        let message = Message::new(GROUP, id(1), id(2), Term(1), body);
        cluster.input(2, Input::Message(message));
    }
    assert_eq!(cluster.replica(2).status().role, RoleName::Follower);
}

/// The log on the disk was cut in what is lost: what is left is the truth of nobody, and a
/// heartbeat that lets it commit speaks of what it had.
#[test]
fn a_damaged_replica_commits_only_what_a_leader_has_just_agreed_to() {
    let membership = Membership::of_voters([1, 2, 3].map(id));
    let mut shape = LogShape::new(Position::ZERO, membership);
    crate::cluster::entries(1, &[1, 1]).iter().for_each(|entry| shape.append(entry));
    let mut start = Start::fresh(GROUP, id(2), raft_core::Boot(1), shape);
    start.recovered.hard_state.term = Term(3);
    start.recovered.damaged_up_to = Some(Position::new(3, 2));
    start.applied = Index(2);
    let mut replica = Replica::new(Config::default(), start, Instant(0));
    let from_leader = |body| {
        let message = Message::new(GROUP, id(1), id(2), Term(3), body);
        Input::Message(message)
    };
    let mut tell = |body| {
        replica.handle(Instant(1), from_leader(body));
        let mut persisted = None;
        while let Some(output) = replica.poll_output() {
            if let Output::Persist(write) = output {
                persisted = Some(write.number);
            }
        }
        (replica.commit(), persisted)
    };
    let token = Token::default();
    assert_eq!(tell(Body::Heartbeat { token, commit: Index(2) }).0, Index(0));
    // Index 1 is as it was, index 2 was replaced.
    let entries = crate::cluster::entries(2, &[3]);
    let append = Body::Append { token, prev: Position::new(1, 1), entries, commit: Index(2) };
    let (commit, write) = tell(append);
    assert_eq!(commit, Index(2), "what the leader has in its place");
    assert_eq!(replica.damaged_up_to(), Some(Position::new(3, 2)), "it is not durable yet");
    replica.handle(Instant(2), Input::Persisted(write.unwrap()));
    assert_eq!(replica.damaged_up_to(), None);
}

#[test]
fn a_snapshot_makes_a_damaged_log_whole() {
    let mut cluster = three();
    cluster.trim(1, 4);
    let left = Log { entries: [].into(), ..cluster.log_before(2, 1) };
    cluster.damage(2, left);
    cluster.run(300);
    let wanted = cluster.node(1).others.last().cloned();
    let Some(Output::SendSnapshot { to, term, token }) = wanted else { panic!("{wanted:?}") };
    assert_eq!(to, id(2));
    let meta = cluster.snapshot(1);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    cluster.input(2, Input::SnapshotReceived { from: id(1), term, token, meta });
    assert!(cluster.replica(2).damaged_up_to().is_some(), "not before it is durable");
    cluster.sync(2);
    assert_eq!(cluster.replica(2).damaged_up_to(), None);
}

/// What has been matched may be lost again: a successor that was asked is asked no more
/// until it has everything, and meanwhile nobody wants to be woken for it.
#[test]
fn a_successor_that_loses_its_log_is_asked_no_more() {
    let mut cluster = three();
    cluster.isolate(2);
    cluster.input(1, Input::Transfer { id: ProposalId(7), to: NodeId::new(2) });
    cluster.settle();
    lose(&mut cluster, 2, 3);
    cluster.cut.remove(&(id(2), id(1)));
    beat(&mut cluster, 2);
    cluster.run(600);
    let next = cluster.replica(1).deadline();
    assert!(next > cluster.now, "{next:?} is over at {:?}", cluster.now);
    cluster.cut.clear();
    cluster.run(2000);
    assert_eq!(cluster.leaders(), [1], "it took too long");
    assert_eq!(cluster.replica(2).damaged_up_to(), None);
}

#[test]
fn a_successor_that_loses_its_log_is_asked_again_when_it_has_it() {
    let mut cluster = three();
    cluster.isolate(2);
    cluster.input(1, Input::Transfer { id: ProposalId(7), to: NodeId::new(2) });
    cluster.settle();
    lose(&mut cluster, 2, 3);
    cluster.cut.clear();
    cluster.run(500);
    assert_eq!(cluster.replica(2).damaged_up_to(), None);
    assert_eq!(cluster.leaders(), [2]);
}
