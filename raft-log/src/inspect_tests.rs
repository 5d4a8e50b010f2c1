use std::sync::Arc;

use raft_core::{
    ClusterId, EntryKind, LogChange, NodeId, RecoveredGroup, Term, Write, WriteNumber,
};

use super::*;
use crate::{LogOptions, SimDisk, WriteAheadLog};

const G: GroupId = GroupId(1);

fn dir() -> &'static Path {
    Path::new("log")
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn identity() -> LogIdentity {
    LogIdentity { cluster: ClusterId(7), node: node(1) }
}

fn open(disk: &SimDisk) -> Result<(WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>), LogError> {
    let options = LogOptions { segment_bytes: 1 << 16, ..LogOptions::default() };
    WriteAheadLog::open(Arc::new(disk.clone()), dir(), identity(), options)
}

fn flush(log: &mut WriteAheadLog) {
    while let Some(job) = log.next_job() {
        log.complete(job.run()).unwrap();
    }
}

fn append(log: &mut WriteAheadLog, index: u64, payload: &'static [u8]) {
    let (term, kind) = (Term(3), EntryKind::Command);
    let payload = Bytes::from_static(payload);
    let entries = vec![Entry { term, index: Index(index), kind, payload }];
    let hard_state = HardState { term, vote: Some(node(2)) };
    let change = Some(LogChange::Append(entries));
    log.stage(G, Write { number: WriteNumber(index), hard_state, change });
    flush(log);
}

/// A log of two entries in two writes: a head, a frame in the second and one in the third
/// block.
fn two_entries(disk: &SimDisk) -> WriteAheadLog {
    let (mut log, _) = open(disk).unwrap();
    log.create_group(G, Membership::of_voters([1, 2, 3].map(node)));
    append(&mut log, 1, b"first");
    append(&mut log, 2, b"second");
    log
}

fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = disk.list(dir()).unwrap().into_iter();
    names.map(|name| (name.clone(), disk.content(&dir().join(name)))).collect()
}

#[test]
fn an_intact_log_is_told_as_an_opening_finds_it_and_left_as_it_is() {
    let disk = SimDisk::new(1);
    let mut log = two_entries(&disk);
    log.create_group(GroupId(2), Membership::of_voters([node(1)]));
    log.seal();
    flush(&mut log);
    drop(log);
    let before = (contents(&disk), disk.counts().changes);
    let report = inspect(&disk, dir()).unwrap();
    for_each_frame(&disk, dir(), |_| ControlFlow::Continue(())).unwrap();
    assert!((contents(&disk), disk.counts().changes) == before, "something was changed");

    assert!(report.fault.is_none(), "{:?}", report.fault);
    assert_eq!(report.identity, Some(identity()));
    let segment = &report.segments[&1];
    assert_eq!(segment.file, segment_path(dir(), 1));
    assert_eq!(segment.bytes, disk.content(&segment.file).len() as u64);
    assert_eq!(segment.sequences, Some((1, report.last_sequence)));
    assert_eq!(segment.frames as u64, report.last_sequence);
    assert_eq!(segment.durable_upto, report.durable_upto);
    assert_eq!((segment.standing, segment.unreadable.len()), (Standing::Live, 0));

    let (_, opened) = open(&disk).unwrap();
    assert_eq!(report.groups.keys().collect::<Vec<_>>(), opened.keys().collect::<Vec<_>>());
    let (told, is) = (&report.groups[&G], &opened[&G]);
    assert_eq!(told.hard_state, is.hard_state);
    assert_eq!((told.floor, told.last), (Position::ZERO, Position::new(3, 2)));
    assert_eq!((told.entries, &told.membership), (2, is.shape.membership()));
}

#[test]
fn a_torn_tail_is_no_fault_and_its_place_is_named() {
    let disk = SimDisk::new(1);
    drop(two_entries(&disk));
    disk.flip_bit(&segment_path(dir(), 1), 2 * 4096 + 100, 0);
    let report = inspect(&disk, dir()).unwrap();
    assert!(report.fault.is_none(), "{:?}", report.fault);
    assert_eq!(report.groups[&G].last, Position::new(3, 1));
    let torn = &report.segments[&1].unreadable;
    let claims = torn[0].claims.expect("the header can still be read");
    assert_eq!((torn[0].offset, claims.group, claims.index), (2 * 4096, G, Index(2)));
    assert_eq!(claims.sequence, report.last_sequence + 1);
}

#[test]
fn damage_is_told_with_where_it_is_and_what_is_left() {
    let disk = SimDisk::new(1);
    let mut log = two_entries(&disk);
    log.seal();
    flush(&mut log);
    drop(log);
    let path = segment_path(dir(), 1);
    disk.flip_bit(&path, 2 * 4096 + 100, 0);
    let report = inspect(&disk, dir()).unwrap();
    assert!(report.fault.is_none(), "{:?}", report.fault);
    let [damage] = &report.damage[..] else { panic!("{:?}", report.damage) };
    assert!(damage.to_string().contains("(group 1, up to index 2)"), "{damage}");
    let (log, opened) = open(&disk).unwrap();
    assert_eq!(report.damage, log.damage());
    let group = &report.groups[&G];
    assert_eq!((group.last, group.damaged_up_to), (Position::new(3, 1), Some(Position::new(3, 2))));
    assert_eq!(group.damaged_up_to, opened[&G].damaged_up_to);
    assert_eq!(report.segments[&1].standing, Standing::Live);
    assert_eq!(report.segments[&1].unreadable[0].offset, 2 * 4096);
}

/// Nothing says any more what the only segment was made of.
#[test]
fn damage_that_leaves_too_little_is_a_fault_that_says_what_can_be_done() {
    let disk = SimDisk::new(1);
    drop(two_entries(&disk));
    disk.flip_bit(&segment_path(dir(), 1), 100, 0);
    let report = inspect(&disk, dir()).unwrap();
    let fault = report.fault.expect("the head cannot be read");
    assert_eq!(fault.to_string(), open(&disk).unwrap_err().to_string());
    assert!(fault.to_string().contains("restore the file"), "{fault}");
    assert!(report.groups.is_empty(), "nothing is certain");
    assert_eq!(report.segments[&1].standing, Standing::Unknown);
}

#[test]
fn a_segment_of_another_format_is_a_fault_and_the_others_are_told() {
    let disk = SimDisk::new(1);
    drop(two_entries(&disk));
    drop(open(&disk).unwrap());
    // Format 2 becomes format 3.
    disk.flip_bit(&segment_path(dir(), 1), 6, 0);
    let report = inspect(&disk, dir()).unwrap();
    assert!(matches!(report.fault, Some(LogError::UnknownFormat { version: 3, .. })));
    assert_eq!(report.segments.keys().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn every_intact_frame_is_shown_with_its_entries_until_enough_was_seen() {
    let disk = SimDisk::new(1);
    drop(two_entries(&disk));
    let mut frames = Vec::new();
    let mut take = |frame| {
        frames.push(frame);
        ControlFlow::Continue(())
    };
    for_each_frame(&disk, dir(), &mut take).unwrap();
    assert_eq!((frames[0].kind, frames[0].group, frames[0].offset), (FrameKind::Head, None, 0));
    let sequences: Vec<u64> = frames.iter().map(|frame| frame.sequence).collect();
    assert_eq!(sequences, (1..=frames.len() as u64).collect::<Vec<_>>());
    let entries: Vec<&Entry> = frames.iter().flat_map(|frame| &frame.entries).collect();
    let payloads: Vec<&[u8]> = entries.iter().map(|entry| &entry.payload[..]).collect();
    assert_eq!(payloads, [&b"first"[..], b"second"]);
    assert_eq!(entries[1].index, Index(2));

    let mut seen = 0;
    let mut stop = |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    for_each_frame(&disk, dir(), &mut stop).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_an_empty_one_holds_nothing() {
    let disk = SimDisk::new(1);
    assert!(matches!(inspect(&disk, dir()), Err(LogError::Io { .. })));
    disk.create_dir_all(dir()).unwrap();
    let report = inspect(&disk, dir()).unwrap();
    assert!(report.segments.is_empty() && report.identity.is_none() && report.fault.is_none());
}

#[test]
fn whoever_only_looks_cannot_change_anything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0000000000000001.log");
    std::fs::write(&path, b"content").unwrap();
    let disk = crate::ReadOnlyDisk;
    let other = folder.path().join("other");
    assert!(disk.create(&other).is_err() && disk.create_dir_all(&other).is_err());
    assert!(disk.rename(&path, &other).is_err() && disk.remove(&path).is_err());
    assert!(disk.sync_dir(folder.path()).is_err());
    let file = disk.open(&path).unwrap();
    assert!(file.write_at(0, b"x").is_err() && file.set_len(0).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"content");
    assert_eq!(disk.list(folder.path()).unwrap(), ["0000000000000001.log"]);
}
