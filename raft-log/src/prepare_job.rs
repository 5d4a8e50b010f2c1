//! Making the file of a segment to come, away from the write path.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::LogError;
use crate::disk::{Disk, DiskFile};
use crate::error::{io_error, io_error_at};
use crate::naming::Naming;
use crate::new_segment::{Named, Origin};

/// Makes the file that a segment to come will take, or gives one the name of the next
/// segment: see [`crate::WriteAheadLog::prepare`].
#[derive(Debug)]
pub struct PrepareJob {
    pub(crate) task: Task,
}

#[derive(Debug)]
pub(crate) enum Task {
    Make(Making),
    Name(Naming),
}

/// What came of a [`PrepareJob`]; goes back with [`crate::WriteAheadLog::prepared`].
#[derive(Debug)]
#[must_use = "a file is used only when the log has heard of it"]
pub struct PrepareDone {
    pub(crate) outcome: Result<Prepared, PrepareError>,
}

#[derive(Debug)]
pub(crate) enum Prepared {
    Made(Spare),
    Named,
}

/// Why the next segment is not ready.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// No file could be made for it. The log goes on and tries it again some time later; but a
    /// disk that is full now will soon be too full for the switch.
    #[error(transparent)]
    NotMade(LogError),
    /// A file could not be given its name. The log goes on and tries it again some time later;
    /// until then a switch takes a little longer.
    #[error(transparent)]
    NotNamed(LogError),
    /// The folder could not be synced: as after a write that has failed, what the disk holds
    /// is unknown, and nothing is written any more. The process must stop and open the log
    /// anew.
    #[error(transparent)]
    Final(LogError),
}

impl From<PrepareError> for LogError {
    fn from(why: PrepareError) -> Self {
        match why {
            PrepareError::NotMade(why) | PrepareError::NotNamed(why) | PrepareError::Final(why) => {
                why
            }
        }
    }
}

impl PrepareJob {
    /// Creates the file, fills it with zeros and syncs them; or renames a file and syncs the
    /// folder. Where that fails, nothing is left of the file, as far as the disk allows.
    pub fn run(self) -> PrepareDone {
        let outcome = match self.task {
            Task::Make(making) => making.run().map(Prepared::Made).map_err(PrepareError::NotMade),
            Task::Name(naming) => naming.run().map(|()| Prepared::Named),
        };
        PrepareDone { outcome }
    }
}

/// Makes a file for a segment to come.
#[derive(Debug)]
pub(crate) struct Making {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

impl Making {
    /// Its name is not synced: whoever gives it another one does that.
    fn run(self) -> Result<Spare, LogError> {
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

/// A file that a segment to come can take: zeros that are durable, or what is left of an
/// earlier segment. Either way a write to it changes no metadata.
#[derive(Debug)]
pub(crate) struct Spare {
    /// A name of its own, or that of the next segment.
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    pub(crate) origin: Origin,
}

impl Spare {
    /// Whether it has the name of this segment already.
    pub(crate) fn named(&self, path: &Path) -> Named {
        if self.path == path { Named::Ahead } else { Named::AtSwitch }
    }

    /// Makes it durable that a file which was a segment is none any more. Before that nothing
    /// may be written to it, and it may not be renamed again: a power failure would bring it
    /// back as a damaged segment.
    pub(crate) fn forget_segment(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        match self.origin {
            Origin::Recycled => disk.sync_dir(dir).map_err(io_error("cannot sync", dir)),
            Origin::Prepared | Origin::New => Ok(()),
        }
    }

    /// Gives it the name of a segment, which becomes durable with the sync of the folder. Where
    /// that cannot be done, as when somebody has removed the file, it is no more.
    pub(crate) fn become_segment(&mut self, disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
        let renamed = disk.rename(&self.path, path).inspect_err(|_| drop(disk.remove(&self.path)));
        renamed.map_err(io_error("cannot rename", &self.path))?;
        path.clone_into(&mut self.path);
        Ok(())
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
