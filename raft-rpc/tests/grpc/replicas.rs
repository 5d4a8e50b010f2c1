//! Which replica is meant by a node's id, and who may call that nobody has heard of.

use raft_core::{Boot, ClusterId, Incarnation, Position};
use raft_rpc::grpc::{LocalIdentity, PeerLink, Pinned, Standing, TransportOptions};

use crate::harness::{Node, beat, id, options};

/// Node `number` with the disk `incarnation`, which lets two strangers in.
async fn replica(number: u64, incarnation: u64) -> Node {
    let incarnation = Incarnation(incarnation);
    let (cluster, boot) = (ClusterId(7), Boot(incarnation.0));
    let identity = LocalIdentity { cluster, node: id(number), incarnation, boot };
    let options = TransportOptions { guests: 2, ..options() };
    Node::start_as(identity, "127.0.0.1:0", options).await
}

fn pins(node: &Node, peer: &Node, incarnation: u64, since: u64) {
    let pinned = Pinned { incarnation: Incarnation(incarnation), since: Position::new(1, since) };
    node.transport.set_pinned_peer(peer.id, peer.address.clone(), pinned);
}

fn stands(node: &Node, named_at: u64) {
    let (address, named_at) = (node.address.clone(), Position::new(1, named_at));
    node.transport.set_standing(Standing { address, named_at });
}

fn says(words: &str) -> impl Fn(&PeerLink) -> bool {
    move |link: &PeerLink| link.last_error.as_ref().is_some_and(|error| error.contains(words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_disk_is_refused_and_both_sides_say_what_to_do() {
    let (one, wiped) = (replica(1, 11).await, replica(2, 23).await);
    pins(&one, &wiped, 22, 5);
    wiped.knows(&one);
    wiped.transport.send(one.id, vec![beat(1)]);
    let why = "node 2 speaks for the disk 0000000000000017, and the members know node 2 with the \
               disk 0000000000000016";
    // The one that called is told, and the one that dialed it finds out by itself.
    let told = wiped.until_link(one.id, says(why)).await.last_error.unwrap();
    assert!(told.contains("refuses: ") && told.contains("member add 2"), "{told}");
    let found = one.until_link(wiped.id, says(why)).await;
    assert!(found.last_error.unwrap().contains("is not the replica that is meant"));
    assert!(found.refused > 0 && found.last_refusal.unwrap().contains(why));
    assert!(one.heard().envelopes.is_empty() && !one.heard().is_up(wiped.id));

    // Once the members know the new disk, the node is one of them.
    pins(&one, &wiped, 23, 9);
    one.until("hear node 2", |heard| !heard.envelopes.is_empty()).await;
    one.until("reach node 2", |heard| heard.is_up(wiped.id)).await;
    one.stop().await;
    wiped.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_named_later_is_believed_over_what_is_known_here_and_where_it_is() {
    let (behind, newer) = (replica(1, 11).await, replica(2, 23).await);
    // It knows another disk of node 2, at an address where nobody is any more.
    let pinned = Pinned { incarnation: Incarnation(22), since: Position::new(1, 5) };
    behind.transport.set_pinned_peer(newer.id, "127.0.0.1:1".into(), pinned);
    stands(&newer, 6);
    newer.knows(&behind);
    behind.until("reach node 2", |heard| heard.is_up(newer.id)).await;
    assert_eq!(behind.link(newer.id).address, newer.address);
    behind.stop().await;
    newer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_named_at_the_same_position_or_earlier_is_not_believed() {
    let (one, old) = (replica(1, 11).await, replica(2, 22).await);
    pins(&one, &old, 23, 9);
    stands(&old, 9);
    old.knows(&one);
    old.until_link(one.id, says("and the members know node 2 with the disk")).await;
    one.stop().await;
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_a_guest_that_can_be_answered_until_it_leaves() {
    let (one, stranger) = (replica(1, 11).await, replica(2, 22).await);
    stands(&stranger, 0);
    stranger.knows(&one);
    stranger.transport.send(one.id, vec![beat(1)]);
    one.until("hear the stranger", |heard| !heard.envelopes.is_empty()).await;
    one.transport.send(stranger.id, vec![beat(2)]);
    stranger.until("be answered", |heard| !heard.envelopes.is_empty()).await;
    stranger.stop().await;
    one.until("lose the stranger", |heard| !heard.is_up(id(2))).await;
    while !one.transport.peers().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_strangers_are_let_in_and_none_that_cannot_be_answered() {
    let one = replica(1, 11).await;
    let mut strangers = Vec::new();
    for number in 2..=3 {
        let stranger = replica(number, number * 11).await;
        stands(&stranger, 0);
        stranger.knows(&one);
        stranger.until("reach node 1", |heard| heard.is_up(id(1))).await;
        strangers.push(stranger);
    }
    let (fourth, nowhere) = (replica(4, 44).await, replica(5, 55).await);
    stands(&fourth, 0);
    fourth.knows(&one);
    fourth.until_link(one.id, says("beside 2 others that it does not know either")).await;
    nowhere.knows(&one);
    nowhere.until_link(one.id, says("node 5 called, which node 1 does not know")).await;
    for node in strangers.into_iter().chain([one, fourth, nowhere]) {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_dismissed_can_be_told_so_before_it_leaves() {
    let (one, two) = (replica(1, 11).await, replica(2, 22).await);
    pins(&one, &two, 22, 1);
    pins(&two, &one, 11, 1);
    one.until("reach node 2", |heard| heard.is_up(two.id)).await;
    two.until("reach node 1", |heard| heard.is_up(one.id)).await;
    one.transport.dismiss_peer(two.id);
    one.transport.send(two.id, vec![beat(7)]);
    two.until("be told", |heard| !heard.envelopes.is_empty()).await;
    two.stop().await;
    while !one.transport.peers().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    one.stop().await;
}
