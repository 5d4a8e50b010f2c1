//! Connections that many clients share, and that come back when they were lost.

use std::time::Duration;

use axum::http::uri::Authority;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// A connection to a node, or with HTTP/1.1 the way to one: those are not shared.
#[derive(Debug)]
pub(super) struct Link<B> {
    pub(super) endpoint: Authority,
    http1: bool,
    limit: Duration,
    shared: Mutex<Option<http2::SendRequest<B>>>,
}

/// One client's end of a connection.
#[derive(Debug)]
pub(super) enum Sender<B> {
    Http1(http1::SendRequest<B>),
    Http2(http2::SendRequest<B>),
}

impl<B> Link<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    pub(super) fn new(endpoint: Authority, http1: bool, limit: Duration) -> Self {
        Self { endpoint, http1, limit, shared: Mutex::new(None) }
    }

    /// The connection as it is, a new one where it was lost, or why there is none.
    pub(super) async fn open(&self) -> Result<Sender<B>, String> {
        if self.http1 {
            return self.within(self.connect_http1()).await.map(Sender::Http1);
        }
        let mut shared = self.shared.lock().await;
        if let Some(open) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Sender::Http2(open.clone()));
        }
        let opened = self.within(self.connect_http2()).await?;
        *shared = Some(opened.clone());
        Ok(Sender::Http2(opened))
    }

    async fn within<T>(
        &self,
        connecting: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        match timeout(self.limit, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(why)) => Err(format!("{}: {why}", self.endpoint)),
            Err(_) => {
                let waited = self.limit.as_millis();
                Err(format!("{}: no connection within {waited} ms", self.endpoint))
            }
        }
    }

    async fn tcp(&self) -> Result<TokioIo<TcpStream>, String> {
        let stream = TcpStream::connect(self.endpoint.as_str()).await;
        let stream = stream.map_err(|why| why.to_string())?;
        stream.set_nodelay(true).map_err(|why| why.to_string())?;
        Ok(TokioIo::new(stream))
    }

    async fn connect_http1(&self) -> Result<http1::SendRequest<B>, String> {
        let handshake = http1::handshake(self.tcp().await?).await;
        let (sender, connection) = handshake.map_err(|why| why.to_string())?;
        // How it ends shows in the requests that were under way.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn connect_http2(&self) -> Result<http2::SendRequest<B>, String> {
        let handshake = http2::handshake(TokioExecutor::new(), self.tcp().await?).await;
        let (sender, connection) = handshake.map_err(|why| why.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl<B: Body + Send + 'static> Sender<B> {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Completes when a request can be sent, or the connection is gone.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    pub(super) async fn send(&mut self, request: Request<B>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}
