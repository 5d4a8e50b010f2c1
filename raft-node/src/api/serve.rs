//! Serving connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::metrics::HttpRequests;

/// How long requests under way are waited for when the server stops: long enough for
/// any write that a majority takes part in.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the rest of an answer may take to leave when the server stops. Connections
/// on which no request is under way, half a head perhaps, are kept no longer.
const LAST_BYTES: Duration = Duration::from_millis(250);

/// How long the head of a request, the first or the next one, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long to wait when no connection can be accepted for want of files mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 on `listener` until `shutdown` completes; then takes no
/// new connections and ends those there are after the request they are at, all of them
/// within [`SHUTDOWN_TIMEOUT`].
///
/// # Errors
/// Where the listener is not usable.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_counted(listener, router, Arc::default(), shutdown).await
}

/// Like [`serve`]; every request is counted in `requests`.
///
/// # Errors
/// As [`serve`].
pub async fn serve_counted(
    listener: TcpListener,
    router: Router,
    requests: Arc<HttpRequests>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.local_addr()?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let (builder, router) = (builder.clone(), router.clone());
                    let (stopping, requests) = (stopping.clone(), Arc::clone(&requests));
                    let served = connection(builder, stopping, stream, remote, router, requests);
                    connections.spawn(served);
                }
                // It says nothing of the next one.
                Err(why) if was_gone(&why) => {
                    tracing::debug!("a client's connection ended at once: {why}");
                }
                Err(why) => {
                    tracing::warn!("a client's connection was not accepted: {why}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
        tracing::warn!("requests were still under way after {SHUTDOWN_TIMEOUT:?} and are cut off");
    }
    connections.shutdown().await;
    Ok(())
}

/// Serves one connection until it ends, or the server stops.
async fn connection(
    builder: Builder<TokioExecutor>,
    mut stopping: watch::Receiver<bool>,
    stream: TcpStream,
    remote: SocketAddr,
    router: Router,
    requests: Arc<HttpRequests>,
) {
    // Answers are small and wanted at once. A failure shows when the stream is used.
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(router);
    let under_way = watch::Sender::new(0_usize);
    let count = under_way.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let counted = UnderWay::new(count.clone());
        let (begun, requests) = (requests.begin(&request), Arc::clone(&requests));
        let answer = routes.call(request);
        async move {
            let _counted = counted;
            let answer = answer.await;
            requests.end(begun, answer.as_ref().map(hyper::Response::status));
            answer
        }
    });
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let mut ended = tokio::select! {
        ended = &mut served => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    if ended.is_none() {
        served.as_mut().graceful_shutdown();
        ended = tokio::select! {
            ended = &mut served => Some(ended),
            () = idle(under_way.subscribe()) => None,
        };
    }
    match ended {
        Some(Ok(())) => {}
        Some(Err(why)) => tracing::debug!("the connection from {remote} ended: {why}"),
        None => {
            tracing::debug!("the connection from {remote} was closed without a request");
        }
    }
}

/// Completes when no request has been under way for [`LAST_BYTES`].
async fn idle(mut under_way: watch::Receiver<usize>) {
    loop {
        // The sender lives as long as the connection.
        let _ = under_way.wait_for(|requests| *requests == 0).await;
        if timeout(LAST_BYTES, under_way.wait_for(|requests| *requests > 0)).await.is_err() {
            return;
        }
    }
}

/// A request that is counted from its head to its answer.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|requests| *requests += 1);
        Self(count)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

/// True where accepting failed because the connection was gone before it was accepted.
/// Anything else, such as a want of files or memory, lasts for a while, and trying again
/// at once would only burn time.
fn was_gone(why: &io::Error) -> bool {
    let gone = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::CONNREFUSED,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
    ];
    Errno::from_io_error(why).is_some_and(|errno| gone.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepting_pauses_unless_only_that_connection_was_gone() {
        for gone in [Errno::CONNABORTED, Errno::CONNRESET, Errno::PROTO] {
            assert!(was_gone(&gone.into()), "{gone}");
        }
        for want in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(!was_gone(&want.into()), "{want}");
        }
    }
}
