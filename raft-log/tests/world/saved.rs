//! The snapshots beside the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use raft_core::{GroupId, Index, Membership, Position};
use raft_log::{SimDisk, SnapshotError, SnapshotRemoval, SnapshotStore};

const DIR: &str = "snapshots";

/// The snapshots of all groups, the newest one of each.
#[derive(Debug)]
pub(crate) struct Saved {
    store: SnapshotStore,
    /// Those that were acknowledged, the newest of each group.
    acknowledged: BTreeMap<GroupId, Position>,
}

/// Some chunks that are worth compressing, and a short one; every snapshot has its own.
fn content(group: GroupId, position: Position) -> Vec<u8> {
    let line = format!("group {group} at {position}, and more of it; ");
    line.repeat(1 + 5000 / line.len()).into_bytes()
}

fn open(disk: &SimDisk) -> Result<SnapshotStore, SnapshotError> {
    SnapshotStore::open(Arc::new(disk.clone()), Path::new(DIR), 1)
}

impl Saved {
    /// What is on the disk counts as acknowledged.
    pub(crate) fn new(disk: &SimDisk) -> Result<Self, SnapshotError> {
        let store = open(disk)?;
        let newest = |group: GroupId| Some((group, store.newest(group)?.position));
        let acknowledged = (1..=4).map(GroupId).filter_map(newest).collect();
        Ok(Self { store, acknowledged })
    }

    /// Takes one and removes the one before.
    pub(crate) fn save(
        &mut self,
        group: GroupId,
        position: Position,
        membership: Membership,
    ) -> Result<(), SnapshotError> {
        let mut writer = self.store.writer(group, position, membership)?;
        for piece in content(group, position).chunks(2000) {
            writer.write_all(piece).map_err(|error| {
                let inner = error.into_inner().and_then(|inner| inner.downcast().ok());
                *inner.expect("a writer's error is one of snapshots")
            })?;
        }
        let meta = writer.finish()?;
        let before = self.acknowledged.get(&group).map_or(Index::ZERO, |before| before.index);
        self.store.add(group, meta);
        if position.index >= before {
            self.acknowledged.insert(group, position);
        }
        self.store.excess().map_or(Ok(()), SnapshotRemoval::run)
    }

    /// Whether what was acknowledged is there, and everything that is there is whole.
    pub(crate) fn check(&self, disk: &SimDisk) -> Result<(), String> {
        let store = open(disk).map_err(|why| why.to_string())?;
        if let Some(why) = store.damaged().first() {
            return Err(why.to_string());
        }
        let groups: BTreeSet<GroupId> = (1..=4).map(GroupId).collect();
        for group in groups {
            let acknowledged = self.acknowledged.get(&group).copied().unwrap_or(Position::ZERO);
            let newest = store.newest(group).map(|meta| meta.position).unwrap_or_default();
            if newest.index < acknowledged.index {
                return Err(format!("a snapshot to {newest}, not {acknowledged}, of {group}"));
            }
            if newest != Position::default() {
                let mut found = Vec::new();
                let mut reader =
                    store.reader(group, newest.index).map_err(|why| why.to_string())?;
                reader.read_to_end(&mut found).map_err(|why| why.to_string())?;
                if found != content(group, newest) {
                    return Err(format!("the content of {group} at {newest}"));
                }
            }
        }
        Ok(())
    }
}
