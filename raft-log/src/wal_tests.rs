use bytes::Bytes;
use raft_core::{EntryKind, Term};

use super::*;
use crate::SimDisk;

const G: GroupId = GroupId(1);

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn identity() -> LogIdentity {
    LogIdentity { cluster: ClusterId(7), node: node(1) }
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1 << 16, ..LogOptions::default() }
}

fn open(disk: &SimDisk) -> (WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>) {
    open_with(disk, options())
}

fn open_with(
    disk: &SimDisk,
    options: LogOptions,
) -> (WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>) {
    WriteAheadLog::open(Arc::new(disk.clone()), Path::new("log"), identity(), options).unwrap()
}

fn membership() -> Membership {
    Membership::of_voters([1, 2, 3].map(node))
}

fn entry(term: u64, index: u64, payload: &str) -> Entry {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Entry { term: Term(term), index: Index(index), kind: EntryKind::Command, payload }
}

fn write(number: u64, term: u64, change: Option<LogChange>) -> Write {
    let hard_state = HardState { term: Term(term), vote: Some(node(2)) };
    Write { number: WriteNumber(number), hard_state, change }
}

fn append(number: u64, entries: Vec<Entry>) -> Write {
    let term = entries.last().unwrap().term.0;
    write(number, term, Some(LogChange::Append(entries)))
}

/// Runs jobs until nothing is staged; answers what became durable.
fn flush(log: &mut WriteAheadLog) -> Vec<(GroupId, WriteNumber)> {
    let mut durable = BTreeMap::new();
    while let Some(job) = log.next_job() {
        durable.extend(log.complete(job.run()).unwrap());
    }
    durable.into_iter().collect()
}

fn read(log: &WriteAheadLog, from: u64, up_to: u64) -> Vec<Entry> {
    let (mut from, up_to) = (Index(from), Index(up_to));
    let mut all = Vec::new();
    while from <= up_to {
        let some = match log.read(G, from, up_to, usize::MAX) {
            Read::Entries(entries) => entries,
            Read::Later(job) => job.run().unwrap(),
            Read::Gone => panic!("{from} is gone"),
        };
        from = some.last().expect("at least one entry").index.next();
        all.extend(some);
    }
    all
}

#[test]
fn what_was_written_is_there_after_a_power_failure() {
    let disk = SimDisk::new(1);
    let (mut log, groups) = open(&disk);
    assert_eq!((log.epoch(), groups.len()), (1, 0));
    log.create_group(G, membership());
    let entries = vec![entry(1, 1, "a"), entry(1, 2, "b"), entry(1, 3, "c")];
    log.stage(G, append(1, entries.clone()));
    assert_eq!(read(&log, 1, 3), entries, "staged entries can be read");
    assert_eq!(flush(&mut log), [(G, WriteNumber(1))]);

    disk.crash_power();
    let (log, groups) = open(&disk);
    assert_eq!(log.epoch(), 2);
    assert_eq!(groups[&G].hard_state, HardState { term: Term(1), vote: Some(node(2)) });
    assert_eq!(groups[&G].shape.last(), Position::new(1, 3));
    assert_eq!(groups[&G].shape.membership(), &membership());
    assert_eq!(read(&log, 1, 3), entries);
}

#[test]
fn one_job_serves_all_groups_with_one_write_and_one_sync() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for group in 1..=100 {
        log.create_group(GroupId(group), membership());
        log.stage(GroupId(group), append(1, vec![entry(1, 1, "x")]));
    }
    let before = disk.counts();
    let job = log.next_job().unwrap();
    assert!(log.next_job().is_none(), "one job at a time");
    assert_eq!(log.complete(job.run()).unwrap().len(), 100);
    let after = disk.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
    assert!(log.next_job().is_none(), "nothing is staged");
}

#[test]
fn an_append_in_the_middle_cuts_what_stood_there() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    log.stage(G, append(1, (1..=5).map(|index| entry(1, index, "old")).collect()));
    flush(&mut log);
    log.stage(G, append(2, vec![entry(2, 3, "new")]));
    let expected = [entry(1, 1, "old"), entry(1, 2, "old"), entry(2, 3, "new")];
    assert_eq!(read(&log, 1, 3), expected);
    flush(&mut log);
    let (log, groups) = {
        disk.crash_power();
        open(&disk)
    };
    assert_eq!(groups[&G].shape.last(), Position::new(2, 3));
    assert_eq!(read(&log, 1, 3), expected);
}
