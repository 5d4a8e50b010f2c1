//! One id, two lives; and parts that are over.

use raft_core::{Body, Entry, Index, Message, WhenCaughtUp};

use super::members::{add, ask, change, demote, led, remove, voters, was_removed};
use crate::cluster::id;
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
