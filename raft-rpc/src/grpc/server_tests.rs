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
    let batch = codec::batch_of(&[Envelope::Beat(Beat { sequence, ..Beat::default() })]);
    wire::Frame { content: Some(wire::FrameContent::Batch(batch)) }
}

#[tokio::test]
async fn malformed_batches_are_refused_one_by_one_and_the_stream_goes_on() {
    let mut node = Called::start().await;
    let caller = node.call(greeting(5)).await.unwrap();
    let batch = wire::Batch { version: 9, envelopes: Vec::new() };
    caller.say(wire::Frame { content: Some(wire::FrameContent::Batch(batch)) }).await;
    caller.say(beat(1)).await;
    assert_eq!(node.hear().await, (Boot(5), 1));
    let why = "message format 9 is not known, only format 1 is";
    assert_eq!((node.link().refused, node.link().last_refusal.as_deref()), (1, Some(why)));

    caller.say(greeting(5)).await;
    caller.say(wire::Frame { content: None }).await;
    caller.say(beat(2)).await;
    assert_eq!(node.hear().await, (Boot(5), 2));
    let why = "a frame that is no batch of messages";
    assert_eq!((node.link().refused, node.link().last_refusal.as_deref()), (3, Some(why)));
    assert_eq!(node.link().lanes[0].received, 5);
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
