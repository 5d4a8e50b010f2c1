use std::task::{Context, Poll};
use std::time::Duration;

use raft_core::{Beat, Boot, ClusterId, GroupId, Incarnation, Lane, NodeId, Term};
use tokio_stream::Stream;

use super::*;
use crate::grpc::hello::hello;
use crate::grpc::{LocalIdentity, Standing};

/// A limit that no test reaches in time, and none that any test outlives.
const NEVER: Duration = Duration::from_secs(3600);

fn queue(change: impl FnOnce(&mut TransportOptions)) -> Arc<LaneQueue> {
    let mut limits = TransportOptions { stale_after: NEVER, ..TransportOptions::default() };
    change(&mut limits);
    Arc::new(LaneQueue::new(limits))
}

fn beat(sequence: u64) -> Envelope {
    Envelope::Beat(Beat { sequence, ..Beat::default() })
}

fn large(sequence: u64, groups: usize) -> Envelope {
    let stopped = vec![(GroupId(1), Term(1)); groups];
    Envelope::Beat(Beat { sequence, stopped, ..Beat::default() })
}

/// A stream of the queue that has said its greeting.
fn greeted(queue: &Arc<LaneQueue>) -> LaneStream {
    let id = NodeId::new(1).unwrap();
    let (cluster, incarnation) = (ClusterId(1), Incarnation(1));
    let me = LocalIdentity { cluster, node: id, incarnation, boot: Boot(1) };
    let mut stream =
        queue.stream(hello(me, Standing::default(), Lane::Control, NodeId::new(2).unwrap()));
    let Poll::Ready(Some(wire::Frame { content: Some(wire::FrameContent::Hello(_)) })) =
        poll(&mut stream)
    else {
        panic!("a stream begins with a greeting");
    };
    stream
}

fn poll(stream: &mut LaneStream) -> Poll<Option<wire::Frame>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

/// The numbers of the beats in the next frame.
fn frame(stream: &mut LaneStream) -> Vec<u64> {
    let Poll::Ready(Some(wire::Frame { content: Some(wire::FrameContent::Batch(batch)) })) =
        poll(stream)
    else {
        panic!("there is no frame");
    };
    let number = |envelope| match envelope {
        Envelope::Beat(beat) => beat.sequence,
        other => panic!("{other:?} is not a beat"),
    };
    codec::decode_batch(batch).unwrap().into_iter().map(number).collect()
}

#[test]
fn everything_that_waits_goes_into_one_frame_in_order() {
    let queue = queue(|_| ());
    let mut stream = greeted(&queue);
    queue.open();
    assert!(poll(&mut stream).is_pending());
    queue.push(vec![beat(1), beat(2)]);
    queue.push(vec![beat(3)]);
    assert_eq!(frame(&mut stream), [1, 2, 3]);
    assert!(poll(&mut stream).is_pending());
    assert_eq!((queue.counts().bytes, queue.counts().sent), (0, 1));
}

#[test]
fn a_frame_is_capped_but_holds_one_envelope_of_any_size() {
    let queue = queue(|limits| limits.frame_bytes = 1_000);
    let mut stream = greeted(&queue);
    queue.open();
    queue.push(vec![beat(1), large(2, 100), beat(3), beat(4)]);
    assert_eq!(frame(&mut stream), [1]);
    assert_eq!(frame(&mut stream), [2]);
    assert_eq!(frame(&mut stream), [3, 4]);
}

#[test]
fn a_full_queue_drops_the_newest_batch_as_a_whole_and_counts_it() {
    let by_count = queue(|limits| limits.queue_envelopes = 3);
    by_count.push(vec![beat(1), beat(2)]);
    by_count.push(vec![beat(3), beat(4)]);
    by_count.push(vec![beat(5)]);
    let by_bytes = queue(|limits| limits.queue_bytes = 800);
    by_bytes.push(vec![beat(1), beat(2)]);
    by_bytes.push(vec![large(3, 10), beat(4)]);
    by_bytes.push(vec![beat(5)]);
    for queue in [by_count, by_bytes] {
        assert_eq!((queue.counts().envelopes, queue.counts().dropped), (3, 2));
        let mut stream = greeted(&queue);
        queue.open();
        assert_eq!(frame(&mut stream), [1, 2, 5]);
    }
}

#[test]
fn an_empty_queue_has_room_for_any_batch_that_a_receiver_accepts() {
    let queue = queue(|limits| {
        limits.queue_bytes = 10;
        limits.message_bytes = 100_000;
    });
    assert!(queue.push(vec![large(1, 1_000)]));
    assert_eq!((queue.counts().envelopes, queue.counts().dropped), (1, 0));
    let mut stream = greeted(&queue);
    queue.open();
    assert_eq!(frame(&mut stream), [1]);
    assert!(!queue.push(vec![large(2, 2_000)]), "no receiver accepts this one");
    assert_eq!((queue.counts().envelopes, queue.counts().dropped), (0, 1));
}

#[test]
fn nothing_leaves_before_the_lane_is_up_and_only_the_newest_stream_takes() {
    let queue = queue(|_| ());
    let mut older = greeted(&queue);
    queue.push(vec![beat(1)]);
    assert!(poll(&mut older).is_pending(), "the other side has not been verified");
    let mut newer = greeted(&queue);
    queue.open();
    assert!(matches!(poll(&mut older), Poll::Ready(None)));
    assert_eq!(frame(&mut newer), [1]);
    queue.close();
    queue.push(vec![beat(2)]);
    assert!(matches!(poll(&mut newer), Poll::Ready(None)));
    assert_eq!(queue.counts().envelopes, 1);
}

#[test]
fn what_waited_too_long_for_the_lane_makes_room_and_is_not_sent() {
    let queue = queue(|limits| {
        limits.stale_after = Duration::ZERO;
        limits.queue_envelopes = 1;
    });
    queue.push(vec![beat(1)]);
    queue.push(vec![beat(2)]);
    assert_eq!((queue.counts().envelopes, queue.counts().dropped), (1, 1));
    let mut stream = greeted(&queue);
    queue.open();
    assert!(poll(&mut stream).is_pending());
    assert_eq!((queue.counts().envelopes, queue.counts().dropped), (0, 2));
    queue.push(vec![beat(3)]);
    queue.push(vec![beat(4)]);
    assert_eq!(frame(&mut stream), [3], "while the lane is up nothing is stale");
}
