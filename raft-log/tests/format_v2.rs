//! A log of format 2 as it was written once, with everything that format 1 cannot say. Every
//! later build must read it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, LogShape, Membership,
    NodeId, Position, RecoveredGroup, Term, Write, WriteNumber,
};
use raft_log::inspect::{Frame, FrameKind, for_each_frame};
use raft_log::{Disk, LogIdentity, LogOptions, Read, RealDisk, SimDisk, SyncMethod, WriteAheadLog};

/// Goes on and on, with large commands that are compressed, and is trimmed.
const BUSY: GroupId = GroupId(1);
/// Keeps all it has, which was relocated out of a segment that is gone.
const IDLE: GroupId = GroupId(2);
/// Has lost its last two entries, which only heads say any more.
const DAMAGED: GroupId = GroupId(3);
/// Is removed behind the last head: the last seal says so.
const REMOVED: GroupId = GroupId(4);
/// Votes behind the last head, and is restated by the last seal.
const VOTING: GroupId = GroupId(5);

const BUSY_ENTRIES: u64 = 24;
/// So many of them are left in the end.
const KEPT: u64 = 3;

type Groups = BTreeMap<GroupId, (RecoveredGroup, Vec<Entry>)>;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2/log")
}

fn open(disk: Arc<dyn Disk>, dir: &Path) -> (WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>) {
    let identity = LogIdentity { cluster: ClusterId(7), node: node(1) };
    let options = LogOptions {
        segment_bytes: 3 * 4096,
        cache_bytes: 0,
        sync_method: SyncMethod::Fdatasync,
        reserve_segments: 0,
        relocate_above_segments: 2,
        compress_above_bytes: 100,
    };
    WriteAheadLog::open(disk, dir, identity, options).unwrap()
}

/// Writes the log and closes it with a seal.
fn write() -> SimDisk {
    let (disk, dir) = (SimDisk::new(2), Path::new("log"));
    let (mut log, _) = open(Arc::new(disk.clone()), dir);
    for group in [BUSY, IDLE, DAMAGED, REMOVED, VOTING] {
        log.create_group(group, voters(3));
    }
    log.stage(IDLE, append(1, idle()[..2].to_vec()));
    log.stage(REMOVED, append(1, vec![command(1, 1, b"of a group that goes")]));
    log.stage(DAMAGED, append(1, left()));
    run(&mut log);
    log.stage(IDLE, append(2, idle()[2..].to_vec()));
    log.stage(DAMAGED, append(2, vec![command(1, 3, b"lost"), command(2, 4, b"lost as well")]));
    run(&mut log);
    log.seal();
    run(&mut log);
    drop(log);
    lose(&disk, |frame| frame.group == Some(DAMAGED) && frame.last == ended());

    let (mut log, _) = open(Arc::new(disk.clone()), dir);
    for entry in busy() {
        let index = entry.index;
        log.stage(BUSY, append(index.0, vec![entry]));
        run(&mut log);
        log.trim(BUSY, Index(index.0.saturating_sub(KEPT)));
        if let Some(job) = log.relocate() {
            log.relocated(job.run()).unwrap();
            run(&mut log);
        }
        if let Some(job) = log.collect() {
            log.collected(job.run().unwrap());
        }
    }
    log.remove_group(REMOVED);
    log.stage(VOTING, Write { number: WriteNumber(1), hard_state: vote(7), change: None });
    run(&mut log);
    log.seal();
    run(&mut log);
    disk
}

/// What [`write`] leaves behind.
fn written() -> Groups {
    let group = |term, floor, entries: Vec<Entry>, damaged_up_to| {
        let mut shape = LogShape::new(floor, voters(3));
        entries.iter().for_each(|entry| shape.append(entry));
        (RecoveredGroup { hard_state: vote(term), shape, damaged_up_to }, entries)
    };
    let (all, trimmed) = (busy(), (BUSY_ENTRIES - KEPT) as usize);
    let floor = all[trimmed - 1].position();
    BTreeMap::from([
        (BUSY, group(3, floor, all[trimmed..].to_vec(), None)),
        (IDLE, group(2, Position::ZERO, idle(), None)),
        (DAMAGED, group(2, Position::ZERO, left(), Some(ended()))),
        (VOTING, group(7, Position::ZERO, Vec::new(), None)),
    ])
}

/// Opens the log and reads all of it.
fn read(disk: Arc<dyn Disk>, dir: &Path) -> Groups {
    let (log, groups) = open(disk, dir);
    let mut contents = Groups::new();
    for (group, recovered) in groups {
        let (mut from, last) = (recovered.shape.floor().index.next(), recovered.shape.last().index);
        let mut entries: Vec<Entry> = Vec::new();
        while from <= last {
            entries.extend(match log.read(group, from, last, usize::MAX) {
                Read::Entries(entries) => entries,
                Read::Later(job) => job.run().unwrap(),
                Read::Gone => panic!("group {group} is gone right after it was recovered"),
            });
            from = entries.last().expect("a read without an entry").index.next();
        }
        contents.insert(group, (recovered, entries));
    }
    contents
}

#[test]
fn a_log_of_format_2_holds_every_group_and_entry_and_goes_on() {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    // The second time it is this build's files as well that are read.
    for opening in 1..=2 {
        assert_eq!(read(Arc::new(RealDisk), copy.path()), written(), "opening {opening}");
    }
}

/// What the fixture is there for, frame by frame.
#[test]
fn the_fixture_says_everything_that_format_1_cannot_say() {
    let (mut relocated, mut compressed, mut restating_seals) = (Vec::new(), 0, 0);
    for_each_frame(&RealDisk, &fixture(), |frame| {
        let payloads: usize = frame.entries.iter().map(|entry| entry.payload.len()).sum();
        compressed += usize::from(payloads > frame.bytes as usize);
        restating_seals += usize::from(frame.kind == FrameKind::Seal && frame.bytes > 88);
        if frame.kind == FrameKind::Relocate {
            relocated.extend(frame.group);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(relocated.contains(&IDLE) && relocated.contains(&DAMAGED), "{relocated:?}");
    assert!(compressed > 2 && restating_seals > 0, "{compressed} {restating_seals}");
    let mut names = RealDisk.list(&fixture()).unwrap();
    names.retain(|name| name.ends_with(".log"));
    // What was lost stood in the first segment, and so did what was relocated first.
    assert!(&*names[0] > "0000000000000002.log", "{names:?}");
    assert!(names.len() > 2, "{names:?}");
}

/// What the fixture was made with: every run writes the same, beside the build. From there it was
/// copied by hand, and stays as it is for as long as format 2 is read.
#[test]
fn what_this_build_writes_holds_the_same_as_the_fixture() {
    let disk = write();
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("v2-log");
    if made.exists() {
        fs::remove_dir_all(&made).unwrap();
    }
    fs::create_dir_all(&made).unwrap();
    let names = disk.list(Path::new("log")).unwrap();
    for name in names.iter().filter(|name| name.ends_with(".log")) {
        fs::write(made.join(name), disk.content(&Path::new("log").join(name))).unwrap();
    }
    assert_eq!(read(Arc::new(RealDisk), &made), written());
}

/// Flips a bit of the frame.
fn lose(disk: &SimDisk, is_it: impl Fn(&Frame) -> bool) {
    let mut place = None;
    for_each_frame(disk, Path::new("log"), |frame| {
        if is_it(&frame) {
            place = Some((frame.file, frame.offset));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let (path, offset) = place.expect("such a frame");
    disk.flip_bit(&path, offset + 90, 0);
}

fn run(log: &mut WriteAheadLog) {
    while let Some(job) = log.next_job() {
        log.complete(job.run()).unwrap();
    }
}

fn busy() -> Vec<Entry> {
    (1..=BUSY_ENTRIES).map(|at| command(3, at, format!("{at:0>400}").as_bytes())).collect()
}

fn idle() -> Vec<Entry> {
    let blank = Entry { kind: EntryKind::Blank, ..command(1, 1, b"") };
    vec![blank, command(1, 2, b"kept"), command(2, 3, &[7; 200]), command(2, 4, b"kept as well")]
}

/// What is left of the damaged group.
fn left() -> Vec<Entry> {
    vec![command(1, 1, b"left"), command(1, 2, b"left as well")]
}

/// Where the damaged group had ended.
fn ended() -> Position {
    Position::new(2, 4)
}

fn append(number: u64, entries: Vec<Entry>) -> Write {
    let hard_state = vote(entries[entries.len() - 1].term.0);
    let change = Some(LogChange::Append(entries));
    Write { number: WriteNumber(number), hard_state, change }
}

fn vote(term: u64) -> HardState {
    HardState { term: Term(term), vote: Some(node(1)) }
}

fn command(term: u64, index: u64, payload: &[u8]) -> Entry {
    let payload = Bytes::copy_from_slice(payload);
    Entry { term: Term(term), index: Index(index), kind: EntryKind::Command, payload }
}

fn voters(count: u64) -> Membership {
    Membership::of_voters((1..=count).map(node))
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).expect("not zero")
}
