//! Taking segments away that nobody needs any more.

use std::path::PathBuf;
use std::sync::Arc;

use crate::LogError;
use crate::disk::{Disk, DiskFile};
use crate::error::io_error;
use crate::new_segment::Origin;
use crate::prepare_job::Spare;

/// Takes segments away that nobody needs any more: some of the files are kept for segments
/// to come, the others are removed. See [`crate::WriteAheadLog::collect`].
#[derive(Debug)]
pub struct CollectJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) segments: Vec<Collected>,
}

/// A segment that goes.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// The file and the name under which it waits for its next use, where it has one.
    pub(crate) again: Option<(Arc<dyn DiskFile>, PathBuf)>,
}

/// What a [`CollectJob`] has done; goes back with [`crate::WriteAheadLog::collected`].
#[derive(Debug)]
#[must_use = "files are used again only when the log has heard of it"]
pub struct CollectDone {
    /// How many segments are gone.
    pub segments: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// Those of their files that are kept.
    pub(crate) kept: Vec<Spare>,
}

impl CollectDone {
    /// How many of the files are kept for segments to come.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.len()
    }
}

impl CollectJob {
    /// Removes or renames the files, the oldest first. They need not be gone for good: one
    /// that is back after a power failure is taken away again some time after that, and
    /// nothing is written to one that is kept before its new name is durable.
    ///
    /// # Errors
    /// [`LogError::Io`]. The log itself is not affected, as nothing is synced here. Files
    /// that were to be kept wait until the log is opened again.
    pub fn run(self) -> Result<CollectDone, LogError> {
        let mut done = CollectDone { segments: 0, bytes: 0, kept: Vec::new() };
        for Collected { path, bytes, again } in self.segments {
            if let Some((file, name)) = again {
                self.disk.rename(&path, &name).map_err(io_error("cannot rename", &path))?;
                done.kept.push(Spare { path: name, file, bytes, origin: Origin::Recycled });
            } else {
                self.disk.remove(&path).map_err(io_error("cannot remove", &path))?;
            }
            done.segments += 1;
            done.bytes += bytes;
        }
        Ok(done)
    }
}
