//! Idle groups in a busy log: their entries are written again, and hold nothing back.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::*;
use crate::frame::FrameKind;
use crate::inspect::for_each_frame;

const IDLE: GroupId = GroupId(2);

/// Small segments, nothing in memory, and relocation as early as it makes sense.
fn eager() -> LogOptions {
    LogOptions { cache_bytes: 0, relocate_above_segments: 2, ..options() }
}

/// A log with a group that is busy and trimmed, and another one.
struct Story {
    disk: SimDisk,
    log: WriteAheadLog,
    last: u64,
}

impl Story {
    /// The idle group has entries 1 to 6, in two frames, of two terms.
    fn new(options: LogOptions) -> Self {
        let disk = SimDisk::new(1);
        let (mut log, _) = open_with(&disk, options);
        for group in [G, IDLE] {
            log.create_group(group, membership());
        }
        let changed = Membership::of_voters([1, 2].map(node));
        let kind = EntryKind::Membership;
        let mut first: Vec<_> = (1..=4).map(|index| entry(1 + index / 3, index, "idle")).collect();
        first[1] = Entry { kind, payload: changed.encode(), ..first[1].clone() };
        log.stage(IDLE, append(1, first));
        flush(&mut log);
        log.stage(IDLE, append(2, vec![entry(2, 5, "idle"), entry(2, 6, "idle")]));
        flush(&mut log);
        Self { disk, log, last: 0 }
    }

    /// The idle group's last frame cannot be read, and what is left of it was relocated: with
    /// where that frame stands, and what the group was before.
    fn set_back() -> (Self, (PathBuf, u64), Vec<Entry>, LogShape) {
        let mut story = Self::new(eager());
        story.fill_segment();
        let lost = story.frame_of(IDLE, Position::new(2, 6));
        let (before, shape) = (story.idle(), story.log.shape(IDLE).unwrap().clone());
        story.disk.flip_bit(&lost.0, lost.1, 0);
        let (log, groups) = open_with(&story.disk, eager());
        assert_eq!(groups[&IDLE].damaged_up_to, Some(Position::new(2, 6)));
        story.log = log;
        for _ in 0..4 {
            story.fill_segment();
            story.relocate();
        }
        (story, lost, before, shape)
    }

    /// Writes a bit more than a segment to the busy group, and lets go of it.
    fn fill_segment(&mut self) {
        for _ in 0..7 {
            self.log.stage(G, append(self.last + 1, big(1, self.last + 1, 10)));
            self.last += 10;
            flush(&mut self.log);
        }
        self.log.trim(G, Index(self.last - 5));
    }

    /// What an engine does after a write.
    fn keep_house(&mut self) {
        self.relocate();
        self.collect();
    }

    fn relocate(&mut self) {
        if let Some(job) = self.log.relocate() {
            self.log.relocated(job.run()).unwrap();
        }
        flush(&mut self.log);
    }

    fn collect(&mut self) {
        if let Some(job) = self.log.collect() {
            let done = job.run().unwrap();
            self.log.collected(done);
        }
    }

    fn go_on(&mut self, segments: u64) {
        for _ in 0..segments {
            self.fill_segment();
            self.keep_house();
        }
    }

    fn reopen(&mut self, options: LogOptions) -> Groups {
        self.disk.crash_power();
        let (log, groups) = open_with(&self.disk, options);
        assert_eq!(log.damage(), []);
        self.log = log;
        groups
    }

    fn idle(&self) -> Vec<Entry> {
        entries(&self.log, IDLE)
    }

    /// Where the last frame stands by which a group's log ends here.
    fn frame_of(&self, group: GroupId, last: Position) -> (PathBuf, u64) {
        let mut found = None;
        for_each_frame(&self.disk, Path::new("log"), |frame| {
            if (frame.group, frame.last) == (Some(group), last) {
                found = Some((frame.file, frame.offset));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        found.expect("a frame")
    }

    /// How many frames of relocated entries stand in the folder.
    fn relocations(&self) -> usize {
        let mut count = 0;
        for_each_frame(&self.disk, Path::new("log"), |frame| {
            count += usize::from(frame.kind == FrameKind::Relocate);
            ControlFlow::Continue(())
        })
        .unwrap();
        count
    }
}

fn entries(log: &WriteAheadLog, group: GroupId) -> Vec<Entry> {
    let shape = log.shape(group).unwrap();
    let (mut from, last) = (shape.floor().index.next(), shape.last().index);
    let mut all = Vec::new();
    while from <= last {
        all.extend(match log.read(group, from, last, usize::MAX) {
            Read::Later(job) => job.run().unwrap(),
            Read::Entries(entries) => entries,
            Read::Gone => panic!("group {group}"),
        });
        from = all.last().expect("a read without an entry").index.next();
    }
    all
}

#[test]
fn an_idle_group_holds_nothing_back() {
    let mut held_back = Story::new(LogOptions { relocate_above_segments: 99, ..eager() });
    held_back.go_on(12);
    assert!(held_back.log.stats().segments > 12, "its first entry stands in the first segment");

    let mut story = Story::new(eager());
    let (before, shape) = (story.idle(), story.log.shape(IDLE).unwrap().clone());
    for _ in 0..12 {
        story.go_on(1);
        assert!(story.log.stats().segments <= 7, "{:?}", story.log.stats());
        assert_eq!(story.idle(), before);
    }
    let epochs: Vec<_> = story.log.segments.keys().copied().collect();
    assert!(epochs[0] > 8, "{epochs:?}");
    let relocated = story.log.stats().relocated_bytes;
    assert!((300..6000).contains(&relocated), "{relocated} bytes were written again");
    for _ in 0..2 {
        let groups = story.reopen(eager());
        assert_eq!(groups[&IDLE].shape, shape);
        assert_eq!(groups[&IDLE].hard_state, HardState { term: Term(2), vote: Some(node(2)) });
        assert_eq!(groups[&IDLE].damaged_up_to, None);
        assert_eq!(story.idle(), before);
        story.go_on(3);
    }
}

/// One entry now and then: each is relocated in its turn, so that later ones stand before
/// earlier ones, and what is gone lies between them.
#[test]
fn a_slow_group_holds_nothing_back_either() {
    let mut story = Story::new(eager());
    let mut before = story.idle();
    for round in 0..30 {
        let next = entry(3, 7 + round, "slow");
        story.log.stage(IDLE, append(round + 10, vec![next.clone()]));
        before.push(next);
        story.go_on(1);
        assert!(story.log.stats().segments <= 8, "{:?}", story.log.stats());
        assert_eq!(story.idle(), before);
        if round % 4 == 3 {
            let groups = story.reopen(eager());
            assert_eq!(groups[&IDLE].shape.last(), Position::new(3, 7 + round));
            assert_eq!(story.idle(), before, "round {round}");
        }
        if round % 7 == 6 {
            story.log.trim(IDLE, Index(round));
            before.retain(|entry| entry.index.0 > round);
        }
    }
}

/// Between the reading of entries and the writing of them anything may happen.
#[test]
fn what_was_cut_trimmed_or_removed_meanwhile_is_not_relocated() {
    let story = || {
        let mut story = Story::new(eager());
        for _ in 0..3 {
            story.fill_segment();
        }
        let job = story.log.relocate().expect("two frames hold two segments");
        assert!(story.log.relocate().is_none(), "one is under way");
        (story, job)
    };
    let (mut cut, job) = story();
    cut.log.stage(IDLE, append(3, vec![entry(7, 3, "another")]));
    let expected = cut.idle();
    cut.log.relocated(job.run()).unwrap();
    cut.go_on(6);
    assert_eq!((cut.idle(), expected.len()), (expected.clone(), 3));
    cut.reopen(eager());
    assert_eq!(cut.idle(), expected);

    let (mut trimmed, job) = story();
    trimmed.log.trim(IDLE, Index(2));
    trimmed.log.relocated(job.run()).unwrap();
    trimmed.go_on(6);
    trimmed.reopen(eager());
    assert_eq!(trimmed.idle().len(), 4);

    let (mut removed, job) = story();
    removed.log.remove_group(IDLE);
    removed.log.create_group(IDLE, membership());
    removed.log.stage(IDLE, append(1, vec![entry(9, 1, "new")]));
    removed.log.relocated(job.run()).unwrap();
    flush(&mut removed.log);
    assert_eq!(removed.relocations(), 0);
    removed.go_on(6);
    removed.reopen(eager());
    assert_eq!(removed.idle(), [entry(9, 1, "new")]);
}

/// The frame is staged, and before it is durable the entries are overwritten.
#[test]
fn what_is_cut_after_it_was_relocated_stays_cut() {
    for flushed in [false, true] {
        let mut story = Story::new(eager());
        for _ in 0..3 {
            story.fill_segment();
        }
        let job = story.log.relocate().unwrap();
        story.log.relocated(job.run()).unwrap();
        if flushed {
            flush(&mut story.log);
        }
        story.log.stage(IDLE, append(3, vec![entry(7, 3, "another")]));
        flush(&mut story.log);
        assert_eq!(story.relocations(), 1, "both frames in one");
        let expected = story.idle();
        assert_eq!((expected.len(), &expected[2]), (3, &entry(7, 3, "another")));
        story.reopen(eager());
        assert_eq!(story.idle(), expected);
        story.go_on(6);
        assert!(!story.log.segments.contains_key(&1));
        story.reopen(eager());
        assert_eq!(story.idle(), expected);
    }
}

#[test]
fn what_cannot_be_read_stays_where_it_is_and_is_tried_again_in_the_next_segment() {
    let mut story = Story::new(eager());
    for _ in 0..3 {
        story.fill_segment();
    }
    let place = story.log.groups[&IDLE].frames().before(9).next().unwrap().1;
    let path = segment_path(Path::new("log"), place.epoch);
    story.disk.flip_bit(&path, place.offset + 90, 0);
    let job = story.log.relocate().unwrap();
    let why = story.log.relocated(job.run()).unwrap_err();
    assert!(matches!(&why, LogError::Damaged(damage) if damage.group == Some(IDLE)), "{why}");
    assert!(story.log.relocate().is_none());
    story.fill_segment();
    assert!(story.log.relocate().is_some());
    assert!(story.log.segments.contains_key(&1), "what cannot be read is not removed");
}

#[test]
fn what_is_needed_to_a_large_part_is_not_relocated() {
    let mut story = Story::new(eager());
    story.log.stage(IDLE, append(3, big(2, 7, 30)));
    flush(&mut story.log);
    for _ in 0..2 {
        story.fill_segment();
        assert!(story.log.relocate().is_none());
    }
    story.log.trim(IDLE, Index(30));
    story.fill_segment();
    assert!(story.log.relocate().is_none(), "the whole frame counts");
    story.log.trim(IDLE, Index(36));
    story.log.stage(IDLE, append(4, vec![entry(3, 37, "one more")]));
    story.go_on(4);
    assert!(story.log.stats().segments <= 7, "{:?}", story.log.stats());
}

/// More than is relocated at once, and most of the first segments: it goes in portions, once the
/// log is so large that it is worth it.
#[test]
fn however_much_idle_groups_have_the_log_does_not_grow_for_ever() {
    let mut story = Story::new(eager());
    for first in (7..127).step_by(10) {
        story.log.stage(IDLE, append(first, big(2, first, 10)));
        flush(&mut story.log);
    }
    let (before, needed) = (story.idle(), story.log.stats().segments);
    assert!(needed >= 2, "{needed} segments");
    let mut most = 0;
    for round in 0..80 {
        story.go_on(1);
        most = most.max(story.log.stats().segments);
        if round % 20 == 19 {
            assert_eq!(story.idle(), before);
            story.reopen(eager());
        }
    }
    assert!((needed * 8..needed * 14).contains(&most), "{most} segments");
    let written = story.log.stats().relocated_bytes;
    assert!(written < 80 * (1 << 16) / 8, "{written} bytes");
    assert_eq!(story.idle(), before);
}

/// Any frame of a log whose idle group was relocated, while the old place is still there and
/// when it is gone. Only the loss of the sole place of entries may harm the group.
#[test]
fn any_frame_may_be_lost_while_entries_are_relocated() {
    let mut story = Story::new(eager());
    let whole = story.idle();
    let (mut harmed, mut unharmed) = (0, 0);
    for _ in 0..8 {
        story.fill_segment();
        story.keep_house();
        story.log.seal();
        flush(&mut story.log);
        let mut frames = Vec::new();
        for_each_frame(&story.disk, Path::new("log"), |frame| {
            frames.push((frame.file, frame.offset, frame.group));
            ControlFlow::Continue(())
        })
        .unwrap();
        for (path, offset, of) in frames {
            let disk = story.disk.copy();
            disk.flip_bit(&path, offset, 0);
            for _ in 0..2 {
                let (log, groups) = open_with(&disk, eager());
                let Some(ended) = groups[&IDLE].damaged_up_to else {
                    assert_eq!(entries(&log, IDLE), whole, "without {path:?} {offset}");
                    unharmed += 1;
                    continue;
                };
                // Or the head without which the log begins in the segment behind it.
                let began_run = path.ends_with("0000000000000001.log") && offset == 0;
                assert!(of == Some(IDLE) || began_run, "without {path:?} {offset}");
                assert_eq!(ended.index, Index(6));
                assert!(whole.starts_with(&entries(&log, IDLE)));
                harmed += 1;
            }
        }
    }
    assert!(harmed > 4 && unharmed > 200, "{harmed} {unharmed}");
}

/// What came back stood in a segment that is gone, and stands where it was relocated to. What was
/// relocated while the group was set back stands behind a head that says so; or an opening has
/// copied it behind the head which says that the group is whole.
#[test]
fn what_came_back_is_found_where_only_its_relocation_is_left() {
    for segments_behind in [0, 1] {
        let (mut story, (file, offset), before, shape) = Story::set_back();
        (0..segments_behind).for_each(|_| story.fill_segment());
        story.disk.flip_bit(&file, offset, 0);
        // What was relocated before is not again.
        let later = || LogOptions { relocate_above_segments: 5, ..eager() };
        story.reopen(later());
        let whole_from = story.log.newest_epoch();
        let mut oldest = BTreeSet::new();
        for _ in 0..20 {
            story.log.stage(G, append(story.last + 1, big(1, story.last + 1, 10)));
            story.last += 10;
            flush(&mut story.log);
            story.log.trim(G, Index(story.last - 5));
            story.keep_house();
            oldest.extend(story.log.segments.keys().next());
            let copy = story.disk.copy();
            copy.crash_power();
            let (log, groups) = open_with(&copy, later());
            assert_eq!((&groups[&IDLE].shape, groups[&IDLE].damaged_up_to), (&shape, None));
            assert_eq!(entries(&log, IDLE), before);
        }
        let set_back = |epoch: &&u64| **epoch > 1 && **epoch < whole_from;
        assert_eq!(oldest.iter().any(|epoch| set_back(&epoch)), segments_behind > 0, "{oldest:?}");
        assert!(oldest.len() > 1, "the lost frame is still there: {oldest:?}");
    }
}

/// What was lost is there again although entries before it were relocated without it.
#[test]
fn what_can_be_read_again_counts_again_behind_a_relocation() {
    let (mut story, (file, offset), before, _) = Story::set_back();
    assert!(story.relocations() > 0, "nothing was relocated");
    story.disk.flip_bit(&file, offset, 0);
    for _ in 0..2 {
        let groups = story.reopen(eager());
        assert_eq!((groups[&IDLE].damaged_up_to, story.idle()), (None, before.clone()));
    }
}
