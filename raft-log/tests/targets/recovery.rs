//! Opening whatever stands in segment files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    Entry, EntryKind, GroupId, HardState, LogChange, Membership, NodeId, RecoveredGroup, Write,
    WriteNumber,
};
use raft_log::inspect::inspect;
use raft_log::{LogError, Read, SimDisk, WriteAheadLog};

use super::input::Input;
use super::segments::{self, DIR};

/// What a log holds: what opening answers, and every entry.
pub(crate) type Contents = BTreeMap<GroupId, (RecoveredGroup, Vec<Entry>)>;

/// Opens what the program writes. It is refused and left as it is, or it is what
/// `inspect` says, takes a write, and is the same after the power has failed.
pub(crate) fn run(data: &[u8]) {
    contents_of(data);
}

/// What the program's log holds, where it can be opened.
pub(crate) fn contents_of(data: &[u8]) -> Option<Contents> {
    open_and_go_on(&segments::disk(Input::new(data)))
}

/// The rules of [`run`], of any disk; answers what it holds, where it can be opened.
pub(crate) fn open_and_go_on(disk: &SimDisk) -> Option<Contents> {
    let report = inspect(disk, Path::new(DIR)).expect("the folder can be listed");
    let before = disk.counts().changes;
    let (mut log, groups) = match open(disk) {
        Ok(opened) => opened,
        Err(why) => {
            let of_us = matches!(why, LogError::Io { .. });
            // `inspect` takes whoever a head names for the owner.
            let of_others = matches!(why, LogError::OtherOwner { .. });
            assert!(!of_us, "a disk that works makes no such error: {why}");
            assert!(of_others || report.fault.is_some(), "inspect finds nothing: {why}");
            assert_eq!(disk.counts().changes, before, "refused and changed: {why}");
            return None;
        }
    };
    assert!(report.fault.is_none(), "opened in spite of {:?}", report.fault);
    assert!(groups.keys().eq(report.groups.keys()), "{groups:?}, {report:?}");
    let before = contents(&log, &groups).unwrap_or_else(|why| panic!("right after opening: {why}"));
    for (id, group) in &report.groups {
        let (recovered, entries) = &before[id];
        assert_eq!((recovered.hard_state, recovered.shape.last()), (group.hard_state, group.last));
        assert_eq!((recovered.shape.floor(), entries.len() as u64), (group.floor, group.entries));
    }
    let mut expected = before.clone();
    write(&mut log, &mut expected);
    disk.crash_power();
    let (log, groups) = open(disk).unwrap_or_else(|why| panic!("it opened before: {why}"));
    let mut found = contents(&log, &groups).expect("it could be read before");
    for (recovered, _) in expected.values_mut().chain(found.values_mut()) {
        // A group that is damaged is so until it has come to where it had ended.
        let last = recovered.shape.last();
        recovered.damaged_up_to = recovered.damaged_up_to.filter(|ended| last < *ended);
    }
    assert_eq!(found, expected);
    Some(before)
}

pub(crate) fn open(
    disk: &SimDisk,
) -> Result<(WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>), LogError> {
    let (identity, options) = (segments::identity(), segments::options());
    WriteAheadLog::open(Arc::new(disk.clone()), Path::new(DIR), identity, options)
}

/// Makes a group, and appends to it and to another one.
fn write(log: &mut WriteAheadLog, expected: &mut Contents) {
    let new = (1..).map(GroupId).find(|id| !expected.contains_key(id)).expect("there are many");
    log.create_group(new, Membership::of_voters(NodeId::new(1)));
    let old = expected.keys().next().copied();
    for (number, group) in (1..).zip([Some(new), old].into_iter().flatten()) {
        let last = log.shape(group).expect("it is there").last();
        // Nobody writes an entry of a later term than his own, whatever this disk says.
        let before = log.hard_state(group).expect("it is there");
        let hard_state = match before.term < last.term {
            true => HardState { term: last.term, vote: None },
            false => before,
        };
        let entry = Entry {
            term: hard_state.term,
            index: last.index.next(),
            kind: EntryKind::Command,
            payload: Bytes::from_static(b"written after opening"),
        };
        let change = Some(LogChange::Append(vec![entry.clone()]));
        log.stage(group, Write { number: WriteNumber(number), hard_state, change });
        let shape = log.shape(group).expect("it is there").clone();
        let (recovered, entries) = expected.entry(group).or_insert_with(|| {
            (RecoveredGroup { hard_state, shape: shape.clone(), damaged_up_to: None }, Vec::new())
        });
        (recovered.hard_state, recovered.shape) = (hard_state, shape);
        entries.push(entry);
    }
    while let Some(job) = log.next_job() {
        log.complete(job.run()).unwrap_or_else(|why| panic!("an open log is written: {why}"));
    }
}

/// Every entry of every group.
pub(crate) fn contents(
    log: &WriteAheadLog,
    groups: &BTreeMap<GroupId, RecoveredGroup>,
) -> Result<Contents, String> {
    let mut contents = Contents::new();
    for (group, recovered) in groups {
        let (mut from, last) = (recovered.shape.floor().index.next(), recovered.shape.last().index);
        let mut entries: Vec<Entry> = Vec::new();
        while from <= last {
            let some = match log.read(*group, from, last, 300) {
                Read::Entries(entries) => entries,
                Read::Later(job) => job.run().map_err(|why| why.to_string())?,
                Read::Gone => return Err(format!("{from} of group {group} is gone")),
            };
            let next = some.last().ok_or("a read without an entry")?.index.next();
            if some[0].index != from {
                return Err(format!("{} of group {group} in the place of {from}", some[0].index));
            }
            from = next;
            entries.extend(some);
        }
        contents.insert(*group, (recovered.clone(), entries));
    }
    Ok(contents)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    segments::programs()
}
