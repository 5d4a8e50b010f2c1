//! What a simulated disk holds, and what a power failure leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use raft_core::Random;

use crate::sim_disk::DiskCounts;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) random: Random,
    /// Writes tear at sectors of 512 bytes; else at any byte.
    pub(crate) by_sector: bool,
    /// Handles of an earlier generation are dead.
    pub(crate) generation: u64,
    pub(crate) folders: BTreeSet<PathBuf>,
    pub(crate) names: BTreeMap<PathBuf, u64>,
    pub(crate) durable_names: BTreeMap<PathBuf, u64>,
    pub(crate) pending_names: Vec<NameChange>,
    pub(crate) files: BTreeMap<u64, FileState>,
    pub(crate) next_file: u64,
    pub(crate) counts: DiskCounts,
    pub(crate) stop_at: Option<u64>,
    pub(crate) stopped: bool,
    pub(crate) sync_does_nothing: bool,
    /// So many syncs pass before those that fail.
    pub(crate) passing_syncs: u64,
    pub(crate) failing_syncs: u64,
    pub(crate) failing_writes: Option<(u64, io::ErrorKind)>,
    /// The change with this number fails, by [`DiskCounts::changes`].
    pub(crate) fail_at: Option<(u64, io::ErrorKind)>,
    /// The file that was written to last.
    pub(crate) written_last: Option<u64>,
    pub(crate) limit_bytes: u64,
    /// So many reads pass before those that fail.
    pub(crate) passing_reads: u64,
    pub(crate) failing_reads: u64,
    pub(crate) misdirected_reads: u64,
}

#[derive(Debug, Default)]
pub(crate) struct FileState {
    pub(crate) seen: Content,
    pub(crate) durable: Content,
    pub(crate) pending: Vec<Change>,
    /// What was durable of it when its name changed last: of a file that is used again, what it
    /// held when it was another one.
    pub(crate) before: Vec<u8>,
    /// What the disk cannot read any more.
    pub(crate) lost_sectors: BTreeSet<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// What stood where something was damaged, until it is written again.
    pub(crate) lost: BTreeMap<u64, u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// What is left of a write that was under way when the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// So many bytes of its beginning.
    First(usize),
    /// So many bytes of its end.
    Last(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf),
}

pub(crate) const SECTOR: u64 = 512;

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            by_sector: seed % 2 == 1,
            generation: 0,
            folders: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
            counts: DiskCounts::default(),
            stop_at: None,
            stopped: false,
            sync_does_nothing: false,
            passing_syncs: 0,
            failing_syncs: 0,
            failing_writes: None,
            fail_at: None,
            written_last: None,
            limit_bytes: u64::MAX,
            passing_reads: 0,
            failing_reads: 0,
            misdirected_reads: 0,
        }
    }

    /// See [`crate::SimDisk::crash_power`].
    pub(crate) fn fail_power(&mut self) {
        for file in self.files.values_mut() {
            for change in std::mem::take(&mut file.pending) {
                for left in change.survivors(&mut self.random, self.by_sector) {
                    left.apply(&mut file.durable);
                }
            }
            file.seen.clone_from(&file.durable);
        }
        for change in std::mem::take(&mut self.pending_names) {
            if self.random.chance(500) {
                change.apply(&mut self.durable_names);
            }
        }
        self.names.clone_from(&self.durable_names);
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        self.restart();
    }

    /// See [`crate::SimDisk::copy`].
    pub(crate) fn copy(&self) -> Self {
        self.copy_of(&self.names, |file| &file.seen)
    }

    /// See [`crate::SimDisk::durable_copy`].
    pub(crate) fn durable_copy(&self) -> Self {
        self.copy_of(&self.durable_names, |file| &file.durable)
    }

    fn copy_of(
        &self,
        names: &BTreeMap<PathBuf, u64>,
        content: impl Fn(&FileState) -> &Content,
    ) -> Self {
        let same = |(id, file): (&u64, &FileState)| {
            let (seen, durable) = (content(file).clone(), content(file).clone());
            let (before, lost_sectors) = (file.before.clone(), file.lost_sectors.clone());
            (*id, FileState { seen, durable, pending: Vec::new(), before, lost_sectors })
        };
        Self {
            random: self.random.clone(),
            by_sector: self.by_sector,
            folders: self.folders.clone(),
            names: names.clone(),
            durable_names: names.clone(),
            files: self.files.iter().map(same).collect(),
            next_file: self.next_file,
            ..Self::new(0)
        }
    }

    /// See [`crate::SimDisk::torn_copy`].
    pub(crate) fn torn_copy(&self, torn: Torn) -> Self {
        let mut copy = self.copy();
        let (Some((id, Change::Write(offset, data))), Torn::First(left) | Torn::Last(left)) =
            (self.last_write(), torn)
        else {
            return copy;
        };
        let left = left.min(data.len());
        let kept = match torn {
            Torn::First(_) => Change::Write(*offset, data[..left].to_vec()),
            Torn::Last(_) => {
                let begin = data.len() - left;
                Change::Write(offset + begin as u64, data[begin..].to_vec())
            }
        };
        if let Some(file) = copy.files.get_mut(&id) {
            let changes = &self.files[&id].pending;
            file.seen.clone_from(&self.files[&id].durable);
            for change in changes[..changes.len() - 1].iter().chain([&kept]) {
                change.apply(&mut file.seen);
            }
            file.durable.clone_from(&file.seen);
        }
        copy
    }

    /// The last change of the file that was written to last, where that is a write of which
    /// nothing is durable yet.
    pub(crate) fn last_write(&self) -> Option<(u64, &Change)> {
        let id = self.written_last?;
        let change = self.files.get(&id)?.pending.last()?;
        matches!(change, Change::Write(..)).then_some((id, change))
    }

    pub(crate) fn restart(&mut self) {
        self.generation += 1;
        self.stop_at = None;
        self.fail_at = None;
        self.stopped = false;
        (self.failing_reads, self.misdirected_reads) = (0, 0);
    }

    /// Counts a change. `Ok(true)` lets it happen; `Ok(false)` lets it happen and then
    /// fail, because the disk stops in the middle of it.
    pub(crate) fn change(&mut self) -> io::Result<bool> {
        if self.stopped {
            return Err(stopped());
        }
        self.counts.changes += 1;
        if let Some((_, error)) = self.fail_at.take_if(|(at, _)| *at == self.counts.changes) {
            self.counts.failed_changes += 1;
            return Err(error.into());
        }
        self.stopped = self.stop_at == Some(self.counts.changes);
        if self.stopped && self.random.chance(500) {
            return Err(stopped());
        }
        Ok(!self.stopped)
    }

    /// As [`State::change`]; where it is [`State::fail_at`] that makes it fail, `first` happens.
    pub(crate) fn change_or(&mut self, first: impl FnOnce(&mut Self)) -> io::Result<bool> {
        let was_to_fail = self.fail_at.is_some();
        let outcome = self.change();
        if was_to_fail && self.fail_at.is_none() {
            first(self);
        }
        outcome
    }

    /// Writes a part of the beginning, or nothing.
    pub(crate) fn begin(&mut self, file: u64, change: &Change) {
        let Change::Write(offset, data) = change else { return };
        let left = self.random.below(data.len() as u64 + 1) as usize;
        let part = Change::Write(*offset, data[..left].to_vec());
        let file = self.files.get_mut(&file).expect("checked with the handle");
        part.apply(&mut file.seen);
        file.pending.push(part);
    }

    pub(crate) fn fails_to_write(&mut self) -> io::Result<()> {
        match self.failing_writes {
            Some((count, error)) if count > 0 => {
                self.failing_writes = Some((count - 1, error));
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// An error where the change of a file takes more room than there is.
    pub(crate) fn fits(&mut self, file: u64, change: &Change) -> io::Result<()> {
        let end = match change {
            Change::Write(offset, data) => *offset + data.len() as u64,
            Change::Length(bytes) => *bytes,
        };
        let growth = end.saturating_sub(self.files[&file].seen.bytes.len() as u64);
        if growth > 0 && self.used_bytes() + growth > self.limit_bytes {
            self.counts.without_room += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[file].seen.bytes.len() as u64).sum()
    }

    /// Whether a sync takes effect.
    pub(crate) fn syncs(&mut self) -> io::Result<bool> {
        self.counts.syncs += 1;
        Ok(!self.sync_does_nothing)
    }

    pub(crate) fn fails_to_sync(&mut self) -> bool {
        if self.passing_syncs > 0 {
            self.passing_syncs -= 1;
            return false;
        }
        let fails = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        self.counts.failed_syncs += u64::from(fails);
        fails
    }

    pub(crate) fn folder_of(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.folders.contains(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    pub(crate) fn note(&mut self, change: NameChange) {
        self.counts.folder_changes += 1;
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

pub(crate) fn stopped() -> io::Error {
    io::Error::other("the simulated disk has stopped")
}

impl Change {
    pub(crate) fn apply(&self, content: &mut Content) {
        let Content { bytes: content, lost } = content;
        match self {
            Self::Length(bytes) => {
                content.resize(*bytes as usize, 0);
                lost.retain(|at, _| at < bytes);
            }
            Self::Write(offset, data) => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(data);
                if !lost.is_empty() {
                    lost.retain(|at, _| !(start as u64..end as u64).contains(at));
                }
            }
        }
    }

    /// What is left of an unsynced change after a power failure.
    pub(crate) fn survivors(self, random: &mut Random, by_sector: bool) -> Vec<Self> {
        let fate = random.below(3);
        let Self::Write(offset, data) = self else {
            return if fate == 0 { Vec::new() } else { vec![self] };
        };
        match fate {
            0 => Vec::new(),
            1 => vec![Self::Write(offset, data)],
            // Sectors reach the disk in any order.
            _ if by_sector => {
                let mut left = Vec::new();
                let mut at = 0;
                while at < data.len() {
                    let end =
                        data.len().min(at + (SECTOR - (offset + at as u64) % SECTOR) as usize);
                    if random.chance(500) {
                        left.push(Self::Write(offset + at as u64, data[at..end].to_vec()));
                    }
                    at = end;
                }
                left
            }
            _ => {
                let cut = random.below(data.len() as u64 + 1) as usize;
                vec![Self::Write(offset, data[..cut].to_vec())]
            }
        }
    }
}

impl NameChange {
    pub(crate) fn folder(&self) -> &Path {
        let (Self::Create(path, _) | Self::Rename(_, path, _) | Self::Remove(path)) = self;
        path.parent().unwrap_or(Path::new(""))
    }

    pub(crate) fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Rename(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}
