//! Peers that go, come back, fall silent or never say a word.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Boot, ClusterId, Envelope, Incarnation, NodeId};
use raft_rpc::grpc::{GrpcTransport, Inbound, LocalIdentity, TransportOptions};
use tokio::net::TcpListener;

use crate::harness::{FRAGILE, Node, Proxy, append, beat, id, options, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_on_its_port_is_reached_again() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&two);
    two.knows(&one);
    one.transport.send(two.id, vec![beat(1)]);
    two.until("hear the first message", |heard| !heard.envelopes.is_empty()).await;
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;

    let address = two.address.clone();
    two.stop().await;
    one.until("lose node 2", |heard| !heard.is_up(id(2))).await;
    let link = one.until_link(id(2), |link| link.last_error.is_some()).await;
    assert!(!link.lanes[0].connected);

    let two = Node::start_with(2, 7, 2, &address, options()).await;
    two.knows(&one);
    one.until("reach node 2 again", |heard| heard.is_up(id(2))).await;
    one.transport.send(two.id, vec![beat(2)]);
    let heard = two.until("hear the second message", |heard| !heard.envelopes.is_empty()).await;
    assert_eq!(heard.envelopes, [(one.id, Boot(1), beat(2))]);
    two.transport.send(one.id, vec![beat(3)]);
    let heard = one.until("hear the new run", |heard| !heard.envelopes.is_empty()).await;
    assert_eq!(heard.envelopes, [(two.id, Boot(2), beat(3))]);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_calls_is_dialed_at_once_however_long_the_back_off() {
    let hour = Duration::from_secs(3600);
    let patient = TransportOptions { backoff_initial: hour, backoff_max: hour, ..options() };
    let one = Node::start_with(1, 7, 1, "127.0.0.1:0", patient).await;
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap().to_string();
    drop(reserved);
    one.transport.set_peer(id(2), address.clone());
    let refused = |error: &String| error.contains("Connection refused");
    one.until_link(id(2), |link| link.last_error.as_ref().is_some_and(refused)).await;

    let two = Node::start_with(2, 7, 1, &address, options()).await;
    two.knows(&one);
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_answers_delays_nobody_and_its_queue_stays_bounded() {
    let options = TransportOptions {
        queue_envelopes: 100,
        connect_timeout: Duration::from_millis(300),
        ..options()
    };
    let one = Node::start_with(1, 7, 1, "127.0.0.1:0", options).await;
    let two = Node::start(2).await;
    // The kernel completes connections to a listener that nobody accepts from.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    one.transport.set_peer(id(3), silent_address.clone());
    one.knows(&two);
    two.knows(&one);
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;
    for number in 0..1_000 {
        one.transport.send(id(3), vec![beat(number)]);
    }
    one.transport.send(two.id, vec![beat(1)]);
    two.until("hear node 1", |heard| !heard.envelopes.is_empty()).await;

    let control = one.link(id(3)).lanes[0];
    assert_eq!((control.queued, control.dropped, control.connected), (100, 900, false));
    let says = format!("{silent_address} did not answer within 300ms");
    one.until_link(id(3), |link| {
        link.last_error.as_ref().is_some_and(|why| why.starts_with(&says))
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_noticed() {
    let options = TransportOptions {
        connect_timeout: Duration::from_millis(300),
        keep_alive_interval: Duration::from_millis(200),
        keep_alive_timeout: Duration::from_millis(300),
        ..options()
    };
    let one = Node::start_with(1, 7, 1, "127.0.0.1:0", options).await;
    let two = Node::start(2).await;
    let proxy = Proxy::to(&two.address).await;
    two.knows(&one);
    one.transport.set_peer(two.id, proxy.address.clone());
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;

    proxy.freeze();
    one.until("notice the silence", |heard| !heard.is_up(id(2))).await;
    let unanswered = |error: &String| error.contains("did not answer within");
    one.until_link(id(2), |link| link.last_error.as_ref().is_some_and(unanswered)).await;

    one.knows(&two);
    one.until("reach node 2 at its own address", |heard| heard.is_up(id(2))).await;
    assert_eq!(one.link(id(2)).address, two.address);
    one.stop().await;
    two.stop().await;
}

/// TCP's own sum misses damage now and then; here a proxy plays a bad network card behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_damages_a_batch_is_broken_off_and_goes_on_anew() {
    let hour = Duration::from_secs(3600);
    let patient = TransportOptions { backoff_initial: hour, backoff_max: hour, ..options() };
    let one = Node::start_with(1, 7, 1, "127.0.0.1:0", patient).await;
    let two = Node::start(2).await;
    let proxy = Proxy::to(&two.address).await;
    two.knows(&one);
    one.transport.set_peer(two.id, proxy.address.clone());
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;
    // A call of node 2 would make node 1 dial at once, and forget what happened.
    two.until_link(one.id, |link| link.lanes.iter().all(|lane| lane.connected)).await;
    let entry = |number| append(one.id, two.id, number, Bytes::from(FRAGILE.repeat(16)));
    one.transport.send(two.id, vec![entry(1)]);
    two.until("hear what is whole", |heard| heard.numbers(id(1), &entry(0)) == [1]).await;

    proxy.flip_once();
    one.transport.send(two.id, vec![entry(2), entry(3)]);
    one.until("lose the connection", |heard| !heard.is_up(id(2))).await;
    let link = one.until_link(id(2), |link| link.last_error.is_some()).await;
    let why = link.last_error.unwrap();
    let says = "was damaged on its way: from node 1 to node 2 on Append: the batch was damaged";
    assert!(why.contains(&proxy.address) && why.contains(says), "{why}");
    assert!(!link.lanes[0].connected && !link.lanes[1].connected);
    assert_eq!((proxy.to_flip(), two.link(id(1)).damaged, two.link(id(1)).refused), (0, 1, 0));

    // A detour to no address at all: the same one again is dialed only after the back-off.
    one.transport.set_peer(two.id, "127.0.0.1:1".into());
    one.transport.set_peer(two.id, proxy.address.clone());
    one.until("reach node 2 again", |heard| heard.is_up(id(2))).await;
    one.transport.send(two.id, vec![entry(4)]);
    let all = two.until("hear more", |heard| heard.numbers(id(1), &entry(0)).len() > 1).await;
    assert_eq!(all.numbers(id(1), &entry(0)), [1, 4], "nothing of the damaged batch");
    let said: Vec<_> = all.envelopes.into_iter().map(|(_, _, envelope)| envelope).collect();
    assert_eq!(said, [entry(1), entry(4)]);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_when_a_peer_returns_is_not_sent() {
    let one = Node::start_with(
        1,
        7,
        1,
        "127.0.0.1:0",
        TransportOptions { stale_after: Duration::ZERO, ..options() },
    )
    .await;
    let two = Node::start(2).await;
    one.knows(&two);
    one.transport.send(two.id, vec![beat(1)]);
    two.knows(&one);
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;
    one.transport.send(two.id, vec![beat(2)]);
    let heard = two.until("hear node 1", |heard| !heard.envelopes.is_empty()).await;
    assert_eq!(heard.numbers(one.id, &beat(0)), [2]);
    assert_eq!(one.link(two.id).lanes[0].dropped, 1);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_that_is_closed_says_no_more() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&two);
    two.knows(&one);
    two.until("reach node 1", |heard| heard.is_up(id(1))).await;
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;
    one.transport.close().await;
    two.until("lose node 1", |heard| !heard.is_up(id(1))).await;
    assert!(!one.heard().is_up(id(2)), "closing takes the links down");
    assert!(one.transport.peers().is_empty());
    one.transport.set_peer(id(2), two.address.clone());
    one.transport.send(id(2), vec![beat(1)]);
    assert!(one.transport.peers().is_empty(), "a closed transport takes no peers");
    one.stop().await;
    two.stop().await;
}

/// Hears nothing; the test looks whether it is still held.
struct Deaf;

impl Inbound for Deaf {
    fn receive(&self, _: NodeId, _: Boot, _: Vec<Envelope>) {}

    fn link_changed(&self, _: NodeId, _: bool) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_ends_with_its_last_handle() {
    let two = Node::start(2).await;
    two.transport.set_peer(id(1), "127.0.0.1:1".into());
    let inbound = Arc::new(Deaf);
    let held = Arc::downgrade(&inbound);
    let (cluster, incarnation) = (ClusterId(7), Incarnation(10));
    let identity = LocalIdentity { cluster, node: id(1), incarnation, boot: Boot(1) };
    let transport = GrpcTransport::new(identity, options(), inbound);
    transport.set_peer(two.id, two.address.clone());
    transport.send(two.id, vec![beat(1)]);
    two.until("hear node 1", |heard| !heard.envelopes.is_empty()).await;
    drop(transport);
    let let_go = async {
        while held.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("let go of everything", let_go).await;
    two.stop().await;
}
