//! Segment files before and after their use: those that wait for a switch, and those that
//! nobody needs any more.

use std::path::Path;
use std::sync::Arc;

use crate::LogError;
use crate::collect_job::{CollectDone, CollectJob, Collected};
use crate::jobs::Origin;
use crate::options::LogStats;
use crate::prepare_job::{PrepareDone, PrepareJob, Spare};
use crate::recovery::{segment_path, spare_path};
use crate::wal::{Segment, WriteAheadLog};

/// The files for segments to come, and how that goes.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    spares: Vec<Waiting>,
    under_way: bool,
    /// Epoch and offset of the tail from which on it is tried again after a failure.
    again_from: (u64, u64),
    /// Whether the last attempt failed.
    failing: bool,
    begun: u64,
    prepared: u64,
    recycled: u64,
}

/// A file that waits to become a segment.
#[derive(Debug)]
struct Waiting {
    spare: Spare,
    /// It may be used once so many segments have been begun. Each beginning syncs the
    /// folder: a file that was a segment must have lost that name for good before anything
    /// is written to it, or a power failure would bring it back as a damaged segment.
    usable_from: u64,
}

/// So many files wait to be used again; more are removed when segments are collected.
const MAX_SPARES: usize = 4;

/// After a failure the next attempt comes when so many times this part of a segment has
/// been written: a few attempts per segment, in case somebody frees room in time.
const ATTEMPTS_PER_SEGMENT: u64 = 8;

impl Preparation {
    /// Counts a segment that a write job has begun.
    pub(crate) fn begun(&mut self, origin: Origin) {
        self.begun += 1;
        self.prepared += u64::from(origin != Origin::New);
        self.recycled += u64::from(origin == Origin::Recycled);
    }

    /// A file of this size that can be used now.
    fn take(&mut self, bytes: u64) -> Option<Spare> {
        let begun = self.begun;
        let fits = |waiting: &Waiting| waiting.usable_from <= begun && waiting.spare.bytes == bytes;
        let at = self.spares.iter().position(fits)?;
        Some(self.spares.remove(at).spare)
    }

    /// How many files can be used now.
    fn usable(&self) -> usize {
        self.spares.iter().filter(|waiting| waiting.usable_from <= self.begun).count()
    }

    /// What fits into the files that wait.
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.spares.iter().map(|waiting| waiting.spare.bytes).sum()
    }

    /// Whether the last attempt to make a file failed.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failing
    }

    /// The next attempt comes as soon as a file is asked for.
    pub(crate) const fn try_again(&mut self) {
        self.again_from = (0, 0);
    }

    /// Whether a file with this name waits.
    fn knows(&self, path: &Path) -> bool {
        self.spares.iter().any(|waiting| waiting.spare.path == path)
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            spare_bytes: self.spare_bytes(),
            begun_segments: self.begun,
            prepared_segments: self.prepared,
            recycled_segments: self.recycled,
            ..LogStats::default()
        }
    }
}

impl WriteAheadLog {
    /// The job that makes a file for a segment to come; to be asked for after every write
    /// and once the log is open. `None` where there are enough, as when some are used again,
    /// or a job is under way. Enough is the reserve ([`crate::LogOptions::reserve_segments`])
    /// and, once half of the current segment is written or at once where that is a small
    /// one, another. The next switch takes a file, so that no write waits until tens of
    /// megabytes of zeros are on the disk. It can do without: where no file of the right
    /// size is ready it creates one itself.
    pub fn prepare(&mut self) -> Option<PrepareJob> {
        let (tail, state) = (self.tail, &mut self.preparation);
        // While a switch is out, what the tail says of the current segment is outdated.
        let switches = self.out.as_ref().is_some_and(|out| out.created.is_some());
        let is_small = tail.bytes < self.options.segment_bytes;
        let soon = is_small || tail.offset >= tail.bytes / 2;
        let wanted = usize::from(self.options.reserve_segments) + usize::from(soon);
        let due = state.usable() < wanted && (tail.epoch, tail.offset) >= state.again_from;
        if !due || switches || self.poisoned || state.under_way {
            return None;
        }
        // No other log that this process has had open here can mean a file by this name:
        // its segments had lower epochs.
        let names = (0..=u64::from(self.options.reserve_segments)).map(|nth| nth << 56);
        let mut paths = names.map(|nth| spare_path(&self.dir, nth | (tail.epoch + 1)));
        let path = paths.find(|path| !state.knows(path))?;
        state.under_way = true;
        Some(PrepareJob { disk: Arc::clone(&self.disk), path, bytes: self.options.segment_bytes })
    }

    /// Takes note of a finished [`PrepareJob`].
    ///
    /// # Errors
    /// The job's, where it is the first to fail after one that did not. It is no failure
    /// of the log: it goes on, and [`WriteAheadLog::prepare`] gives out another job some
    /// time later. But a disk that is full now will soon be too full for the switch.
    ///
    /// # Panics
    /// Where no such job is under way.
    pub fn prepared(&mut self, done: PrepareDone) -> Result<(), LogError> {
        let (tail, state) = (self.tail, &mut self.preparation);
        assert!(state.under_way, "a file is being prepared when one is ready");
        state.under_way = false;
        let failed_before = std::mem::replace(&mut state.failing, done.outcome.is_err());
        match done.outcome {
            Ok(spare) => {
                state.spares.push(Waiting { spare, usable_from: 0 });
                Ok(())
            }
            Err(why) => {
                state.again_from = (tail.epoch, tail.offset + tail.bytes / ATTEMPTS_PER_SEGMENT);
                if failed_before { Ok(()) } else { Err(why) }
            }
        }
    }

    /// A file that waits, where a segment of this size can take it.
    pub(crate) fn take_spare(&mut self, bytes: u64) -> Option<Spare> {
        self.preparation.take(bytes)
    }

    /// The segment files that can go: no entry above any group's floor is in them, as
    /// two later heads that are durable say, which also restate every term and vote.
    /// Always the oldest ones, so that the files stay a chain. `None` where there are
    /// none. They count as gone when this returns. Some of the files are used again, once
    /// [`WriteAheadLog::collected`] has heard of the job.
    ///
    /// # Panics
    /// Where a group has an entry in one of them, which is a bug; all files are still there.
    pub fn collect(&mut self) -> Option<CollectJob> {
        let (before_last, head) = self.segments.iter().rev().nth(1)?;
        let needed = head.needs.min(*before_last);
        let with_head = self.segments.range(..=needed).rev().find(|(_, it)| !it.lacks_head);
        let keep_from = with_head.map_or(needed, |(epoch, _)| *epoch);
        // Checked before anything is removed, where a restart still mends it.
        for (group, log) in &self.groups {
            let oldest = log.oldest_epoch().unwrap_or(keep_from);
            assert!(
                oldest >= keep_from,
                "entries of group {group} stand in segment {oldest}, and all before {keep_from} go"
            );
        }
        let kept = self.segments.split_off(&keep_from);
        let gone = std::mem::replace(&mut self.segments, kept);
        let mut room = MAX_SPARES.saturating_sub(self.preparation.spares.len());
        let mut segments = Vec::new();
        for (epoch, Segment { file, bytes, .. }) in gone {
            let name = spare_path(&self.dir, epoch);
            // Whoever still reads it must find what is written there, so that a file with
            // other handles is none to write to.
            let is_free = Arc::strong_count(&file) == 1;
            let is_named = self.preparation.under_way || self.preparation.knows(&name);
            let fits = bytes == self.options.segment_bytes;
            let again = (room > 0 && is_free && !is_named && fits).then_some((file, name));
            room -= usize::from(again.is_some());
            segments.push(Collected { path: segment_path(&self.dir, epoch), bytes, again });
        }
        (!segments.is_empty()).then(|| CollectJob { disk: Arc::clone(&self.disk), segments })
    }

    /// Takes note of a finished [`CollectJob`]: the files that it has kept become segments
    /// again. Without this they wait until the log is opened the next time.
    pub fn collected(&mut self, done: CollectDone) {
        // A switch that is under way may have synced the folder before the job was done.
        let switches = self.out.as_ref().is_some_and(|out| out.created.is_some());
        let state = &mut self.preparation;
        let usable_from = state.begun + 1 + u64::from(switches);
        let waiting = done.kept.into_iter().map(|spare| Waiting { spare, usable_from });
        state.spares.extend(waiting);
    }
}
