//! A node inside an axum server of one's own: a replicated counter with routes of its
//! own, and the node's key-value API beside it below `/raft`. Two groups, one log.
//!
//! `cargo run -p raft-node --example axum_embedded`, then
//! `curl -X POST http://127.0.0.1:8080/counter/increment`.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use raft_core::{ClusterId, GroupId, Index, Membership, NodeId};
use raft_node::api::{self, ApiState};
use raft_node::kv::KvDatabase;
use raft_node::shell::{LocalNetwork, Node};
use raft_node::{Command, NodeHandle, Outcome, RequestError, StateMachine};
use tokio::net::TcpListener;
use tokio::sync::watch;

const DATA: GroupId = GroupId(1);
const COUNTER: GroupId = GroupId(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts commands, whatever they say.
#[derive(Clone, Default)]
struct Counter {
    applied: Index,
    count: Arc<AtomicU64>,
}

impl StateMachine for Counter {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        self.applied = up_to;
        let count = |_| Bytes::from((self.count.fetch_add(1, Ordering::SeqCst) + 1).to_string());
        Ok(commands.iter().map(count).collect())
    }

    /// Nothing is kept on disk: after a restart the log is applied again.
    fn flush(&mut self) -> io::Result<Index> {
        Ok(self.applied)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.count.load(Ordering::SeqCst).to_be_bytes())))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        let mut count = [0; 8];
        image.read_exact(&mut count)?;
        self.count.store(u64::from_be_bytes(count), Ordering::SeqCst);
        self.applied = index;
        Ok(())
    }
}

type App = State<(NodeHandle, Counter)>;
type Refused = (StatusCode, String);

async fn increment(State((node, _)): App) -> Result<Bytes, Refused> {
    let applied = node.propose_within(COUNTER, "increment".into(), PATIENCE).await;
    Ok(applied.map_err(|why| refused(&why))?.answer)
}

/// Reads after everything that was acknowledged before.
async fn count(State((node, counter)): App) -> Result<String, Refused> {
    node.read_index_within(COUNTER, PATIENCE).await.map_err(|why| refused(&why))?;
    Ok(counter.count.load(Ordering::SeqCst).to_string())
}

fn refused(why: &RequestError) -> Refused {
    let status = match Outcome::of(why) {
        Outcome::Refused => StatusCode::SERVICE_UNAVAILABLE,
        Outcome::Unknown => StatusCode::GATEWAY_TIMEOUT,
    };
    (status, why.to_string())
}

/// Serves until `shutdown` completes, or the node stops by itself.
async fn serve(
    listener: TcpListener,
    dir: &Path,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let me = NodeId::new(1).ok_or("node 0 is nobody")?;
    let (node_dir, alone) = (dir.join("node"), Membership::of_voters([me]));
    std::fs::create_dir_all(dir)?;
    let (store, counter) = (KvDatabase::open(dir.join("store.redb"))?, Counter::default());
    let mut node = Node::builder(ClusterId(7), me, node_dir)
        .group(DATA, alone.clone(), store.group(DATA)?)
        .group(COUNTER, alone, counter.clone())
        .start(&LocalNetwork::new())
        .await?;

    let (stop, stopping) = watch::channel(false);
    let state = ApiState { stopping, ..ApiState::new(&node, DATA, store.reader()) };
    let app = Router::new()
        .route("/counter/increment", post(increment))
        .route("/counter", get(count))
        .with_state((node.handle().clone(), counter))
        .nest("/raft", api::router(state)?);
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        shutdown.await;
        stop.send_replace(true);
    });
    tokio::select! {
        served = async { server.await } => served?,
        ended = node.ended() => return Ok(ended?),
    }
    Ok(node.stop().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}/counter, /raft/status; Ctrl-C stops", listener.local_addr()?);
    let stop = async {
        // Without signals it runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, Path::new("counter-data"), stop).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    async fn ask(address: std::net::SocketAddr, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        let text = format!("{head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        format!("{} {body}", head.split(' ').nth(1).unwrap())
    }

    #[tokio::test]
    async fn own_routes_and_those_of_the_node_are_served_and_kept_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        for before in [0, 2] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let path = dir.path().to_owned();
            let shutdown = async {
                let _ = stopped.await;
            };
            let server = tokio::spawn(async move { serve(listener, &path, shutdown).await });

            assert_eq!(ask(address, "GET /counter", "").await, format!("200 {before}"));
            for more in 1..=2 {
                let answer = ask(address, "POST /counter/increment", "").await;
                assert_eq!(answer, format!("200 {}", before + more));
            }
            let pair = r#"{"k":"a/b","v":"c"}"#;
            assert!(ask(address, "POST /raft/v1/data", pair).await.starts_with("200 "));
            assert_eq!(ask(address, "GET /raft/v1/data/a/b", "").await, format!("200 {pair}"));
            assert!(ask(address, "GET /raft/health", "").await.starts_with("200 "));
            assert!(ask(address, "GET /elsewhere", "").await.starts_with("404 "));
            stop.send(()).unwrap();
            server.await.unwrap().unwrap();
        }
    }
}
