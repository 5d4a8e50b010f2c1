//! The snapshots of a node.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{GroupId, Index, Membership, Position, SnapshotMeta};

use crate::disk::Disk;
use crate::snapshot_error::{SnapshotError, io_error, sync_error};
use crate::snapshot_file::{Ends, read_ends};
use crate::snapshot_part::{PARTIAL, Part, Parts};
use crate::snapshot_reader::SnapshotReader;
use crate::snapshot_receiver::SnapshotReceiver;
use crate::snapshot_writer::SnapshotWriter;

/// The complete snapshots in a folder.
///
/// It is a value owned by one engine and touches the disk only to open it and to open
/// a reader; writers, receivers, readers and removals are handed out to be run where
/// waiting is allowed.
///
/// Invariants:
/// - Every snapshot in it is durable under its name, as a whole.
/// - Of every group at most one snapshot is kept of which only a part has been received,
///   and only while it is newer than those that are complete.
#[derive(Debug)]
pub struct SnapshotStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    keep: usize,
    snapshots: BTreeMap<GroupId, BTreeMap<Index, SnapshotMeta>>,
    /// What has been received in part.
    parts: Parts,
    /// Files that are not needed any more.
    forgotten: Vec<PathBuf>,
    damaged: Vec<SnapshotError>,
    next_temporary: u64,
}

impl SnapshotStore {
    /// Opens the folder, making it where it is missing, and removes what was never
    /// finished, except for the newest part of a snapshot that can be gone on with. Of every group the newest `keep` snapshots, at least one, are kept.
    /// What every snapshot says about itself is checked, its content is not: that
    /// takes long, see [`SnapshotReader::verify`].
    ///
    /// # Errors
    /// [`SnapshotError::Io`]. A single snapshot that cannot be read is no error, see
    /// [`SnapshotStore::damaged`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, keep: usize) -> Result<Self, SnapshotError> {
        disk.create_dir_all(dir).map_err(io_error("cannot create", dir))?;
        let mut store = Self {
            disk,
            dir: dir.to_owned(),
            keep: keep.max(1),
            snapshots: BTreeMap::new(),
            parts: Parts::default(),
            forgotten: Vec::new(),
            damaged: Vec::new(),
            next_temporary: 0,
        };
        let mut parts = Vec::new();
        for name in store.disk.list(dir).map_err(io_error("cannot list", dir))? {
            let path = dir.join(&name);
            if name.ends_with(TEMPORARY) {
                store.disk.remove(&path).map_err(io_error("cannot remove", &path))?;
            } else if name.ends_with(COMPLETE) {
                store.take_in(&path)?;
            } else if name.ends_with(PARTIAL) {
                parts.push(path);
            }
        }
        for path in parts {
            let part = Part::of(&path).filter(|part| store.is_new(part.group, part.position));
            match part {
                Some(part) => store.forgotten.extend(store.parts.keep_newer(part)),
                None => store.forgotten.push(path),
            }
        }
        // Whoever wrote a snapshot may have been stopped between its renaming and the sync of
        // that: the log is trimmed below what counts here, so its name must not go again.
        store.disk.sync_dir(dir).map_err(sync_error(dir))?;
        if let Some(unneeded) = store.removal() {
            unneeded.run()?;
        }
        Ok(store)
    }

    fn take_in(&mut self, path: &Path) -> Result<(), SnapshotError> {
        let file = self.disk.open(path).map_err(io_error("cannot open", path))?;
        match read_ends(&*file, path) {
            Ok(Ends { group, meta, .. }) if self.path(group, meta.position) == path => {
                self.add(group, meta);
            }
            Ok(_) => {
                let what = "it is another snapshot than its name says";
                let file = path.to_owned();
                self.damaged.push(SnapshotError::Damaged { file, offset: 0, what });
            }
            Err(error @ SnapshotError::Io { .. }) => return Err(error),
            Err(error) => self.damaged.push(error),
        }
        Ok(())
    }

    /// The files that opening found to be no snapshots. They are left as they are.
    #[must_use]
    pub fn damaged(&self) -> &[SnapshotError] {
        &self.damaged
    }

    /// The newest snapshot of a group.
    #[must_use]
    pub fn newest(&self, group: GroupId) -> Option<&SnapshotMeta> {
        self.newest_up_to(group, Index(u64::MAX))
    }

    /// The newest complete snapshot of a group that reaches no further than `index`. A
    /// newer one may lie beside it that was received, but never installed.
    #[must_use]
    pub fn newest_up_to(&self, group: GroupId, index: Index) -> Option<&SnapshotMeta> {
        self.snapshots.get(&group)?.range(..=index).next_back().map(|(_, meta)| meta)
    }

    /// A writer for the snapshot of a group at `position`, where `membership` is in
    /// force. What it finishes with is to be given to [`SnapshotStore::add`].
    ///
    /// # Errors
    /// None so far: the file is created by the first write.
    pub fn writer(
        &mut self,
        group: GroupId,
        position: Position,
        membership: Membership,
    ) -> Result<SnapshotWriter, SnapshotError> {
        let temporary = self.temporary(group, position);
        Ok(self.writer_to(temporary, group, position, membership))
    }

    /// A name that no other writer has: two of the same snapshot do not meet before they
    /// rename.
    fn temporary(&mut self, group: GroupId, position: Position) -> PathBuf {
        let number = self.next_temporary;
        self.next_temporary += 1;
        self.path(group, position).with_extension(format!("{number}{TEMPORARY}"))
    }

    fn writer_to(
        &self,
        temporary: PathBuf,
        group: GroupId,
        position: Position,
        membership: Membership,
    ) -> SnapshotWriter {
        let paths = [self.dir.clone(), temporary, self.path(group, position)];
        SnapshotWriter::new(Arc::clone(&self.disk), paths, group, position, membership)
    }

    /// A receiver for a snapshot that somebody else has. It goes on with what an earlier
    /// one of the same snapshot (group, position, length and checksum) has left; a part of
    /// another one goes with the next [`SnapshotStore::excess`]. What it finishes with is to
    /// be given to [`SnapshotStore::add`].
    ///
    /// # Errors
    /// None so far: the file is created by the first piece.
    pub fn receiver(
        &mut self,
        group: GroupId,
        meta: SnapshotMeta,
    ) -> Result<SnapshotReceiver, SnapshotError> {
        let part = Part::named(&self.dir, group, &meta);
        let (position, membership) = (meta.position, meta.membership.clone());
        let Some(in_use) = self.parts.take(&part) else {
            // The one before it still writes; this one begins anew beside it.
            let temporary = self.temporary(group, position);
            let writer = self.writer_to(temporary, group, position, membership);
            return Ok(SnapshotReceiver::new(writer, meta, Arc::default()));
        };
        self.forgotten.retain(|path| *path != part.path);
        let writer = self.writer_to(part.path.clone(), group, position, membership);
        self.forgotten.extend(self.parts.keep(part));
        Ok(SnapshotReceiver::new(writer.keep_unfinished(), meta, in_use))
    }

    /// Takes note of a finished snapshot.
    pub fn add(&mut self, group: GroupId, meta: SnapshotMeta) {
        self.snapshots.entry(group).or_default().insert(meta.position.index, meta);
        let unneeded = self.parts.of(group).filter(|part| !self.is_new(group, part.position));
        if unneeded.is_some() {
            self.forgotten.extend(self.parts.remove(group));
        }
    }

    /// Whether nothing complete reaches as far.
    fn is_new(&self, group: GroupId, position: Position) -> bool {
        self.newest(group).is_none_or(|newest| newest.position.index < position.index)
    }

    /// Lets all snapshots of a removed group go with the next [`SnapshotStore::excess`].
    pub fn forget(&mut self, group: GroupId) {
        let gone = self.snapshots.remove(&group).unwrap_or_default();
        let paths: Vec<PathBuf> =
            gone.values().map(|meta| self.path(group, meta.position)).collect();
        self.forgotten.extend(paths);
        self.forgotten.extend(self.parts.remove(group));
    }

    /// The snapshots beyond the newest few of every group, and what else is not needed, to
    /// be removed; `None` where there is nothing. They count as gone when this returns.
    pub fn excess(&mut self) -> Option<SnapshotRemoval> {
        let mut gone = Vec::new();
        for (group, snapshots) in &mut self.snapshots {
            while snapshots.len() > self.keep {
                gone.extend(snapshots.pop_first().map(|(_, meta)| (*group, meta.position)));
            }
        }
        let gone = gone.into_iter().map(|(group, position)| self.path(group, position));
        let gone: Vec<PathBuf> = gone.collect();
        self.forgotten.extend(gone);
        self.removal()
    }

    fn removal(&mut self) -> Option<SnapshotRemoval> {
        let paths = std::mem::take(&mut self.forgotten);
        (!paths.is_empty()).then(|| SnapshotRemoval { disk: Arc::clone(&self.disk), paths })
    }

    /// A reader of the snapshot of a group at `index`.
    ///
    /// # Errors
    /// [`SnapshotError::Absent`], [`SnapshotError::Damaged`], [`SnapshotError::Io`].
    pub fn reader(&self, group: GroupId, index: Index) -> Result<SnapshotReader, SnapshotError> {
        let meta = self.snapshots.get(&group).and_then(|snapshots| snapshots.get(&index));
        let meta = meta.ok_or(SnapshotError::Absent { group, index })?;
        let path = self.path(group, meta.position);
        let file = self.disk.open(&path).map_err(io_error("cannot open", &path))?;
        // Read anew: the file may be another one of the same position by now.
        Ok(SnapshotReader::open(file, &path)?.1)
    }

    fn path(&self, group: GroupId, position: Position) -> PathBuf {
        let (index, term) = (position.index.0, position.term.0);
        self.dir.join(format!("{:016x}-{index:016x}-{term:016x}{COMPLETE}", group.0))
    }
}

const COMPLETE: &str = ".snap";
const TEMPORARY: &str = ".tmp";

/// Removes snapshots that are no longer needed; see [`SnapshotStore::excess`].
#[derive(Debug)]
pub struct SnapshotRemoval {
    disk: Arc<dyn Disk>,
    paths: Vec<PathBuf>,
}

impl SnapshotRemoval {
    /// Removes them; what is gone already is no error. What an error or a crash leaves behind is found again, and is in
    /// excess again, when the store is opened next.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn run(self) -> Result<(), SnapshotError> {
        for path in &self.paths {
            match self.disk.remove(path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("cannot remove", path)(why));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
