//! Callers that do not behave as a node of this crate does.

use std::time::Duration;

use raft_core::{Beat, Boot, ClusterId, Incarnation, Lane};
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::grpc::generated::peer_client::PeerClient;
use crate::grpc::{GrpcTransport, Inbound, LocalIdentity, PeerLink, Standing};

/// Hands on the beats that arrive, with the run that sent them.
struct Ears(mpsc::UnboundedSender<(Boot, u64)>);

impl Inbound for Ears {
    fn receive(&self, _: NodeId, boot: Boot, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            let Envelope::Beat(beat) = envelope else { panic!("{envelope:?} is not a beat") };
            self.0.send((boot, beat.sequence)).unwrap();
        }
    }

    fn link_changed(&self, _: NodeId, _: bool) {}
}

/// Node 1, and a client that may claim to be anybody.
struct Called {
    transport: GrpcTransport,
    client: PeerClient<Channel>,
    heard: mpsc::UnboundedReceiver<(Boot, u64)>,
    serving: JoinHandle<Result<(), TransportError>>,
}

fn identity(node: u64, boot: u64) -> LocalIdentity {
    let node = NodeId::new(node).unwrap();
    let incarnation = Incarnation(node.get() * 10);
    LocalIdentity { cluster: ClusterId(7), node, incarnation, boot: Boot(boot) }
}

impl Called {
    async fn start() -> Self {
        let (ears, heard) = mpsc::unbounded_channel();
        let options = TransportOptions::default();
        let transport = GrpcTransport::new(identity(1, 1), options, Arc::new(Ears(ears)));
        // Nobody listens there: node 2 only calls.
        transport.set_peer(NodeId::new(2).unwrap(), "127.0.0.1:1".into());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serves = transport.clone();
        let serving =
            tokio::spawn(async move { serves.serve(listener, std::future::pending()).await });
        let client = PeerClient::connect(format!("http://{address}")).await.unwrap();
        Self { transport, client, heard, serving }
    }

    /// Opens a stream that begins with `first`.
    async fn call(&mut self, first: wire::Frame) -> Result<Caller, Status> {
        let (says, frames) = mpsc::channel(8);
        says.try_send(first).unwrap();
        let answers = self.client.exchange(ReceiverStream::new(frames)).await?.into_inner();
        Ok(Caller { says, answers })
    }

    async fn hear(&mut self) -> (Boot, u64) {
        soon(self.heard.recv()).await.unwrap()
    }

    fn link(&self) -> PeerLink {
        self.transport.peers().remove(0)
    }

    async fn stop(self) {
        soon(self.transport.close()).await;
        soon(self.serving).await.unwrap().unwrap();
    }
}

/// What comes of `future`, which must come in time.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("nothing came in time")
}

#[derive(Debug)]
struct Caller {
    says: mpsc::Sender<wire::Frame>,
    answers: Streaming<wire::Frame>,
}

impl Caller {
    async fn say(&self, frame: wire::Frame) {
        self.says.send(frame).await.unwrap();
    }
}

fn greeting(boot: u64) -> wire::Frame {
    let (me, to) = (identity(2, boot), identity(1, 1).node);
    let hello = hello(me, Standing::default(), Lane::Control, to);
    wire::Frame { content: Some(wire::FrameContent::Hello(hello)) }
}

fn beat(sequence: u64) -> wire::Frame {
    let batch = codec::encode_batch(&[Envelope::Beat(Beat { sequence, ..Beat::default() })]);
    wire::Frame { content: Some(wire::FrameContent::Batch(batch)) }
}

/// A beat of which one bit flipped on its way.
fn damaged_beat() -> wire::Frame {
    let Some(wire::FrameContent::Batch(batch)) = beat(9).content else { unreachable!() };
    let mut bytes = batch.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    wire::Frame { content: Some(wire::FrameContent::Batch(bytes.into())) }
}

#[tokio::test]
async fn malformed_batches_are_refused_one_by_one_and_the_stream_goes_on() {
    let mut node = Called::start().await;
    let caller = node.call(greeting(5)).await.unwrap();
    let batch = codec::seal(&wire::Batch { version: 9, envelopes: Vec::new() });
    caller.say(wire::Frame { content: Some(wire::FrameContent::Batch(batch)) }).await;
    caller.say(beat(1)).await;
    assert_eq!(node.hear().await, (Boot(5), 1));
    let why = "message format 9 is not known, only format 2 is";
    assert_eq!((node.link().refused, node.link().last_refusal.as_deref()), (1, Some(why)));
    assert_eq!((node.link().lanes[0].received, node.link().damaged), (2, 0));
    node.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_what_is_not_as_it_was_sent_and_nothing_after_it_counts() {
    let mut node = Called::start().await;
    let none = wire::Frame { content: None };
    for (before, damaged) in [damaged_beat(), greeting(5), none].into_iter().enumerate() {
        let mut caller = node.call(greeting(5)).await.unwrap();
        assert!(soon(caller.answers.message()).await.unwrap().is_some(), "the greeting");
        caller.say(beat(1)).await;
        assert_eq!(node.hear().await, (Boot(5), 1));
        caller.say(damaged).await;
        // The stream may have ended before this is sent.
        let _ = caller.says.send(beat(2)).await;
        let status = soon(caller.answers.message()).await.unwrap_err();
        let error = TransportError::of_status("host-1:7", status);
        assert!(matches!(error, TransportError::Damaged { .. }), "{error:?}");
        let says =
            "exchanged with host-1:7 was damaged on its way: from node 2 to node 1 on Control";
        assert!(error.in_full().contains(says), "{}", error.in_full());
        let link = node.link();
        assert_eq!((link.damaged, link.refused), (before as u64 + 1, 0));
        assert!(error.in_full().contains(&link.last_refusal.unwrap()), "{}", error.in_full());
    }
    let caller = node.call(greeting(5)).await.unwrap();
    caller.say(beat(3)).await;
    assert_eq!(node.hear().await, (Boot(5), 3), "and no beat 2 of before");
    node.stop().await;
}

#[tokio::test]
async fn a_damaged_greeting_is_told_from_one_that_does_not_fit() {
    let mut node = Called::start().await;
    let mut frame = greeting(5);
    let Some(wire::FrameContent::Hello(hello)) = &mut frame.content else { unreachable!() };
    hello.boot ^= 1 << 40;
    let status = node.call(frame).await.unwrap_err();
    let error = TransportError::of_greeting("host-1:7", status);
    assert!(matches!(error, TransportError::Damaged { .. }), "{error:?}");
    node.stop().await;
}

#[tokio::test]
async fn who_does_not_greet_first_is_refused() {
    let mut node = Called::start().await;
    let status = node.call(beat(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("is not a greeting"), "{status}");
    node.stop().await;
}

#[tokio::test]
async fn a_newer_stream_of_a_lane_ends_the_older_one() {
    let mut node = Called::start().await;
    let mut older = node.call(greeting(5)).await.unwrap();
    older.say(beat(1)).await;
    assert_eq!(node.hear().await, (Boot(5), 1));
    let newer = node.call(greeting(6)).await.unwrap();
    assert!(soon(older.answers.message()).await.unwrap().is_some(), "the greeting");
    assert_eq!(soon(older.answers.message()).await.unwrap(), None);
    newer.say(beat(2)).await;
    assert_eq!(node.hear().await, (Boot(6), 2));
    node.stop().await;
}
