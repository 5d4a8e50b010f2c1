//! A disk in memory that forgets what was not synced, tears writes, and fails on demand.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, Space};
use crate::sim_state::{Change, FileState, NameChange, State, Torn, stopped};

/// A simulated disk. Clones share it.
///
/// Every file and folder has two states: what a reader sees, and what would be left
/// after a power failure. A sync carries the one over into the other. All randomness
/// comes from the seed, so the same calls always end the same way.
#[derive(Clone, Debug)]
pub struct SimDisk(pub(crate) Arc<Mutex<State>>);

/// How often a [`SimDisk`] was asked for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DiskCounts {
    /// Everything that changes something; what [`SimDisk::stop_at`] counts.
    pub changes: u64,
    /// Writes to files.
    pub writes: u64,
    /// Bytes in them.
    pub written_bytes: u64,
    /// Syncs of files and folders.
    pub syncs: u64,
    /// Changes of folders: names that came to be, changed or went, and syncs of a folder.
    pub folder_changes: u64,
    /// Reads from files.
    pub reads: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Changes that [`SimDisk::fail_at`] made fail.
    pub failed_changes: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Reads that returned what stands elsewhere.
    pub misdirected_reads: u64,
    /// Writes that found no room.
    pub without_room: u64,
}

impl DiskCounts {
    /// Reads that did not return what stands there.
    #[must_use]
    pub const fn spoiled_reads(&self) -> u64 {
        self.failed_reads + self.misdirected_reads
    }
}

impl SimDisk {
    /// An empty disk. The seed decides what crashes destroy, and whether sectors (odd
    /// seeds) or bytes (even seeds) are written as a whole or not at all.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// The power fails: of what was not synced, every write independently survives, is
    /// lost, or is torn, and every change of a name survives or is lost. What is left
    /// is durable. Open handles are dead from now on, [`SimDisk::stop_at`] is over.
    pub fn crash_power(&self) {
        self.state().fail_power();
    }

    /// The process dies, the machine lives on: nothing is lost, and what was not
    /// synced still is not. Open handles are dead from now on, [`SimDisk::stop_at`] is
    /// over.
    pub fn crash_process(&self) {
        self.state().restart();
    }

    /// Another disk with the same content, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().copy())))
    }

    /// While set, syncs report success and make nothing durable.
    pub fn set_sync_does_nothing(&self, nothing: bool) {
        self.state().sync_does_nothing = nothing;
    }

    /// The next `count` syncs fail with an input/output error. As on a real disk, what
    /// they should have made durable can still be read, and no later sync will ever
    /// make it durable.
    pub fn fail_next_syncs(&self, count: u64) {
        self.fail_syncs_after(0, count);
    }

    /// As [`SimDisk::fail_next_syncs`], after `passing` syncs that do not fail.
    pub fn fail_syncs_after(&self, passing: u64, count: u64) {
        let mut state = self.state();
        (state.passing_syncs, state.failing_syncs) = (passing, count);
    }

    /// The next `count` writes (creations and extensions too) fail with this error.
    pub fn fail_next_writes(&self, count: u64, error: io::ErrorKind) {
        self.state().failing_writes = Some((count, error));
    }

    /// From now on writes fail with [`io::ErrorKind::StorageFull`] where all files
    /// together would have more bytes than this.
    pub fn limit_bytes(&self, bytes: u64) {
        self.state().limit_bytes = bytes;
    }

    /// Stops the disk in the middle of the change with this number, counted from here
    /// (1 is the next one): it may or may not still take effect, and it and everything
    /// after it fail until a crash.
    pub fn stop_at(&self, change: u64) {
        let mut state = self.state();
        state.stop_at = Some(state.counts.changes + change);
    }

    /// The change with this number, counted from here (1 is the next one), fails with this
    /// error. Of a write, some of the beginning may be done then; what a sync should have made
    /// durable never will be; anything else does nothing. Those after it go well. A crash ends
    /// this.
    pub fn fail_at(&self, change: u64, error: io::ErrorKind) {
        let mut state = self.state();
        state.fail_at = Some((state.counts.changes + change, error));
    }

    /// True where [`SimDisk::fail_at`] is yet to strike.
    #[must_use]
    pub fn is_to_fail(&self) -> bool {
        self.state().fail_at.is_some()
    }

    /// The last write to a file, where it is not durable and nothing has happened to the file
    /// since.
    #[must_use]
    pub fn last_write(&self) -> Option<Vec<u8>> {
        match self.state().last_write()? {
            (_, Change::Write(_, data)) => Some(data.clone()),
            _ => None,
        }
    }

    /// Another disk, as this one is after a power failure in the middle of the last write:
    /// everything else that was not synced is there.
    #[must_use]
    pub fn torn_copy(&self, torn: Torn) -> Self {
        Self(Arc::new(Mutex::new(self.state().torn_copy(torn))))
    }

    /// True once [`SimDisk::stop_at`] has struck.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// What has been asked of the disk so far.
    #[must_use]
    pub fn counts(&self) -> DiskCounts {
        self.state().counts
    }

    /// Bytes in all files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// The content of a file, as a reader sees it.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[path]].seen.bytes.clone()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.folders.contains(dir) {
            return Ok(());
        }
        state.change()?;
        let above = dir.ancestors().map(Path::to_owned);
        state.folders.extend(above);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        if !state.folders.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.folder_of(path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.fails_to_write()?;
        let goes_on = state.change()?;
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, FileState::default());
        state.note(NameChange::Create(path.to_owned(), file));
        let generation = state.generation;
        drop(state);
        if goes_on {
            Ok(Arc::new(SimFile { disk: self.clone(), file, generation }))
        } else {
            Err(stopped())
        }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let generation = state.generation;
        drop(state);
        Ok(Arc::new(SimFile { disk: self.clone(), file, generation }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        assert_eq!(from.parent(), to.parent(), "renaming {from:?} to {to:?}");
        let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let goes_on = state.change()?;
        state.note(NameChange::Rename(from.to_owned(), to.to_owned(), file));
        if let Some(file) = state.files.get_mut(&file) {
            file.before.clone_from(&file.durable.bytes);
        }
        if goes_on { Ok(()) } else { Err(stopped()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let goes_on = state.change()?;
        state.note(NameChange::Remove(path.to_owned()));
        if goes_on { Ok(()) } else { Err(stopped()) }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let forget =
            |state: &mut State| state.pending_names.retain(|change| change.folder() != dir);
        let goes_on = state.change_or(forget)?;
        state.counts.folder_changes += 1;
        if state.fails_to_sync() {
            forget(&mut state);
            return Err(io::Error::other("input/output error (simulated)"));
        }
        if state.syncs()? {
            let (synced, pending) = std::mem::take(&mut state.pending_names)
                .into_iter()
                .partition(|change| change.folder() == dir);
            state.pending_names = pending;
            let synced: Vec<NameChange> = synced;
            for change in synced {
                change.apply(&mut state.durable_names);
            }
        }
        if goes_on { Ok(()) } else { Err(stopped()) }
    }

    fn draw(&self) -> u32 {
        self.state().random.next_u64() as u32
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        let (used, total_bytes) = (state.used_bytes(), state.limit_bytes);
        Ok(Space { free_bytes: total_bytes.saturating_sub(used), total_bytes })
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: u64,
    generation: u64,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.stopped {
            return Err(stopped());
        }
        if state.generation == self.generation && state.files.contains_key(&self.file) {
            return Ok(state);
        }
        Err(io::Error::other("this handle was opened before the simulated disk crashed"))
    }

    fn apply(&self, change: Change) -> io::Result<()> {
        let mut state = self.state()?;
        state.fails_to_write()?;
        state.fits(self.file, &change)?;
        let goes_on = state.change_or(|state| state.begin(self.file, &change))?;
        if let Change::Write(offset, data) = &change {
            if let Some(file) = state.files.get_mut(&self.file) {
                file.written(*offset, data.len());
            }
            state.written_last = Some(self.file);
            state.counts.writes += 1;
            state.counts.written_bytes += data.len() as u64;
        }
        let file = state.files.get_mut(&self.file).expect("checked with the handle");
        change.apply(&mut file.seen);
        file.pending.push(change);
        if goes_on { Ok(()) } else { Err(stopped()) }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.files[&self.file].seen.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state()?;
        state.counts.reads += 1;
        if state.files[&self.file].is_lost(offset, into.len()) {
            state.counts.failed_reads += 1;
            return Err(io::Error::other("input/output error (simulated)"));
        }
        state.fails_to_read()?;
        let offset = state.misdirects(self.file, offset);
        let content = &state.files[&self.file].seen.bytes;
        let from = content.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(into.len());
        into[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.apply(Change::Write(offset, data.to_vec()))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.apply(Change::Length(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let forget = |state: &mut State| {
            state.files.get_mut(&self.file).expect("checked with the handle").pending.clear();
        };
        let goes_on = state.change_or(forget)?;
        if state.fails_to_sync() {
            forget(&mut state);
            return Err(io::Error::other("input/output error (simulated)"));
        }
        if state.syncs()? {
            let file = state.files.get_mut(&self.file).expect("checked with the handle");
            for change in std::mem::take(&mut file.pending) {
                change.apply(&mut file.durable);
            }
        }
        if goes_on { Ok(()) } else { Err(stopped()) }
    }
}

#[cfg(test)]
#[path = "sim_disk_tests.rs"]
mod tests;
