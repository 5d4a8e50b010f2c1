//! What the log says of the room it has, and what the reserve is for.

use super::*;
use crate::{Disk, Outstanding, Room};

const SEGMENT: u64 = 1 << 16;

fn with_reserve() -> LogOptions {
    LogOptions { reserve_segments: 1, ..options() }
}

/// Has every file made, and named, that the log wants; how many jobs that were.
fn prepare_all(log: &mut WriteAheadLog) -> usize {
    let mut made = 0;
    while let Some(job) = log.prepare() {
        if log.prepared(job.run()).is_ok() && log.room() == Room::Plenty {
            made += 1;
        }
    }
    made
}

/// Appends `count` entries of 1000 bytes and makes them durable.
fn fill(log: &mut WriteAheadLog, count: u64) {
    let last = log.shape(G).unwrap().last().index.0;
    log.stage(G, append(last + 1, big(1, last + 1, count)));
    flush(log);
}

/// A log with its reserve, on a disk that has room for nothing more.
fn full(seed: u64) -> (SimDisk, WriteAheadLog) {
    let disk = SimDisk::new(seed);
    let (mut log, _) = open_with(&disk, with_reserve());
    log.create_group(G, membership());
    fill(&mut log, 1);
    assert_eq!(prepare_all(&mut log), 1, "the reserve is made at once");
    assert_eq!(log.stats().spare_bytes, SEGMENT);
    disk.limit_bytes(disk.used_bytes());
    assert_eq!(disk.space(Path::new("log")).unwrap().free_bytes, 0);
    (disk, log)
}

#[test]
fn the_reserve_stands_beside_the_file_that_the_next_switch_takes() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, with_reserve());
    log.create_group(G, membership());
    assert_eq!(prepare_all(&mut log), 1);
    fill(&mut log, 40);
    assert_eq!(prepare_all(&mut log), 2, "half is written: one gets its name, another is made");
    assert_eq!(log.stats().spare_bytes, 2 * SEGMENT);
    fill(&mut log, 40);
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (1, 1));
    assert_eq!(log.stats().spare_bytes, SEGMENT, "the reserve is still there");
    fill(&mut log, 1);
    let (log, _) = open_with(&disk, with_reserve());
    assert_eq!(read(&log, 1, 81), big(1, 1, 81));
}

#[test]
fn room_is_low_before_the_reserve_is_touched_and_exhausted_at_half_of_it() {
    let (_disk, mut log) = full(1);
    let mut changes = vec![(log.room(), 0)];
    for written in 1.. {
        fill(&mut log, 1);
        prepare_all(&mut log);
        if changes.last().unwrap().0 != log.room() {
            changes.push((log.room(), written));
        }
        if log.room() == Room::Exhausted {
            break;
        }
    }
    let [(Room::Plenty, 0), (Room::Low, low), (Room::Exhausted, exhausted)] = changes[..] else {
        panic!("{changes:?}");
    };
    // An entry takes a block of its own here, and a segment has 16; the head takes one.
    assert_eq!((low, exhausted), (13, 22), "{changes:?}");
    assert_eq!(log.stats().begun_segments, 1, "the reserve has been begun");
    // Terms and votes still fit, many times over.
    for number in 100..104 {
        log.stage(G, write(number, number, None));
        flush(&mut log);
    }
}

#[test]
fn room_that_is_made_is_found_when_the_log_tries_again() {
    let (disk, mut log) = full(1);
    while log.room() == Room::Plenty {
        fill(&mut log, 1);
        prepare_all(&mut log);
    }
    disk.limit_bytes(u64::MAX);
    assert!(log.prepare().is_none(), "the log knows no time");
    assert_eq!(log.room(), Room::Low);
    log.try_again();
    assert_eq!(prepare_all(&mut log), 1);
    assert_eq!((log.room(), log.stats().spare_bytes), (Room::Plenty, 2 * SEGMENT));
}

#[test]
fn what_waits_for_room_takes_a_file_that_becomes_free() {
    let (disk, mut log) = full(1);
    log.stage(G, append(2, big(1, 2, 100)));
    let job = log.next_job().unwrap();
    assert_eq!(log.complete(job.run()).unwrap(), [], "more than a segment of its own");
    assert_eq!(log.room(), Room::Exhausted);
    assert_eq!(log.outstanding(Instant(7)), None, "it waits for room, and not for the disk");
    disk.limit_bytes(u64::MAX);
    assert!(log.next_job().is_none());
    log.try_again();
    flush(&mut log);
    assert_eq!(log.room(), Room::Plenty);
    let (log, _) = open_with(&disk, with_reserve());
    assert_eq!(read(&log, 1, 101), big(1, 1, 101));
}

#[test]
fn a_full_disk_is_opened_again_with_the_reserve_and_takes_terms_and_votes() {
    let (disk, mut log) = full(1);
    fill(&mut log, 10);
    disk.crash_power();
    let (mut log, _) = open_with(&disk, with_reserve());
    assert_eq!(log.stats().spare_bytes, 0, "it has become the first segment");
    log.stage(G, write(1, 5, None));
    flush(&mut log);
    assert_eq!(prepare_all(&mut log), 0);
    assert_ne!(log.room(), Room::Plenty);
    disk.crash_power();
    // Another start needs a file that there is no room for.
    disk.limit_bytes(u64::MAX);
    let (log, groups) = open_with(&disk, with_reserve());
    assert_eq!(groups[&G].hard_state.term, Term(5));
    assert_eq!(read(&log, 1, 11), big(1, 1, 11));
}

#[test]
fn trimming_gives_segments_back_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, with_reserve());
    log.create_group(G, membership());
    let mut segments = Vec::new();
    for written in 0..200 {
        if written == 50 {
            disk.limit_bytes(disk.used_bytes());
        }
        fill(&mut log, 1);
        prepare_all(&mut log);
        let last = log.shape(G).unwrap().last().index;
        log.trim(G, last);
        if let Some(job) = log.collect() {
            log.collected(job.run().unwrap());
        }
        segments.push(log.stats().segments);
    }
    assert!(log.stats().begun_segments > 10, "{:?}", log.stats());
    assert!(segments.iter().all(|count| *count <= 3), "{segments:?}");
}

#[test]
fn a_write_under_way_is_named_with_its_file_and_since_when() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    assert_eq!(log.outstanding(Instant(1)), None);
    let job = log.next_job().unwrap();
    let path = segment_path(Path::new("log"), 1);
    let outstanding = Outstanding { path, since: Instant(2) };
    assert_eq!(log.outstanding_since(), None, "nobody has said what time it is");
    assert_eq!(log.outstanding(Instant(2)), Some(outstanding.clone()));
    assert_eq!(log.outstanding(Instant(9)), Some(outstanding));
    assert_eq!(log.outstanding_since(), Some(Instant(2)));
    log.complete(job.run()).unwrap();
    assert_eq!((log.outstanding(Instant(9)), log.outstanding_since()), (None, None));
}
