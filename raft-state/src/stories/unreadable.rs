//! A leader cannot read what others lack, and what is not committed yet.

use raft_core::Index;

use crate::Output;
use crate::cluster::{Cluster, id};

/// Node 1 leads and has entries 2 and 3, which it cannot read. So have those of `others` whose
/// logs are whole.
fn leads_unreadable<const N: usize>(others: [&[u64]; N]) -> Cluster {
    let mut cluster = Cluster::new(1 + N as u64);
    cluster.with_log(1, &[1, 1, 1]);
    for (n, terms) in (2..).zip(others) {
        cluster.with_log(n, terms);
    }
    cluster.nodes.get_mut(&id(1)).unwrap().unreadable = [2, 3].map(Index).into();
    cluster
}

fn stopped(cluster: &Cluster) -> Vec<Index> {
    let of_unreadable = |output: &Output| match output {
        Output::Unreadable { from } => Some(*from),
        _ => None,
    };
    cluster.node(1).others.iter().filter_map(of_unreadable).collect()
}

/// A node whose disk is slow has everything, and has yet to say so.
#[test]
fn a_leader_goes_on_where_others_have_what_it_cannot_read() {
    let mut cluster = leads_unreadable([&[1, 1, 1], &[1]]);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    cluster.elect(1);
    cluster.run(1500);
    assert_eq!(cluster.replica(1).commit(), Index(0), "node 3 cannot be sent what it lacks");
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = false;
    cluster.sync(2);
    cluster.run(300);
    assert_eq!((cluster.leaders(), stopped(&cluster)), (vec![1], vec![]));
    assert_eq!(cluster.replica(1).commit(), Index(4));
    let to_3 = |output: &Output| matches!(output, Output::SendSnapshot { to, .. } if *to == id(3));
    assert!(cluster.node(1).others.iter().any(to_3), "what is committed is sent as a snapshot");
}

/// Its log is the longest, so that it would win the next election as well.
#[test]
fn a_leader_that_can_commit_nothing_stops_and_the_others_go_on() {
    let mut cluster = leads_unreadable([&[1], &[1]]);
    cluster.elect(1);
    cluster.run(900);
    assert_eq!((cluster.leaders(), stopped(&cluster)), (vec![1], vec![]), "not at once");
    cluster.run(5000);
    assert_eq!(stopped(&cluster), [Index(2)]);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    cluster.propose(leaders[0], "new");
    cluster.run(20_000);
    assert_eq!(cluster.leaders(), leaders, "one election is enough");
    for n in [2, 3] {
        assert_eq!(cluster.applied(n), ["old", "new"], "node {n}");
    }
}

#[test]
fn a_failure_that_passes_stops_nobody_however_often_there_is_one() {
    let mut cluster = leads_unreadable([&[1], &[1]]);
    cluster.elect(1);
    for time in 1..=3 {
        cluster.run(900);
        cluster.nodes.get_mut(&id(1)).unwrap().unreadable.clear();
        cluster.run(300);
        assert_eq!((cluster.leaders(), stopped(&cluster)), (vec![1], vec![]), "{time}");
        let last = cluster.replica(1).log().last().index;
        assert_eq!(cluster.replica(1).commit(), last, "{time}");
        // Next time it is one that is sent for the first time.
        cluster.nodes.get_mut(&id(1)).unwrap().unreadable.insert(last.next());
        cluster.propose(1, "x");
    }
}

/// Nodes 1 and 2 have committed `d`, which a client was told. Node 1 leads, without knowing
/// that, and can read neither it nor `blanks` entries of its own; node 3 lacks it, and node 2
/// is not there for a while.
fn leads_over_what_is_committed(blanks: u64) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(2);
    cluster.isolate(3);
    cluster.propose(2, "d");
    cluster.settle();
    let last = cluster.replica(2).log().last().index;
    assert_eq!(cluster.replica(2).commit(), last);
    cluster.cut.clear();
    cluster.crash(1);
    cluster.isolate(2);
    let unreadable = (last.0..=last.0 + blanks).map(Index);
    cluster.nodes.get_mut(&id(1)).unwrap().unreadable.extend(unreadable);
    cluster.elect(1);
    cluster.run(10_000);
    assert!(!cluster.leaders().contains(&3), "it lacks what is committed");
    cluster
}

/// It does not stop, for node 2 may have it, and has.
#[test]
fn what_is_committed_survives_a_leader_which_cannot_read_it() {
    let mut cluster = leads_over_what_is_committed(0);
    assert_eq!(stopped(&cluster), [], "node 2 is not there");
    cluster.cut.clear();
    cluster.run(10_000);
    assert_eq!((cluster.leaders(), stopped(&cluster)), (vec![1], vec![]));
    // Node 3 is to be sent a snapshot.
    let last = cluster.replica(1).log().last().index;
    assert_eq!((cluster.replica(1).commit(), cluster.applied(2)), (last, vec!["d"]));
}

/// What nobody else can have it can bring to nobody either.
#[test]
fn what_is_committed_survives_that_a_leader_stops_which_cannot_read_it() {
    let mut cluster = leads_over_what_is_committed(1);
    cluster.cut.clear();
    cluster.run(10_000);
    assert_eq!(stopped(&cluster).len(), 1);
    assert_eq!((cluster.leaders(), cluster.applied(3)), (vec![2], vec!["d"]));
}

/// Two of four have it, which is no quorum: but with the others the second of them is one.
#[test]
fn what_others_have_is_committed_by_them_once_the_leader_stops() {
    let mut cluster = leads_unreadable([&[1, 1, 1], &[1], &[1]]);
    cluster.elect(1);
    cluster.run(10_000);
    assert_eq!((stopped(&cluster), cluster.leaders()), (vec![Index(2)], vec![2]));
    for n in [2, 3, 4] {
        assert_eq!(cluster.applied(n), ["old"; 3], "node {n}");
    }
}

/// Without it there would be no quorum, whatever the other one has.
#[test]
fn of_two_voters_none_stops() {
    let mut cluster = leads_unreadable([&[1]]);
    cluster.elect(1);
    cluster.run(10_000);
    assert_eq!((cluster.leaders(), stopped(&cluster)), (vec![1], vec![]));
    cluster.nodes.get_mut(&id(1)).unwrap().unreadable.clear();
    cluster.run(1000);
    assert_eq!(cluster.applied(2), ["old"; 3]);
}
