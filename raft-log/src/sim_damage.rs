//! What a [`SimDisk`] loses, or reads wrong, without being asked to.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::sim_disk::SimDisk;
use crate::sim_state::{Content, FileState, SECTOR, State};

impl SimDisk {
    /// Flips one bit of a file, for good.
    ///
    /// # Panics
    /// Where the file is not that long.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        self.damage(path, offset, |byte| *byte ^= 1 << bit);
    }

    /// Zeroes bytes of a file, for good.
    ///
    /// # Panics
    /// Where the file is not that long.
    pub fn zero(&self, path: &Path, offset: u64, bytes: u64) {
        for at in offset..offset + bytes {
            self.damage(path, at, |byte| *byte = 0);
        }
    }

    /// The sector with this byte of a file can no longer be read, until it is written anew.
    ///
    /// # Panics
    /// Where there is no such file.
    pub fn lose_sector(&self, path: &Path, offset: u64) {
        let mut state = self.state();
        let file = state.names[path];
        let file = state.files.get_mut(&file).expect("a named file exists");
        file.lost_sectors.insert(offset / SECTOR);
    }

    /// Puts other bytes in the place of those of a file, for good: a write that was meant
    /// for somewhere else.
    ///
    /// # Panics
    /// Where the file is not that long.
    pub fn misplace(&self, path: &Path, offset: u64, data: &[u8]) {
        for (at, other) in (offset..).zip(data) {
            self.damage(path, at, |byte| *byte = *other);
        }
    }

    /// Sets a part of a file back, for good: to what it held when it had another name, or to
    /// zeroes where it never had, or was not that long.
    ///
    /// # Panics
    /// Where the file is not that long.
    pub fn set_back(&self, path: &Path, place: Range<u64>) {
        let before = {
            let state = self.state();
            state.files[&state.names[path]].before.clone()
        };
        for at in place {
            let was = before.get(at as usize).copied().unwrap_or_default();
            self.damage(path, at, |byte| *byte = was);
        }
    }

    /// What stands in a part of a file; `None` where it is not that long, or not there.
    #[must_use]
    pub fn reads(&self, path: &Path, place: Range<usize>) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.files.get(state.names.get(path)?)?;
        file.seen.bytes.get(place).map(<[u8]>::to_vec)
    }

    /// Undoes all damage where nothing was written since, as an operator does who has a copy
    /// of the file.
    pub fn mend(&self) {
        for file in self.state().files.values_mut() {
            file.lost_sectors.clear();
            for content in [&mut file.seen, &mut file.durable] {
                for (at, byte) in std::mem::take(&mut content.lost) {
                    content.bytes[at as usize] = byte;
                }
            }
        }
    }

    /// What was damaged so far stays so: [`SimDisk::mend`] does not undo it.
    pub fn accept_damage(&self) {
        for file in self.state().files.values_mut() {
            file.seen.lost.clear();
            file.durable.lost.clear();
        }
    }

    /// True where a file still lacks what damage took from it.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let state = self.state();
        let damaged = |file: &u64| {
            let file = &state.files[file];
            !file.seen.lost.is_empty() || !file.lost_sectors.is_empty()
        };
        state.names.values().any(damaged)
    }

    /// After `passing` reads that do not fail, `count` of them do, with an input/output
    /// error. A crash ends this.
    pub fn fail_reads_after(&self, passing: u64, count: u64) {
        let mut state = self.state();
        (state.passing_reads, state.failing_reads) = (passing, count);
    }

    /// The next `count` reads return what stands elsewhere in the file. A crash ends this.
    pub fn misdirect_next_reads(&self, count: u64) {
        self.state().misdirected_reads = count;
    }

    /// True where every change of a name is durable.
    #[must_use]
    pub fn names_are_durable(&self) -> bool {
        self.state().pending_names.is_empty()
    }

    /// Another disk with what of this one is durable.
    #[must_use]
    pub fn durable_copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().durable_copy())))
    }

    fn damage(&self, path: &Path, offset: u64, how: impl Fn(&mut u8)) {
        let mut state = self.state();
        let file = state.names[path];
        let file = state.files.get_mut(&file).expect("a named file exists");
        assert!(file.seen.bytes.len() as u64 > offset, "{} ends before {offset}", path.display());
        file.seen.damage(offset, &how);
        file.durable.damage(offset, &how);
    }
}

impl Content {
    fn damage(&mut self, offset: u64, how: impl Fn(&mut u8)) {
        if let Some(byte) = self.bytes.get_mut(offset as usize) {
            let before = *byte;
            how(byte);
            if *byte != before {
                self.lost.entry(offset).or_insert(before);
            }
        }
    }
}

impl FileState {
    /// Whether any of these bytes cannot be read.
    pub(crate) fn is_lost(&self, offset: u64, bytes: usize) -> bool {
        let end = (offset + bytes as u64).min(self.seen.bytes.len() as u64);
        end > offset && self.lost_sectors.range(offset / SECTOR..end.div_ceil(SECTOR)).count() > 0
    }

    /// A disk puts another sector in the place of one that is written anew as a whole.
    pub(crate) fn written(&mut self, offset: u64, bytes: usize) {
        let whole = offset.div_ceil(SECTOR)..(offset + bytes as u64) / SECTOR;
        self.lost_sectors.retain(|sector| !whole.contains(sector));
    }
}

impl State {
    pub(crate) fn fails_to_read(&mut self) -> io::Result<()> {
        if self.failing_reads == 0 {
            return Ok(());
        }
        if self.passing_reads > 0 {
            self.passing_reads -= 1;
            return Ok(());
        }
        self.failing_reads -= 1;
        self.counts.failed_reads += 1;
        Err(io::Error::other("input/output error (simulated)"))
    }

    /// Where a read of a file begins that was meant to begin here.
    pub(crate) fn misdirects(&mut self, file: u64, offset: u64) -> u64 {
        if self.misdirected_reads == 0 {
            return offset;
        }
        self.misdirected_reads -= 1;
        self.counts.misdirected_reads += 1;
        let length = self.files[&file].seen.bytes.len() as u64;
        self.random.below(length.max(1)) / 8 * 8
    }
}
