//! A backup of a data folder that no node uses.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{GroupId, Index, Membership, NodeId, Position, Term};
use raft_log::inspect::{GroupReport, for_each_frame, inspect};
use raft_log::{
    BackupHeader, Disk, LogError, ReadOnlyDisk, RealDisk, SnapshotReader, SnapshotStore,
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
    /// How far the log goes beside it.
    pub log: LogEnd,
}

/// How far the log of a folder goes whose store was saved. What lies above the backup may have
/// been confirmed, and is not in the backup: nothing in a folder says how far it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// The last entry, those included that its disk has lost.
    At(Position),
    /// Nobody knows, for this reason: a node does not start on this folder, and the store is all
    /// that is left. Term and members in the backup are what could be told without the log: a
    /// term no higher than the true one, and the node itself.
    Unknown(String),
}

/// Writes what the store in the data folder `dir` holds into the new file `target`, also where
/// the log beside it is lost. The folder must be in nobody's use meanwhile; its log is only
/// read, its store is opened as its node would.
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
    let group = group_in(&dir.join("log"))?;

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
    let Told { term, membership, log } = match group {
        Found::Group(group) => {
            of_group(&group, index).ok_or(BackupError::Behind(dir.to_owned()))?
        }
        Found::Lost(why) => of_remains(&dir.join("log"), node, why),
    };

    let mut draft = Draft::begin(target)?;
    let scratch = Scratch(beside(target).with_extension("snapshot"));
    let mut snapshots = SnapshotStore::open(Arc::new(RealDisk) as Arc<dyn Disk>, &scratch.0, 1)?;
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
    Ok(SavedOffline { saved: draft.finish()?, log })
}

/// The group in the log of a folder that says that it has one.
enum Found {
    Group(Box<GroupReport>),
    /// Why there is none that could be read.
    Lost(String),
}

fn group_in(log: &Path) -> Result<Found, BackupError> {
    let lost = |why: &dyn std::fmt::Display| Ok(Found::Lost(why.to_string()));
    let mut report = match inspect(&ReadOnlyDisk, log) {
        Ok(report) => report,
        Err(LogError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return lost(&format_args!("the log {} is gone", log.display()));
        }
        Err(why) => return Err(why.into()),
    };
    match report.fault.take() {
        Some(LogError::Damaged(damage)) => lost(&damage),
        Some(why) => Err(why.into()),
        None => match report.groups.remove(&DATA_GROUP) {
            Some(group) => Ok(Found::Group(Box::new(group))),
            None => lost(&format_args!("the log {} is gone or empty", log.display())),
        },
    }
}

/// What the log says of a state, or what is put in its place.
struct Told {
    term: Term,
    membership: Membership,
    log: LogEnd,
}

/// Nothing where the log begins above the state.
fn of_group(group: &GroupReport, index: Index) -> Option<Told> {
    let (shape, damaged_up_to) = (&group.shape, group.damaged_up_to);
    let membership = shape.membership_at(index.max(shape.floor().index)).clone();
    let last = damaged_up_to.unwrap_or(shape.last());
    if index > last.index {
        let why = format!("the log ends at index {}, before what the store holds", last.index);
        return Some(Told { term: last.term, membership, log: LogEnd::Unknown(why) });
    }
    // What is left of a damaged log need not be what the state was made of. What was applied
    // is committed all the same, in no later term than that in which the log had ended.
    let term = damaged_up_to.map(|ended| ended.term).or_else(|| shape.term_at(index))?;
    Some(Told { term, membership, log: LogEnd::At(last) })
}

/// Of a log that cannot be opened only frames are left, if any. The term need not be exact: a
/// new cluster that is made of the backup has no other log to compare it with.
fn of_remains(log: &Path, node: NodeId, why: String) -> Told {
    let mut term = Term(1);
    // What cannot be read tells no term.
    let _ = for_each_frame(&ReadOnlyDisk, log, |frame| {
        if frame.group == Some(DATA_GROUP) {
            term = term.max(frame.last.term);
        }
        ControlFlow::Continue(())
    });
    Told { term, membership: Membership::of_voters([node]), log: LogEnd::Unknown(why) }
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
