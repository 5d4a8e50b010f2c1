//! A whole node: what it owns, in which order it starts, and how it joins a cluster.

mod context;

mod components;

mod prepare;

mod watch;

pub mod lifecycle;

pub mod data_dir;

pub mod formation;

pub mod joining;

mod roster;

pub mod recover;

pub mod backup;

mod offline;

pub mod restore;

use std::io::ErrorKind;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::NodeConfig;
use lifecycle::{ContextLifecycleError, Phase};

pub use context::{Context, DATA_GROUP};
pub use data_dir::FolderLock;
pub use prepare::{Prepared, prepare};

/// Why a node does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Stop whoever has the address, or configure another one.
    #[error("cannot listen for {whom} on {address}: {source}{}", listen_remedy(whom, .source))]
    Listen {
        /// For clients or for peers.
        whom: &'static str,
        /// The configured address.
        address: std::net::SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
    /// The data folder is not usable.
    #[error(transparent)]
    DataDir(#[from] data_dir::DataDirError),
    /// The node takes no part in the cluster.
    #[error(transparent)]
    Formation(#[from] formation::FormationError),
    /// The log, the snapshots and the store cannot be opened, or do not belong together.
    #[error(transparent)]
    Open(#[from] crate::engine::OpenError),
    /// The log failed while the node was being opened.
    #[error(transparent)]
    Log(#[from] raft_log::LogError),
    /// The store cannot be opened: repair the disk, its permissions, or the file.
    #[error(
        "the store {} cannot be opened: {source}{}", .path.display(), data_dir::remedy(.source)
    )]
    Store {
        /// Its file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The log is gone, and with it what this node promised. Put it back; a
    /// majority of the others goes on without this node.
    #[error(
        "the log {} is gone or empty, and the folder says that there was one: put it back, or \
         leave this node stopped; a majority of the others goes on without it", .0.display()
    )]
    LogLost(PathBuf),
    /// Opening ended in a broken invariant, whose message has been printed.
    #[error("opening the data folder failed; the cause is printed above")]
    Opening,
    /// The operating system has no thread left: raise its limit, or stop something else.
    #[error("a thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    /// Components did not start or stop.
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::ContextLifecycleError),
}

fn listen_remedy(whom: &str, why: &std::io::Error) -> String {
    let field = if whom == "peers" { "listen_peer" } else { "listen_client" };
    match why.kind() {
        ErrorKind::AddrInUse => format!(
            ": another program has the port, or this node runs already; stop it, or correct {field}"
        ),
        ErrorKind::AddrNotAvailable => {
            format!(": this machine does not have the address; correct {field}")
        }
        ErrorKind::PermissionDenied => {
            format!(": ports below 1024 need a privilege; use another one in {field}")
        }
        _ => String::new(),
    }
}

/// Runs a node until `shutdown` completes, then stops it; a leader hands over first. Also
/// ends where the node is removed from its cluster. `taken` is called once the ports
/// and the data folder are this process's, and is given the lock of the folder: threads
/// that read or write the folder may go on for a while after this has ended, and nobody
/// else may use the folder meanwhile.
///
/// # Errors
/// Where it does not start, or does not stop cleanly.
pub async fn run(
    config: NodeConfig,
    shutdown: impl Future<Output = ()>,
    taken: impl FnOnce(FolderLock),
) -> Result<(), ServeError> {
    tokio::pin!(shutdown);
    let prepared = tokio::select! {
        prepared = prepare(config, taken) => prepared?,
        () = &mut shutdown => return Ok(()),
    };
    // Recovery may take long. It is left to itself, as a crash would leave it.
    let mut context = tokio::select! {
        built = Context::build(prepared) => built?,
        () = &mut shutdown => return Ok(()),
    };
    context.start().await?;
    let phase = tokio::select! {
        () = &mut shutdown => Phase::Stop,
        () = context.ended() => Phase::Run,
    };
    if phase == Phase::Stop {
        context.hand_over().await;
    }
    let stopped = context.stop().await;
    stopped.map_err(|why| ContextLifecycleError { phase, ..why })?;
    if let Some(index) = context.removed() {
        context.note_removal()?;
        tracing::info!(
            "this node was removed from its cluster, by entry {index}, and stops; to make it a \
             member again, give it an empty data folder and add it"
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
