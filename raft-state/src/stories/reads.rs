use raft_core::Body;

use crate::cluster::{Cluster, id};
use crate::{Output, ReadId, Refusal};

fn heartbeats(cluster: &Cluster) -> usize {
    let beats = |message: &&raft_core::Message| matches!(message.body, Body::Heartbeat { .. });
    cluster.wire.iter().filter(beats).count()
}

#[test]
fn one_round_confirms_all_reads_that_wait() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.settle();
    for read in 1..=3 {
        cluster.read(1, read);
    }
    assert_eq!(heartbeats(&cluster), 2, "one round for the first read");
    assert_eq!(cluster.reads_ready(1), []);
    cluster.settle();
    assert_eq!(cluster.reads_ready(1), [(1, 2), (2, 2), (3, 2)]);
}

/// A read that joined a round already sent could be confirmed by an answer from
/// before it was asked.
#[test]
fn a_read_never_joins_a_round_that_was_sent() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.read(1, 1);
    let first: Vec<_> = cluster.wire.drain(..).collect();
    cluster.read(1, 2);
    assert!(cluster.wire.is_empty(), "it waits for the next round");
    for message in first {
        cluster.deliver(message);
    }
    let replies: Vec<_> = cluster.wire.drain(..).collect();
    cluster.deliver(replies[0].clone());
    assert_eq!(cluster.reads_ready(1), [(1, 1)]);
    cluster.deliver(replies[1].clone());
    assert_eq!(cluster.reads_ready(1), [(1, 1)], "the old round confirms nothing more");
    cluster.settle();
    assert_eq!(cluster.reads_ready(1), [(1, 1), (2, 1)]);
}

#[test]
fn no_read_is_answered_before_the_first_commit_of_the_term() {
    let mut cluster = Cluster::new(3);
    cluster.with_log(1, &[1]);
    cluster.with_log(2, &[1]);
    cluster.isolate(3);
    for n in [1, 2] {
        cluster.nodes.get_mut(&id(n)).unwrap().stalled = true;
    }
    cluster.now = cluster.replica(1).deadline();
    cluster.input(1, crate::Input::Timeout);
    for _ in 0..3 {
        cluster.settle();
        cluster.sync_one(1);
        if !cluster.replica(1).is_leader() {
            cluster.sync_one(2);
        }
    }
    assert!(cluster.replica(1).is_leader());
    cluster.read(1, 1);
    cluster.settle();
    assert_eq!(cluster.reads_ready(1), []);
    for _ in 0..3 {
        cluster.sync(1);
        cluster.sync(2);
        cluster.settle();
    }
    assert_eq!(cluster.reads_ready(1), [(1, 2)]);
}

#[test]
fn a_lost_round_is_sent_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.read(1, 1);
    cluster.wire.clear();
    cluster.run(100);
    assert_eq!(cluster.reads_ready(1), [(1, 1)]);
}

#[test]
fn reads_that_wait_end_with_leadership() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.read(1, 1);
    cluster.read(1, 2);
    cluster.run(1500);
    let why = Refusal::NotLeader { leader: None };
    let refused = Output::ReadsRefused { ids: vec![ReadId(1), ReadId(2)], why };
    assert!(cluster.node(1).others.contains(&refused), "{:?}", cluster.node(1).others);
    assert_eq!(cluster.reads_ready(1), []);
}

#[test]
fn a_follower_refuses_reads_and_names_the_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.read(2, 1);
    let why = Refusal::NotLeader { leader: Some(id(1)) };
    let refused = Output::ReadsRefused { ids: vec![ReadId(1)], why };
    assert_eq!(cluster.node(2).others.last(), Some(&refused));
}

#[test]
fn the_only_voter_confirms_its_reads_alone() {
    let mut cluster = Cluster::new(1);
    cluster.run(0);
    cluster.read(1, 1);
    assert_eq!(cluster.reads_ready(1), [(1, 1)]);
}

#[test]
fn one_of_two_voters_answers_no_read_alone() {
    let mut cluster = Cluster::new(2);
    cluster.elect(1);
    cluster.isolate(2);
    cluster.read(1, 7);
    cluster.settle();
    assert_eq!(cluster.reads_ready(1), []);
    cluster.cut.clear();
    cluster.run(200);
    assert_eq!(cluster.reads_ready(1), [(7, 1)]);
}
