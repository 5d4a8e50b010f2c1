//! A whole node: what it owns, in which order it starts, and how it joins a cluster.

mod prepare;

pub mod lifecycle;

pub mod data_dir;

pub mod formation;

use thiserror::Error;

use crate::config::NodeConfig;

pub use prepare::{Prepared, prepare};

/// Why a node does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Stop whoever has the address, or configure another one.
    #[error("cannot listen for {whom} on {address}: {source}")]
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
    /// Components did not start or stop.
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::ContextLifecycleError),
}

/// Runs a node until `shutdown` completes, then stops it.
///
/// # Errors
/// Where it does not start, or does not stop cleanly.
pub async fn run(config: NodeConfig, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    tokio::pin!(shutdown);
    let prepared = tokio::select! {
        prepared = prepare(config) => prepared?,
        () = &mut shutdown => return Ok(()),
    };
    shutdown.await;
    drop(prepared);
    Ok(())
}
