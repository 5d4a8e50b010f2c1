//! When the majority of a cluster is lost for good: a new cluster of one member, made of
//! what one surviving data folder holds.
//!
//! Nothing less can go on safely, and this does not either: what the lost majority had
//! acknowledged and this folder does not hold is gone, and what was never acknowledged and
//! this folder does hold counts from now on. The folder itself is only read; everything is
//! made in a new one, whose identity is written last. So a crash leaves nothing that could be
//! taken for a node.
//!
//! The new cluster has an id of its own, and the member a new incarnation. Whoever of the
//! old cluster comes back refuses it, and is refused.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Incarnation, LogChange, Member, Membership,
    NodeId, Position, RecoveredGroup, Write, WriteNumber,
};
use raft_log::{Disk, LogError, LogIdentity, LogOptions, Read, RealDisk, WriteAheadLog};
use thiserror::Error;

use super::data_dir::{DataDir, DataDirError, FormedCluster, Identity};
use super::formation::{cluster_id, draw};
use crate::config::MemberAddress;

const LOG: &str = "log";
const NEW_LOG: &str = "log.new";

/// So many bytes of entries are moved at once.
const BATCH_BYTES: usize = 1 << 20;

/// What the new cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its only member.
    pub node: NodeId,
    /// Its id.
    pub cluster: ClusterId,
    /// The last entry that the old folder held, per group. Of several survivors the one
    /// with the highest position (the term first) has the most.
    pub last: BTreeMap<GroupId, Position>,
}

/// Why there is no new cluster. The old folder is as it was.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The folders cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is nothing to begin with; choose the folder of another survivor.
    #[error("the data folder {} holds no log of a cluster", .0.display())]
    NoLog(PathBuf),
    /// The folder of a removed node ends where the node was removed: choose another survivor.
    #[error(
        "the data folder {} belongs to node {node}, which was removed from its cluster: what the \
         others wrote after that is not in it; use the folder of a member", .from.display()
    )]
    WasRemoved {
        /// The folder.
        from: PathBuf,
        /// Whose it is.
        node: NodeId,
    },
    /// The old folder is only read: name a new one beside it.
    #[error("one of the folders {} and {} is part of the other; name one beside it", .from.display(), .to.display())]
    SameFolder {
        /// The old one.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// The new folder must be a new one: name another.
    #[error("the data folder {} belongs to a node already; name one that is not there", .0.display())]
    NotNew(PathBuf),
    /// The address is another node's: correct one of them.
    #[error("the data folder {} belongs to node {found}, and the address is that of node {given}", .from.display())]
    OtherNode {
        /// The folder.
        from: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose the address is.
        given: NodeId,
    },
    /// The old folder cannot be copied: repair the disk, or make room.
    #[error("{} cannot be copied: {source}{}", .path.display(), super::data_dir::remedy(.source))]
    Copy {
        /// What was copied.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The log cannot be read or written; the cause says what to do.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk has lost a part of the log: choose the folder of another survivor, or restore
    /// this one.
    #[error(
        "the log of group {group} has lost what stood after {left}, up to {damaged_up_to}: use \
         the folder of another member, or restore the files of this one; where there is none, \
         `raft-node snapshot save --data-dir` saves what the store holds, to be restored elsewhere"
    )]
    Damaged {
        /// The group.
        group: GroupId,
        /// Where its log ends now.
        left: Position,
        /// Where it had ended.
        damaged_up_to: Position,
    },
    /// The log does not say where the node is reached; say it.
    #[error("the log of group {0} does not say where this node is reached: say it, as PEER/CLIENT")]
    NoAddress(GroupId),
}

/// Makes the folder `to` that of a cluster whose only member is the node of the folder
/// `from`, with everything that folder holds. It is reached at `at`, or, without that, where
/// the old cluster reached it. May take as long as copying takes.
///
/// # Errors
/// [`RecoverError`]. What is in `to` then is no node's folder, and can be removed.
pub fn recover(
    from: &Path,
    to: &Path,
    at: Option<&(NodeId, MemberAddress)>,
) -> Result<Recovered, RecoverError> {
    let nothing = || RecoverError::NoLog(from.to_owned());
    if is_part(from, to) || is_part(to, from) {
        return Err(RecoverError::SameFolder { from: from.to_owned(), to: to.to_owned() });
    }
    let old = DataDir::open_as_it_is(from)?.ok_or_else(nothing)?;
    let Some(Identity {
        node, cluster: name, formed: Some(formed), log_begun: true, removed, ..
    }) = old.identity().cloned()
    else {
        return Err(nothing());
    };
    if removed {
        return Err(RecoverError::WasRemoved { from: from.to_owned(), node });
    }
    if let Some((given, _)) = at.filter(|(given, _)| *given != node) {
        let (from, given) = (from.to_owned(), *given);
        return Err(RecoverError::OtherNode { from, found: node, given });
    }
    let mut new = DataDir::open(to, node, &name)?;
    if new.identity().is_some() {
        return Err(RecoverError::NotNew(to.to_owned()));
    }
    copy_all(from, to)?;

    let incarnation = draw();
    let members = BTreeMap::from([(node, incarnation)]);
    let cluster = cluster_id(&name, &members);
    let at = at.map(|(_, address)| address);
    let begins = Begins { node, incarnation, cluster, at };
    let last = begins.rewrite_log(to, formed.id)?;
    let failed = |source| RecoverError::Copy { path: to.to_owned(), source };
    fs::remove_dir_all(to.join(LOG)).map_err(failed)?;
    fs::rename(to.join(NEW_LOG), to.join(LOG)).map_err(failed)?;
    File::open(to).and_then(|folder| folder.sync_all()).map_err(failed)?;
    new.write_identity(Identity {
        node,
        cluster: name,
        incarnation,
        formed: Some(FormedCluster { id: cluster, members }),
        log_begun: true,
        removed: false,
    })?;
    Ok(Recovered { node, cluster, last })
}

/// Whether `inner` is `outer` or lies in it, whatever links lead there.
fn is_part(inner: &Path, outer: &Path) -> bool {
    let Ok(outer) = outer.canonicalize() else { return false };
    // What is not there yet lies where the folder lies that is to hold it.
    let known = inner.ancestors().find_map(|level| level.canonicalize().ok());
    known.is_some_and(|inner| inner.starts_with(outer))
}

/// What the log of the new cluster says.
pub(super) struct Begins<'a> {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) cluster: ClusterId,
    pub(super) at: Option<&'a MemberAddress>,
}

impl Begins<'_> {
    /// Moves every group to a log of the new cluster, with the new membership at the end.
    fn rewrite_log(
        &self,
        dir: &Path,
        old_cluster: ClusterId,
    ) -> Result<BTreeMap<GroupId, Position>, RecoverError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let open = |name, cluster| {
            let identity = LogIdentity { cluster, node: self.node };
            WriteAheadLog::open(Arc::clone(&disk), &dir.join(name), identity, LogOptions::default())
        };
        let (old, groups) = open(LOG, old_cluster)?;
        if groups.is_empty() {
            return Err(RecoverError::NoLog(dir.to_owned()));
        }
        for (group, recovered) in &groups {
            if let Some(damaged_up_to) = recovered.damaged_up_to {
                let (group, left) = (*group, recovered.shape.last());
                return Err(RecoverError::Damaged { group, left, damaged_up_to });
            }
        }
        let (mut new, _) = open(NEW_LOG, self.cluster)?;
        for (group, recovered) in &groups {
            let membership = self.membership(*group, recovered.shape.membership())?;
            let (me, number) = (self.node, WriteNumber(0));
            let mut moving = Moving { log: &mut new, me, group: *group, number };
            moving.everything(&old, recovered, &membership)?;
        }
        new.seal();
        run_jobs(&mut new)?;
        Ok(groups.iter().map(|(group, recovered)| (*group, recovered.shape.last())).collect())
    }

    /// Makes a log that begins behind a snapshot at `floor`, where `before` was in force.
    pub(super) fn log_behind_snapshot(
        &self,
        dir: &Path,
        group: GroupId,
        floor: Position,
        before: &Membership,
    ) -> Result<(), RecoverError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let identity = LogIdentity { cluster: self.cluster, node: self.node };
        let (mut log, _) =
            WriteAheadLog::open(disk, &dir.join(LOG), identity, LogOptions::default())?;
        let membership = self.membership(group, before)?;
        let (me, number) = (self.node, WriteNumber(0));
        let mut moving = Moving { log: &mut log, me, group, number };
        let hard_state = HardState { term: floor.term, vote: None };
        let change = LogChange::Reset { floor, membership: Box::new(before.clone()) };
        moving.write(hard_state, change)?;
        moving.alone(hard_state, floor, &membership)?;
        log.seal();
        run_jobs(&mut log)?;
        Ok(())
    }

    /// This node alone.
    fn membership(&self, group: GroupId, before: &Membership) -> Result<Membership, RecoverError> {
        let known = before.members().get(&self.node);
        let data = match (self.at, known) {
            (Some(at), _) => at.to_data(),
            (None, Some(member)) if !member.data.is_empty() => member.data.clone(),
            (None, _) => return Err(RecoverError::NoAddress(group)),
        };
        let me = Member { incarnation: self.incarnation, data, ..Member::default() };
        let (voters, members) = ([self.node].into(), [(self.node, me)].into());
        Ok(Membership::new(voters, [].into(), [].into(), members)
            .expect("the only voter is described"))
    }
}

/// Writing one group to a log in which it is not yet.
struct Moving<'a> {
    log: &'a mut WriteAheadLog,
    me: NodeId,
    group: GroupId,
    number: WriteNumber,
}

impl Moving<'_> {
    fn everything(
        &mut self,
        old: &WriteAheadLog,
        recovered: &RecoveredGroup,
        membership: &Membership,
    ) -> Result<(), LogError> {
        let RecoveredGroup { hard_state, shape, .. } = recovered;
        let (floor, last) = (shape.floor(), shape.last());
        let first = shape.membership_at(floor.index).clone();
        if floor == Position::ZERO {
            self.log.create_group(self.group, first);
        } else {
            let change = LogChange::Reset { floor, membership: Box::new(first) };
            self.write(*hard_state, change)?;
        }
        let mut from = floor.index.next();
        while from <= last.index {
            let entries = match old.read(self.group, from, last.index, BATCH_BYTES) {
                Read::Entries(entries) => entries,
                Read::Later(job) => job.run()?,
                Read::Gone => panic!("entry {from} is gone from a log that begins at {floor:?}"),
            };
            let read = entries.last().map(|entry| entry.index);
            from = read.expect("at least one entry is read").next();
            self.write(*hard_state, LogChange::Append(entries))?;
        }
        self.alone(*hard_state, last, membership)
    }

    /// Ends the log with the entry that makes this node the only member.
    fn alone(
        &mut self,
        hard_state: HardState,
        last: Position,
        membership: &Membership,
    ) -> Result<(), LogError> {
        // A term of its own, as of a leader that was elected here.
        let term = hard_state.term.max(last.term).next();
        let (index, payload) = (last.index.next(), membership.encode());
        let entry = Entry { term, index, kind: EntryKind::Membership, payload };
        let hard_state = HardState { term, vote: Some(self.me) };
        self.write(hard_state, LogChange::Append([entry].into()))
    }

    fn write(&mut self, hard_state: HardState, change: LogChange) -> Result<(), LogError> {
        self.number = self.number.next();
        let write = Write { number: self.number, hard_state, change: Some(change) };
        self.log.stage(self.group, write);
        run_jobs(self.log)
    }
}

fn run_jobs(log: &mut WriteAheadLog) -> Result<(), LogError> {
    while let Some(job) = log.next_job() {
        log.complete(job.run())?;
    }
    log.give_up_waiting()
}

/// Copies a folder with all that is in it, durably. Its identity is not copied.
fn copy_all(from: &Path, to: &Path) -> Result<(), RecoverError> {
    let failed = |source| RecoverError::Copy { path: from.to_owned(), source };
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let failed = |why| RecoverError::Copy { path: source.clone(), source: why };
        if entry.file_type().map_err(failed)?.is_dir() {
            fs::create_dir(&target).map_err(failed)?;
            copy_all(&source, &target)?;
        } else if !super::data_dir::is_identity(&entry.file_name()) {
            fs::copy(&source, &target).map_err(failed)?;
            File::open(&target).and_then(|file| file.sync_all()).map_err(failed)?;
        }
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(failed)
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
