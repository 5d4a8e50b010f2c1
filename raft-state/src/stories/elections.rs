use core::time::Duration;

use raft_core::{Body, MemberChange, Message, Position, Term, Token, WhenCaughtUp};

use super::members;
use crate::cluster::{Cluster, GROUP, id};
use crate::{Input, ProposalId, RoleName, Unheard};

#[test]
fn three_replicas_elect_one_leader_and_keep_it() {
    let mut cluster = Cluster::new(3);
    cluster.run(4000);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1);
    let term = cluster.replica(leaders[0]).term();
    cluster.run(60_000);
    assert_eq!(cluster.leaders(), leaders, "nothing disturbs a leader that is heard");
    assert_eq!(cluster.replica(leaders[0]).term(), term);
}

#[test]
fn the_only_voter_leads_at_once() {
    let mut cluster = Cluster::new(1);
    cluster.run(0);
    assert_eq!(cluster.leaders(), [1]);
}

#[test]
fn a_follower_takes_over_when_the_leader_falls_silent() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(1000);
    cluster.isolate(1);
    cluster.run(3000);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    assert_ne!(leaders, [1], "who hears no quorum steps down");
}

#[test]
fn a_replica_that_was_cut_off_does_not_depose_the_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.replica(1).term();
    cluster.isolate(3);
    cluster.run(20_000);
    assert_eq!(cluster.replica(3).term(), term, "pre-votes raise no term");
    cluster.cut.clear();
    cluster.run(5000);
    assert_eq!((cluster.leaders(), cluster.replica(1).term()), (vec![1], term));
}

#[test]
fn a_rejected_pre_vote_teaches_the_later_term() {
    let mut cluster = Cluster::new(3);
    cluster.with_log(2, &[7]);
    cluster.isolate(3);
    cluster.now = cluster.replica(1).deadline();
    cluster.input(1, Input::Timeout);
    cluster.settle();
    assert_eq!(cluster.replica(1).term(), Term(7));
    assert_eq!(cluster.leaders(), [0u64; 0], "its log is behind");
}

#[test]
fn granting_a_pre_vote_is_no_sign_of_a_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.now = cluster.now.after(Duration::from_millis(1500));
    let deadline = cluster.replica(2).deadline();
    let token = Token { boot: id(3).get().into_boot(), number: 9 };
    let ask = Body::PreVote { token, last: Position::new(9, 9) };
    let term = cluster.replica(3).term();
    let message = Message::new(GROUP, id(3), id(2), term, ask);
    cluster.input(2, Input::Message(message));
    let granted = Body::PreVoteReply { token, granted: true };
    let answer = cluster.wire.pop_back().map(|message| (message.term, message.body));
    assert_eq!(answer, Some((term, granted)), "nobody has entered the next term");
    assert_eq!(cluster.replica(2).deadline(), deadline);
}

#[test]
fn a_vote_is_refused_while_the_leader_is_heard() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.replica(1).term();
    let token = Token { boot: id(3).get().into_boot(), number: 9 };
    let ask = Body::Vote { token, last: Position::new(9, 9), transfer: false };
    for voter in [1, 2] {
        let message = Message::new(GROUP, id(3), id(voter), Term(term.0 + 5), ask.clone());
        cluster.input(voter, Input::Message(message));
        let refused = Body::VoteReply { token, granted: false };
        assert_eq!(cluster.wire.pop_back().unwrap().body, refused);
        assert_eq!(cluster.replica(voter).term(), term, "the term is not even entered");
    }
}

#[test]
fn a_leader_that_hears_no_quorum_steps_down() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(500);
    cluster.isolate(1);
    cluster.run(850);
    assert!(cluster.replica(1).is_leader(), "not before an election timeout");
    cluster.run(300);
    assert!(!cluster.replica(1).is_leader());
    assert_ne!(cluster.replica(1).status().role, RoleName::Leader);
}

#[test]
fn a_connected_majority_elects_while_a_bridge_still_hears_the_old_leader() {
    // 1 led; then 1 is heard by 2 alone, and 2, 3, 4 hear one another: a majority needs 2.
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    cluster.run(500);
    for other in [3, 4, 5] {
        cluster.cut.extend([(id(1), id(other)), (id(other), id(1))]);
    }
    cluster.isolate(5);
    cluster.run(8000);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1);
    assert_ne!(leaders, [1], "two of five are no quorum");
}

/// Pre-vote and check-quorum together must not leave a replica outside for ever: its term is
/// later than that of the leader, whom everybody else hears.
#[test]
fn a_replica_in_a_later_term_than_the_leader_finds_back_into_the_group() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.run(500);
    // It was asked to take over, and then cut off.
    cluster.input(1, Input::Transfer { id: ProposalId(7), to: Some(id(3)) });
    let asked = cluster.wire.iter().position(|m| matches!(m.body, Body::TimeoutNow { .. }));
    let asked = cluster.wire.remove(asked.unwrap()).unwrap();
    cluster.deliver(asked);
    cluster.isolate(3);
    cluster.wire.clear();
    cluster.run(3000);
    assert_eq!(cluster.leaders(), [1], "the others hear each other");
    assert!(cluster.replica(3).term() > cluster.replica(1).term());

    cluster.cut.clear();
    cluster.run(4000);
    let [leader] = cluster.leaders()[..] else { panic!("{:?}", cluster.leaders()) };
    cluster.propose(leader, "together");
    cluster.run(500);
    let term = cluster.replica(leader).term();
    for n in 1..=3 {
        assert_eq!(cluster.replica(n).term(), term);
        assert_eq!(cluster.applied(n), ["together"], "node {n}");
    }
}

/// By the members that are committed two of three would do, and the others could elect another
/// leader of the same term (thesis, section 4.1).
#[test]
fn votes_are_counted_by_the_latest_members_committed_or_not() {
    let mut cluster = members::led(3);
    cluster.join(4);
    members::change(&mut cluster, 1, &[members::add(4, WhenCaughtUp::Stay)]);
    cluster.isolate(3);
    cluster.isolate(4);
    members::ask(&mut cluster, 1, &[MemberChange::Promote { id: id(4) }], Unheard::Refuse);
    cluster.settle();
    let replica = cluster.replica(2);
    let (term, last) = (replica.term(), replica.log().last());
    assert_eq!(replica.log().membership_index(), last.index, "two of four have it");
    assert!(replica.commit() < last.index);
    let body = Body::TimeoutNow { token: Token::default(), last };
    cluster.deliver(Message::new(GROUP, id(1), id(2), term, body));
    cluster.cut.clear();
    cluster.isolate(1);
    cluster.isolate(4);
    cluster.settle();
    assert_eq!(cluster.replica(3).term(), term.next(), "it has been asked");
    assert_eq!(cluster.replica(2).status().role, RoleName::Candidate);
    cluster.cut.clear();
    cluster.run(4000);
    assert_eq!(cluster.leaders().len(), 1);
}

trait IntoBoot {
    fn into_boot(self) -> raft_core::Boot;
}

impl IntoBoot for u64 {
    fn into_boot(self) -> raft_core::Boot {
        raft_core::Boot(self << 32 | 1)
    }
}
