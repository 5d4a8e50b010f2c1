//! Segment files before and after their use: the one that is prepared for the next
//! switch, and those that nobody needs any more.

use std::path::PathBuf;
use std::sync::Arc;

use crate::LogError;
use crate::jobs::CollectJob;
use crate::options::LogStats;
use crate::prepare_job::{PrepareDone, PrepareJob, Spare};
use crate::recovery::{segment_path, spare_path};
use crate::wal::WriteAheadLog;

/// The file for the next segment, and how that goes.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    spare: Option<Spare>,
    under_way: bool,
    /// Epoch and offset of the tail from which on it is tried again after a failure.
    again_from: (u64, u64),
    /// Whether the last attempt failed.
    failing: bool,
    begun: u64,
    prepared: u64,
}

/// After a failure the next attempt comes when so many times this part of a segment has
/// been written: a few attempts per segment, in case somebody frees room in time.
const ATTEMPTS_PER_SEGMENT: u64 = 8;

impl Preparation {
    /// Counts a segment that a write job has begun.
    pub(crate) fn begun(&mut self, prepared: bool) {
        self.begun += 1;
        self.prepared += u64::from(prepared);
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            spare_bytes: self.spare.as_ref().map_or(0, |spare| spare.bytes),
            begun_segments: self.begun,
            prepared_segments: self.prepared,
            ..LogStats::default()
        }
    }
}

impl WriteAheadLog {
    /// The job that makes the file of the next segment, once half of the current one is
    /// written; to be asked for after every write. `None` where there is such a file or
    /// a job under way. The next switch takes the file, so that no write waits until
    /// tens of megabytes of zeros are on the disk. It can do without: where no file of
    /// the right size is ready it creates one itself.
    pub fn prepare(&mut self) -> Option<PrepareJob> {
        let (tail, state) = (self.tail, &mut self.preparation);
        // While a switch is out, what the tail says of the current segment is outdated.
        let switches = self.out.as_ref().is_some_and(|out| out.created.is_some());
        let due = tail.offset >= tail.bytes / 2 && (tail.epoch, tail.offset) >= state.again_from;
        if !due || switches || self.poisoned || state.under_way || state.spare.is_some() {
            return None;
        }
        state.under_way = true;
        Some(PrepareJob {
            disk: Arc::clone(&self.disk),
            path: spare_path(&self.dir, tail.epoch + 1),
            bytes: self.options.segment_bytes,
        })
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
                state.spare = Some(spare);
                Ok(())
            }
            Err(why) => {
                state.again_from = (tail.epoch, tail.offset + tail.bytes / ATTEMPTS_PER_SEGMENT);
                if failed_before { Ok(()) } else { Err(why) }
            }
        }
    }

    /// The prepared file, where a segment of this size can take it.
    pub(crate) fn take_spare(&mut self, bytes: u64) -> Option<Spare> {
        self.preparation.spare.take_if(|spare| spare.bytes == bytes)
    }

    /// The segment files that can go: no entry above any group's floor is in them, as
    /// two later heads that are durable say, which also restate every term and vote.
    /// Always the oldest ones, so that the files stay a chain. `None` where there are
    /// none. They count as gone when this returns.
    ///
    /// # Panics
    /// Where a group has an entry in one of them, which is a bug; all files are still there.
    pub fn collect(&mut self) -> Option<CollectJob> {
        let (before_last, head) = self.segments.iter().rev().nth(1)?;
        let keep_from = head.needs.min(*before_last);
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
        let segments: Vec<(PathBuf, u64)> = gone
            .into_iter()
            .map(|(epoch, segment)| (segment_path(&self.dir, epoch), segment.bytes))
            .collect();
        (!segments.is_empty()).then(|| CollectJob { disk: Arc::clone(&self.disk), segments })
    }
}
