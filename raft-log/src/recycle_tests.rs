//! Files of collected segments that become segments again.

use super::*;
use crate::disk::Disk;
use crate::frame::{BLOCK, FrameHeader, FrameKind, HEADER, align_up};

const KEPT: u64 = 10;

/// A log of which the last few entries are kept, and nothing in memory.
struct Story {
    disk: SimDisk,
    log: WriteAheadLog,
    last: u64,
}

fn uncached() -> LogOptions {
    LogOptions { cache_bytes: 0, compress_above_bytes: usize::MAX, ..options() }
}

impl Story {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open_with(&disk, uncached());
        log.create_group(G, membership());
        flush(&mut log);
        Self { disk, log, last: 0 }
    }

    fn write(&mut self, count: u64) -> Result<(), LogError> {
        self.log.trim(G, Index(self.last.saturating_sub(KEPT)));
        self.log.stage(G, append(self.last + 1, big(1, self.last + 1, count)));
        while let Some(job) = self.log.next_job() {
            self.log.complete(job.run())?;
        }
        self.last += count;
        Ok(())
    }

    /// How many files are kept of the segments that go.
    fn collect(&mut self) -> Result<usize, LogError> {
        let Some(job) = self.log.collect() else { return Ok(0) };
        let done = job.run()?;
        let kept = done.kept();
        self.log.collected(done);
        Ok(kept)
    }

    fn round(&mut self) -> Result<(), LogError> {
        self.write(20)?;
        self.collect()?;
        self.prepare()
    }

    fn prepare(&mut self) -> Result<(), LogError> {
        while let Some(job) = self.log.prepare() {
            self.log.prepared(job.run())?;
        }
        Ok(())
    }

    /// Writes until the next segment is begun.
    fn switch(&mut self) {
        let epoch = self.log.tail.epoch;
        while self.log.tail.epoch == epoch {
            self.write(20).unwrap();
        }
    }

    /// Writes until the first segment goes.
    fn collect_first(&mut self) {
        while self.collect().unwrap() == 0 {
            self.switch();
        }
        assert_eq!(self.log.tail.epoch, 4, "after two heads that say it is not needed");
    }

    fn recycled(&self) -> u64 {
        self.log.stats().recycled_segments
    }

    /// Demands the kept entries after the power has failed, and that work can go on.
    fn survives(mut self) {
        let (log, groups) = reopen(&self.disk);
        self.log = log;
        let last = groups[&G].shape.last().index.0;
        assert!(last == self.last || last == self.last + 20, "{last}, acknowledged {}", self.last);
        self.last = last;
        let floor = groups[&G].shape.floor().index.0;
        assert!(floor <= last.saturating_sub(KEPT), "{floor} of {last}");
        assert_eq!(read(&self.log, floor + 1, last), big(1, floor + 1, last - floor));
        for _ in 0..8 {
            self.round().unwrap();
        }
        let from = self.last - KEPT + 1;
        assert_eq!(read(&reopen(&self.disk).0, from, self.last), big(1, from, KEPT));
    }
}

#[test]
fn a_log_that_is_trimmed_soon_writes_no_more_zeros() {
    let mut story = Story::new(1);
    for _ in 0..20 {
        story.round().unwrap();
    }
    let (before, stats) = (story.disk.counts().written_bytes, story.log.stats());
    for _ in 0..60 {
        story.round().unwrap();
    }
    let (written, now) = (story.disk.counts().written_bytes - before, story.log.stats());
    let segments = now.begun_segments - stats.begun_segments;
    assert!(segments > 15, "{segments} segments");
    assert_eq!(now.recycled_segments - stats.recycled_segments, segments);
    let block = align_up(frame_bytes(12 + 20 * 1016), BLOCK);
    let blocks = 60 * block + 2 * segments * BLOCK;
    assert_eq!(written, blocks, "the frames, and per segment a head and its placeholder");
    assert_eq!(now.named_segments - stats.named_segments, segments);
    assert!(now.spare_bytes <= 4 << 16, "{now:?}");
    assert_eq!(story.disk.used_bytes(), now.disk_bytes + now.spare_bytes);
    story.survives();
}

#[test]
fn a_file_gets_another_name_only_once_it_is_durable_that_it_was_a_segment_no_more() {
    let mut story = Story::new(1);
    story.collect_first();
    let name = Path::new("log").join("0000000000000001.spare");
    story.disk.open(&name).expect("it waits under its new name");
    let epoch = story.log.tail.epoch;
    let mut before = story.disk.counts();
    loop {
        story.write(20).unwrap();
        if story.log.tail.epoch > epoch {
            break;
        }
        before = story.disk.counts();
    }
    let after = story.disk.counts();
    assert_eq!(story.recycled(), 1);
    // The folder, the name, the folder; in between and behind the head and the frames.
    assert_eq!(after.folder_changes - before.folder_changes, 3);
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (2, 4));
    assert!(story.disk.open(&name).is_err());
    story.survives();
}

#[test]
fn what_is_still_being_read_is_not_written_over() {
    let mut story = Story::new(1);
    story.write(20).unwrap();
    let Read::Later(reading) = story.log.read(G, Index(1), Index(20), usize::MAX) else {
        panic!("nothing is in memory");
    };
    while story.log.tail.epoch < 4 {
        story.switch();
    }
    assert_eq!(story.collect().unwrap(), 0, "the file is removed instead");
    assert!(story.log.stats().segments < 4);
    for _ in 0..40 {
        story.round().unwrap();
    }
    assert!(story.recycled() > 5);
    assert_eq!(reading.run().unwrap(), big(1, 1, 20));
}

#[test]
fn an_opening_takes_a_file_that_waits_and_removes_the_others() {
    let mut story = Story::new(1);
    for _ in 0..6 {
        story.switch();
    }
    let kept = story.collect().unwrap();
    assert!(kept > 1, "{kept} files are kept");
    let before = story.disk.counts().written_bytes;
    let epoch = story.log.tail.epoch;
    story.disk.limit_bytes(story.disk.used_bytes());
    let (log, _) = reopen(&story.disk);
    assert!(story.disk.counts().written_bytes - before < 1 << 16, "no zeros are written");
    let names = story.disk.list(Path::new("log")).unwrap();
    assert_eq!(log.epoch(), epoch + 1);
    assert!(names.iter().all(|name| name.ends_with(".log")), "{names:?}");
    story.disk.limit_bytes(u64::MAX);
    story.survives();
}

/// Every change of the disk in eight rounds is the last one before the power fails, with the
/// name of the next segment ready and without. The same is tried with all else that a node
/// does in `tests/crashes.rs`.
#[test]
fn a_power_failure_at_any_step_of_collecting_and_using_again_loses_nothing_durable() {
    for prepares in [false, true] {
        let (mut points, mut recycled, mut named) = (0, 0, 0);
        for seed in 0..10 {
            for change in 1.. {
                let mut story = Story::new(seed);
                for _ in 0..24 {
                    story.round().unwrap();
                }
                let before = story.log.stats();
                assert!(before.recycled_segments > 0);
                story.disk.stop_at(change);
                let over = (0..8).all(|_| {
                    let worked = story.write(20).is_ok() && story.collect().is_ok();
                    worked && (!prepares || story.prepare().is_ok())
                });
                let after = story.log.stats();
                recycled += after.recycled_segments - before.recycled_segments;
                named += after.named_segments - before.named_segments;
                if over {
                    break;
                }
                points += 1;
                story.survives();
            }
        }
        let told = format!("{points} points, {recycled} segments recycled, {named} named before");
        assert!(points > 220 && recycled > 110, "{told}");
        assert!(if prepares { named > 110 } else { named == 0 }, "{told}");
    }
}

/// A payload full of frames, each made for the place in the file where it comes to stand,
/// and for the epochs to come.
fn forged(place: u64, bytes: u64, salt: u32) -> Vec<u8> {
    let mut payload = vec![0; (align_up(place, 8) - place) as usize];
    for slot in 0..bytes / HEADER as u64 {
        let header = FrameHeader {
            kind: FrameKind::Seal,
            group: GroupId(0),
            epoch: 2 + slot % 8,
            salt,
            sequence: 1_000_000 + slot,
            durable_upto: 999_999,
            hard_state: HardState::default(),
            last: Position::ZERO,
        };
        header.encode(place + payload.len() as u64, &mut payload, |_| {});
    }
    payload
}

/// What clients have written is left in files that are used again, and recovery looks for
/// frames at every multiple of 8. It would take for one whatever somebody who knows the
/// salt has put there; nobody does.
#[test]
fn frames_within_a_payload_mislead_nobody_who_does_not_know_the_salt() {
    for knows_the_salt in [false, true] {
        let mut story = Story::new(1);
        let salt = story.log.salt ^ u32::from(!knows_the_salt);
        let place = align_up(story.log.tail.offset, BLOCK) + HEADER as u64 + 12 + 16;
        let payload = Bytes::from(forged(place, 40_000, salt));
        let entry = Entry { payload: payload.clone(), ..entry(1, 1, "") };
        story.log.stage(G, append(1, vec![entry]));
        flush(&mut story.log);
        story.last = 1;
        story.collect_first();
        story.switch();
        assert_eq!((story.recycled(), story.log.tail.epoch), (1, 5));
        let content = story.disk.content(&segment_path(Path::new("log"), 5));
        let left = &payload[30_000..];
        assert_eq!(&content[place as usize + 30_000..][..left.len()], left, "it is still there");
        story.disk.crash_power();
        match try_open(&story.disk) {
            Ok(_) => {
                assert!(!knows_the_salt);
                story.survives();
            }
            Err(why) => assert!(knows_the_salt, "{why}"),
        }
    }
}
