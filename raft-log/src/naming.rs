//! Giving a file the name of the next segment, away from the write path.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::error::io_error;
use crate::new_segment::write_durably;
use crate::options::SyncMethod;
use crate::placeholder::Placeholder;
use crate::prepare_job::{PrepareError, Spare};

/// The file that gets the name of the next segment. The job that gives it the name, the
/// switch which takes it, and the log, which lets nobody have it any more when it is dropped,
/// have this in common.
///
/// Whoever has taken the file out is the only one to rename it or to write to it. So no job
/// that is late gives its name to another file once the segment has begun.
#[derive(Clone, Debug)]
pub(crate) struct NextFile(Arc<Mutex<Option<Spare>>>);

impl NextFile {
    pub(crate) fn new(spare: Spare) -> Self {
        Self(Arc::new(Mutex::new(Some(spare))))
    }

    /// Takes the file, which has its new name or will not get it any more. Waits where it is
    /// just being named.
    pub(crate) fn take(&self) -> Option<Spare> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Spare>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the file of the next segment.
#[derive(Debug)]
pub(crate) struct Naming {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) next: NextFile,
    /// The name it gets.
    pub(crate) path: PathBuf,
    pub(crate) placeholder: Placeholder,
    pub(crate) sync_method: SyncMethod,
}

impl Naming {
    /// Writes the placeholder, renames the file and makes that durable. Where that fails, the
    /// file is no more. Does nothing where a switch has taken it already.
    pub(crate) fn run(&self) -> Result<(), PrepareError> {
        let mut next = self.next.lock();
        let Some(mut spare) = next.take() else { return Ok(()) };
        spare.forget_segment(&*self.disk, &self.dir).map_err(PrepareError::Final)?;
        let mut block = self.placeholder.encode();
        block.whole_blocks();
        write_durably(&*spare.file, &spare.path, &block, self.sync_method)
            .inspect_err(|_| drop(self.disk.remove(&spare.path)))
            .map_err(PrepareError::NotNamed)?;
        spare.become_segment(&*self.disk, &self.path).map_err(PrepareError::NotNamed)?;
        let synced = self.disk.sync_dir(&self.dir).map_err(io_error("cannot sync", &self.dir));
        synced.map_err(PrepareError::Final)?;
        *next = Some(spare);
        Ok(())
    }
}
