//! What is sent arrives, in order within a lane, and lanes do not wait for lower ones.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::{Boot, ClusterId, Envelope, Incarnation, Lane, NodeId};
use raft_rpc::grpc::{GrpcTransport, Inbound, LocalIdentity};
use tokio::net::TcpListener;

use crate::harness::{Node, Proxy, append, beat, chunk, id, options, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lane_arrives_whole_and_in_order() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&two);
    two.knows(&one);
    let samples =
        [beat(0), append(one.id, two.id, 0, Bytes::new()), chunk(one.id, two.id, 0, Bytes::new())];
    for number in 0..1_000 {
        let envelopes = vec![
            append(one.id, two.id, number, Bytes::from_static(b"entry")),
            beat(number),
            chunk(one.id, two.id, number, Bytes::from_static(b"piece")),
        ];
        one.transport.send(two.id, envelopes);
    }
    let heard = two.until("hear 3,000 messages", |heard| heard.envelopes.len() == 3_000).await;
    for sample in &samples {
        let numbers = heard.numbers(one.id, sample);
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>(), "on lane {:?}", sample.lane());
    }
    let link = one.until_link(two.id, |link| link.lanes.iter().all(|lane| lane.sent > 0)).await;
    let lanes = link.lanes.iter();
    assert!(lanes.clone().all(|lane| lane.connected && lane.dropped == 0 && lane.queued == 0));
    assert!(lanes.clone().all(|lane| lane.sent < 1_000), "what waits shares frames: {link:?}");
    assert_eq!(link.last_error, None);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_work_and_state_the_sender_and_its_run() {
    let one = Node::start_with(1, 7, 11, "127.0.0.1:0", options()).await;
    let two = Node::start_with(2, 7, 22, "127.0.0.1:0", options()).await;
    one.knows(&two);
    two.knows(&one);
    one.transport.send(two.id, vec![beat(5)]);
    two.transport.send(one.id, vec![beat(6)]);
    let heard = two.until("hear node 1", |heard| !heard.envelopes.is_empty()).await;
    assert_eq!(heard.envelopes, [(one.id, Boot(11), beat(5))]);
    let heard = one.until("hear node 2", |heard| !heard.envelopes.is_empty()).await;
    assert_eq!(heard.envelopes, [(two.id, Boot(22), beat(6))]);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_entry_passes_and_what_no_receiver_takes_is_dropped() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&two);
    two.knows(&one);
    let largest = append(one.id, two.id, 1, Bytes::from(vec![7; 16 << 20]));
    let too_large = append(one.id, two.id, 2, Bytes::from(vec![7; 64 << 20]));
    let small = append(one.id, two.id, 3, Bytes::new());
    one.transport.send(two.id, vec![too_large]);
    one.transport.send(two.id, vec![largest.clone()]);
    one.transport.send(two.id, vec![small.clone()]);
    let heard = two.until("hear both", |heard| heard.envelopes.len() == 2).await;
    assert!(heard.envelopes[0].2 == largest, "16 MiB arrive as they were");
    assert!(heard.envelopes[1].2 == small);
    assert_eq!(one.link(two.id).lanes[1].dropped, 1);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_trip_waits_for_no_timer() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&two);
    two.knows(&one);
    one.until("reach node 2", |heard| heard.is_up(id(2))).await;
    two.until("reach node 1", |heard| heard.is_up(id(1))).await;
    let mut fastest = Duration::MAX;
    for number in 1..=100 {
        let started = Instant::now();
        one.transport.send(two.id, vec![beat(number)]);
        two.until("be asked", |heard| heard.envelopes.len() as u64 == number).await;
        two.transport.send(one.id, vec![beat(number)]);
        one.until("be answered", |heard| heard.envelopes.len() as u64 == number).await;
        fastest = fastest.min(started.elapsed());
    }
    // A delayed acknowledgement or a polling interval would show in every one of them,
    // however busy the machine is.
    assert!(fastest < Duration::from_millis(20), "the fastest round trip took {fastest:?}");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_have_a_connection_of_their_own() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let proxy = Proxy::to(&two.address).await;
    two.knows(&one);
    one.transport.set_peer(two.id, proxy.address.clone());
    one.until_link(two.id, |link| link.lanes.iter().all(|lane| lane.connected)).await;
    assert_eq!(*proxy.accepted.borrow(), 2, "one for votes and entries, one for snapshots");
    one.stop().await;
    two.stop().await;
}

/// A receiver that is stuck in a snapshot until it has heard a control message.
#[derive(Default)]
struct StuckInSnapshot {
    chunks: Mutex<usize>,
    control: Mutex<bool>,
    freed: Condvar,
}

impl Inbound for StuckInSnapshot {
    fn receive(&self, _: NodeId, _: Boot, envelopes: Vec<Envelope>) {
        if envelopes[0].lane() == Lane::Control {
            *self.control.lock().unwrap() = true;
            self.freed.notify_all();
            return;
        }
        *self.chunks.lock().unwrap() += envelopes.len();
        tokio::task::block_in_place(|| {
            let control = self.control.lock().unwrap();
            let patience = Duration::from_secs(10);
            let waits = self.freed.wait_timeout_while(control, patience, |heard| !*heard);
            assert!(*waits.unwrap().0, "the control message waited for the snapshot");
        });
    }

    fn link_changed(&self, _: NodeId, _: bool) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn control_messages_do_not_wait_for_a_flood_of_snapshot() {
    let one = Node::start(1).await;
    let receiver = Arc::new(StuckInSnapshot::default());
    let (cluster, incarnation) = (ClusterId(7), Incarnation(20));
    let identity = LocalIdentity { cluster, node: id(2), incarnation, boot: Boot(1) };
    let two = GrpcTransport::new(identity, options(), receiver.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    one.transport.set_peer(id(2), listener.local_addr().unwrap().to_string());
    two.set_peer(one.id, one.address.clone());
    let serving = tokio::spawn({
        let two = two.clone();
        async move { two.serve(listener, std::future::pending()).await }
    });
    let piece = Bytes::from(vec![1; 1 << 20]);
    for number in 0..10 {
        one.transport.send(id(2), vec![chunk(one.id, id(2), number, piece.clone())]);
    }
    one.until_link(id(2), |link| link.lanes[2].sent > 0).await;
    let stuck = async {
        while *receiver.chunks.lock().unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("receive a piece of the snapshot", stuck).await;
    one.transport.send(id(2), vec![beat(1)]);
    let all = async {
        while *receiver.chunks.lock().unwrap() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("receive the whole snapshot", all).await;
    assert!(*receiver.control.lock().unwrap());
    two.close().await;
    soon("end serving", serving).await.unwrap().unwrap();
    one.stop().await;
}
