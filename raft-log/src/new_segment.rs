//! The beginning of a segment: its file, its name and its head.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::LogError;
use crate::block_buffer::BlockBuffer;
use crate::disk::{Disk, DiskFile};
use crate::error::{io_error, io_error_at};
use crate::naming::NextFile;
use crate::options::SyncMethod;
use crate::prepare_job::{Spare, fill_with_zeros};

/// A segment that does not exist yet.
#[derive(Debug)]
pub(crate) struct NewSegment {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// The whole frame, and zeros up to the end of its last block.
    pub(crate) head: BlockBuffer,
    pub(crate) sync_method: SyncMethod,
}

/// A file that waits for a segment.
#[derive(Debug)]
pub(crate) enum Ready {
    /// Under a name of its own.
    Spare(Spare),
    /// Under the name of the segment, or it is just being given that.
    Next(NextFile),
}

/// The file of a segment that is to begin.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) origin: Origin,
    pub(crate) named: Named,
}

/// Where the file of a segment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made at the switch, while a write waited for its zeros.
    New,
    /// Made beforehand.
    Prepared,
    /// It was a segment before.
    Recycled,
}

/// When the file of a segment got its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// At the switch, which has to make that durable.
    AtSwitch,
    /// Before, and it is durable.
    Ahead,
}

impl NewSegment {
    /// Takes the file that waits; none where that is gone, or has another size.
    ///
    /// # Errors
    /// Where the folder cannot be synced, which is final.
    pub(crate) fn adopt(&self, ready: Ready) -> Result<Option<Created>, LogError> {
        let mut spare = match ready {
            Ready::Spare(spare) => spare,
            // Waits for whoever is naming it; where nobody has begun, nobody will.
            Ready::Next(next) => match next.take() {
                Some(spare) => spare,
                None => return Ok(None),
            },
        };
        if spare.bytes != self.bytes {
            self.disk.remove(&spare.path).ok();
            return Ok(None);
        }
        let named = spare.named(&self.path);
        if named == Named::AtSwitch {
            spare.forget_segment(&*self.disk, &self.dir)?;
            if spare.become_segment(&*self.disk, &self.path).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(Created { file: spare.file, origin: spare.origin, named }))
    }

    /// Creates the file and fills it with zeros. Where that fails, nothing is left of it,
    /// as far as the disk allows.
    pub(crate) fn make(&self) -> Result<Created, LogError> {
        let file = self.disk.create(&self.path).map_err(io_error("cannot create", &self.path))?;
        fill_with_zeros(&*file, &self.path, self.bytes, || Ok(()))
            .inspect_err(|_| self.discard())?;
        Ok(Created { file, origin: Origin::New, named: Named::AtSwitch })
    }

    /// Removes the file, of which nothing was promised yet: on a full disk it would take
    /// the room that somebody has freed. One that stays, or is back after a power
    /// failure, is cut or passed over by recovery; so an error here does not matter, and
    /// the one that has led here is the one to report.
    pub(crate) fn discard(&self) {
        self.disk.remove(&self.path).ok();
    }

    /// Makes the head durable, and the name where it is not, before anything else can be
    /// written to the file.
    pub(crate) fn begin(&self, file: &dyn DiskFile, named: Named) -> Result<(), LogError> {
        match named {
            Named::Ahead => write_durably(file, &self.path, &self.head, self.sync_method),
            Named::AtSwitch => {
                // With it, the zeros of a file that was just made.
                write_durably(file, &self.path, &self.head, SyncMethod::Fdatasync)?;
                self.disk.sync_dir(&self.dir).map_err(io_error("cannot sync", &self.dir))
            }
        }
    }
}

/// Writes the first blocks of a file, durable when this returns.
pub(crate) fn write_durably(
    file: &dyn DiskFile,
    path: &Path,
    blocks: &BlockBuffer,
    method: SyncMethod,
) -> Result<(), LogError> {
    let blocks = blocks.content();
    match method {
        SyncMethod::Fdatasync => {
            file.write_at(0, blocks).map_err(io_error_at("cannot write to", path, 0))?;
            file.sync().map_err(io_error_at("cannot sync", path, 0))
        }
        SyncMethod::Direct => {
            file.write_through(0, blocks).map_err(io_error_at("cannot write to", path, 0))
        }
    }
}
