//! A disk cannot read what was written last, in the places where that is hard to tell; or it can
//! read again what it could not.

use std::ops::ControlFlow;

use super::*;
use crate::disk::Disk;
use crate::frame::{BLOCK, FrameKind, align_up};
use crate::inspect::for_each_frame;

const OTHER: GroupId = GroupId(2);

fn segment(epoch: u64) -> PathBuf {
    segment_path(Path::new("log"), epoch)
}

/// Where the frame begins in this segment that brought the group to this index, and where it ends.
fn place(disk: &SimDisk, epoch: u64, group: GroupId, index: u64) -> (u64, u64) {
    let mut place = None;
    for_each_frame(disk, Path::new("log"), |frame| {
        let brings = frame.kind == FrameKind::Append && frame.last.index == Index(index);
        if brings && frame.group == Some(group) && frame.file == segment(epoch) {
            place = Some((frame.offset, frame.offset + u64::from(frame.bytes)));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    place.expect("such a frame")
}

fn last(groups: &Groups, group: GroupId) -> u64 {
    groups[&group].shape.last().index.0
}

/// The last write brought an entry to each of two groups, of 6,000 bytes and of so many, and was
/// confirmed; then the power failed.
fn one_write_of_two_frames(second_bytes: usize) -> SimDisk {
    let disk = SimDisk::new(1);
    let options = LogOptions { compress_above_bytes: usize::MAX, ..options() };
    let (mut log, _) = open_with(&disk, options);
    log.create_group(G, membership());
    log.create_group(OTHER, membership());
    flush(&mut log);
    log.seal();
    flush(&mut log);
    log.stage(G, append(1, vec![entry(1, 1, &"x".repeat(6000))]));
    log.stage(OTHER, append(1, vec![entry(1, 1, &"y".repeat(second_bytes))]));
    let job = log.next_job().unwrap();
    assert_eq!(log.complete(job.run()).unwrap().len(), 2);
    drop(log);
    disk.crash_power();
    disk
}

fn is_refused(disk: &SimDisk) {
    let error = try_open(disk).unwrap_err();
    assert!(error.to_string().contains("cannot read what was written last"), "{error}");
}

/// Of the copies that an opening made of the last write only the first reached the disk, and of the
/// second one the original can no longer be read.
#[test]
fn the_last_write_may_stand_in_the_segment_before_that_of_a_torn_opening() {
    let disk = one_write_of_two_frames(6000);
    drop(open(&disk));
    let ((original, _), (copy, _)) = (place(&disk, 1, OTHER, 1), place(&disk, 2, OTHER, 1));
    disk.zero(&segment(2), align_up(copy, BLOCK), BLOCK);
    let (_, groups) = open(&disk.copy());
    assert_eq!((last(&groups, G), last(&groups, OTHER)), (1, 1));
    disk.lose_sector(&segment(1), align_up(original, BLOCK));
    is_refused(&disk);
}

/// What an opening has copied ends in the block before the first write of the next run, and neither
/// can be read; of the copy that does not matter, as the original can.
#[test]
fn the_first_write_behind_copies_may_be_lost_together_with_the_last_of_them() {
    for vote in [false, true] {
        let disk = one_write_of_two_frames(12_000);
        let (mut log, _) = open(&disk);
        let confirmed = append(2, vec![entry(1, 2, "confirmed")]);
        log.stage(G, if vote { write(2, 5, None) } else { confirmed });
        assert_eq!(flush(&mut log).len(), 1);
        drop(log);
        disk.crash_power();
        let end = align_up(place(&disk, 2, OTHER, 1).1, BLOCK);
        for sector in ((end - BLOCK)..(end + BLOCK)).step_by(512) {
            disk.lose_sector(&segment(2), sector);
        }
        is_refused(&disk);
    }
}

#[test]
fn a_copy_that_cannot_be_read_harms_nobody_where_the_original_can() {
    let disk = one_write_of_two_frames(6000);
    drop(open(&disk));
    disk.crash_power();
    disk.lose_sector(&segment(2), align_up(place(&disk, 2, OTHER, 1).0, BLOCK));
    let (_, groups) = open(&disk);
    assert_eq!((last(&groups, G), last(&groups, OTHER)), (1, 1));
}

/// Otherwise the sector would pass for one that held something of the log, at the next start or
/// where the power fails before the file is a segment.
#[test]
fn a_file_that_the_disk_cannot_read_becomes_no_segment() {
    for (bad, stops) in [(40_000, 12), (2 * BLOCK, 0)] {
        for seed in 1..10 {
            for stop in 0..=stops {
                let disk = SimDisk::new(seed);
                let (mut log, _) = open(&disk);
                log.create_group(G, membership());
                log.stage(G, append(1, vec![entry(1, 1, "entry")]));
                flush(&mut log);
                log.seal();
                flush(&mut log);
                drop(log);
                let spare = Path::new("log").join("0100000000000002.spare");
                let file = disk.create(&spare).unwrap();
                file.write_at(0, &vec![7; 1 << 16]).unwrap();
                file.sync().unwrap();
                disk.sync_dir(Path::new("log")).unwrap();
                disk.lose_sector(&spare, bad);
                if stop > 0 {
                    disk.stop_at(stop);
                }
                drop(try_open(&disk));
                disk.crash_power();
                let (_, groups) = open(&disk);
                assert_eq!(last(&groups, G), 1, "seed {seed}, stopped at {stop}");
            }
        }
    }
}

/// A later head was written without it, and says less.
#[test]
fn a_head_that_can_be_read_again_is_no_contradiction() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    log.stage(G, append(1, big(1, 1, 10)));
    flush(&mut log);
    log.trim(G, Index(5));
    while log.tail.epoch == 1 {
        let last = log.shape(G).unwrap().last().index.0;
        log.stage(G, append(2, big(1, last + 1, 10)));
        flush(&mut log);
    }
    drop(log);
    disk.lose_sector(&segment(2), 0);
    drop(open(&disk));
    disk.mend();
    let (log, groups) = open(&disk);
    let end = last(&groups, G);
    let Read::Later(job) = log.read(G, Index(6), Index(end), usize::MAX) else { panic!() };
    assert_eq!(job.run().unwrap().len() as u64, end - 5);
}

/// It was set back twice, with an entry in between, and is where it was set back to at last.
#[test]
fn what_was_lost_twice_can_be_read_again() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    for index in 1..=6 {
        log.stage(G, append(index, vec![entry(1, index, "entry")]));
        flush(&mut log);
    }
    log.seal();
    flush(&mut log);
    drop(log);
    disk.lose_sector(&segment(1), place(&disk, 1, G, 3).0);
    let (mut log, _) = open(&disk);
    log.stage(G, append(7, vec![entry(1, 3, "entry")]));
    flush(&mut log);
    drop(log);
    disk.lose_sector(&segment(1), place(&disk, 1, G, 2).0);
    drop(open(&disk));
    disk.mend();
    for _ in 0..2 {
        let (_, groups) = open(&disk);
        let (last, damaged) = (groups[&G].shape.last(), groups[&G].damaged_up_to);
        assert_eq!((last, damaged), (Position::new(1, 1), Some(Position::new(1, 6))));
    }
}
