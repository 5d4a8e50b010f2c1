//! A disk that is full: no failed attempt may take the room that somebody frees.

use std::io::ErrorKind;

use super::*;
use crate::disk::Disk;

const SEGMENT: u64 = 1 << 16;

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new("log")).unwrap()
}

fn is_full(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if source.kind() == ErrorKind::StorageFull)
}

/// A disk with one segment, in which the group has entries up to 5.
fn with_entries(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    log.stage(G, append(1, big(1, 1, 5)));
    flush(&mut log);
    disk.crash_process();
    disk
}

#[test]
fn failed_starts_leave_no_files_behind() {
    let disk = with_entries(1);
    let (before, used) = (names(&disk), disk.used_bytes());
    for room in [0, SEGMENT / 2, SEGMENT - 1] {
        disk.limit_bytes(used + room);
        let error = try_open(&disk).unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!((names(&disk), disk.used_bytes()), (before.clone(), used));
        disk.crash_process();
    }
    disk.limit_bytes(used + SEGMENT);
    // The head is synced, its name, and then what was not covered.
    for passing in 0..3 {
        disk.fail_syncs_after(passing, 1);
        try_open(&disk).unwrap_err();
        assert_eq!((names(&disk), disk.used_bytes()), (before.clone(), used), "{passing}");
        disk.crash_process();
    }
    assert_eq!(read(&open(&disk).0, 1, 5), big(1, 1, 5));
}

#[test]
fn a_switch_without_room_leaves_no_file_behind_promises_nothing_and_is_made_good() {
    let disk = with_entries(1);
    let (mut log, _) = open(&disk);
    log.stage(G, append(2, big(1, 6, 40)));
    flush(&mut log);
    let (before, used) = (names(&disk), disk.used_bytes());
    disk.limit_bytes(used + SEGMENT / 2);
    log.stage(G, append(3, big(1, 46, 40)));
    let job = log.next_job().unwrap();
    assert_eq!(log.complete(job.run()).unwrap(), [], "nothing is durable");
    assert!(log.next_job().is_none(), "not at once");
    log.try_again();
    let job = log.next_job().unwrap();
    assert_eq!(log.complete(job.run()).unwrap(), []);
    assert_eq!((names(&disk), disk.used_bytes()), (before, used));
    let unwritten = disk.copy();
    assert_eq!(read(&open(&unwritten).0, 1, 45), big(1, 1, 45));

    disk.limit_bytes(u64::MAX);
    log.stage(G, append(4, big(1, 86, 1)));
    assert!(log.next_job().is_none(), "what came later waits as well");
    log.try_again();
    flush(&mut log);
    disk.crash_power();
    assert_eq!(read(&open(&disk).0, 1, 86), big(1, 1, 86));
}

#[test]
fn whoever_cannot_wait_for_room_is_told_why_there_is_none() {
    let disk = with_entries(1);
    let (mut log, _) = open(&disk);
    log.give_up_waiting().expect("nothing waits");
    disk.limit_bytes(disk.used_bytes());
    log.stage(G, append(2, big(1, 6, 60)));
    let job = log.next_job().unwrap();
    assert_eq!(log.complete(job.run()).unwrap(), []);
    let why = log.give_up_waiting().unwrap_err();
    assert!(is_full(&why) && why.is_no_room(), "{why}");
    let text = why.to_string();
    assert!(text.contains("log/0000000000000003.log") && text.contains("make room"), "{text}");
    log.try_again();
    assert!(log.next_job().is_none());
}

#[test]
fn a_switch_whose_sync_fails_is_final_on_a_full_disk_as_well() {
    let disk = with_entries(1);
    let (mut log, _) = open(&disk);
    log.stage(G, append(2, big(1, 6, 40)));
    flush(&mut log);
    log.stage(G, append(3, big(1, 46, 40)));
    let job = log.next_job().unwrap();
    disk.fail_next_syncs(1);
    log.complete(job.run()).unwrap_err();
    log.try_again();
    assert!(log.next_job().is_none());
}

#[test]
fn dead_files_go_before_a_new_segment_needs_their_room() {
    let disk = with_entries(1);
    for epoch in 2..=4 {
        // As power failures in the middle of a creation leave them.
        let file = disk.create(&segment_path(Path::new("log"), epoch)).unwrap();
        file.write_at(0, &[0; SEGMENT as usize]).unwrap();
    }
    disk.limit_bytes(disk.used_bytes());
    let (log, _) = open(&disk);
    assert_eq!(log.epoch(), 5);
    assert_eq!(names(&disk), ["0000000000000001.log", "0000000000000005.log"]);
    assert_eq!(read(&log, 1, 5), big(1, 1, 5));
}

#[test]
fn no_epoch_is_used_twice_whatever_stops_a_start() {
    let (mut opened, mut failed) = (0, 0);
    for seed in 0..400 {
        let mut random = raft_core::Random::new(seed);
        // Where there is nothing to copy, a start leaves a head alone.
        let is_empty = seed % 4 < 2;
        let disk = if is_empty { SimDisk::new(seed) } else { with_entries(seed) };
        let mut epoch = u64::from(!is_empty);
        for _ in 0..12 {
            disk.limit_bytes(disk.used_bytes() + random.below(3 * SEGMENT));
            match random.below(3) {
                0 => disk.stop_at(1 + random.below(12)),
                1 => disk.fail_syncs_after(random.below(4), 1),
                _ => {}
            }
            if let Ok((log, _)) = try_open(&disk) {
                assert!(log.epoch() > epoch, "seed {seed}: {} after {epoch}", log.epoch());
                epoch = log.epoch();
                opened += 1;
            } else {
                failed += 1;
            }
            disk.fail_next_syncs(0);
            if random.chance(500) {
                disk.crash_power();
            } else {
                disk.crash_process();
            }
        }
        disk.limit_bytes(u64::MAX);
        let (log, _) = try_open(&disk).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert!(log.epoch() > epoch, "seed {seed}: {} after {epoch}", log.epoch());
        if !is_empty {
            assert_eq!(read(&log, 1, 5), big(1, 1, 5), "seed {seed}");
        }
    }
    assert!(opened > 500 && failed > 500, "{opened} opened, {failed} failed");
}
