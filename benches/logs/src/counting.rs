//! The disk of the machine, counting what is written to it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raft_log::{Disk, DiskFile, RealDisk};

const BLOCK: u64 = 4096;

/// Counts the blocks that every write touches. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountingDisk {
    disk: RealDisk,
    written: Arc<AtomicU64>,
}

impl CountingDisk {
    /// Bytes in those blocks.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn counting(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountingFile { file, written: Arc::clone(&self.written) })
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    written: Arc<AtomicU64>,
}

impl CountingFile {
    fn count(&self, offset: u64, bytes: usize) {
        let end = (offset + bytes as u64).next_multiple_of(BLOCK);
        self.written.fetch_add(end - offset / BLOCK * BLOCK, Ordering::Relaxed);
    }
}

impl Disk for CountingDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.counting(self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.counting(self.disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn draw(&self) -> u32 {
        self.disk.draw()
    }
}

impl DiskFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.count(offset, data.len());
        self.file.write_at(offset, data)
    }

    fn write_through(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.count(offset, data.len());
        self.file.write_through(offset, data)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
