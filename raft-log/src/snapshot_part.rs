//! Snapshots of which a part has been received, by their names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use raft_core::{GroupId, Index, Position, SnapshotMeta, Term};

pub(crate) const PARTIAL: &str = ".part";

/// A file that a receiver has begun. Its name says of what, so that another receiver knows
/// whether it can go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) group: GroupId,
    pub(crate) position: Position,
    pub(crate) path: PathBuf,
}

impl Part {
    /// The part of this snapshot.
    pub(crate) fn named(dir: &Path, group: GroupId, meta: &SnapshotMeta) -> Self {
        let position = meta.position;
        let (index, term) = (position.index.0, position.term.0);
        let (bytes, checksum) = (meta.bytes, meta.checksum);
        let name = format!("{:016x}-{index:016x}-{term:016x}-{bytes:016x}-{checksum:08x}", group.0);
        Self { group, position, path: dir.join(format!("{name}{PARTIAL}")) }
    }

    /// What a file is a part of; nothing where its name does not say so.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(PARTIAL)?;
        let numbers: Option<Vec<u64>> =
            name.split('-').map(|number| u64::from_str_radix(number, 16).ok()).collect();
        let [group, index, term, _, _] = numbers?[..] else { return None };
        let position = Position { term: Term(term), index: Index(index) };
        Some(Self { group: GroupId(group), position, path: path.to_owned() })
    }
}

/// The parts that are kept.
///
/// Invariant: at most one per group.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    kept: BTreeMap<GroupId, Part>,
    /// The files that receivers write to, those that are not kept any more included.
    in_use: Vec<(PathBuf, Weak<()>)>,
}

impl Parts {
    /// Keeps the newer one of this and what there is of the group; answers the other.
    pub(crate) fn keep_newer(&mut self, part: Part) -> Option<PathBuf> {
        match self.of(part.group) {
            Some(kept) if kept.position.index >= part.position.index => Some(part.path),
            _ => self.keep(part),
        }
    }

    /// Keeps this one; answers another one that was kept of the group.
    pub(crate) fn keep(&mut self, part: Part) -> Option<PathBuf> {
        let path = part.path.clone();
        let old = self.kept.insert(part.group, part);
        old.map(|old| old.path).filter(|old| *old != path)
    }

    pub(crate) fn of(&self, group: GroupId) -> Option<&Part> {
        self.kept.get(&group)
    }

    /// What keeps others from writing to the file for as long as it lives; nothing where
    /// somebody has it already.
    pub(crate) fn take(&mut self, part: &Part) -> Option<Arc<()>> {
        self.in_use.retain(|(_, held)| held.strong_count() > 0);
        if self.in_use.iter().any(|(path, _)| *path == part.path) {
            return None;
        }
        let held = Arc::new(());
        self.in_use.push((part.path.clone(), Arc::downgrade(&held)));
        Some(held)
    }

    pub(crate) fn remove(&mut self, group: GroupId) -> Option<PathBuf> {
        self.kept.remove(&group).map(|part| part.path)
    }
}
