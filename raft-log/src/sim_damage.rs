//! What a simulated disk loses of what it had confirmed.

use std::path::Path;

use crate::sim_disk::SimDisk;
use crate::sim_state::{FileState, SECTOR};

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

    fn damage(&self, path: &Path, offset: u64, how: impl Fn(&mut u8)) {
        let mut state = self.state();
        let file = state.names[path];
        let file = state.files.get_mut(&file).expect("a named file exists");
        how(&mut file.seen[offset as usize]);
        if let Some(byte) = file.durable.get_mut(offset as usize) {
            how(byte);
        }
    }
}

impl FileState {
    /// Whether any of these bytes cannot be read.
    pub(crate) fn is_lost(&self, offset: u64, bytes: usize) -> bool {
        let end = (offset + bytes as u64).min(self.seen.len() as u64);
        end > offset && self.lost_sectors.range(offset / SECTOR..end.div_ceil(SECTOR)).count() > 0
    }

    /// A disk puts another sector in the place of one that is written anew as a whole.
    pub(crate) fn written(&mut self, offset: u64, bytes: usize) {
        let whole = offset.div_ceil(SECTOR)..(offset + bytes as u64) / SECTOR;
        self.lost_sectors.retain(|sector| !whole.contains(sector));
    }
}
