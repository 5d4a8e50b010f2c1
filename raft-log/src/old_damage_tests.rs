//! Damage in logs that have run for a while: collected, opened before, restored.

use std::ops::ControlFlow;

use super::*;
use crate::frame::FrameKind;
use crate::inspect::{Frame, for_each_frame};

const OTHER: GroupId = GroupId(2);

fn frames(disk: &SimDisk) -> Vec<Frame> {
    let mut all = Vec::new();
    for_each_frame(disk, Path::new("log"), |frame| {
        all.push(frame);
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

fn stage(log: &mut WriteAheadLog, group: GroupId, term: u64, first: u64, count: u64) {
    let entries = (first..first + count).map(|index| entry(term, index, "entry")).collect();
    log.stage(group, append(first, entries));
    flush(log);
}

fn seal(log: &mut WriteAheadLog) {
    log.seal();
    flush(log);
}

/// A log whose beginning was collected, as every log is that has run for a while: entries
/// 161 to 200 of one group are left, in three segments or more, and seals among them.
fn collected(disk: &SimDisk) {
    let (mut log, _) = open(disk);
    log.create_group(G, membership());
    log.create_group(OTHER, membership());
    stage(&mut log, OTHER, 1, 1, 1);
    for index in 1..=200 {
        stage(&mut log, G, 1, index, 1);
        if index % 7 == 0 {
            seal(&mut log);
        }
        if index > 40 {
            log.trim(G, Index(index - 40));
        }
        // So that nothing of the other group stands in old segments.
        let other = log.shape(OTHER).unwrap().last().index;
        log.trim(OTHER, other.prev());
        if index % 20 == 0 {
            stage(&mut log, OTHER, 1, other.0 + 1, 1);
        }
        if let Some(job) = log.collect() {
            let done = job.run().unwrap();
            log.collected(done);
        }
    }
    seal(&mut log);
}

/// A seal, or a frame of another group, says nothing that this group lacks.
#[test]
fn in_a_collected_log_one_lost_frame_costs_the_other_groups_nothing() {
    let disk = SimDisk::new(1);
    collected(&disk);
    let (_, whole) = open(&disk.copy());
    let floor = whole[&G].shape.floor().index.0;
    let all = frames(&disk);
    let first_epoch = all[0].file.clone();
    println!("floor {floor}, first file {first_epoch:?}");
    let mut wrong = Vec::new();
    let last = all.last().unwrap().sequence;
    let harmless = |frame: &&Frame| {
        let other = frame.group == Some(OTHER) && frame.kind == FrameKind::Append;
        (frame.kind == FrameKind::Seal || other) && frame.sequence < last - 1
    };
    for frame in all.iter().filter(harmless) {
        let disk = disk.copy();
        disk.flip_bit(&frame.file, frame.offset, 0);
        match try_open(&disk) {
            Ok((_, groups)) => {
                if let Some(up_to) = groups[&G].damaged_up_to {
                    let left = groups[&G].shape.last();
                    wrong.push(format!(
                        "{:?} {} of {:?}: left {left}, damaged up to {up_to}",
                        frame.kind, frame.sequence, frame.file
                    ));
                }
            }
            Err(why) => wrong.push(format!("{:?} {}: {why}", frame.kind, frame.sequence)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// "Nothing is cut" (FORMAT.md, rule 5), "the files are left as they are" (`damage()`).
#[test]
fn what_is_damaged_is_left_in_its_file() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    let mut index = 0;
    while log.tail.epoch < 3 {
        index += 1;
        stage(&mut log, G, 1, index, 1);
    }
    drop(log);
    let all = frames(&disk);
    let of_second = |frame: &&Frame| frame.file.ends_with("0000000000000002.log");
    let place = all.iter().filter(of_second).max_by_key(|frame| frame.offset).unwrap();
    disk.flip_bit(&place.file, place.offset, 0);
    let len = || SimDisk::open(&disk, &place.file).unwrap().len().unwrap();
    let end = place.offset + u64::from(place.bytes);
    assert!(len() >= end);
    let (log, _) = open(&disk);
    assert_eq!(log.damage().len(), 1);
    assert_eq!(log.damage()[0].offset, place.offset);
    assert!(len() >= end, "the frame at {} to {end} was cut off at {}", place.offset, len());
}

/// A disk that reads it right the next time, or an operator who has restored the file: what
/// was lost is there again, whatever was written without it.
#[test]
fn what_was_damaged_and_can_be_read_again_counts_again() {
    for writes in 0..4 {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        log.create_group(G, membership());
        for index in 1..=4 {
            stage(&mut log, G, 1, index, 1);
        }
        seal(&mut log);
        drop(log);
        let all = frames(&disk);
        let place = all.iter().find(|frame| frame.last == Position::new(1, 3)).unwrap();
        disk.flip_bit(&place.file, place.offset, 0);
        let (mut log, groups) = open(&disk);
        assert_eq!(groups[&G].damaged_up_to, Some(Position::new(1, 4)));
        if writes > 0 {
            log.stage(G, write(9, 2, None));
            flush(&mut log);
        }
        if writes > 1 {
            drop(log);
            (log, _) = open(&disk);
            log.stage(G, write(9, 2, None));
            seal(&mut log);
        }
        if writes > 2 {
            // The leader has sent one of the two.
            stage(&mut log, G, 1, 3, 1);
        }
        drop(log);
        disk.flip_bit(&place.file, place.offset, 0);
        for opening in 1..=2 {
            let (log, groups) = open(&disk);
            let (last, damaged) = (groups[&G].shape.last(), groups[&G].damaged_up_to);
            let expected = match writes {
                3 => (Position::new(1, 3), Some(Position::new(1, 4))),
                _ => (Position::new(1, 4), None),
            };
            assert_eq!((last, damaged), expected, "{writes} writes, opening {opening}");
            assert_eq!(read(&log, 1, last.index.0).len() as u64, last.index.0);
            let term = if (1..=2).contains(&writes) { 2 } else { 1 };
            assert_eq!(groups[&G].hard_state.term, Term(term));
        }
    }
}

/// A log of entries 1 to 6 of group 1 at term 1, a frame each and a seal behind them, of which
/// the third can no longer be read; and where that stands.
fn third_of_six_lost() -> (SimDisk, Frame) {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    for index in 1..=6 {
        stage(&mut log, G, 1, index, 1);
    }
    seal(&mut log);
    drop(log);
    let third = frames(&disk).into_iter().find(|frame| frame.last == Position::new(1, 3)).unwrap();
    disk.flip_bit(&third.file, third.offset, 0);
    (disk, third)
}

/// As above, where a snapshot has taken the place of what was left meanwhile: with it the log
/// does not reach as far as it did, and the group must not vote as if it did.
#[test]
fn what_can_be_read_again_behind_a_snapshot_of_the_leader_stays_lost() {
    let (disk, place) = third_of_six_lost();
    let (mut log, groups) = open(&disk);
    assert_eq!(groups[&G].shape.last(), Position::new(1, 2));
    log.reset_group(G, Position::new(1, 4), membership());
    seal(&mut log);
    drop(log);
    disk.flip_bit(&place.file, place.offset, 0);
    for _ in 0..2 {
        let (_, groups) = open(&disk);
        let (last, damaged) = (groups[&G].shape.last(), groups[&G].damaged_up_to);
        assert_eq!((last, damaged), (Position::new(1, 4), Some(Position::new(1, 6))));
    }
}

/// What was lost can be read again, and something else since cannot: the group is where it was set
/// back to, knows that, and has voted as the later head or frame says.
#[test]
fn who_was_set_back_knows_it_behind_another_gap() {
    for with_head in [true, false] {
        let (disk, third) = third_of_six_lost();
        let (mut log, groups) = open(&disk);
        assert_eq!(groups[&G].damaged_up_to, Some(Position::new(1, 6)));
        log.stage(G, write(8, 2, None));
        flush(&mut log);
        log.stage(G, write(9, 3, None));
        flush(&mut log);
        let of_term_2 = |frame: &&Frame| frame.hard_state.term == Term(2);
        let all = frames(&disk);
        let voted = all.iter().find(of_term_2).unwrap();
        if with_head {
            drop(log);
            (log, _) = open(&disk);
            log.stage(G, write(9, 3, None));
        } else {
            log.stage(G, write(10, 3, None));
        }
        flush(&mut log);
        drop(log);
        disk.flip_bit(&third.file, third.offset, 0);
        disk.flip_bit(&voted.file, voted.offset, 0);
        for _ in 0..2 {
            let (_, groups) = open(&disk);
            assert_eq!(groups[&G].shape.last(), Position::new(1, 2), "with a head: {with_head}");
            assert_eq!(groups[&G].damaged_up_to, Some(Position::new(1, 6)));
            assert_eq!(groups[&G].hard_state.term, Term(3));
        }
    }
}

/// As above, where a snapshot, or an entry, follows the gap and nothing says how far the log had
/// reached before it.
#[test]
fn what_was_lost_before_another_gap_stays_lost_behind_it() {
    for entry_follows in [true, false] {
        let (disk, _) = third_of_six_lost();
        let (mut log, _) = open(&disk);
        stage(&mut log, G, 1, 3, 1);
        let again = frames(&disk).into_iter().rfind(|frame| frame.last == Position::new(1, 3));
        if entry_follows {
            stage(&mut log, G, 1, 4, 1);
        } else {
            log.reset_group(G, Position::new(1, 4), membership());
            flush(&mut log);
        }
        log.stage(G, write(9, 2, None));
        flush(&mut log);
        drop(log);
        let again = again.unwrap();
        disk.flip_bit(&again.file, again.offset, 0);
        for _ in 0..2 {
            let (_, groups) = open(&disk);
            let damaged = groups[&G].damaged_up_to;
            assert_eq!(damaged, Some(Position::new(1, 6)), "an entry follows: {entry_follows}");
        }
    }
}

/// As above, where what could not be read is the making of a group, of which nothing else is.
#[test]
fn a_group_whose_making_can_be_read_again_is_there_again() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(OTHER, membership());
    flush(&mut log);
    log.create_group(G, membership());
    flush(&mut log);
    stage(&mut log, OTHER, 1, 1, 1);
    drop(log);
    let all = frames(&disk);
    let made = all.iter().find(|frame| frame.group == Some(G)).unwrap();
    disk.flip_bit(&made.file, made.offset, 0);
    let (mut log, groups) = open(&disk);
    assert!(log.may_lack_groups() && !groups.contains_key(&G));
    stage(&mut log, OTHER, 1, 2, 1);
    seal(&mut log);
    drop(log);
    disk.flip_bit(&made.file, made.offset, 0);
    for _ in 0..2 {
        let (log, groups) = open(&disk);
        assert!(log.may_lack_groups(), "there may have been others");
        assert_eq!(groups[&G].shape.membership(), &membership());
        assert_eq!(groups[&OTHER].shape.last(), Position::new(1, 2));
    }
}

/// The seal says what the membership is where nothing is left.
#[test]
fn what_is_left_of_a_group_keeps_the_membership_that_is_known() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(OTHER, membership());
    flush(&mut log);
    log.create_group(G, membership());
    flush(&mut log);
    stage(&mut log, G, 1, 1, 1);
    stage(&mut log, G, 1, 2, 1);
    seal(&mut log);
    drop(log);
    for frame in frames(&disk) {
        if frame.group == Some(G) && frame.last.index.0 <= 1 && frame.kind != FrameKind::Head {
            disk.flip_bit(&frame.file, frame.offset, 0);
        }
    }
    let (_, groups) = open(&disk);
    assert_eq!(groups[&G].damaged_up_to, Some(Position::new(1, 2)));
    assert_eq!(groups[&G].shape.membership(), &membership());
}

/// Nothing that is left says who the members are.
#[test]
fn a_group_whose_making_is_lost_does_not_pass_for_whole() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(OTHER, membership());
    flush(&mut log);
    log.create_group(G, membership());
    flush(&mut log);
    log.stage(G, write(1, 3, None));
    flush(&mut log);
    stage(&mut log, OTHER, 1, 1, 1);
    drop(log);
    let all = frames(&disk);
    let made = |frame: &&Frame| frame.group == Some(G) && frame.kind == FrameKind::Reset;
    let place = all.iter().find(made).unwrap();
    disk.flip_bit(&place.file, place.offset, 0);
    let error = try_open(&disk).unwrap_err();
    assert!(error.to_string().contains("Group 1 was made there"), "{error}");
}

/// A segment without a head is spared because the one before it is there; so that one must not
/// be collected before it.
#[test]
fn a_segment_that_was_spared_stays_readable_when_those_before_it_are_collected() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    let mut index = 0;
    let mut first_of_third = 0;
    while log.tail.epoch < 4 {
        index += 1;
        stage(&mut log, G, 1, index, 1);
        if log.tail.epoch == 3 && first_of_third == 0 {
            first_of_third = index;
        }
    }
    drop(log);
    disk.flip_bit(&segment_path(Path::new("log"), 3), 100, 0);
    let (mut log, groups) = open(&disk);
    assert_eq!(groups[&G].damaged_up_to, None, "spared");
    log.trim(G, Index(first_of_third + 2));
    let from = log.tail.epoch;
    while log.tail.epoch < from + 3 {
        index += 1;
        stage(&mut log, G, 1, index, 1);
    }
    let done = log.collect().expect("at least the first segment goes").run().unwrap();
    log.collected(done);
    assert!(log.segments.contains_key(&3));
    drop(log);
    let (_, groups) = open(&disk);
    let (left, ended) = (groups[&G].shape.last(), groups[&G].damaged_up_to);
    assert_eq!((left, ended), (Position::new(1, index), None), "nothing else was damaged");
}
