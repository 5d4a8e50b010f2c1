//! Making the file of a segment to come, away from the write path.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::LogError;
use crate::disk::{Disk, DiskFile};
use crate::error::{io_error, io_error_at};
use crate::jobs::Origin;

/// Makes the file that the next segment will take: see
/// [`crate::WriteAheadLog::prepare`].
#[derive(Debug)]
pub struct PrepareJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// What came of a [`PrepareJob`]; goes back with [`crate::WriteAheadLog::prepared`].
#[derive(Debug)]
#[must_use = "a file is used only when the log has heard of it"]
pub struct PrepareDone {
    pub(crate) outcome: Result<Spare, LogError>,
}

impl PrepareJob {
    /// Creates the file, fills it with zeros and syncs them. Where that fails, nothing is
    /// left of it, as far as the disk allows.
    ///
    /// Its name is not synced: the switch does that, with the name it has by then.
    pub fn run(self) -> PrepareDone {
        PrepareDone { outcome: self.make() }
    }

    fn make(self) -> Result<Spare, LogError> {
        // Of an earlier attempt that could not be removed then.
        self.disk.remove(&self.path).ok();
        let file = self.disk.create(&self.path).map_err(io_error("cannot create", &self.path))?;
        // Synced step by step: the log's own writes then wait behind one step, and not
        // behind a whole segment that the system writes out at once.
        let sync = || file.sync().map_err(io_error("cannot sync", &self.path));
        let filled = fill_with_zeros(&*file, &self.path, self.bytes, sync);
        // On a full disk it would take the room that somebody frees; the next opening
        // removes what is left or comes back.
        filled.inspect_err(|_| drop(self.disk.remove(&self.path)))?;
        Ok(Spare { path: self.path, file, bytes: self.bytes, origin: Origin::Prepared })
    }
}

/// A file that a segment to come can take, under a name of its own: zeros that are durable,
/// or what is left of an earlier segment. Either way a write to it changes no metadata.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    pub(crate) origin: Origin,
}

impl Spare {
    /// Gives it the name of a segment, which becomes durable with the sync of the folder.
    /// `None` where that cannot be done, as when somebody has removed the file: then it
    /// is no more, and the segment has to be created.
    pub(crate) fn become_segment(self, disk: &dyn Disk, path: &Path) -> Option<Arc<dyn DiskFile>> {
        match disk.rename(&self.path, path) {
            Ok(()) => Some(self.file),
            Err(_) => {
                disk.remove(&self.path).ok();
                None
            }
        }
    }
}

/// Written and not merely allocated: later syncs then change no metadata. `after_step` is
/// called after each mebibyte.
pub(crate) fn fill_with_zeros(
    file: &dyn DiskFile,
    path: &Path,
    bytes: u64,
    after_step: impl Fn() -> Result<(), LogError>,
) -> Result<(), LogError> {
    let zeros = vec![0; (1 << 20).min(bytes as usize)];
    let mut offset = 0;
    while offset < bytes {
        let step = zeros.len().min((bytes - offset) as usize);
        file.write_at(offset, &zeros[..step]).map_err(io_error_at("cannot fill", path, offset))?;
        after_step()?;
        offset += step as u64;
    }
    Ok(())
}
