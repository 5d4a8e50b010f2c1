//! What people do to a node that runs: have a snapshot taken, and keep it from letting go of
//! anything for a while.

use raft_core::GroupId;
use raft_log::SnapshotReader;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::engine::{Collection, SnapshotRefusal};
use crate::handle::{NodeHandle, Request, RequestError};

/// Why there is no snapshot. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotWishError {
    /// It was not taken in, or the node stops.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It is not possible; the reason says what to do.
    #[error(transparent)]
    Refused(#[from] SnapshotRefusal),
}

impl NodeHandle {
    /// A snapshot of everything that this node has applied of a group, or of more: one that
    /// is there already, or one that is taken now, which may take as long as copying the
    /// whole state. Writes go on meanwhile. Where everything that was acknowledged is wanted,
    /// [`read_index`](Self::read_index) comes before.
    ///
    /// What is returned can be read also when the node removes the snapshot.
    ///
    /// # Errors
    /// [`SnapshotWishError`].
    pub async fn snapshot(&self, group: GroupId) -> Result<SnapshotReader, SnapshotWishError> {
        let place = self.place(0)?;
        let (answer, answered) = oneshot::channel();
        self.send(Request::Snapshot { group, answer, place })?;
        let outcome = answered.await.map_err(|_| RequestError::Stopped)?;
        Ok(outcome?)
    }

    /// Has this node keep everything from now on, or let go again of what it does not need;
    /// see [`Collection`]. It does not survive the process.
    ///
    /// # Errors
    /// Where the request was not taken in.
    pub async fn set_collection(&self, collection: Collection) -> Result<(), RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Collect { collection, answer })?;
        answered.await.map_err(|_| RequestError::Stopped)
    }
}
