//! A backup of a data folder that no node uses.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{GroupId, Index, Position};
use raft_log::{
    BackupHeader, Disk, ReadOnlyDisk, RealDisk, SnapshotReader, SnapshotStore, inspect as log,
};

use super::DATA_GROUP;
use super::backup::{BackupError, Draft, Inspected, beside};
use super::context::STORE_FILE;
use super::data_dir::{DataDir, Identity};
use crate::StateMachine;
use crate::kv::KvDatabase;
use crate::metrics::now_ms;

const PIECE_BYTES: usize = 1 << 20;

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOffline {
    /// The backup.
    pub saved: Inspected,
    /// The last entry of the log, those included that its disk has lost. What lies above the backup may have been confirmed, and is
    /// not in the backup: nothing in a folder says how far it is committed.
    pub last: Position,
}

/// Writes what the store in the data folder `dir` holds into the new file `target`. The
/// folder must be in nobody's use meanwhile; its log is only read, its store is opened as its
/// node would.
///
/// # Errors
/// [`BackupError`]; the file does not exist then.
pub fn save_offline(dir: &Path, target: &Path) -> Result<SavedOffline, BackupError> {
    let no_log = || BackupError::NoLog(dir.to_owned());
    let data = DataDir::open_as_it_is(dir)?.ok_or_else(no_log)?;
    let Some(Identity { node, cluster, formed: Some(formed), log_begun: true, .. }) =
        data.identity().cloned()
    else {
        return Err(no_log());
    };
    let mut report = log::inspect(&ReadOnlyDisk, &dir.join("log"))?;
    if let Some(fault) = report.fault.take() {
        return Err(fault.into());
    }
    let group = report.groups.remove(&DATA_GROUP).ok_or_else(no_log)?;
    let (shape, damaged_up_to) = (group.shape, group.damaged_up_to);

    let store = dir.join(STORE_FILE);
    let failed = BackupError::file(&store, "read");
    if !store.exists() {
        return Err(BackupError::Behind(dir.to_owned()));
    }
    let database = KvDatabase::open(&store).and_then(|database| database.group(DATA_GROUP));
    let mut machine = database.map_err(failed)?;
    let index = machine.applied();
    if index == Index::ZERO {
        return Err(BackupError::Nothing(dir.to_owned()));
    }
    // What is left of a damaged log need not be what the state was made of. What was applied
    // is committed all the same, in no later term than that in which the log had ended.
    let term = damaged_up_to.map(|ended| ended.term).or_else(|| shape.term_at(index));
    let term = term.ok_or_else(|| BackupError::Behind(dir.to_owned()))?;

    let mut draft = Draft::begin(target)?;
    let scratch = Scratch(beside(target).with_extension("snapshot"));
    let mut snapshots = SnapshotStore::open(Arc::new(RealDisk) as Arc<dyn Disk>, &scratch.0, 1)?;
    let membership = shape.membership_at(index.max(shape.floor().index)).clone();
    let mut writer = snapshots.writer(DATA_GROUP, Position { term, index }, membership)?;
    let mut image = machine.snapshot().map_err(BackupError::file(&store, "read"))?;
    io::copy(&mut image, &mut writer).map_err(BackupError::file(&store, "copied"))?;
    let reader = finished(&mut snapshots, DATA_GROUP, writer)?;
    let header = BackupHeader {
        cluster: formed.id,
        cluster_name: cluster,
        node,
        made_at_ms: now_ms(),
        snapshot_bytes: reader.file_bytes()?,
    };
    write(&mut draft, &header, &reader, target)?;
    Ok(SavedOffline { saved: draft.finish()?, last: damaged_up_to.unwrap_or(shape.last()) })
}

fn finished(
    snapshots: &mut SnapshotStore,
    group: GroupId,
    writer: raft_log::SnapshotWriter,
) -> Result<SnapshotReader, BackupError> {
    let meta = writer.finish()?;
    let index = meta.position.index;
    snapshots.add(group, meta);
    Ok(snapshots.reader(group, index)?)
}

fn write(
    draft: &mut Draft,
    header: &BackupHeader,
    reader: &SnapshotReader,
    target: &Path,
) -> Result<(), BackupError> {
    let failed = || BackupError::file(target, "written");
    draft.write_all(&header.encode()).map_err(failed())?;
    let mut offset = 0;
    loop {
        let piece = reader.read_file(offset, PIECE_BYTES)?;
        if piece.is_empty() {
            return Ok(());
        }
        draft.write_all(&piece).map_err(failed())?;
        offset += piece.len() as u64;
    }
}

/// A folder that goes when this does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
