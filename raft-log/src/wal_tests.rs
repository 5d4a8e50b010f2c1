use bytes::Bytes;
use raft_core::{ClusterId, EntryKind, LogChange, Member, Membership, NodeId, Term, Write};

use super::*;
use crate::frame::frame_bytes;
use crate::{SimDisk, SyncMethod};

#[path = "collecting_tests.rs"]
mod collecting;
#[path = "compressing_tests.rs"]
mod compressing;
#[path = "damage_tests.rs"]
mod damage;
#[path = "error_tests.rs"]
mod errors;
#[path = "full_disk_tests.rs"]
mod full_disk;
#[path = "naming_tests.rs"]
mod naming;
#[path = "old_damage_tests.rs"]
mod old_damage;
#[path = "recycle_tests.rs"]
mod recycle;
#[path = "relocating_tests.rs"]
mod relocating;
#[path = "room_tests.rs"]
mod room;
#[path = "spare_tests.rs"]
mod spare;
#[path = "unreadable_tests.rs"]
mod unreadable;

const G: GroupId = GroupId(1);

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn identity() -> LogIdentity {
    LogIdentity { cluster: ClusterId(7), node: node(1) }
}

fn options() -> LogOptions {
    // What the reserve adds has tests of its own.
    LogOptions { segment_bytes: 1 << 16, reserve_segments: 0, ..LogOptions::default() }
}

type Opened = (WriteAheadLog, Groups);
type Groups = BTreeMap<GroupId, RecoveredGroup>;

fn open(disk: &SimDisk) -> Opened {
    open_with(disk, options())
}

fn open_with(disk: &SimDisk, options: LogOptions) -> Opened {
    try_open_with(disk, options).unwrap()
}

fn try_open(disk: &SimDisk) -> Result<Opened, LogError> {
    try_open_with(disk, options())
}

fn try_open_with(disk: &SimDisk, options: LogOptions) -> Result<Opened, LogError> {
    WriteAheadLog::open(Arc::new(disk.clone()), Path::new("log"), identity(), options)
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
    for sync_method in [SyncMethod::Direct, SyncMethod::Fdatasync] {
        survives_a_power_failure(LogOptions { sync_method, ..options() });
    }
}

fn survives_a_power_failure(options: LogOptions) {
    let disk = SimDisk::new(1);
    let (mut log, groups) = open_with(&disk, options);
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

/// Whoever decided without the outgoing majority after a restart could elect a second leader.
#[test]
fn a_joint_membership_is_joint_after_a_restart() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    let (voters, outgoing) = ([1, 2, 4].map(node), [1, 2, 3].map(node));
    let members = (1..=4).map(|id| (node(id), Member::default())).collect();
    let joint = Membership::new(voters.into(), outgoing.into(), [].into(), members).unwrap();
    let change = Entry { kind: EntryKind::Membership, payload: joint.encode(), ..entry(1, 2, "") };
    log.stage(G, append(1, vec![entry(1, 1, "a"), change, entry(1, 3, "b")]));
    flush(&mut log);
    let (_, groups) = reopen(&disk);
    assert!(joint.is_joint());
    assert_eq!(groups[&G].shape.membership(), &joint);
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

fn reopen(disk: &SimDisk) -> Opened {
    disk.crash_power();
    open(disk)
}

fn big(term: u64, from: u64, count: u64) -> Vec<Entry> {
    (from..from + count).map(|index| entry(term, index, &"x".repeat(1000))).collect()
}

fn reset(number: u64, floor: Position) -> Write {
    let membership = Box::new(Membership::of_voters([node(9)]));
    let change = LogChange::Reset { floor, membership };
    write(number, 5, Some(change))
}

#[test]
fn a_reset_keeps_what_follows_where_the_log_holds_its_position() {
    for durable_first in [true, false] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        log.create_group(G, membership());
        log.stage(G, append(1, (1..=6).map(|index| entry(2, index, "x")).collect()));
        if durable_first {
            flush(&mut log);
        }
        log.stage(G, reset(2, Position::new(2, 4)));
        assert!(matches!(log.read(G, Index(4), Index(6), 100), Read::Gone));
        assert_eq!(read(&log, 5, 6).len(), 2);
        flush(&mut log);
        let (log, groups) = reopen(&disk);
        assert_eq!(groups[&G].shape.floor(), Position::new(2, 4));
        assert_eq!(groups[&G].shape.last(), Position::new(2, 6));
        assert_eq!(groups[&G].shape.membership(), &Membership::of_voters([node(9)]));
        assert_eq!(read(&log, 5, 6), [entry(2, 5, "x"), entry(2, 6, "x")]);
    }
}

#[test]
fn a_reset_drops_everything_where_the_log_holds_another_entry_or_ends_before() {
    for floor in [Position::new(3, 4), Position::new(2, 9)] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        log.create_group(G, membership());
        log.stage(G, append(1, (1..=6).map(|index| entry(2, index, "x")).collect()));
        flush(&mut log);
        log.stage(G, reset(2, floor));
        flush(&mut log);
        let (mut log, groups) = reopen(&disk);
        assert_eq!((groups[&G].shape.floor(), groups[&G].shape.last()), (floor, floor));
        let next = entry(5, floor.index.0 + 1, "next");
        log.stage(G, append(3, vec![next.clone()]));
        assert_eq!(read(&log, next.index.0, next.index.0), [next]);
    }
}

#[test]
fn trimming_and_collecting_bound_the_disk_and_votes_survive_both() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let silent = GroupId(2);
    log.create_group(silent, membership());
    let hard_state = HardState { term: Term(77), vote: Some(node(3)) };
    log.stage(silent, Write { number: WriteNumber(1), hard_state, change: None });
    log.create_group(G, membership());
    let mut collected = 0;
    for round in 0..200 {
        log.stage(G, append(round + 1, big(1, round * 10 + 1, 10)));
        flush(&mut log);
        log.trim(G, Index(round * 10 + 5));
        if let Some(job) = log.collect() {
            let done = job.run().unwrap();
            collected += done.segments;
            log.collected(done);
        }
        let stats = log.stats();
        assert!(stats.disk_bytes <= 5 << 16, "round {round}: {stats:?}");
        assert_eq!(stats.disk_bytes + stats.spare_bytes, disk.used_bytes());
    }
    assert!(collected > 20, "{collected} segments collected");
    let (log, groups) = reopen(&disk);
    assert_eq!(groups[&silent].hard_state, hard_state, "its record is long gone");
    assert_eq!(groups[&silent].shape.membership(), &membership());
    assert!(groups[&G].shape.floor().index > Index(1900), "{:?}", groups[&G].shape.floor());
    assert_eq!(read(&log, 1996, 2000), big(1, 1996, 5));
}

#[test]
fn a_group_that_keeps_its_entries_keeps_the_segments() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let keeper = GroupId(2);
    log.create_group(keeper, membership());
    log.stage(keeper, append(1, vec![entry(1, 1, "kept")]));
    log.create_group(G, membership());
    for round in 0..50 {
        log.stage(G, append(round + 1, big(1, round * 10 + 1, 10)));
        flush(&mut log);
        log.trim(G, Index(round * 10 + 10));
    }
    assert!(log.collect().is_none());
    log.remove_group(keeper);
    for round in 50..70 {
        log.stage(G, append(round + 1, big(1, round * 10 + 1, 10)));
        flush(&mut log);
    }
    let job = log.collect().expect("nothing holds the first segments any more");
    assert!(job.run().unwrap().segments > 5);
    assert!(!reopen(&disk).1.contains_key(&keeper));
}

#[test]
fn what_the_cache_has_dropped_is_read_from_disk_in_pieces() {
    let disk = SimDisk::new(1);
    let limit = 20_000;
    let (mut log, _) = open_with(&disk, LogOptions { cache_bytes: limit, ..options() });
    log.create_group(G, membership());
    for round in 0..20 {
        log.stage(G, append(round + 1, big(1, round * 10 + 1, 10)));
    }
    assert!(log.stats().cached_bytes > 200_000, "what is not durable stays: {:?}", log.stats());
    flush(&mut log);
    assert!(log.stats().cached_bytes <= limit);
    assert!(matches!(log.read(G, Index(200), Index(200), 1), Read::Entries(_)));
    let Read::Later(job) = log.read(G, Index(5), Index(200), 3500) else { panic!("in memory") };
    assert_eq!(job.run().unwrap(), big(1, 5, 3), "as many as the limit allows");
    let Read::Later(job) = log.read(G, Index(5), Index(200), 0) else { panic!("in memory") };
    assert_eq!(job.run().unwrap(), big(1, 5, 1), "but at least one");
    assert_eq!(read(&log, 1, 200), big(1, 1, 200));
}

#[test]
fn a_frame_larger_than_a_segment_gets_one_of_its_own_size() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    let large = entry(1, 1, &"y".repeat(300_000));
    log.stage(G, append(1, vec![large.clone()]));
    log.stage(G, append(2, vec![entry(1, 2, "small")]));
    flush(&mut log);
    let (log, _) = reopen(&disk);
    assert_eq!(read(&log, 1, 2), [large, entry(1, 2, "small")]);
}

#[test]
fn the_folder_of_another_node_or_cluster_is_refused_and_left_alone() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    flush(&mut log);
    let before = disk.counts().changes;
    for (cluster, id) in [(7, 2), (8, 1)] {
        let identity = LogIdentity { cluster: ClusterId(cluster), node: node(id) };
        let opened =
            WriteAheadLog::open(Arc::new(disk.clone()), Path::new("log"), identity, options());
        let error = opened.unwrap_err();
        assert!(matches!(error, LogError::OtherOwner { .. }), "{error}");
    }
    assert_eq!(disk.counts().changes, before);
    open(&disk);
}

#[test]
fn another_format_is_named_and_left_alone() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    flush(&mut log);
    disk.flip_bit(&segment_path(Path::new("log"), 1), 6, 0);
    let before = disk.counts().changes;
    let error = try_open(&disk).unwrap_err();
    assert!(matches!(error, LogError::UnknownFormat { version: 3, .. }), "{error}");
    assert_eq!(disk.counts().changes, before);
}

#[test]
fn a_log_that_has_no_name_for_its_next_segment_is_refused_and_left_alone() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    flush(&mut log);
    let last = segment_path(Path::new("log"), (1 << 63) - 1);
    disk.create(&last).unwrap();
    let before = disk.counts().changes;
    let error = try_open(&disk).unwrap_err();
    let of_last = matches!(&error, LogError::Damaged(damage) if damage.file == last);
    assert!(of_last && error.to_string().contains("no name is left"), "{error}");
    assert_eq!(disk.counts().changes, before);
    disk.remove(&last).unwrap();
    open(&disk);
}

#[test]
fn openings_without_a_write_neither_lose_nor_pile_up_anything() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    log.stage(G, append(1, big(1, 1, 10)));
    flush(&mut log);
    let mut epoch = log.epoch();
    for _ in 0..30 {
        let (log, _) = reopen(&disk);
        assert!(log.epoch() > epoch);
        epoch = log.epoch();
        assert_eq!(read(&log, 1, 10), big(1, 1, 10));
    }
    assert!(disk.used_bytes() < 2_000_000, "{} bytes", disk.used_bytes());
}

#[test]
fn a_durable_frame_that_goes_bad_is_reported_by_the_read() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogOptions { cache_bytes: 0, ..options() });
    log.create_group(G, membership());
    log.stage(G, append(1, big(1, 1, 10)));
    flush(&mut log);
    disk.flip_bit(&segment_path(Path::new("log"), 1), 4096 + 500, 3);
    let Read::Later(job) = log.read(G, Index(1), Index(10), 100) else { panic!("in memory") };
    let error = job.run().unwrap_err();
    let LogError::Damaged(damage) = error else { panic!("{error}") };
    assert_eq!((damage.group, damage.index), (Some(G), Some(Index(10))));
}

#[test]
fn appends_of_a_group_that_wait_together_share_a_frame() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogOptions { cache_bytes: 0, ..options() });
    log.create_group(G, membership());
    flush(&mut log);
    for index in 1..=100 {
        log.stage(G, append(index, vec![entry(1, index, "x")]));
    }
    let job = log.next_job().unwrap();
    assert_eq!(job.entries(), 100);
    assert_eq!(job.bytes() as u64, frame_bytes(12 + 100 * 17), "one header for all of them");
    assert_eq!(log.complete(job.run()).unwrap(), [(G, WriteNumber(100))]);
    let expected: Vec<Entry> = (1..=100).map(|index| entry(1, index, "x")).collect();
    assert_eq!(read(&log, 1, 100), expected);
    assert_eq!(read(&log, 40, 41), expected[39..41]);
    assert_eq!(read(&reopen(&disk).0, 1, 100), expected);
}

/// A new term, a cut, another group, or a large frame: each begins a frame of its own.
#[test]
fn appends_share_a_frame_only_where_one_follows_the_other() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    log.create_group(GroupId(2), membership());
    flush(&mut log);
    let one = frame_bytes(12 + 17) as usize;
    let mut staged = |group, term, index| {
        let before = log.stats().staged_bytes;
        log.stage(GroupId(group), append(1, vec![entry(term, index, "x")]));
        log.stats().staged_bytes - before
    };
    assert_eq!(staged(1, 1, 1), one);
    assert!(staged(1, 1, 2) < one);
    assert_eq!(staged(1, 2, 3), one, "a new term");
    assert_eq!(staged(1, 2, 2), one, "a cut");
    assert_eq!(staged(2, 2, 1), one, "another group");
    assert_eq!(staged(1, 2, 3), one, "another group in between");
    log.stage(G, append(9, big(2, 4, 60)));
    let large = log.stats().staged_bytes;
    log.stage(G, append(10, big(2, 64, 10)));
    assert_eq!(log.stats().staged_bytes - large, frame_bytes(12 + 10 * 1016) as usize);
    flush(&mut log);
    let expected: Vec<Entry> = [entry(1, 1, "x"), entry(2, 2, "x"), entry(2, 3, "x")]
        .into_iter()
        .chain(big(2, 4, 70))
        .collect();
    assert_eq!(read(&log, 1, 73), expected);
    assert_eq!(read(&reopen(&disk).0, 1, 73), expected);
}

#[test]
fn the_index_grows_with_the_frames_and_not_with_the_entries() {
    let index_bytes = |writes: u64, entries_each: u64| {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        log.create_group(G, membership());
        for round in 0..writes {
            let from = round * entries_each + 1;
            log.stage(G, append(round + 1, big(1, from, entries_each)));
            flush(&mut log);
        }
        let recovered = reopen(&disk).0.index_bytes();
        assert!(recovered <= log.index_bytes());
        recovered
    };
    let (few, many) = (index_bytes(10, 1), index_bytes(10, 100));
    assert_eq!(few, many);
    assert_eq!(index_bytes(1000, 1), 100 * few);
    assert!(few <= 10 * 64, "{few} bytes for ten frames");
}
