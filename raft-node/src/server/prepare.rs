//! What happens before a node can take part: ports, the folder, the cluster.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use raft_core::Boot;
use raft_rpc::grpc::serve_identity;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::ServeError;
use super::data_dir::{DataDir, FolderLock, FormedCluster};
use super::formation::{IdentityBoard, Patience, form};
use super::joining::join;
use crate::api;
use crate::config::NodeConfig;

/// How long answers under way may take once the cluster is formed.
const LINGER: Duration = Duration::from_secs(1);

/// A node that knows its cluster and may start.
#[derive(Debug)]
pub struct Prepared {
    /// How it is configured.
    pub config: NodeConfig,
    /// Its data folder, which is this process's for as long as this lives.
    pub dir: DataDir,
    /// Its cluster.
    pub cluster: FormedCluster,
    /// This run of it, drawn at random.
    pub boot: Boot,
    /// What it answers to those who ask who it is. Whoever serves peers goes on
    /// answering with it: others may still be forming.
    pub board: IdentityBoard,
    /// Where clients connect.
    pub client: TcpListener,
    /// Where peers connect.
    pub peer: TcpListener,
}

/// Takes the ports, then the data folder, then finds or forms the cluster, which takes
/// until all its initial members are up, or, where this node joins one, until one of its
/// members answers. Meanwhile peers are told who this node is, and
/// clients that it cannot serve yet. `taken` is called once ports and folder are this
/// process's, and is given the lock of the folder.
///
/// # Errors
/// Where the node cannot start. In a data folder that it must not use, nothing was
/// created or changed.
pub async fn prepare(
    config: NodeConfig,
    taken: impl FnOnce(FolderLock),
) -> Result<Prepared, ServeError> {
    let client = listen("clients", config.listen_client).await?;
    let peer = listen("peers", config.listen_peer).await?;
    let mut dir = DataDir::open(&config.data_dir, config.node_id, &config.cluster)?;
    taken(dir.lock());
    let board = IdentityBoard::new(&dir, config.node_id, &config.cluster);

    // Both ports stay open throughout, so that whoever connects at the wrong moment
    // waits a little instead of being turned away.
    let (client_twin, peer_twin) = (
        twin("clients", config.listen_client, &client)?,
        twin("peers", config.listen_peer, &peer)?,
    );
    let (formed, ended) = oneshot::channel::<()>();
    let (formed_too, ended_too) = oneshot::channel::<()>();
    let mut answer_peers =
        tokio::spawn(serve_identity(peer_twin, Arc::new(board.clone()), async {
            let _ = ended.await;
        }));
    let mut answer_clients = tokio::spawn(api::serve(
        client_twin,
        api::router_while_waiting(waits_for(&config)),
        async {
            let _ = ended_too.await;
        },
    ));

    let (name, patience) = (&config.cluster, Patience::default());
    let cluster = if config.join.is_empty() {
        form(&mut dir, &board, config.node_id, name, &config.members, patience).await
    } else {
        join(&mut dir, &board, name, &config.join, patience).await
    };
    // The servers end when these are dropped, also where this future is.
    drop((formed, formed_too));
    // Whoever connected and says nothing is not waited for.
    let both = async { tokio::join!(&mut answer_peers, &mut answer_clients) };
    if tokio::time::timeout(LINGER, both).await.is_err() {
        answer_peers.abort();
        answer_clients.abort();
    }
    Ok(Prepared { cluster: cluster?, config, dir, boot: draw_boot(), board, client, peer })
}

/// What clients are told meanwhile.
const fn waits_for(config: &NodeConfig) -> &'static str {
    if config.join.is_empty() {
        "the cluster is being formed: this node waits for its other members"
    } else {
        "this node waits for an answer of the cluster that it is to join"
    }
}

async fn listen(whom: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServeError::Listen { whom, address, source })
}

/// Another handle of the same port.
fn twin(
    whom: &'static str,
    address: SocketAddr,
    listener: &TcpListener,
) -> Result<TcpListener, ServeError> {
    duplicate(listener).map_err(|source| ServeError::Listen { whom, address, source })
}

fn duplicate(listener: &TcpListener) -> io::Result<TcpListener> {
    let copy = rustix::io::fcntl_dupfd_cloexec(listener, 0)?;
    TcpListener::from_std(std::net::TcpListener::from(copy))
}

/// Boots are drawn like incarnations: 64 random bits are never met twice.
fn draw_boot() -> Boot {
    Boot(RandomState::new().hash_one(std::time::SystemTime::now()))
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
