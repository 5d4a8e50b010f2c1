//! The file of the next segment, prepared beforehand.

use super::*;
use crate::PrepareError;

const SEGMENT: u64 = 1 << 16;

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new("log")).unwrap()
}

/// Appends entries of 1000 bytes and makes them durable; answers up to which index.
fn fill(log: &mut WriteAheadLog, count: u64) -> u64 {
    let last = log.shape(G).unwrap().last().index.0;
    log.stage(G, append(last + 1, big(1, last + 1, count)));
    flush(log);
    last + count
}

/// A log in its first segment, of which more than half is written.
fn half_full(disk: &SimDisk) -> WriteAheadLog {
    let (mut log, _) = open(disk);
    log.create_group(G, membership());
    fill(&mut log, 20);
    assert!(log.prepare().is_none(), "there is room enough");
    fill(&mut log, 20);
    log
}

#[test]
fn a_switch_takes_the_prepared_file_and_writes_no_zeros() {
    let disk = SimDisk::new(1);
    let mut log = half_full(&disk);
    let job = log.prepare().expect("half of the segment is written");
    assert!(log.prepare().is_none(), "one at a time");
    log.prepared(job.run()).unwrap();
    assert_eq!(names(&disk), ["0000000000000001.log", "0100000000000002.spare"]);
    assert_eq!(log.stats().spare_bytes, SEGMENT);

    let before = disk.counts();
    let last = fill(&mut log, 40);
    let after = disk.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (2, 3));
    assert!(after.written_bytes - before.written_bytes < SEGMENT, "{before:?}, {after:?}");
    assert_eq!(names(&disk), ["0000000000000001.log", "0000000000000002.log"]);
    let stats = log.stats();
    assert_eq!((stats.begun_segments, stats.prepared_segments, stats.spare_bytes), (1, 1, 0));
    assert_eq!(stats.named_segments, 0, "its name was not ready");

    let (log, _) = reopen(&disk);
    assert_eq!(read(&log, 1, last), big(1, 1, last));
}

#[test]
fn a_file_that_is_not_ready_at_the_switch_serves_the_next_one() {
    let disk = SimDisk::new(1);
    let mut log = half_full(&disk);
    let job = log.prepare().unwrap();
    fill(&mut log, 40);
    log.prepared(job.run()).unwrap();
    assert_eq!(names(&disk)[1..], ["0000000000000002.log", "0100000000000002.spare"]);
    let last = fill(&mut log, 40);
    assert_eq!(names(&disk)[1..], ["0000000000000002.log", "0000000000000003.log"]);
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (2, 1));
    assert_eq!(read(&reopen(&disk).0, 1, last), big(1, 1, last));
}

#[test]
fn a_segment_of_another_size_is_created_and_the_prepared_file_waits() {
    let disk = SimDisk::new(1);
    let mut log = half_full(&disk);
    let job = log.prepare().unwrap();
    log.prepared(job.run()).unwrap();
    let last = fill(&mut log, 100);
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (1, 0));
    let last = last.max(fill(&mut log, 40));
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (2, 1));
    assert_eq!(read(&reopen(&disk).0, 1, last), big(1, 1, last));
}

#[test]
fn a_prepared_file_that_somebody_has_removed_stops_nothing() {
    let disk = SimDisk::new(1);
    let mut log = half_full(&disk);
    let job = log.prepare().unwrap();
    log.prepared(job.run()).unwrap();
    disk.remove(&Path::new("log").join("0100000000000002.spare")).unwrap();
    let last = fill(&mut log, 40);
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (1, 0));
    assert_eq!(read(&reopen(&disk).0, 1, last), big(1, 1, last));
}

#[test]
fn a_full_disk_is_reported_once_and_tried_again_later_while_the_log_goes_on() {
    let disk = SimDisk::new(1);
    let mut log = half_full(&disk);
    let (before, used) = (names(&disk), disk.used_bytes());
    disk.limit_bytes(used + SEGMENT / 2);
    let job = log.prepare().unwrap();
    let why = log.prepared(job.run()).unwrap_err();
    assert!(matches!(&why, PrepareError::NotMade(why) if why.is_no_room()), "{why}");
    assert_eq!((names(&disk), disk.used_bytes()), (before.clone(), used), "nothing is left");
    assert!(log.prepare().is_none(), "not at once");

    fill(&mut log, 8);
    let job = log.prepare().expect("an eighth of a segment later");
    log.prepared(job.run()).expect("it is known already");
    assert_eq!((names(&disk), disk.used_bytes()), (before, used));

    disk.limit_bytes(u64::MAX);
    let last = fill(&mut log, 40);
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (1, 0));
    let job = log.prepare().expect("the next segment is half full");
    log.prepared(job.run()).unwrap();
    assert_eq!(read(&log, 1, last), big(1, 1, last));
}

#[test]
fn an_opening_takes_what_was_prepared_and_writes_no_zeros() {
    let disk = SimDisk::new(1);
    let mut log = half_full(&disk);
    let job = log.prepare().unwrap();
    log.prepared(job.run()).unwrap();
    disk.limit_bytes(disk.used_bytes());
    let (log, _) = reopen(&disk);
    assert_eq!(names(&disk), ["0000000000000001.log", "0000000000000002.log"]);
    assert_eq!(read(&log, 1, 40), big(1, 1, 40));
}

#[test]
fn an_opening_waits_for_few_zeros_and_has_the_next_file_prepared_at_once() {
    let disk = SimDisk::new(1);
    let options = LogOptions { segment_bytes: 16 << 20, ..options() };
    let (mut log, _) = open_with(&disk, options.clone());
    assert_eq!(disk.used_bytes(), 4 << 20);
    log.create_group(G, membership());
    let job = log.prepare().expect("it is a small one");
    log.prepared(job.run()).unwrap();
    let last = (0..5).map(|_| fill(&mut log, 1000)).last().unwrap();
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (1, 1));
    assert_eq!(log.stats().disk_bytes, 20 << 20);
    assert!(log.prepare().is_none(), "there is room enough");
    disk.crash_power();
    let (log, _) = open_with(&disk, options);
    assert_eq!(read(&log, 1, last), big(1, 1, last));
}

/// Every operation of preparing and switching is the last one before the power fails, with
/// and without the name of the next segment ready.
#[test]
fn a_power_failure_at_any_step_of_preparing_and_switching_loses_nothing_durable() {
    // What a switch does: the name, the head, two syncs, the frames and theirs; or only the head
    // and the frames, and their syncs. And nothing, where the disk stops behind it.
    for (jobs, named, steps) in [(1, 0, 7), (2, 1, 5)] {
        let (mut prepared_before, mut switched_before) = (0, 0);
        for seed in 0..60 {
            for change in 1.. {
                let disk = SimDisk::new(seed);
                let mut log = half_full(&disk);
                disk.stop_at(change);
                let prepared = (0..jobs).all(|_| {
                    let job = log.prepare().unwrap();
                    log.prepared(job.run()).is_ok()
                });
                log.stage(G, append(41, big(1, 41, 40)));
                let written = log.next_job().is_some_and(|job| log.complete(job.run()).is_ok());
                prepared_before += u32::from(prepared);
                switched_before += u32::from(written);
                if !disk.is_stopped() {
                    let stats = log.stats();
                    assert_eq!((stats.prepared_segments, stats.named_segments), (1, named));
                    break;
                }
                let at = format!("{jobs} jobs, seed {seed}, change {change}");
                let (mut log, groups) = reopen(&disk);
                let last = groups[&G].shape.last().index.0;
                assert!(last == 80 || (last == 40 && !written), "{at}: {last}");
                assert_eq!(read(&log, 1, last), big(1, 1, last), "{at}");
                assert!(!names(&disk).iter().any(|name| name.ends_with(".spare")), "{at}");
                assert!(log.damage().is_empty(), "{at}");
                let last = fill(&mut log, 40);
                assert_eq!(read(&reopen(&disk).0, 1, last), big(1, 1, last), "{at}");
            }
        }
        assert_eq!((prepared_before, switched_before), (60 * steps, 60), "{jobs} jobs");
    }
}
