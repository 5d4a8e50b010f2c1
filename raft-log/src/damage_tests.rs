//! A disk loses what it had confirmed: what is left, what is known, and what goes on.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::*;
use crate::frame::FrameKind;
use crate::inspect::{Frame, for_each_frame};

const OTHER: GroupId = GroupId(2);

/// Where the frame stands that brought the group to this position, or the head of a segment.
fn find(disk: &SimDisk, is_it: impl Fn(&Frame) -> bool) -> (PathBuf, u64) {
    let mut place = None;
    for_each_frame(disk, Path::new("log"), |frame| {
        if is_it(&frame) {
            place = Some((frame.file, frame.offset));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    place.expect("such a frame")
}

fn lose(disk: &SimDisk, is_it: impl Fn(&Frame) -> bool) -> (PathBuf, u64) {
    let (path, offset) = find(disk, is_it);
    disk.flip_bit(&path, offset, 0);
    (path, offset)
}

fn brings(group: GroupId, term: u64, index: u64) -> impl Fn(&Frame) -> bool {
    let last = Position::new(term, index);
    move |frame| {
        let bodied = matches!(frame.kind, FrameKind::Append | FrameKind::Reset);
        bodied && frame.group == Some(group) && frame.last == last
    }
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

/// Entries 1 to 3 of two groups, a frame each, by turns.
fn two_groups(disk: &SimDisk) -> WriteAheadLog {
    let (mut log, _) = open(disk);
    for group in [G, OTHER] {
        log.create_group(group, membership());
    }
    for index in 1..=3 {
        stage(&mut log, G, 1, index, 1);
        stage(&mut log, OTHER, 1, index, 1);
    }
    log
}

fn left(groups: &Groups, group: GroupId) -> (Position, Option<Position>) {
    (groups[&group].shape.last(), groups[&group].damaged_up_to)
}

/// The same bytes go bad in a log whose end nothing covers, and in one that was sealed.
#[test]
fn a_torn_tail_is_cut_and_damage_is_reported() {
    for sealed in [false, true] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        log.create_group(G, membership());
        log.stage(G, append(1, vec![entry(1, 1, "first")]));
        flush(&mut log);
        log.stage(G, append(2, vec![entry(1, 2, "second")]));
        flush(&mut log);
        if sealed {
            seal(&mut log);
            log.seal();
            assert!(log.next_job().is_none(), "a second seal covers nothing more");
        }
        let place = lose(&disk, brings(G, 1, 2));
        let (log, groups) = open(&disk);
        let damaged_up_to = sealed.then_some(Position::new(1, 2));
        assert_eq!(left(&groups, G), (Position::new(1, 1), damaged_up_to));
        assert_eq!(read(&log, 1, 1), [entry(1, 1, "first")]);
        assert_eq!(groups[&G].hard_state, HardState { term: Term(1), vote: Some(node(2)) });
        match log.damage() {
            [] => assert!(!sealed),
            [Damage { file, offset, group, index, .. }] => {
                assert!(sealed);
                assert_eq!(((file.clone(), *offset), *group), (place, Some(G)));
                assert_eq!(*index, Some(Index(2)));
            }
            more => panic!("{more:?}"),
        }
    }
}

/// It is known again after every start, until the log has reached as far as it had.
#[test]
fn damage_is_remembered_until_it_is_made_good() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    seal(&mut log);
    lose(&disk, brings(G, 1, 2));
    let (_, groups) = open(&disk);
    let damaged = (Position::new(1, 1), Some(Position::new(1, 3)));
    assert_eq!(left(&groups, G), damaged);
    assert_eq!(left(&groups, OTHER), (Position::new(1, 3), None), "it has lost nothing");
    disk.crash_power();
    let (mut log, groups) = open(&disk);
    assert_eq!(left(&groups, G), damaged);
    stage(&mut log, G, 1, 2, 1);
    disk.crash_power();
    let (mut log, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::new(1, 2), Some(Position::new(1, 3))));
    stage(&mut log, G, 2, 3, 1);
    // Even where the log is shorter later: it was made good once.
    stage(&mut log, G, 2, 2, 1);
    let (log, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::new(2, 2), None));
    assert_eq!(read(&log, 1, 2).len(), 2);
    assert_eq!(log.damage().len(), 1, "the place is there for as long as the segment is");
}

/// A snapshot is as good as the entries that it covers.
#[test]
fn a_reset_above_the_damage_makes_it_good() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    seal(&mut log);
    lose(&disk, brings(G, 1, 2));
    let (mut log, _) = open(&disk);
    let reset = LogChange::Reset { floor: Position::new(1, 3), membership: membership().into() };
    log.stage(G, write(9, 1, Some(reset)));
    flush(&mut log);
    let (_, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::new(1, 3), None));
}

/// Nothing but the frame itself says that node 2 got the vote in term 4.
#[test]
fn a_log_that_may_have_lost_a_vote_is_refused() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    log.stage(G, write(4, 4, None));
    flush(&mut log);
    stage(&mut log, OTHER, 1, 4, 1);
    let vote = |frame: &Frame| frame.hard_state.term == Term(4);
    let (path, offset) = lose(&disk, vote);
    let before = disk.counts().changes;
    let error = try_open(&disk).unwrap_err();
    let LogError::Damaged(damage) = &error else { panic!("{error}") };
    assert_eq!((&damage.file, damage.offset), (&path, offset));
    assert!(damage.what.contains("Nothing later says how group 1 has voted"), "{error}");
    assert_eq!(disk.counts().changes, before, "a log that is refused was changed");
}

/// A later frame of the group, a seal, or the head of the next segment: each says again what
/// the group had promised.
#[test]
fn a_vote_survives_where_anything_later_says_it_again() {
    for how in 0..3 {
        let disk = SimDisk::new(1);
        let mut log = two_groups(&disk);
        log.stage(G, write(4, 4, None));
        flush(&mut log);
        match how {
            0 => log.stage(G, write(5, 4, None)),
            1 => log.seal(),
            _ => log.stage(OTHER, append(6, big(1, 4, 70))),
        }
        flush(&mut log);
        stage(&mut log, OTHER, 2, if how == 2 { 74 } else { 4 }, 1);
        let mut place = None;
        let first = |frame: &Frame| {
            frame.hard_state.term == Term(4)
                && *place.get_or_insert(frame.sequence) == frame.sequence
        };
        let first = std::cell::RefCell::new(first);
        lose(&disk, |frame| (first.borrow_mut())(frame));
        let (log, groups) = open(&disk);
        assert_eq!(groups[&G].hard_state, HardState { term: Term(4), vote: Some(node(2)) });
        assert_eq!(left(&groups, G), (Position::new(1, 3), None), "no entry is lost: {how}");
        assert_eq!(read(&log, 1, 3).len(), 3);
        assert_eq!(log.damage().len(), 1);
    }
}

/// The entries that follow were written in the term of those before: by the same leader,
/// which had these before them.
#[test]
fn a_group_goes_on_behind_the_damage_of_another_as_if_nothing_had_been() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    stage(&mut log, G, 1, 4, 1);
    stage(&mut log, OTHER, 1, 4, 1);
    lose(&disk, brings(G, 1, 3));
    let (log, groups) = open(&disk);
    assert_eq!(left(&groups, OTHER), (Position::new(1, 4), None));
    assert_eq!(left(&groups, G), (Position::new(1, 2), Some(Position::new(1, 4))));
    assert!(log.may_lack_groups(), "a group may have been made where the frame is missing");
    assert!(open(&disk).0.may_lack_groups(), "and that is not forgotten");
}

/// In what is lost, entries 2 to 3 of term 1 became 2 of term 3. Entry 3 of term 3 follows
/// that one and not entry 2 of term 1.
#[test]
fn entries_of_a_later_term_are_not_taken_to_follow_what_is_left() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    stage(&mut log, G, 3, 2, 1);
    stage(&mut log, G, 3, 3, 1);
    seal(&mut log);
    lose(&disk, brings(G, 3, 2));
    let (log, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::new(1, 3), Some(Position::new(3, 3))));
    assert_eq!(read(&log, 1, 3)[1].term, Term(1), "an earlier state of the log");
}

/// The log had an uncommitted entry of a later term, and was cut where the frame is missing.
/// What is left must not look as if it reached further than the log did.
#[test]
fn what_is_left_ends_before_what_was_lost() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    stage(&mut log, G, 2, 1, 5);
    let mut cut = append(2, vec![entry(1, 1, "of the leader of term 3")]);
    cut.hard_state.term = Term(3);
    log.stage(G, cut);
    flush(&mut log);
    seal(&mut log);
    lose(&disk, brings(G, 1, 1));
    let (_, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::ZERO, Some(Position::new(1, 1))));
    assert_eq!(groups[&G].hard_state.term, Term(3));
    assert_eq!(groups[&G].shape.membership(), &membership());
}

/// What is missing was trimmed before it was lost: nobody needs it.
#[test]
fn damage_below_the_floor_harms_nobody() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    log.stage(G, append(4, big(1, 4, 30)));
    flush(&mut log);
    log.trim(G, Index(33));
    // The next head says so.
    log.stage(OTHER, append(5, big(1, 4, 70)));
    flush(&mut log);
    lose(&disk, brings(G, 1, 2));
    let (log, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::new(1, 33), None));
    assert_eq!(left(&groups, OTHER), (Position::new(1, 73), None));
    assert_eq!(log.damage().len(), 1, "it is reported all the same");
    assert!(!log.may_lack_groups(), "the head has named every group");
}

#[test]
fn a_missing_segment_is_damage_and_what_is_older_is_left_alone() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.create_group(G, membership());
    for round in 0..20 {
        log.stage(G, append(round + 1, big(1, round * 10 + 1, 10)));
        flush(&mut log);
    }
    drop(log);
    disk.remove(&segment_path(Path::new("log"), 2)).unwrap();
    let (log, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::ZERO, Some(Position::new(1, 200))));
    let [damage] = log.damage() else { panic!("{:?}", log.damage()) };
    assert!(damage.what.contains("a segment before it is gone"), "{damage}");
    let names = disk.list(Path::new("log")).unwrap();
    assert!(names.contains(&format!("{:016x}.log", 1)), "{names:?}");
}

/// Its frames have the salt of the segment before, which it goes on from.
#[test]
fn the_head_of_a_segment_within_a_run_can_be_spared() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    for round in 0..20 {
        log.stage(G, append(round + 4, big(1, round * 10 + 4, 10)));
        flush(&mut log);
    }
    let newest = *log.segments.keys().next_back().unwrap();
    assert!(newest > 3, "{newest} segments");
    for epoch in 2..=newest {
        let disk = disk.copy();
        disk.flip_bit(&segment_path(Path::new("log"), epoch), 100, 0);
        let (log, groups) = open(&disk);
        assert_eq!(left(&groups, G), (Position::new(1, 203), None), "segment {epoch}");
        assert_eq!(read(&log, 1, 203).len(), 203);
        assert_eq!(left(&groups, OTHER), (Position::new(1, 3), None));
        let [damage] = log.damage() else { panic!("{:?}", log.damage()) };
        assert_eq!((damage.offset, &damage.file), (0, &segment_path(Path::new("log"), epoch)));
    }
}

/// Nothing says any more what was cut when that run began.
#[test]
fn without_the_head_that_began_a_run_the_log_begins_with_the_next_segment() {
    let disk = SimDisk::new(1);
    drop(two_groups(&disk));
    let (mut log, _) = open(&disk);
    stage(&mut log, G, 1, 4, 1);
    log.stage(G, append(5, big(1, 5, 70)));
    flush(&mut log);
    drop(log);
    disk.flip_bit(&segment_path(Path::new("log"), 2), 100, 0);
    let (mut log, groups) = open(&disk);
    assert_eq!(left(&groups, OTHER), (Position::ZERO, Some(Position::new(1, 3))));
    assert_eq!(left(&groups, G), (Position::ZERO, Some(Position::new(1, 74))));
    assert!(disk.list(Path::new("log")).unwrap().len() > 2, "what cannot be read is left alone");
    // The leader sends what is missing.
    stage(&mut log, OTHER, 1, 1, 3);
    log.stage(G, append(9, big(1, 1, 74)));
    flush(&mut log);
    let (log, groups) = open(&disk);
    assert_eq!(left(&groups, G), (Position::new(1, 74), None));
    assert_eq!(left(&groups, OTHER), (Position::new(1, 3), None));
    assert_eq!(read(&log, 1, 74).len(), 74);

    let disk = SimDisk::new(1);
    drop(two_groups(&disk));
    let (mut log, _) = open(&disk);
    stage(&mut log, G, 1, 4, 1);
    disk.flip_bit(&segment_path(Path::new("log"), 2), 100, 0);
    let error = try_open(&disk).unwrap_err();
    assert!(matches!(&error, LogError::Damaged(damage) if damage.offset == 0), "{error}");
}

#[test]
fn groups_that_come_and_go_are_known_behind_damage_once_a_seal_has_named_them() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    log.create_group(GroupId(3), membership());
    log.remove_group(OTHER);
    flush(&mut log);
    stage(&mut log, G, 1, 4, 1);
    seal(&mut log);
    lose(&disk, |frame| frame.kind == FrameKind::Removed);
    lose(&disk, |frame| frame.group == Some(GroupId(3)));
    let (log, groups) = open(&disk);
    assert_eq!(groups.keys().copied().collect::<Vec<_>>(), [G, GroupId(3)]);
    assert_eq!(left(&groups, GroupId(3)), (Position::ZERO, None));
    assert_eq!(groups[&GroupId(3)].shape.membership(), &membership());
    assert_eq!(left(&groups, G), (Position::new(1, 4), None));
    assert!(!log.may_lack_groups());
}

/// A disk that cannot read a sector says so, which a write that was torn never does.
#[test]
fn what_the_disk_cannot_read_is_damage_and_never_a_torn_tail() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    let path = segment_path(Path::new("log"), 1);
    let (_, last) = find(&disk, brings(OTHER, 1, 3));
    let lose = |offset: u64| {
        let disk = disk.copy();
        disk.lose_sector(&path, offset);
        disk
    };
    // The last write, which nothing covers: it may have been confirmed.
    let error = try_open(&lose(last)).unwrap_err();
    assert!(error.to_string().contains("cannot read what was written last"), "{error}");
    // Where the next write would begin.
    assert!(try_open(&lose(last + 4096)).is_err());
    // Where nothing can have been written, as nothing stands before it.
    let (log_behind, groups) = open(&lose(last + 2 * 4096));
    assert_eq!((left(&groups, G), log_behind.damage().len()), ((Position::new(1, 3), None), 0));
    seal(&mut log);
    let (_, first) = find(&disk, brings(G, 1, 2));
    let damaged = lose(first);
    let (log, groups) = open(&damaged);
    assert_eq!(left(&groups, G), (Position::new(1, 1), Some(Position::new(1, 3))));
    assert_eq!(left(&groups, OTHER), (Position::new(1, 3), None));
    let [damage] = log.damage() else { panic!("{:?}", log.damage()) };
    assert_eq!((&damage.file, damage.offset), (&path, first));
    // The head of the only segment, and all of it.
    assert!(matches!(try_open(&lose(0)), Err(LogError::Damaged(_))));
    let bytes = disk.content(&path).len() as u64;
    (0..bytes).step_by(512).for_each(|offset| damaged.lose_sector(&path, offset));
    assert!(matches!(try_open(&damaged), Err(LogError::Io { .. })));
}

/// A frame begins in a block that can be read and ends in one that cannot, whether what stood
/// there were zeros, which its checksum would fit, or not.
#[test]
fn a_frame_is_none_where_the_disk_cannot_read_its_end() {
    for byte in ["x", "\0"] {
        let disk = SimDisk::new(1);
        let options = LogOptions { compress_above_bytes: usize::MAX, ..options() };
        let (mut log, _) = open_with(&disk, options);
        let path = segment_path(Path::new("log"), 1);
        log.create_group(G, membership());
        stage(&mut log, G, 1, 1, 1);
        stage(&mut log, G, 1, 2, 2);
        log.stage(G, append(4, vec![entry(1, 4, &byte.repeat(6000))]));
        flush(&mut log);
        let (_, first) = find(&disk, brings(G, 1, 1));
        let (_, last) = find(&disk, brings(G, 1, 4));
        // Nothing covers it: it may have been confirmed, whatever else is lost.
        for more in [None, Some(first)] {
            let disk = disk.copy();
            disk.lose_sector(&path, last + 4096);
            more.into_iter().for_each(|offset| disk.flip_bit(&path, offset, 0));
            let error = try_open(&disk).unwrap_err();
            assert!(error.to_string().contains("cannot read what was written last"), "{error}");
        }
        // Of a write that was torn before that nothing was confirmed.
        let torn = disk.copy();
        torn.lose_sector(&path, last + 4096);
        torn.zero(&path, last, 4096);
        assert_eq!(left(&open(&torn).1, G), (Position::new(1, 3), None));
        seal(&mut log);
        disk.lose_sector(&path, last + 4096);
        let (log, groups) = open(&disk);
        assert_eq!(left(&groups, G), (Position::new(1, 3), Some(Position::new(1, 4))));
        let [damage] = log.damage() else { panic!("{:?}", log.damage()) };
        assert_eq!((&damage.file, damage.offset), (&path, last));
    }
}

/// Whatever frames are lost of a log with a few groups: it is refused, or each group is what
/// it was or an earlier state of that, with its vote and where it had ended.
#[test]
fn any_two_frames_may_be_lost() {
    let disk = SimDisk::new(1);
    let mut log = two_groups(&disk);
    stage(&mut log, G, 2, 3, 2);
    seal(&mut log);
    log.stage(OTHER, append(5, big(1, 4, 70)));
    flush(&mut log);
    stage(&mut log, G, 2, 5, 1);
    stage(&mut log, OTHER, 3, 60, 2);
    stage(&mut log, G, 2, 6, 1);
    seal(&mut log);
    drop(log);
    let (whole, expected) = open(&disk.copy());
    let entries = |log: &WriteAheadLog, group: GroupId| {
        let shape = log.shape(group).unwrap();
        let (from, up_to) = (shape.floor().index.next(), shape.last().index);
        match log.read(group, from, up_to, usize::MAX) {
            Read::Later(job) => job.run().unwrap(),
            Read::Entries(entries) => entries,
            Read::Gone => panic!("{group}"),
        }
    };
    let mut frames = Vec::new();
    for_each_frame(&disk, Path::new("log"), |frame| {
        frames.push((frame.file, frame.offset));
        ControlFlow::Continue(())
    })
    .unwrap();
    let (mut refused, mut damaged, mut unharmed) = (0, 0, 0);
    for (first, one) in frames.iter().enumerate() {
        for another in &frames[first..] {
            // The last write and the seal that alone vouches for it: a torn tail to anybody.
            if *one == frames[frames.len() - 2] && another != one {
                continue;
            }
            let disk = disk.copy();
            for (path, offset) in [one, another].into_iter().collect::<BTreeSet<_>>() {
                disk.flip_bit(path, *offset, 0);
            }
            for again in 0..2 {
                let (log, groups) = match try_open(&disk) {
                    Ok(opened) => opened,
                    Err(LogError::Damaged(_)) if again == 0 => {
                        refused += 1;
                        break;
                    }
                    Err(why) => panic!("{one:?} and {another:?}: {why}"),
                };
                for (group, is) in &groups {
                    let was = &expected[group];
                    let what = format!("{group} without {one:?} and {another:?}: {is:?}");
                    assert_eq!(is.hard_state, was.hard_state, "{what}");
                    if let Some(ended) = is.damaged_up_to {
                        damaged += 1;
                        assert_eq!(ended, was.shape.last(), "{what}");
                        assert!(is.shape.last() < ended, "{what}");
                        continue;
                    }
                    unharmed += 1;
                    assert_eq!(is.shape, was.shape, "{what}");
                    assert_eq!(entries(&log, *group), entries(&whole, *group), "{what}");
                }
                assert_eq!(groups.len(), expected.len(), "without {one:?} and {another:?}");
            }
        }
    }
    assert!(refused > 0 && damaged > 20 && unharmed > 100, "{refused} {damaged} {unharmed}");
}
