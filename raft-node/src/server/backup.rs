//! Backups in files: how one gets its name only when it is whole, and what is in it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use raft_core::{GroupId, SnapshotMeta};
use raft_log::{Backup, BackupHeader, LogError, ReadOnlyDisk, SnapshotError};
use thiserror::Error;

use super::data_dir::DataDirError;
use crate::kv::{ImageSummary, check_image};

pub use super::offline::{LogEnd, SavedOffline, save_offline};

/// Why there is no backup, or why it is none.
#[derive(Debug, Error)]
pub enum BackupError {
    /// Nothing is replaced: name another file.
    #[error("{} exists already, and nothing is replaced: name another file", .0.display())]
    Exists(PathBuf),
    /// A file or folder cannot be used: mend that.
    #[error("{} cannot be {what}: {source}{}", .path.display(), super::data_dir::remedy(.source))]
    File {
        /// Which one.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// The file is no backup, or not what was written: use another one.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The backup is what was written, and its content is none of a key-value store.
    #[error("the backup {} holds no state of a key-value store: {source}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Name the folder of a node that has run.
    #[error("the data folder {} holds no log of a cluster", .0.display())]
    NoLog(PathBuf),
    /// The log cannot be read; the cause says what to do.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The folder must be opened by its node first.
    #[error(
        "the store in {} is not as far as the log's beginning, or lacks: start the node on it once, \
         stop it, and try again", .0.display()
    )]
    Behind(PathBuf),
    /// There is nothing to be saved yet.
    #[error("nothing has been applied in the data folder {}, so there is nothing to save", .0.display())]
    Nothing(PathBuf),
}

impl BackupError {
    pub(super) fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, what, source }
    }
}

/// What a backup holds, all of it verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Where it comes from.
    pub header: BackupHeader,
    /// The group.
    pub group: GroupId,
    /// What the snapshot is.
    pub meta: SnapshotMeta,
    /// What is in it.
    pub content: ImageSummary,
    /// The length of the file, in bytes.
    pub file_bytes: u64,
}

/// Reads a backup to its end, checks everything, and says what it holds.
///
/// # Errors
/// [`BackupError::Snapshot`], [`BackupError::Content`], [`BackupError::File`].
pub fn inspect(path: &Path) -> Result<Inspected, BackupError> {
    let mut backup = Backup::open(&ReadOnlyDisk, path)?;
    backup.verify()?;
    let header = backup.header().clone();
    let (group, meta) = (backup.group(), backup.meta().clone());
    let content = check_image(meta.position.index, &mut backup.into_reader());
    let content =
        content.map_err(|source| BackupError::Content { path: path.to_owned(), source })?;
    let file_bytes = fs::metadata(path).map_err(BackupError::file(path, "measured"))?.len();
    Ok(Inspected { header, group, meta, content, file_bytes })
}

/// A backup that is being written, beside where it is to stand.
///
/// Invariant: the file has its name only when it is whole, verified and durable. One that is
/// given up leaves nothing behind; one that is killed leaves a file `.<name>.<process>.tmp`.
#[derive(Debug)]
pub struct Draft {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Draft {
    /// Begins a file that is to stand at `target`.
    ///
    /// # Errors
    /// [`BackupError::Exists`], [`BackupError::File`].
    pub fn begin(target: &Path) -> Result<Self, BackupError> {
        if target.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(target.to_owned()));
        }
        let temporary = beside(target);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary);
        let file = file.map_err(BackupError::file(&temporary, "created"))?;
        Ok(Self { target: target.to_owned(), temporary, file })
    }

    /// Verifies what was written, makes it durable, and gives it its name.
    ///
    /// # Errors
    /// [`BackupError`]; the file does not exist then.
    pub fn finish(self) -> Result<Inspected, BackupError> {
        let inspected = inspect(&self.temporary)?;
        self.file.sync_all().map_err(BackupError::file(&self.temporary, "made durable"))?;
        // Somebody else may have made it meanwhile.
        if self.target.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(self.target.clone()));
        }
        let renamed = fs::rename(&self.temporary, &self.target);
        renamed.map_err(BackupError::file(&self.target, "created"))?;
        let folder = folder_of(&self.target);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(BackupError::file(folder, "made durable"))?;
        Ok(inspected)
    }
}

impl Write for Draft {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.file.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it is renamed there is none.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// The folder in which a file stands.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// A name of this process's own beside a file.
pub(super) fn beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    folder_of(target).join(name)
}
