//! Serving connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long requests under way are waited for when the server stops: long enough for
/// any write that a majority takes part in.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the head of a request, the first or the next one, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long to wait when no connection can be accepted, for want of files mostly.
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
    listener.local_addr()?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let served = connection(&builder, &graceful, stream, remote, router.clone());
                    connections.spawn(served);
                }
                Err(why) => {
                    tracing::warn!("a client's connection was not accepted: {why}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {SHUTDOWN_TIMEOUT:?} and are cut off");
    }
    connections.shutdown().await;
    Ok(())
}

fn connection(
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    remote: SocketAddr,
    router: Router,
) -> impl Future<Output = ()> + Send + use<> {
    // Answers are small and wanted at once. A failure shows when the stream is used.
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(remote));
        routes.call(request)
    });
    let served = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(served);
    async move {
        if let Err(why) = watched.await {
            tracing::debug!("the connection from {remote} ended: {why}");
        }
    }
}
