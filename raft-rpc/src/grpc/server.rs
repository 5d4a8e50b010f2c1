//! The dialed side: it checks who calls, and hands on what they say.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use raft_core::{Envelope, NodeId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::error::{TransportError, Unacceptable};
use super::generated::peer_server::{Peer as PeerRpc, PeerServer};
use super::hello::{Greeting, hello, understand};
use super::identify::identity_service;
use super::options::TransportOptions;
use super::peer::Peer;
use super::transport::Shared;
use super::wire;
use crate::codec::{self, DecodeError};

/// Answers the peers of one node; made by [`crate::grpc::GrpcTransport::service`].
pub struct PeerService {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

/// The service to mount, whose streams end once `ended` turns true.
pub(super) fn peer_server(
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
) -> PeerServer<PeerService> {
    let limit = shared.options.message_bytes;
    // A frame holds an envelope of at most the limit and little else.
    PeerServer::new(PeerService { shared, ended }).max_decoding_message_size(limit + 1024)
}

/// Serves peers, and those who ask who is there, until `shutdown`.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), TransportError> {
    let (end, ended) = watch::channel(false);
    let mut closed = shared.closed.subscribe();
    let peers = peer_server(Arc::clone(shared), ended.clone());
    let signal = async {
        tokio::select! {
            () = shutdown => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
        end.send_replace(true);
    };
    let serving = http_server(&shared.options)
        .add_service(peers)
        .add_optional_service(shared.provider().map(identity_service))
        .serve_with_incoming_shutdown(incoming(listener), signal);
    // A caller that is stopped does not see that its streams have ended.
    let mut late = ended;
    let waited_enough = async {
        let _ = late.wait_for(|ended| *ended).await;
        tokio::time::sleep(shared.options.connect_timeout).await;
    };
    tokio::select! {
        served = serving => served.map_err(TransportError::Serve),
        () = waited_enough => Ok(()),
    }
}

/// An HTTP/2 server that fits the peers' streams.
pub(super) fn http_server(options: &TransportOptions) -> Server {
    // A stream may fill its own window but never the connection's, so that a full
    // append lane leaves room for the control lane.
    const STREAM_WINDOW: u32 = 4 << 20;
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(4 * STREAM_WINDOW)
        .http2_keepalive_interval(Some(options.keep_alive_interval))
        .http2_keepalive_timeout(Some(options.keep_alive_timeout))
}

pub(super) fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

#[tonic::async_trait]
impl PeerRpc for PeerService {
    type ExchangeStream = ReceiverStream<Result<wire::Frame, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let me = self.shared.identity;
        let mut frames = request.into_inner();
        let first = tokio::time::timeout(self.shared.options.connect_timeout, frames.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the caller did not say who it is"))??;
        if *self.ended.borrow() {
            return Err(Status::unavailable(format!("node {} is stopping", me.node)));
        }
        let (peer, greeting) = self.admit(first).map_err(Unacceptable::into_status)?;
        let lane = greeting.lane;
        // Nothing of an older stream may be delivered after something of this one.
        if let Some(older) = peer.take_reader(lane) {
            older.abort();
            let _ = older.await;
        }
        let (answers, stream) = mpsc::channel(1);
        let hello = hello(me, self.shared.standing(), lane, peer.id);
        let content = Some(wire::FrameContent::Hello(hello));
        answers
            .try_send(Ok(wire::Frame { content }))
            .map_err(|_| Status::internal("no room for the greeting"))?;
        let reader = Reader {
            shared: Arc::clone(&self.shared),
            peer: Arc::clone(&peer),
            greeting,
            ended: self.ended.clone(),
        };
        peer.put_reader(lane, tokio::spawn(reader.run(frames, answers)));
        peer.alive.notify_waiters();
        Ok(Response::new(stream.into()))
    }
}

impl PeerService {
    /// Whom a greeting comes from, if it may talk to this node.
    fn admit(&self, first: Option<wire::Frame>) -> Result<(Arc<Peer>, Greeting), Unacceptable> {
        let greeting = understand(self.shared.identity, first)?;
        let peer = match self.shared.peer(greeting.node) {
            Some(peer) => peer,
            None => self.shared.let_in(&greeting).map_err(Unacceptable::Unfit)?,
        };
        let recognised = peer.recognise(&greeting);
        recognised.inspect_err(|why| peer.turned_away(why.clone())).map_err(Unacceptable::Unfit)?;
        Ok((peer, greeting))
    }
}

/// Reads one stream of a peer to its end.
struct Reader {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    greeting: Greeting,
    ended: watch::Receiver<bool>,
}

impl Reader {
    /// Reads until either side ends the stream, or something on it is not what was sent;
    /// `answers` lives as long and ends the other direction with it.
    async fn run(
        mut self,
        mut frames: Streaming<wire::Frame>,
        answers: mpsc::Sender<Result<wire::Frame, Status>>,
    ) {
        loop {
            let frame = tokio::select! {
                frame = frames.message() => frame,
                _ = self.ended.wait_for(|ended| *ended) => break,
            };
            match frame {
                Ok(Some(frame)) => {
                    let Err(damage) = self.deliver(frame) else { continue };
                    // What else comes on this connection may be damaged as well: the dialer
                    // breaks it off, and whatever was lost with it is sent again.
                    tokio::select! {
                        _ = answers.send(Err(Status::data_loss(damage))) => {}
                        _ = self.ended.wait_for(|ended| *ended) => {}
                    }
                    break;
                }
                Ok(None) => break,
                Err(status) => {
                    let lane = self.greeting.lane;
                    tracing::debug!(peer = %self.peer.id, ?lane, %status, "a stream broke");
                    break;
                }
            }
        }
        drop(answers);
    }

    /// Hands on the messages of a frame; fails where it is not what was sent, and then
    /// hands on none of them.
    fn deliver(&self, frame: wire::Frame) -> Result<(), String> {
        let Greeting { node, boot, lane, .. } = self.greeting;
        let me = self.shared.identity.node;
        self.peer.received(lane);
        let decoded = match frame.content {
            Some(wire::FrameContent::Batch(batch)) => codec::decode_batch(batch),
            // Nodes of this version send nothing else after their greeting.
            _ => return Err(self.damaged("a frame is no batch of messages")),
        };
        let mut envelopes = match decoded {
            Ok(envelopes) => envelopes,
            Err(error @ DecodeError::Damaged(_)) => return Err(self.damaged(error)),
            Err(error) => {
                self.peer.refused(1, error.to_string());
                return Ok(());
            }
        };
        let before = envelopes.len();
        let mut stranger = None;
        envelopes.retain(|envelope| match misdirected(envelope, node, me) {
            None => true,
            Some(parties) => {
                stranger = Some(parties);
                false
            }
        });
        if let Some((from, to)) = stranger {
            let why = format!("a message from node {from} to node {to}, sent by {node} to {me}");
            self.peer.refused((before - envelopes.len()) as u64, why);
        }
        if !envelopes.is_empty() {
            self.shared.inbound.receive(node, boot, envelopes);
        }
        Ok(())
    }

    /// Counts what arrived damaged, and says between whom for the other side.
    fn damaged(&self, what: impl Display) -> String {
        let Greeting { node, lane, .. } = self.greeting;
        let why =
            format!("from node {node} to node {} on {lane:?}: {what}", self.shared.identity.node);
        self.peer.damaged(why.clone());
        why
    }
}

/// The sender and receiver that a message states, where they are not those of its stream.
fn misdirected(envelope: &Envelope, from: NodeId, to: NodeId) -> Option<(NodeId, NodeId)> {
    match envelope {
        Envelope::Group(message) if message.from != from || message.to != to => {
            Some((message.from, message.to))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
