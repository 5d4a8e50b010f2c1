use core::time::Duration;

use raft_core::{Body, Message, Position, Term, Token};

use crate::cluster::{Cluster, GROUP, id};
use crate::{Input, ProposalId};

/// Three replicas whose clocks run apart by 100 ms in an election timeout of 1,000 ms.
fn leased() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.config.lease_drift = Some(Duration::from_millis(100));
    for n in 1..=3 {
        let disk = cluster.node(n).disk.clone();
        cluster.boot(id(n), disk, 1);
    }
    cluster.elect(1);
    cluster.run(500);
    cluster
}

#[test]
fn a_read_under_a_lease_asks_nobody() {
    let mut cluster = leased();
    let before = cluster.wire.len();
    cluster.read(1, 5);
    assert_eq!(cluster.reads_ready(1), [(5, cluster.replica(1).commit().0)]);
    assert_eq!(cluster.wire.len(), before);
}

/// The lease begins when the heartbeat leaves, not when its answer comes.
#[test]
fn a_lease_counts_from_when_the_heartbeat_was_sent() {
    let mut cluster = leased();
    let contact = cluster.replica(1).deadline();
    cluster.now = contact;
    cluster.input(1, Input::Timeout);
    let beats: Vec<_> = cluster.wire.drain(..).collect();
    beats.into_iter().for_each(|beat| cluster.deliver(beat));
    // The answers are under way for 800 ms.
    cluster.now = contact.after(Duration::from_millis(800));
    cluster.settle();
    assert_eq!(cluster.replica(1).status().peers[0].contact, Some(contact));
    cluster.isolate(1);
    cluster.now = contact.after(Duration::from_millis(899));
    cluster.read(1, 1);
    assert_eq!(cluster.reads_ready(1).len(), 1, "900 ms from the contact are left to it");
    cluster.now = contact.after(Duration::from_millis(900));
    cluster.read(1, 2);
    assert_eq!(cluster.reads_ready(1).len(), 1, "the lease is over, and a quorum is asked");
}

#[test]
fn there_is_no_lease_once_a_successor_was_asked_to_stand() {
    let mut cluster = leased();
    cluster.isolate(2);
    cluster.input(1, Input::Transfer { id: ProposalId(1), to: Some(id(2)) });
    cluster.read(1, 1);
    assert_eq!(cluster.reads_ready(1), [], "node 2 may lead already");
    cluster.settle();
    assert_eq!(cluster.reads_ready(1).len(), 1, "node 3 says that this one still leads");
    cluster.run(1500);
    let ready = cluster.reads_ready(1).len();
    cluster.read(1, 2);
    assert_eq!(cluster.reads_ready(1).len(), ready, "not in this term any more");
}

fn vote_for(cluster: &Cluster, candidate: u64, voter: u64, later: u64) -> Message {
    let term = cluster.replica(voter).term();
    let token = Token { boot: raft_core::Boot(candidate << 32 | 1), number: 99 };
    let body = Body::Vote { token, last: Position::new(9, 99), transfer: false };
    Message::new(GROUP, id(candidate), id(voter), Term(term.0 + later), body)
}

fn granted(cluster: &Cluster, to: u64) -> bool {
    cluster.wire.iter().any(|message| {
        message.to == id(to) && matches!(message.body, Body::VoteReply { granted: true, .. })
    })
}

/// A voter that heard the leader gives no vote within an election timeout, not even once a
/// stale answer has taken it into a later term: the leader may still answer reads.
#[test]
fn a_later_term_does_not_release_a_bound_vote() {
    let mut cluster = leased();
    let contact = cluster.replica(1).status().peers.iter().map(|p| p.contact.unwrap()).max();
    let token = Token { boot: raft_core::Boot(2 << 32 | 1), number: 0 };
    let term = Term(cluster.replica(2).term().0 + 1);
    let body = Body::PreVoteReply { token, granted: false };
    cluster.input(2, Input::Message(Message::new(GROUP, id(3), id(2), term, body)));
    assert_eq!(cluster.replica(2).term(), term);
    let vote = vote_for(&cluster, 3, 2, 0);
    cluster.input(2, Input::Message(vote.clone()));
    assert!(!granted(&cluster, 3));
    cluster.now = contact.unwrap().after(Duration::from_millis(1200));
    cluster.input(2, Input::Message(vote));
    assert!(granted(&cluster, 3), "then it is free");
}

#[test]
fn nobody_votes_within_an_election_timeout_of_its_own_start() {
    let mut cluster = leased();
    cluster.crash(2);
    let vote = vote_for(&cluster, 3, 2, 1);
    cluster.input(2, Input::Message(vote.clone()));
    assert!(!granted(&cluster, 3), "it may have heard a leader before");
    cluster.input(2, Input::Campaign);
    assert_eq!(cluster.replica(2).status().role, crate::RoleName::Follower, "nor for itself");
    cluster.now = cluster.now.after(Duration::from_millis(1000));
    cluster.input(2, Input::Message(vote));
    assert!(granted(&cluster, 3));
}

/// A leader that removes itself may count on the contact of the only voter that is left, and
/// not know that this one has the entry.
#[test]
fn the_only_voter_does_not_stand_within_an_election_timeout_of_its_start() {
    let mut cluster = Cluster::new(2);
    cluster.config.lease_drift = Some(Duration::from_millis(100));
    for n in 1..=2 {
        let disk = cluster.node(n).disk.clone();
        cluster.boot(id(n), disk, 1);
    }
    cluster.elect(1);
    cluster.run(500);
    cluster.cut.insert((id(2), id(1)));
    let changes = vec![raft_core::MemberChange::Remove { id: id(1) }];
    let unheard = crate::Unheard::Refuse;
    cluster.input(1, Input::ChangeMembers { id: ProposalId(7), changes, unheard });
    cluster.settle();
    assert_eq!(cluster.replica(2).membership().voters().len(), 1);
    cluster.isolate(1);
    cluster.crash(2);
    cluster.run(10);
    assert_eq!(cluster.leaders(), [1], "whose lease may still last");
    cluster.run(1000);
    assert!(cluster.replica(2).is_leader() && !cluster.replica(1).is_leader());
}
