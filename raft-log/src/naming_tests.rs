//! The name of the next segment, given to a file before the switch needs it.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::*;
use crate::frame::{BLOCK, FrameHeader, FrameKind};
use crate::inspect::{Standing, inspect};
use crate::{Disk, PrepareError, SimDisk, SyncMethod};

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

/// A log with 40 entries, and a file for its next segment that has no name yet.
fn with_file(disk: &SimDisk) -> WriteAheadLog {
    let (mut log, _) = open(disk);
    log.create_group(G, membership());
    fill(&mut log, 40);
    let job = log.prepare().expect("half of the segment is written");
    log.prepared(job.run()).unwrap();
    log
}

fn ready(disk: &SimDisk) -> WriteAheadLog {
    let mut log = with_file(disk);
    let job = log.prepare().expect("a file waits for its name");
    log.prepared(job.run()).unwrap();
    assert!(log.prepare().is_none(), "one is enough");
    assert_eq!(names(disk), ["0000000000000001.log", "0000000000000002.log"]);
    log
}

fn next_segment() -> PathBuf {
    segment_path(Path::new("log"), 2)
}

fn named(log: &WriteAheadLog) -> u64 {
    log.stats().named_segments
}

#[test]
fn the_write_that_switches_changes_no_folder_where_the_name_is_ready() {
    for sync_method in [SyncMethod::Direct, SyncMethod::Fdatasync] {
        let disk = SimDisk::new(1);
        let mut log = ready(&disk);
        log.options.sync_method = sync_method;
        assert_eq!(log.stats().spare_bytes, SEGMENT);
        assert!(disk.names_are_durable());
        let before = disk.counts();
        let last = fill(&mut log, 40);
        let after = disk.counts();
        assert_eq!(after.folder_changes, before.folder_changes);
        // The head, and then the frames; nothing else.
        assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (2, 2));
        assert_eq!(after.changes - before.changes, 4);
        let stats = log.stats();
        assert_eq!((stats.begun_segments, stats.prepared_segments, named(&log)), (1, 1, 1));
        assert_eq!((stats.spare_bytes, stats.disk_bytes), (0, 2 * SEGMENT));
        disk.crash_power();
        assert_eq!(read(&open(&disk).0, 1, last), big(1, 1, last));
    }
}

#[test]
fn a_segment_of_another_size_takes_the_place_of_the_file_that_has_its_name() {
    let disk = SimDisk::new(1);
    let mut log = ready(&disk);
    let last = fill(&mut log, 100);
    assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (1, 0));
    assert_eq!((log.stats().spare_bytes, names(&disk).len()), (0, 2));
    disk.crash_power();
    assert_eq!(read(&open(&disk).0, 1, last), big(1, 1, last));
}

/// A thread may come to a job when it is no longer wanted.
#[test]
fn a_late_job_gives_the_name_of_a_segment_to_no_other_file() {
    let disk = SimDisk::new(1);
    let mut log = with_file(&disk);
    let late = log.prepare().expect("a file waits for its name");
    let last = fill(&mut log, 40);
    assert_eq!((log.stats().prepared_segments, named(&log)), (1, 0), "the switch has named it");
    let before = (names(&disk), disk.counts().changes);
    log.prepared(late.run()).unwrap();
    assert_eq!((names(&disk), disk.counts().changes), before);
    assert_eq!(read(&reopen(&disk).0, 1, last), big(1, 1, last));
}

#[test]
fn a_job_of_a_log_that_is_gone_does_nothing_to_the_one_that_is_opened_then() {
    for switches in [false, true] {
        let disk = SimDisk::new(1);
        let mut log = with_file(&disk);
        let late = log.prepare().expect("a file waits for its name");
        if switches {
            log.stage(G, append(41, big(1, 41, 40)));
            // It is never run, and has not taken the file.
            drop(log.next_job().unwrap());
        }
        drop(log);
        let (log, _) = open(&disk);
        let before = (names(&disk), disk.counts().changes);
        drop(late.run());
        assert_eq!((names(&disk), disk.counts().changes), before);
        assert_eq!(read(&log, 1, 40), big(1, 1, 40));
        assert_eq!(read(&reopen(&disk).0, 1, 40), big(1, 1, 40));
    }
}

#[test]
fn a_file_that_cannot_be_named_is_removed_and_the_log_goes_on() {
    // The placeholder, its sync, and the name.
    for change in 1..=3 {
        let disk = SimDisk::new(1);
        let mut log = with_file(&disk);
        let job = log.prepare().expect("a file waits for its name");
        disk.fail_at(change, ErrorKind::Other);
        let why = log.prepared(job.run()).unwrap_err();
        assert!(matches!(why, PrepareError::NotNamed(_)), "{why}");
        assert_eq!(names(&disk), ["0000000000000001.log"]);
        assert_eq!((log.room(), log.stats().spare_bytes), (crate::Room::Plenty, 0));
        let last = fill(&mut log, 40);
        assert_eq!((log.stats().begun_segments, log.stats().prepared_segments), (1, 0));
        while let Some(job) = log.prepare() {
            log.prepared(job.run()).unwrap();
        }
        let last = last.max(fill(&mut log, 40));
        assert_eq!(named(&log), 1, "of the next one");
        disk.crash_power();
        assert_eq!(read(&open(&disk).0, 1, last), big(1, 1, last));
    }
}

/// What else had changed in it since the last sync may never be durable.
#[test]
fn a_folder_that_cannot_be_synced_ends_the_log_as_it_does_at_a_switch() {
    let disk = SimDisk::new(1);
    let mut log = with_file(&disk);
    let job = log.prepare().expect("a file waits for its name");
    disk.fail_at(4, ErrorKind::StorageFull);
    let why = log.prepared(job.run()).unwrap_err();
    assert!(matches!(&why, PrepareError::Final(why) if why.to_string().contains("log")), "{why}");
    log.stage(G, append(41, big(1, 41, 1)));
    assert!(log.next_job().is_none() && log.prepare().is_none());
    disk.crash_power();
    assert_eq!(read(&open(&disk).0, 1, 40), big(1, 1, 40));
}

#[test]
fn an_opening_makes_its_first_segment_of_the_file_that_has_a_name_also_on_a_full_disk() {
    for crash in [SimDisk::crash_process, SimDisk::crash_power] {
        let disk = SimDisk::new(1);
        drop(ready(&disk));
        crash(&disk);
        disk.limit_bytes(disk.used_bytes());
        let before = disk.counts().written_bytes;
        let (log, _) = open(&disk);
        assert_eq!(names(&disk), ["0000000000000001.log", "0000000000000003.log"]);
        assert_eq!(log.epoch(), 3, "what had the name may have been the second segment");
        assert_eq!((log.damage(), log.stats().disk_bytes), (&[][..], disk.used_bytes()));
        assert!(disk.counts().written_bytes - before < SEGMENT, "no zeros");
        assert_eq!(read(&log, 1, 40), big(1, 1, 40));
    }
}

#[test]
fn a_file_of_another_size_than_segments_have_now_is_removed() {
    let disk = SimDisk::new(1);
    drop(ready(&disk));
    let options = LogOptions { segment_bytes: SEGMENT / 2, ..options() };
    let (log, _) = open_with(&disk, options);
    assert_eq!(names(&disk), ["0000000000000001.log", "0000000000000003.log"]);
    assert_eq!(read(&log, 1, 40), big(1, 1, 40));
}

/// Nothing was ever written to the file that anybody was told of.
#[test]
fn nothing_that_happens_to_the_file_is_damage_of_the_log() {
    let disk = SimDisk::new(1);
    drop(ready(&disk));
    let check = |disk: &SimDisk, what: &str| {
        let report = inspect(disk, Path::new("log")).unwrap();
        assert!(report.fault.is_none() && report.damage.is_empty(), "{what}: {report:?}");
        assert_eq!(report.segments[&2].standing, Standing::Dead);
        let (log, _) = open(disk);
        assert_eq!((log.damage(), log.epoch()), (&[][..], 3), "{what}");
        assert_eq!(read(&log, 1, 40), big(1, 1, 40), "{what}");
    };
    check(&disk.copy(), "untouched");
    for block in (0..SEGMENT).step_by(BLOCK as usize) {
        let lost = disk.copy();
        lost.lose_sector(&next_segment(), block);
        check(&lost, &format!("the block at {block} cannot be read"));
        let zeroed = disk.copy();
        zeroed.zero(&next_segment(), block, BLOCK);
        check(&zeroed, &format!("the block at {block} is zeroed"));
    }
    for bit in 0..24 * 8 {
        let flipped = disk.copy();
        flipped.flip_bit(&next_segment(), bit / 8, (bit % 8) as u8);
        check(&flipped, &format!("bit {bit} is another one"));
    }
}

/// A head that was durable and is not there any more, behind which frames are.
#[test]
fn a_placeholder_in_the_place_of_a_lost_head_takes_no_frame_with_it() {
    let disk = SimDisk::new(1);
    let mut log = ready(&disk);
    let placeholder = disk.content(&next_segment())[..BLOCK as usize].to_vec();
    let last = fill(&mut log, 40);
    assert_eq!(named(&log), 1);
    drop(log);
    let file = disk.open(&next_segment()).unwrap();
    file.write_at(0, &placeholder).unwrap();
    file.sync().unwrap();
    let (log, groups) = open(&disk);
    assert_eq!(groups[&G].damaged_up_to, None);
    assert_eq!(read(&log, 1, last), big(1, 1, last));
}

/// A payload that clients have chosen may be left in the file, full of frames of the epoch to
/// come. Nobody knows which salt they would need.
#[test]
fn frames_that_somebody_has_put_into_the_file_are_none_without_the_salt() {
    let disk = SimDisk::new(1);
    let log = ready(&disk);
    let file = disk.open(&next_segment()).unwrap();
    let put = |salt: u32| {
        for offset in (BLOCK..SEGMENT).step_by(BLOCK as usize) {
            let header = FrameHeader {
                kind: FrameKind::Seal,
                group: GroupId(0),
                epoch: 2,
                salt,
                sequence: 1_000_000 + offset,
                durable_upto: 999_999,
                hard_state: HardState::default(),
                last: Position::ZERO,
            };
            let mut frame = Vec::new();
            header.encode(offset, &mut frame, |_| {});
            file.write_at(offset, &frame).unwrap();
        }
        file.sync().unwrap();
    };
    put(!log.salt);
    let (opened, _) = open(&disk.copy());
    assert_eq!((opened.damage(), read(&opened, 1, 40)), (&[][..], big(1, 1, 40)));
    put(log.salt);
    let opened = try_open(&disk.copy());
    assert!(opened.is_err() || !opened.unwrap().0.damage().is_empty(), "with it they are");
}
