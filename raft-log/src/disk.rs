//! The seam between this crate and a disk, and the real disk behind it.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::OFlags;

use crate::frame::BLOCK;

/// What the log and the snapshots need of a file system.
///
/// A change of a folder (create, rename, remove) is durable only after
/// [`Disk::sync_dir`] of that folder, a change of a file only after its
/// [`DiskFile::sync`]. [`crate::conformance`] checks an implementation against all this.
pub trait Disk: Send + Sync + Debug {
    /// Makes the folder and those above it, where they are missing. When it returns, the
    /// folders it has made are durable, and so is one that existed: an earlier call may
    /// have made it and been cut off before it was.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a folder, sorted.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is no such folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// A new, empty file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// An existing file, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name in the same folder, in place of what had it before.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles that are open stay usable.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes what happened to the names in a folder durable.
    ///
    /// # Errors
    /// As the operating system says; the state of the folder is then unknown.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// A number that nobody can foresee: the log marks its frames with it.
    fn draw(&self) -> u32;

    /// How much room there is on the file system of a folder. A disk that is not written
    /// anew for it says that there is no end of it.
    ///
    /// # Errors
    /// As the operating system says.
    fn space(&self, _dir: &Path) -> io::Result<Space> {
        Ok(Space { free_bytes: u64::MAX, total_bytes: u64::MAX })
    }
}

/// How much room a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What this process can still write, in bytes. Limits of a user or of a project may
    /// leave it less.
    pub free_bytes: u64,
    /// The size of the file system, in bytes.
    pub total_bytes: u64,
}

/// An open file. All methods take an offset, so that a handle may be shared.
pub trait DiskFile: Send + Sync + Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// True where there is not a single byte in it.
    ///
    /// # Errors
    /// As the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `into` from `offset` on; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// As the operating system says; any part may then have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset` and makes it durable, in one go where the file
    /// and the alignment of offset, length and memory allow it.
    ///
    /// # Errors
    /// As those of [`DiskFile::write_at`] and [`DiskFile::sync`]; as final as the latter.
    fn write_through(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(offset, data)?;
        self.sync()
    }

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// As the operating system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes content and length durable (fdatasync).
    ///
    /// # Errors
    /// As the operating system says. Never try again: the kernel may have dropped
    /// what it could not write, and a second sync would then report success.
    fn sync(&self) -> io::Result<()>;
}

/// Reads from `offset` until `into` is full.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] where the file ends before that.
pub(crate) fn read_exact(file: &dyn DiskFile, offset: u64, into: &mut [u8]) -> io::Result<()> {
    let read = file.read_at(offset, into)?;
    if read == into.len() {
        return Ok(());
    }
    let why = format!("{read} of {} bytes", into.len());
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, why))
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
pub(crate) struct RealFile {
    file: File,
    /// The same file, opened for writes past the page cache, which are durable when they
    /// return; nothing where the file system offers none. Opened when it is first needed.
    direct: OnceLock<Option<File>>,
}

impl RealFile {
    pub(crate) fn shared(file: File) -> Arc<dyn DiskFile> {
        Arc::new(Self { file, direct: OnceLock::new() })
    }

    fn direct(&self) -> Option<&File> {
        let open = || {
            let flags = (OFlags::DIRECT | OFlags::DSYNC).bits().cast_signed();
            // By its descriptor: the name may have become another one's.
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
        };
        self.direct.get_or_init(open).as_ref()
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        create_and_sync(dir, &mut |parent| self.sync_dir(parent))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A name that is not text is none of ours.
            if let (true, Ok(name)) =
                (entry.file_type()?.is_file(), entry.file_name().into_string())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(RealFile::shared(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(RealFile::shared(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(File::open(dir)?)?)
    }

    fn draw(&self) -> u32 {
        // Its keys come from the operating system.
        RandomState::new().build_hasher().finish() as u32
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let of = rustix::fs::statvfs(dir)?;
        // What only the superuser may write is not counted, even where that is who runs.
        let bytes = |blocks: u64| blocks.saturating_mul(of.f_frsize);
        Ok(Space { free_bytes: bytes(of.f_bavail), total_bytes: bytes(of.f_blocks) })
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match FileExt::read_at(&self.file, &mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn write_through(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let whole = |number: usize| number.is_multiple_of(BLOCK as usize);
        let fits = whole(data.len()) && whole(data.as_ptr().addr()) && whole(offset as usize);
        if let Some(direct) = self.direct().filter(|_| fits) {
            match direct.write_all_at(data, offset) {
                // This file system opens such files and then refuses to write them.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                outcome => return outcome,
            }
        }
        self.write_at(offset, data)?;
        self.sync()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}

/// Makes a folder durable, level by level: each is synced into its parent before the
/// next is made in it, so that of those which exist only the lowest can lack its sync.
fn create_and_sync(
    dir: &Path,
    sync_dir: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => return Ok(()),
    };
    if dir.is_dir() {
        return match sync_dir(parent) {
            // Whoever made a folder where this process may not look has to see to it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            outcome => outcome,
        };
    }
    create_and_sync(parent, sync_dir)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder below `root`; answers what was synced, relative to that.
    fn synced(root: &Path, dir: &str) -> Vec<String> {
        let mut synced = Vec::new();
        let mut sync = |parent: &Path| {
            let below = parent.strip_prefix(root).map(|path| path.display().to_string());
            synced.push(below.unwrap_or_else(|_| "above".to_owned()));
            RealDisk.sync_dir(parent)
        };
        create_and_sync(&root.join(dir), &mut sync).unwrap();
        assert!(root.join(dir).is_dir());
        synced
    }

    #[test]
    fn every_folder_that_is_made_is_synced_into_its_parent_and_one_that_exists_as_well() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(synced(root.path(), "a/b/c"), ["above", "", "a", "a/b"]);
        assert_eq!(synced(root.path(), "a/b/c"), ["a/b"]);
        // As a crash between the making of a folder and its sync leaves it.
        fs::create_dir(root.path().join("a/x")).unwrap();
        assert_eq!(synced(root.path(), "a/x/y/z"), ["a", "a/x", "a/x/y"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_durable_is_an_error_unless_its_parent_is_closed_to_us() {
        let root = tempfile::tempdir().unwrap();
        let create = |dir: &str, kind: io::ErrorKind| {
            create_and_sync(&root.path().join(dir), &mut |_| Err(kind.into()))
        };
        create("", io::ErrorKind::PermissionDenied).unwrap();
        assert!(create("", io::ErrorKind::Other).is_err());
        assert!(create("new", io::ErrorKind::PermissionDenied).is_err());
        fs::write(root.path().join("file"), "").unwrap();
        assert!(RealDisk.create_dir_all(&root.path().join("file/below")).is_err());
    }

    #[test]
    fn relative_folders_and_the_root_are_fine() {
        RealDisk.create_dir_all(Path::new("/")).unwrap();
        RealDisk.create_dir_all(Path::new(".")).unwrap();
        RealDisk.create_dir_all(Path::new("src")).unwrap();
    }
}
