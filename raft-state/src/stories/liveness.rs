//! Replicas for which the engine sends heartbeats: nothing is said here but what must be.

use core::time::Duration;

use raft_core::{Body, Instant, Term};

use crate::cluster::{Cluster, id};
use crate::{Input, Output, ProposalId, RoleName};

/// A leader of three, of whom none sends heartbeats of its own.
fn led() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.config.own_heartbeats = false;
    (1..=3).for_each(|n| cluster.crash(n));
    cluster.elect(1);
    cluster
}

/// The engine has heard node 1 and `follower` of one another.
fn vouch(cluster: &mut Cluster, follower: u64) {
    let (term, at) = (cluster.replica(1).term(), cluster.now);
    cluster.input(follower, Input::LeaderHeard { leader: id(1), term, at });
    cluster.input(1, Input::FollowerHeard { follower: id(follower), term, sent_at: at });
}

fn pass(cluster: &mut Cluster, ms: u64) {
    for _ in 0..ms / 250 {
        vouch(cluster, 2);
        cluster.run(250);
    }
}

#[test]
fn a_leader_and_its_followers_stay_while_the_engine_vouches_for_them() {
    let mut cluster = led();
    let term = cluster.replica(1).term();
    let delivered = cluster.delivered;
    for _ in 0..40 {
        vouch(&mut cluster, 2);
        vouch(&mut cluster, 3);
        cluster.run(250);
    }
    assert_eq!((cluster.leaders(), cluster.replica(1).term()), (vec![1], term));
    assert!(cluster.delivered <= delivered + 4, "a quiet group costs no message");
    cluster.run(2500);
    assert_eq!(cluster.leaders(), [0u64; 0], "nobody vouches any more");
}

#[test]
fn a_sign_of_life_counts_only_from_the_leader_followed_in_this_term() {
    let mut cluster = led();
    let term = cluster.replica(1).term();
    let deadline = cluster.replica(2).deadline();
    let at = cluster.now.after(Duration::from_millis(900));
    for (leader, term) in [(3, term), (1, Term(term.0 - 1)), (1, term.next())] {
        cluster.input(2, Input::LeaderHeard { leader: id(leader), term, at });
        assert_eq!(cluster.replica(2).deadline(), deadline, "node {leader} in term {term}");
    }
    cluster.input(2, Input::LeaderHeard { leader: id(1), term, at });
    assert_eq!(cluster.replica(2).deadline(), deadline.after(Duration::from_millis(900)));
    let contact = |cluster: &Cluster| cluster.replica(1).status().peers[0].contact;
    let before = contact(&cluster);
    let heard = |term| Input::FollowerHeard { follower: id(2), term, sent_at: at };
    cluster.input(1, heard(Term(term.0 - 1)));
    assert_eq!(contact(&cluster), before, "it followed in an earlier term");
    cluster.input(1, heard(term));
    assert_eq!(contact(&cluster), Some(at));
}

#[test]
fn a_heartbeat_for_the_engine_to_send_says_what_the_follower_may_commit() {
    let mut cluster = led();
    cluster.propose(1, "x");
    cluster.settle();
    let now = cluster.now.after(Duration::from_millis(5));
    cluster.now = now;
    let leader = &mut cluster.nodes.get_mut(&id(1)).unwrap().replica;
    assert_eq!(leader.heartbeat(now, id(9)), None, "a stranger");
    let beat = leader.heartbeat(now, id(2)).expect("it leads");
    cluster.deliver(beat);
    assert_eq!(cluster.applied(2), ["x"]);
    cluster.settle();
    assert_eq!(cluster.replica(1).status().peers[0].contact, Some(now), "the answer counts");
    let follower = &mut cluster.nodes.get_mut(&id(2)).unwrap().replica;
    assert_eq!(follower.heartbeat(now, id(1)), None, "it does not lead");
}

#[test]
fn an_idle_follower_learns_of_a_commit_within_the_notice() {
    let mut cluster = led();
    cluster.propose(1, "x");
    cluster.settle();
    cluster.run(9);
    assert!(cluster.applied(2).is_empty(), "the next append may say it first");
    cluster.run(1);
    assert_eq!((cluster.applied(2), cluster.applied(3)), (vec!["x"], vec!["x"]));
    let delivered = cluster.delivered;
    pass(&mut cluster, 1000);
    assert_eq!(cluster.delivered, delivered, "and is told once, since it said that it knows");
}

#[test]
fn a_notice_that_was_lost_is_given_again() {
    let mut cluster = led();
    cluster.propose(1, "x");
    cluster.settle();
    cluster.isolate(3);
    cluster.run(50);
    assert!(cluster.applied(3).is_empty());
    cluster.cut.clear();
    cluster.run(60);
    assert_eq!(cluster.applied(3), ["x"]);
}

#[test]
fn who_acknowledges_late_is_told_late() {
    let mut cluster = led();
    cluster.nodes.get_mut(&id(3)).unwrap().stalled = true;
    cluster.propose(1, "x");
    cluster.run(300);
    cluster.nodes.get_mut(&id(3)).unwrap().stalled = false;
    cluster.sync(3);
    cluster.settle();
    assert!(cluster.applied(3).is_empty());
    cluster.run(10);
    assert_eq!(cluster.applied(3), ["x"]);
}

/// What was sent meanwhile is lost, and must not be waited for.
#[test]
fn a_follower_that_is_back_is_sent_what_it_lacks_at_once() {
    let mut cluster = led();
    cluster.isolate(3);
    cluster.propose(1, "x");
    pass(&mut cluster, 1500);
    assert!(cluster.leaders().contains(&1));
    cluster.cut.clear();
    vouch(&mut cluster, 2);
    cluster.settle();
    assert_eq!(cluster.replica(3).log().last().index.0, 1, "nothing is known of it yet");
    vouch(&mut cluster, 3);
    cluster.settle();
    assert_eq!(cluster.replica(3).log().last(), cluster.replica(1).log().last());
}

#[test]
fn a_replicas_own_heartbeat_finds_a_follower_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "x");
    cluster.run(1500);
    cluster.cut.clear();
    cluster.run(100);
    assert_eq!(cluster.replica(3).log().last(), cluster.replica(1).log().last());
}

/// Answers that come in one after the other are no silence: what is under way stays.
#[test]
fn an_answer_among_many_does_not_send_anything_again() {
    let mut cluster = led();
    cluster.nodes.get_mut(&id(3)).unwrap().stalled = true;
    cluster.propose(1, "x");
    cluster.settle();
    vouch(&mut cluster, 3);
    let now = cluster.now;
    let leader = &mut cluster.nodes.get_mut(&id(1)).unwrap().replica;
    let beat = leader.heartbeat(now, id(3)).expect("it leads");
    cluster.deliver(beat);
    while let Some(message) = cluster.wire.pop_front() {
        assert!(!matches!(message.body, Body::Append { .. }), "{message:?}");
        cluster.deliver(message);
    }
}

#[test]
fn a_replica_tells_each_change_of_role_once() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(3000);
    let told = |n| {
        let roles = cluster.node(n).others.iter().filter_map(|output| match output {
            Output::RoleChanged(change) => Some((change.role, change.term.0, change.leader)),
            _ => None,
        });
        roles.collect::<Vec<_>>()
    };
    let leads = Some(id(1));
    let stood = [
        (RoleName::PreCandidate, 0, None),
        (RoleName::Candidate, 1, None),
        (RoleName::Leader, 1, leads),
    ];
    assert_eq!(told(1), stood);
    let followed = [(RoleName::Follower, 1, None), (RoleName::Follower, 1, leads)];
    assert_eq!(told(2), followed);
}

#[test]
fn nothing_is_wanted_where_nothing_has_changed() {
    let mut cluster = led();
    cluster.propose(1, "x");
    cluster.run(100);
    let now = cluster.now;
    for n in 1..=3 {
        let replica = &mut cluster.nodes.get_mut(&id(n)).unwrap().replica;
        replica.handle(now, Input::Timeout);
        assert_eq!(replica.poll_output(), None, "node {n}");
    }
}

#[test]
fn a_status_says_when_the_leader_was_heard() {
    let mut cluster = led();
    let term = cluster.replica(1).term();
    let at = cluster.now.after(Duration::from_millis(7));
    cluster.input(2, Input::LeaderHeard { leader: id(1), term, at });
    assert_eq!(cluster.replica(2).status().leader_heard, Some(at));
    assert_eq!(cluster.replica(1).status().leader_heard, None::<Instant>, "it leads itself");
    let matched: Vec<u64> =
        cluster.replica(1).status().peers.iter().map(|peer| peer.matched.0).collect();
    assert_eq!(matched, [1, 1]);
    assert_eq!(cluster.replica(2).status().peers, []);
}

/// Nothing else would wake a quiet leader so early.
#[test]
fn a_transfer_asks_to_be_woken_so_that_it_can_be_repeated() {
    let mut cluster = led();
    cluster.run(200);
    vouch(&mut cluster, 2);
    let began = cluster.now;
    cluster.input(1, Input::Transfer { id: ProposalId(1), to: Some(id(2)) });
    cluster.wire.clear();
    assert_eq!(cluster.replica(1).deadline(), began.after(cluster.config.heartbeat_interval));
}

#[test]
fn a_stalled_disk_asks_to_be_woken_so_that_it_can_be_left() {
    let mut cluster = led();
    cluster.nodes.get_mut(&id(1)).unwrap().stalled = true;
    let began = cluster.now;
    cluster.propose(1, "waits");
    cluster.run(500);
    vouch(&mut cluster, 2);
    assert_eq!(cluster.replica(1).deadline(), began.after(cluster.config.election_timeout));
}
