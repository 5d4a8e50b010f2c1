//! Which segments are collected: never one with an entry that is still the log's.

use super::*;
use crate::SyncMethod;

/// Small segments, and nothing kept in memory, so that every read needs the disk.
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 1 << 16,
    cache_bytes: 0,
    sync_method: SyncMethod::Fdatasync,
    reserve_segments: 0,
    relocate_above_segments: 8,
    compress_above_bytes: usize::MAX,
};

/// A log with one group, to which single entries are appended.
struct Story {
    disk: SimDisk,
    log: WriteAheadLog,
    last: u64,
    number: u64,
}

impl Story {
    fn new(disk: SimDisk, last: u64) -> Self {
        let (log, _) = open_with(&disk, OPTIONS);
        Self { disk, log, last, number: 0 }
    }

    /// Stages the next entry.
    fn stage(&mut self) {
        self.last += 1;
        self.number += 1;
        self.log.stage(G, append(self.number, vec![entry(1, self.last, "x")]));
    }

    /// Stages an entry, then trims, and only then has a job written.
    fn stage_trim_flush(&mut self, to: u64) {
        self.stage();
        self.log.trim(G, Index(to));
        flush(&mut self.log);
    }

    /// Appends until the next job needs a new segment.
    fn fill_segment(&mut self) {
        while self.log.tail.offset.next_multiple_of(4096) + 4096 <= self.log.tail.bytes {
            self.stage();
            flush(&mut self.log);
        }
    }

    fn switch(&mut self) {
        self.fill_segment();
        let epoch = self.log.tail.epoch;
        self.stage();
        flush(&mut self.log);
        assert_eq!(self.log.tail.epoch, epoch + 1);
    }

    /// How many segments went.
    fn collect(&mut self) -> usize {
        let Some(job) = self.log.collect() else { return 0 };
        let done = job.run().unwrap();
        let segments = done.segments;
        self.log.collected(done);
        segments
    }

    /// Demands everything from `from` on, now and after a restart.
    fn holds_from(mut self, from: u64) {
        assert_eq!(read(&self.log, from, self.last).len() as u64, self.last + 1 - from);
        drop(self.log);
        self.disk.crash_process();
        self.log = open_with(&self.disk, OPTIONS).0;
        assert_eq!(read(&self.log, from, self.last).len() as u64, self.last + 1 - from);
    }
}

#[test]
fn a_new_group_with_a_trim_at_its_first_head_keeps_its_first_segment() {
    let mut story = Story::new(SimDisk::new(1), 0);
    story.log.create_group(G, membership());
    flush(&mut story.log);
    story.fill_segment();
    story.stage_trim_flush(3);
    assert_eq!(story.log.tail.epoch, 2);
    story.switch();
    assert_eq!(story.collect(), 0, "entry 4 stands in the first segment");
    story.holds_from(4);
}

#[test]
fn a_group_that_was_empty_at_the_head_before_keeps_the_segment_after_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, OPTIONS);
    let reset = LogChange::Reset { floor: Position::new(1, 5), membership: Box::new(membership()) };
    log.stage(G, write(1, 1, Some(reset)));
    flush(&mut log);
    drop(log);
    disk.crash_process();

    let mut story = Story::new(disk, 5);
    story.fill_segment();
    story.stage_trim_flush(8);
    assert_eq!(story.log.tail.epoch, 3);
    story.switch();
    assert_eq!(story.collect(), 1, "the first segment, but not the second with entry 9");
    story.holds_from(9);
}

#[test]
fn a_floor_that_rises_before_every_job_does_not_keep_segments_for_ever() {
    let mut story = Story::new(SimDisk::new(1), 0);
    story.log.create_group(G, membership());
    flush(&mut story.log);
    for _ in 0..200 {
        let keep = story.last.saturating_sub(5);
        story.stage_trim_flush(keep);
        story.collect();
    }
    let segments = story.log.stats().segments;
    assert!(story.log.tail.epoch > 10 && segments <= 4, "{segments} segments");
    story.holds_from(195);
}

#[test]
fn random_trims_at_any_time_never_cost_an_entry() {
    let mut collected = 0;
    for seed in 0..40 {
        let mut random = raft_core::Random::new(seed);
        let mut story = Story::new(SimDisk::new(seed), 0);
        story.log.create_group(G, membership());
        let (mut floor, mut durable) = (0, 0);
        for _ in 0..300 {
            match random.below(8) {
                0 if floor < durable => {
                    floor += 1 + random.below((durable - floor).min(12));
                    story.log.trim(G, Index(floor));
                }
                1 => collected += story.collect(),
                2 | 3 => {
                    flush(&mut story.log);
                    durable = story.last;
                }
                _ => story.stage(),
            }
        }
        flush(&mut story.log);
        if story.last > floor {
            story.holds_from(floor + 1);
        }
    }
    assert!(collected > 20, "{collected} segments collected");
}

#[test]
fn collecting_refuses_to_remove_a_segment_that_still_has_entries() {
    let mut story = Story::new(SimDisk::new(1), 0);
    story.log.create_group(G, membership());
    flush(&mut story.log);
    story.switch();
    story.switch();
    // As if the head of the segment before the last had got this wrong.
    story.log.segments.get_mut(&2).unwrap().needs = 2;
    let Story { mut log, disk, last, .. } = story;
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| log.collect()));
    let why = *refused.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(why, "entries of group 1 stand in segment 1, and all before 2 go");
    disk.crash_process();
    let (log, _) = open_with(&disk, OPTIONS);
    assert_eq!(read(&log, 1, last).len() as u64, last);
}

/// Between two starts nothing is written, so that the second one copies the head of the
/// first. That copy is what remains of it once its segment is collected.
#[test]
fn the_copy_of_a_head_outlives_the_head() {
    for seed in 0..4 {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk);
        log.create_group(G, membership());
        log.stage(G, append(1, big(1, 1, 5)));
        flush(&mut log);
        for _ in 0..2 {
            log = reopen(&disk).0;
        }
        // The ends of segments are cut where recovery needs nothing of them.
        log.stage(G, append(2, big(1, 6, 5)));
        flush(&mut log);
        log = reopen(&disk).0;
        log.trim(G, Index(5));
        for round in 0..3 {
            log.stage(G, append(3 + round, big(1, 11 + 40 * round, 40)));
            flush(&mut log);
            if let Some(job) = log.collect() {
                log.collected(job.run().unwrap());
            }
            let last = 50 + 40 * round;
            log = reopen(&disk).0;
            assert_eq!(read(&log, last, last), big(1, last, 1), "seed {seed}, round {round}");
        }
    }
}
