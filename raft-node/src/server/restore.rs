//! A new cluster of one member, made of a backup.
//!
//! The backup is read and verified as a whole before anything is written. Then the new
//! folder gets the snapshot, then a log that begins at it, and its identity last: so a crash
//! leaves nothing that could be taken for a node.
//!
//! As after [`recover`](super::recover), the new cluster has an id of its own, and the member
//! a new incarnation: whoever of the cluster that was saved still runs refuses it, and is
//! refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{ClusterId, GroupId, NodeId, Position};
use raft_log::{Backup, Disk, ReadOnlyDisk, RealDisk, SnapshotError, SnapshotStore};
use thiserror::Error;

use super::DATA_GROUP;
use super::backup::{BackupError, Inspected, inspect};
use super::data_dir::{DataDir, DataDirError, FormedCluster, Identity};
use super::formation::{cluster_id, draw};
use super::recover::{Begins, RecoverError};
use crate::config::MemberAddress;

/// What the new cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its only member.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its id.
    pub cluster: ClusterId,
    /// What the backup held.
    pub backup: Inspected,
}

/// Why there is no new cluster.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The backup is not usable; nothing was written.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The folder must be a new one: name another. Nothing was written.
    #[error(
        "the data folder {} belongs to a node already, and nothing is restored over existing \
         data: name one that is not there", .0.display()
    )]
    NotNew(PathBuf),
    /// The backup is of a group that this program does not serve. Nothing was written.
    #[error("the backup {} is of group {group}, and a node serves group {DATA_GROUP}", .file.display())]
    OtherGroup {
        /// The backup.
        file: PathBuf,
        /// The group.
        group: GroupId,
    },
    /// The backup does not say where the node is reached; say it. Nothing was written.
    #[error("the backup does not say where node {0} is reached: say it, as --at {0}=PEER/CLIENT")]
    NoAddress(NodeId),
    /// The folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The snapshot cannot be written: make room, remove the folder, and try again.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log cannot be written: make room, remove the folder, and try again.
    #[error(transparent)]
    Log(#[from] RecoverError),
    /// The folder cannot be written: make room, remove the folder, and try again.
    #[error("{} cannot be written: {source}", .path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Who the only member of the new cluster is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMember {
    /// Its id; by default that of the node that was saved.
    pub node: Option<NodeId>,
    /// Where it is reached; by default where the node of that id was.
    pub at: Option<MemberAddress>,
    /// What the cluster is called; by default as before.
    pub cluster: Option<String>,
}

/// Makes the folder `to` that of a cluster whose only member holds what the backup `file`
/// holds. May take as long as reading that twice takes.
///
/// # Errors
/// [`RestoreError`]. What is in `to` then is no node's folder, and can be removed.
pub fn restore(file: &Path, to: &Path, member: NewMember) -> Result<Restored, RestoreError> {
    let backup = inspect(file)?;
    if backup.group != DATA_GROUP {
        return Err(RestoreError::OtherGroup { file: file.to_owned(), group: backup.group });
    }
    let node = member.node.unwrap_or(backup.header.node);
    let name = member.cluster.unwrap_or_else(|| backup.header.cluster_name.clone());
    let known = backup.meta.membership.members().get(&node);
    let known = known.and_then(|known| MemberAddress::from_data(&known.data));
    let address = member.at.or(known).ok_or(RestoreError::NoAddress(node))?;
    if DataDir::open_as_it_is(to)?.is_some() {
        return Err(RestoreError::NotNew(to.to_owned()));
    }
    let mut dir = DataDir::open(to, node, &name)?;

    copy_snapshot(file, &to.join("snapshots"), &backup)?;
    let incarnation = draw();
    let members = BTreeMap::from([(node, incarnation)]);
    let cluster = cluster_id(&name, &members);
    let begins = Begins { node, incarnation, cluster, at: Some(&address) };
    let (at, before) = (backup.meta.position, &backup.meta.membership);
    begins.log_behind_snapshot(to, DATA_GROUP, at, before)?;
    let synced = File::open(to).and_then(|folder| folder.sync_all());
    synced.map_err(|source| RestoreError::Write { path: to.to_owned(), source })?;
    dir.write_identity(Identity {
        node,
        cluster: name.clone(),
        incarnation,
        formed: Some(FormedCluster { id: cluster, members }),
        log_begun: true,
        removed: false,
    })?;
    Ok(Restored { node, name, cluster, backup })
}

/// Writes the snapshot anew, in the format of this build, and compares what was read with
/// what was verified before.
fn copy_snapshot(file: &Path, dir: &Path, verified: &Inspected) -> Result<(), RestoreError> {
    let mut snapshots = SnapshotStore::open(Arc::new(RealDisk) as Arc<dyn Disk>, dir, 1)?;
    let meta = &verified.meta;
    let (at, membership): (Position, _) = (meta.position, meta.membership.clone());
    let mut writer = snapshots.writer(verified.group, at, membership)?;
    let mut content = Backup::open(&ReadOnlyDisk, file)?.into_reader();
    io::copy(&mut content, &mut writer)
        .map_err(|source| RestoreError::Write { path: dir.to_owned(), source })?;
    let written = writer.finish()?;
    if written == *meta {
        return Ok(());
    }
    let what = "it has changed since it was verified a moment ago";
    Err(SnapshotError::Damaged { file: file.to_owned(), offset: 0, what }.into())
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
