//! One id, two lives; and parts that are over.

use bytes::Bytes;
use raft_core::{
    Body, Boot, Entry, Incarnation, Index, Membership, Message, Position, SnapshotMeta, Term,
    Token, WhenCaughtUp,
};

use super::members::{add, ask, change, demote, led, remove, voters, was_removed};
use crate::cluster::{Cluster, GROUP, id};
use crate::{Input, Unheard};

/// Node 3 knows of the removal of node 4 and not that it was added again, with another disk.
/// Node 4 finds its former life in the log that it is sent.
#[test]
fn a_member_added_again_is_not_stopped_by_the_removal_of_its_former_life() {
    let mut cluster = led(4);
    cluster.config.max_append_bytes = 1;
    for n in 1..=4 {
        let disk = cluster.node(n).disk.clone();
        cluster.boot(id(n), disk, 1);
    }
    cluster.elect(1);
    cluster.run(500);
    change(&mut cluster, 1, &[remove(4)]);
    cluster.run(2000);
    cluster.nodes.remove(&id(4));
    cluster.join(4);
    cluster.isolate(3);
    ask(&mut cluster, 1, &[add(4, WhenCaughtUp::Promote)], Unheard::Refuse);
    let added = cluster.replica(1).log().membership_index();
    // The entry that adds it comes to 2, and what comes to 4 ends before it.
    while let Some(message) = cluster.wire.pop_front() {
        let adds = |entry: &Entry| entry.index == added;
        let all = match &message.body {
            Body::Append { prev, entries, .. } => {
                cluster.replica(4).log().holds(*prev) && entries.iter().any(adds)
            }
            _ => false,
        };
        if message.to != id(4) || !all {
            cluster.deliver(message);
        }
    }
    assert!(cluster.replica(1).commit() >= added);
    let own = cluster.replica(4).log();
    assert!(own.last().index < added && own.last().index > Index(1), "{:?}", own.last());
    // Now it hears node 3 alone.
    cluster.cut.clear();
    cluster.isolate(1);
    cluster.isolate(2);
    cluster.run(3000);
    assert!(!was_removed(&cluster, 4), "it is a member");
    cluster.cut.clear();
    cluster.run(5000);
    assert_eq!(voters(&cluster, 4), [1, 2, 3, 4]);
}

/// Node 3 missed that node 2 was removed. The id was given to a new disk, for the sake of
/// another group; in this one that disk is nobody, and 3 means the former one.
fn a_stale_member_and_a_new_disk() -> Cluster {
    let mut cluster = led(1);
    for n in [2, 3] {
        cluster.join(n);
        change(&mut cluster, 1, &[add(n, WhenCaughtUp::Promote)]);
        cluster.run(1000);
    }
    cluster.isolate(3);
    cluster.join(4);
    change(&mut cluster, 1, &[add(4, WhenCaughtUp::Promote)]);
    cluster.run(1000);
    change(&mut cluster, 1, &[remove(2)]);
    assert_eq!((voters(&cluster, 1), voters(&cluster, 3)), (vec![1, 3, 4], vec![1, 2, 3]));
    cluster.nodes.remove(&id(2));
    cluster.join_with(2, Incarnation(20));
    cluster
}

/// With that vote there would be two leaders in one term.
#[test]
fn the_vote_of_a_new_disk_does_not_count_for_the_one_before_it() {
    let mut cluster = a_stale_member_and_a_new_disk();
    cluster.cut.clear();
    for (one, other) in [(3, 1), (3, 4), (2, 1), (2, 4)] {
        cluster.cut.extend([(id(one), id(other)), (id(other), id(one))]);
    }
    cluster.run(20_000);
    assert_eq!(cluster.leaders(), [1]);
    let new = cluster.replica(2);
    assert_eq!(
        (new.term(), new.log().last()),
        (Term(0), Position::ZERO),
        "it has promised nothing"
    );
    cluster.cut.clear();
    cluster.run(5000);
    assert_eq!(voters(&cluster, 3), [1, 3, 4]);
}

#[test]
fn what_is_meant_for_another_disk_is_neither_stored_nor_agreed_to() {
    let mut cluster = a_stale_member_and_a_new_disk();
    let token = Token { boot: Boot(9), number: 1 };
    let last = Position::new(9, 9);
    let membership = Membership::of_voters([1, 2, 3].map(id));
    let meta = Box::new(SnapshotMeta { position: last, membership, bytes: 0, checksum: 0 });
    let (data, commit, entries) = (Bytes::new(), Index(0), Vec::new());
    for body in [
        Body::PreVote { token, last },
        Body::Vote { token, last, transfer: true },
        Body::Append { token, prev: Position::ZERO, entries, commit },
        Body::Heartbeat { token, commit },
        Body::TimeoutNow { token, last: Position::ZERO },
        Body::SnapshotChunk { token, meta, offset: 0, data, checksum: 0 },
    ] {
        assert!(body.is_for_a_member());
        let asks = matches!(body, Body::PreVote { .. });
        let anyone = Message::new(GROUP, id(3), id(2), Term(9), body);
        let message = Message { to_disk: Incarnation(2), ..anyone };
        cluster.wire.clear();
        cluster.input(2, Input::Message(message.clone()));
        let said: Vec<&Body> = cluster.wire.iter().map(|message| &message.body).collect();
        let refused = Body::PreVoteReply { token, granted: false };
        assert_eq!(said, if asks { vec![&refused] } else { vec![] }, "{message:?}");
        let new = cluster.replica(2);
        assert_eq!((new.term(), new.leader()), (Term(0), None), "{message:?}");
        assert!(message.means(Incarnation(2)) && !message.means(Incarnation(20)));
    }
}

/// After a restart it does not know that its demotion is committed.
#[test]
fn a_learner_that_was_a_voter_lets_the_others_go_first_after_a_restart() {
    let mut cluster = led(4);
    change(&mut cluster, 1, &[demote(4)]);
    cluster.propose(1, "new");
    cluster.run(1000);
    assert!(cluster.replica(4).commit() > cluster.replica(4).log().membership_index());
    cluster.crash(4);
    cluster.isolate(1);
    cluster.now = cluster.now.after(cluster.config.election_timeout * 2);
    cluster.input(4, Input::Timeout);
    let asks = |message: &Message| matches!(message.body, Body::PreVote { .. });
    assert!(!cluster.wire.iter().any(asks), "{:?}", cluster.wire);
    cluster.run(3000);
    assert!(cluster.leaders().iter().all(|n| *n != 4), "{:?}", cluster.leaders());
}
