//! What can go wrong with snapshots.

use std::io;
use std::path::{Path, PathBuf};

use raft_core::{GroupId, Index};
use thiserror::Error;

use crate::error::{at, remedy};

/// Why a snapshot cannot be written, received or read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The operating system refused. An unfinished snapshot is lost by that and can be
    /// started again, unless [`SnapshotError::is_final`].
    #[error("{doing} {}{}: {source}{}", path.display(), at(*offset), remedy(source))]
    Io {
        /// What was being done, as in "cannot sync".
        doing: &'static str,
        /// The file or folder it was done to. The name of a snapshot's file says of which group
        /// and index it is.
        path: PathBuf,
        /// Where in the file that began, in bytes. Nothing where it was done to the file as a
        /// whole, or to a folder.
        offset: Option<u64>,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not what was written. Take or fetch another snapshot; this one is
    /// left as it is.
    #[error(
        "the snapshot {} is damaged at byte {offset}: {what}; it is left as it is: take or fetch \
         another one", file.display()
    )]
    Damaged {
        /// The snapshot's file.
        file: PathBuf,
        /// The first byte that makes no sense.
        offset: u64,
        /// What was found.
        what: &'static str,
    },
    /// Written in a format this build does not know; use a newer one.
    #[error(
        "the snapshot {} is written in format {version}, which is not known: use a newer version",
        file.display()
    )]
    UnknownFormat {
        /// The snapshot's file.
        file: PathBuf,
        /// The format it names.
        version: u8,
    },
    /// There is no such snapshot (any more).
    #[error("there is no snapshot of group {group} at index {index}")]
    Absent {
        /// The group.
        group: GroupId,
        /// The index.
        index: Index,
    },
    /// A received piece is not what was sent: ask for it again.
    #[error("the piece of a snapshot at byte {offset} arrived damaged")]
    BadPiece {
        /// Where it belongs.
        offset: u64,
    },
    /// What was received is not the snapshot that was announced: fetch it anew.
    #[error(
        "received {bytes} bytes with checksum {checksum:08x} where the snapshot was announced \
         to have {announced_bytes} with {announced_checksum:08x}"
    )]
    NotAsAnnounced {
        /// Received.
        bytes: u64,
        /// Received.
        checksum: u32,
        /// Announced.
        announced_bytes: u64,
        /// Announced.
        announced_checksum: u32,
    },
}

const SYNCING: &str = "cannot sync";

impl SnapshotError {
    /// True where a sync failed: the process must stop, as the kernel reports a failure
    /// once and may have dropped more than what this caller wrote.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Io { doing, .. } if *doing == SYNCING)
    }
}

/// Says that a sync failed.
pub(crate) fn sync_error(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError + '_ {
    io_error(SYNCING, path)
}

/// Names the operation and the file in an error of the operating system.
pub(crate) fn io_error<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> SnapshotError + 'a {
    move |source| SnapshotError::Io { doing, path: path.to_owned(), offset: None, source }
}

/// As [`io_error`], and the place in the file.
pub(crate) fn io_error_at<'a>(
    doing: &'static str,
    path: &'a Path,
    offset: u64,
) -> impl FnOnce(io::Error) -> SnapshotError + 'a {
    move |source| SnapshotError::Io { doing, path: path.to_owned(), offset: Some(offset), source }
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        let kind = match &error {
            SnapshotError::Io { source, .. } => source.kind(),
            SnapshotError::Absent { .. } => io::ErrorKind::NotFound,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
