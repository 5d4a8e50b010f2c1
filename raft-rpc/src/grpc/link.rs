//! The dialing side: one task per connection, which keeps it up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use raft_core::Lane;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::connect::{connect, endpoint, within};
use super::error::TransportError;
use super::generated::peer_client::PeerClient;
use super::hello::{hello, understand};
use super::peer::{LinkKind, Peer};
use super::transport::Shared;
use super::wire;
use crate::Backoff;

/// One connection to one peer, with a stream per lane.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) kind: LinkKind,
}

impl Link {
    /// Dials the address in `target`, again and again, until there is none.
    pub(super) async fn run(self, mut target: watch::Receiver<Option<String>>) {
        let Shared { options, identity, inbound, .. } = &*self.shared;
        let seed = identity.boot.0 ^ (self.peer.id.get() << 1) ^ self.kind as u64;
        let mut backoff = Backoff::new(options.backoff_initial, options.backoff_max, seed);
        loop {
            let Some(address) = target.borrow_and_update().clone() else { break };
            let problem = tokio::select! {
                problem = self.hold(&address, &mut backoff) => Some(problem),
                _ = target.changed() => None,
            };
            self.peer.link_down(self.kind, problem.as_ref(), &**inbound);
            if problem.is_some() && self.shared.forget_idle_guest(&self.peer) {
                break;
            }
            if problem.is_none() {
                backoff.reset();
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = self.peer.alive.notified() => {}
                _ = target.changed() => {}
            }
        }
    }

    /// Connects and stays connected, until the reason that is returned.
    async fn hold(&self, address: &str, backoff: &mut Backoff) -> TransportError {
        let mut streams = match self.open_streams(address).await {
            Ok(streams) => streams,
            Err(error) => return error,
        };
        let since = Instant::now();
        self.peer.link_up(self.kind, address, &*self.shared.inbound);
        let end = first_end(&mut streams).await;
        // A connection that comes and goes is dialed ever more slowly too.
        if since.elapsed() >= self.shared.options.backoff_max {
            backoff.reset();
        }
        match end {
            Some(status) => TransportError::of_status(address, status),
            None => TransportError::Ended { address: address.to_owned(), source: None },
        }
    }

    async fn open_streams(
        &self,
        address: &str,
    ) -> Result<Vec<Streaming<wire::Frame>>, TransportError> {
        let options = &self.shared.options;
        let endpoint = endpoint(address)?
            .http2_keep_alive_interval(options.keep_alive_interval)
            .keep_alive_timeout(options.keep_alive_timeout)
            .keep_alive_while_idle(true);
        let channel = connect(address, endpoint, options.connect_timeout).await?;
        let mut streams = Vec::new();
        for lane in self.kind.lanes() {
            let greeted = self.open_stream(address, *lane, channel.clone());
            streams.push(within(address, options.connect_timeout, greeted).await??);
        }
        Ok(streams)
    }

    /// A stream on which both sides have said who they are.
    async fn open_stream(
        &self,
        address: &str,
        lane: Lane,
        channel: Channel,
    ) -> Result<Streaming<wire::Frame>, TransportError> {
        let me = self.shared.identity;
        let hello = hello(me, self.shared.standing(), lane, self.peer.id);
        let frames = self.peer.queue(lane).stream(hello);
        let failed = |status| TransportError::of_greeting(address, status);
        let mut answers =
            PeerClient::new(channel).exchange(frames).await.map_err(failed)?.into_inner();
        let first = answers.message().await.map_err(failed)?;
        let wrong = |problem| TransportError::WrongPeer { address: address.to_owned(), problem };
        let greeting = understand(me, first).map_err(|why| why.into_error(address))?;
        if greeting.node != self.peer.id || greeting.lane != lane {
            let (node, asked) = (greeting.node, self.peer.id);
            let answered = greeting.lane;
            return Err(wrong(format!(
                "node {node} answered on lane {answered:?} where node {asked} was asked on {lane:?}"
            )));
        }
        self.peer.recognise(&greeting).map_err(|problem| TransportError::AnotherReplica {
            address: address.to_owned(),
            problem,
        })?;
        Ok(answers)
    }
}

/// Waits until one of the streams ends, and says how if not in good order. After its
/// greeting the other side has nothing to say, and what it says is ignored.
async fn first_end(streams: &mut [Streaming<wire::Frame>]) -> Option<Status> {
    poll_fn(|context| {
        for stream in &mut *streams {
            loop {
                match Pin::new(&mut *stream).poll_next(context) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(status)),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    })
    .await
}
