//! The same log and snapshots on the disk of the machine.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId,
    Position, RecoveredGroup, Term, Write, WriteNumber,
};
use raft_log::{
    CollectJob, Disk, LogIdentity, LogOptions, Read, ReadJob, RealDisk, SnapshotReader,
    SnapshotReceiver, SnapshotStore, SnapshotWriter, SyncMethod, WriteAheadLog, WriteDone,
    WriteJob,
};

const G: GroupId = GroupId(1);

fn node() -> NodeId {
    NodeId::new(1).unwrap()
}

fn open(dir: &Path) -> (WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>) {
    let identity = LogIdentity { cluster: ClusterId(7), node: node() };
    let options =
        LogOptions { segment_bytes: 256 << 10, cache_bytes: 64 << 10, ..LogOptions::default() };
    WriteAheadLog::open(Arc::new(RealDisk), dir, identity, options).unwrap()
}

fn entry(index: u64) -> Entry {
    let payload = Bytes::from(format!("{index:0>900}"));
    Entry { term: Term(1), index: Index(index), kind: EntryKind::Command, payload }
}

#[test]
fn a_log_thread_writes_while_the_owner_stages_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("deep/below/log");
    let (mut log, groups) = open(&dir);
    assert!(groups.is_empty());
    log.create_group(G, Membership::of_voters([node()]));
    let mut running: Option<thread::JoinHandle<WriteDone>> = None;
    let hard_state = HardState { term: Term(1), vote: Some(node()) };
    for index in 1..=2000 {
        let change = Some(LogChange::Append(vec![entry(index)]));
        log.stage(G, Write { number: WriteNumber(index), hard_state, change });
        if running.as_ref().is_some_and(thread::JoinHandle::is_finished) {
            log.complete(running.take().unwrap().join().unwrap()).unwrap();
        }
        if let Some(job) = log.next_job() {
            running = Some(thread::spawn(|| job.run()));
        }
    }
    log.complete(running.unwrap().join().unwrap()).unwrap();
    while let Some(job) = log.next_job() {
        log.complete(job.run()).unwrap();
    }
    log.trim(G, Index(1000));
    drop(log);

    let (log, groups) = open(&dir);
    assert_eq!(groups[&G].shape.last(), Position::new(1, 2000));
    let mut from = Index(1);
    while from <= Index(2000) {
        let Read::Later(job) = log.read(G, from, Index(2000), 50_000) else { panic!("cached") };
        for read in job.run().unwrap() {
            assert_eq!(read, entry(from.0));
            from = from.next();
        }
    }
}

#[test]
fn collected_segments_leave_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let (mut log, _) = open(root.path());
    log.create_group(G, Membership::of_voters([node()]));
    let hard_state = HardState { term: Term(1), vote: Some(node()) };
    for round in 0..30 {
        let entries = (round * 100 + 1..=round * 100 + 100).map(entry).collect();
        let change = Some(LogChange::Append(entries));
        log.stage(G, Write { number: WriteNumber(round + 1), hard_state, change });
        let job = log.next_job().expect("something is staged");
        log.complete(job.run()).unwrap();
        log.trim(G, Index(round * 100 + 50));
        if let Some(job) = log.collect() {
            log.collected(job.run().unwrap());
        }
    }
    let names = RealDisk.list(root.path()).unwrap();
    let segments = names.iter().filter(|name| name.ends_with(".log")).count();
    assert!(segments <= 5 && names.len() <= 9, "{names:?}");
    assert_eq!(segments, log.stats().segments);
    assert!(log.stats().recycled_segments > 0);
    let (_, groups) = open(root.path());
    assert_eq!(groups[&G].shape.last(), Position::new(1, 3000));
}

#[test]
fn snapshots_are_written_and_read() {
    let root = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 / 3) as u8).collect();
    let open = || SnapshotStore::open(Arc::new(RealDisk), root.path(), 1).unwrap();
    let mut store = open();
    let mut writer =
        store.writer(G, Position::new(2, 50), Membership::of_voters([node()])).unwrap();
    writer.write_all(&content).unwrap();
    let meta = writer.finish().unwrap();
    std::fs::write(root.path().join("unfinished.tmp"), b"half").unwrap();

    let store = open();
    assert_eq!(store.newest(G), Some(&meta));
    assert_eq!(RealDisk.list(root.path()).unwrap().len(), 1);
    let mut read = Vec::new();
    store.reader(G, Index(50)).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, content);
}

#[test]
fn a_disk_says_what_is_missing_and_what_exists() {
    let root = tempfile::tempdir().unwrap();
    let kind = |error: std::io::Error| error.kind();
    let missing = root.path().join("missing");
    assert_eq!(kind(RealDisk.list(&missing).unwrap_err()), std::io::ErrorKind::NotFound);
    assert_eq!(kind(RealDisk.open(&missing).unwrap_err()), std::io::ErrorKind::NotFound);
    let file = RealDisk.create(&missing).unwrap();
    assert_eq!(kind(RealDisk.create(&missing).unwrap_err()), std::io::ErrorKind::AlreadyExists);
    file.write_at(10, b"abc").unwrap();
    file.set_len(12).unwrap();
    let mut bytes = [9; 20];
    assert_eq!(file.read_at(8, &mut bytes).unwrap(), 4);
    assert_eq!(bytes[..4], *b"\0\0ab");
}

#[test]
fn jobs_and_transfers_can_be_sent_to_other_threads() {
    fn sendable<T: Send + 'static>() {}
    sendable::<(WriteJob, WriteDone, ReadJob, CollectJob)>();
    sendable::<(SnapshotWriter, SnapshotReceiver, SnapshotReader)>();
    sendable::<(WriteAheadLog, SnapshotStore)>();
}

/// The same bytes, whichever way they become durable: one log can be opened with the other.
#[test]
fn both_ways_of_writing_make_the_same_log() {
    let root = tempfile::tempdir().unwrap();
    let hard_state = HardState { term: Term(1), vote: Some(node()) };
    let methods = [SyncMethod::Fdatasync, SyncMethod::Direct, SyncMethod::Fdatasync];
    for (round, sync_method) in (0..).zip(methods) {
        let identity = LogIdentity { cluster: ClusterId(7), node: node() };
        let options = LogOptions {
            segment_bytes: 1 << 20,
            cache_bytes: 0,
            sync_method,
            ..LogOptions::default()
        };
        let disk = Arc::new(RealDisk);
        let (mut log, groups) = WriteAheadLog::open(disk, root.path(), identity, options).unwrap();
        if groups.is_empty() {
            log.create_group(G, Membership::of_voters([node()]));
        }
        for number in 1..=100 {
            let entries = vec![entry(round * 100 + number)];
            let change = Some(LogChange::Append(entries));
            log.stage(G, Write { number: WriteNumber(number), hard_state, change });
            let job = log.next_job().expect("something is staged");
            let _: Vec<_> = log.complete(job.run()).unwrap();
        }
        let mut from = Index(1);
        while from <= Index(round * 100 + 100) {
            let Read::Later(job) = log.read(G, from, Index(1000), 50_000) else { panic!("cached") };
            for read in job.run().unwrap() {
                assert_eq!(read, entry(from.0));
                from = from.next();
            }
        }
    }
}
