//! Segment files before and after their use: those that wait for a switch, and those that
//! nobody needs any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::collect_job::{CollectDone, CollectJob, Collected};
use crate::naming::{Naming, NextFile};
use crate::new_segment::{Named, Origin, Ready};
use crate::options::LogStats;
use crate::placeholder::Placeholder;
use crate::prepare_job::{Making, PrepareDone, PrepareError, PrepareJob, Prepared, Spare, Task};
use crate::recovery::{segment_path, spare_path};
use crate::wal::{Segment, Tail, WriteAheadLog};

/// The files for segments to come, and how that goes.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    spares: Vec<Spare>,
    /// The file that has, or gets, the name of the next segment.
    next: Option<Next>,
    /// What the last switch has taken in its place.
    taken: Option<NextFile>,
    under_way: bool,
    making: Attempts,
    naming: Attempts,
    begun: u64,
    named_ahead: u64,
    prepared: u64,
    recycled: u64,
}

#[derive(Debug)]
struct Next {
    file: NextFile,
    bytes: u64,
    /// The name it had as a spare.
    spare_path: PathBuf,
}

/// How it goes with one kind of [`PrepareJob`].
#[derive(Debug, Default)]
struct Attempts {
    /// Epoch and offset of the tail from which on it is tried again after a failure.
    again_from: (u64, u64),
    /// Whether the last one failed.
    failing: bool,
}

impl Attempts {
    fn are_due(&self, tail: Tail) -> bool {
        (tail.epoch, tail.offset) >= self.again_from
    }

    /// Takes note of a failure; answers the reason where the one before did not fail.
    fn failed(&mut self, tail: Tail, why: PrepareError) -> Result<(), PrepareError> {
        self.again_from = (tail.epoch, tail.offset + tail.bytes / ATTEMPTS_PER_SEGMENT);
        if std::mem::replace(&mut self.failing, true) { Ok(()) } else { Err(why) }
    }
}

/// So many files wait to be used again; more are removed when segments are collected.
const MAX_SPARES: usize = 4;

/// After a failure the next attempt comes when so many times this part of a segment has
/// been written: a few attempts per segment, in case somebody frees room in time.
const ATTEMPTS_PER_SEGMENT: u64 = 8;

impl Preparation {
    /// Counts a segment that a write job has begun.
    pub(crate) fn begun(&mut self, origin: Origin, named: Named) {
        self.begun += 1;
        self.named_ahead += u64::from(named == Named::Ahead);
        self.prepared += u64::from(origin != Origin::New);
        self.recycled += u64::from(origin == Origin::Recycled);
    }

    /// The file for a segment of this size that is begun now: the one with its name, even where
    /// that has to be removed. Of the others rather one that was none before, for which the
    /// folder need not be synced first.
    fn take(&mut self, bytes: u64) -> Option<Ready> {
        if let Some(Next { file, .. }) = self.next.take() {
            self.taken = Some(file.clone());
            return Some(Ready::Next(file));
        }
        let fits = |spare: &Spare| spare.bytes == bytes;
        let is_new = |spare: &Spare| fits(spare) && spare.origin == Origin::Prepared;
        let at = self.spares.iter().position(is_new);
        let at = at.or_else(|| self.spares.iter().position(fits))?;
        Some(Ready::Spare(self.spares.remove(at)))
    }

    /// Takes out the file that gets the name of the next segment.
    fn choose_next(&mut self) -> Option<NextFile> {
        let was_segment = |spare: &Spare| spare.origin == Origin::Recycled;
        let at = self.spares.iter().position(was_segment).unwrap_or(0);
        if self.next.is_some() || self.spares.is_empty() {
            return None;
        }
        let spare = self.spares.remove(at);
        let (bytes, spare_path) = (spare.bytes, spare.path.clone());
        let file = NextFile::new(spare);
        self.next = Some(Next { file: file.clone(), bytes, spare_path });
        Some(file)
    }

    /// How many files wait.
    fn waiting(&self) -> usize {
        self.spares.len() + usize::from(self.next.is_some())
    }

    /// What fits into the files that wait.
    pub(crate) fn spare_bytes(&self) -> u64 {
        let next = self.next.as_ref().map_or(0, |next| next.bytes);
        self.spares.iter().map(|spare| spare.bytes).sum::<u64>() + next
    }

    /// Whether the last attempt to make a file failed.
    pub(crate) const fn is_failing(&self) -> bool {
        self.making.failing
    }

    /// The next attempts come as soon as a file is asked for.
    pub(crate) const fn try_again(&mut self) {
        self.making.again_from = (0, 0);
        self.naming.again_from = (0, 0);
    }

    /// Whether a file with this name waits.
    fn knows(&self, path: &Path) -> bool {
        let next = self.next.iter().map(|next| &next.spare_path);
        self.spares.iter().map(|spare| &spare.path).chain(next).any(|known| known == path)
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            spare_bytes: self.spare_bytes(),
            begun_segments: self.begun,
            named_segments: self.named_ahead,
            prepared_segments: self.prepared,
            recycled_segments: self.recycled,
            ..LogStats::default()
        }
    }
}

impl Drop for Preparation {
    /// A job that is begun later finds nothing to name: by then another log may have begun a
    /// segment of that name. Waits for one that is under way.
    fn drop(&mut self) {
        let next = self.next.take().map(|next| next.file);
        for file in next.into_iter().chain(self.taken.take()) {
            drop(file.take());
        }
    }
}

impl WriteAheadLog {
    /// The job that makes a file for a segment to come, or gives one the name of the next
    /// segment; to be asked for after every write and every such job, and once the log is open.
    /// `None` where there are enough, as when some are used again, or a job is under way.
    /// Enough is the reserve ([`crate::LogOptions::reserve_segments`]) and, once half of the
    /// current segment is written or at once where that is a small one, another, which gets the
    /// name. The next switch takes that: so no write waits until tens of megabytes of zeros
    /// are on the disk, or the folder is synced. It can do without: it gives a file its name
    /// itself, and where none of the right size is there it creates one.
    pub fn prepare(&mut self) -> Option<PrepareJob> {
        let (tail, state) = (self.tail, &mut self.preparation);
        // While a switch is out, what the tail says of the current segment is outdated.
        let switches = self.out.as_ref().is_some_and(|out| out.created.is_some());
        if switches || self.poisoned || state.under_way {
            return None;
        }
        let is_small = tail.bytes < self.options.segment_bytes;
        let soon = is_small || tail.offset >= tail.bytes / 2;
        let next = (soon && state.naming.are_due(tail)).then(|| state.choose_next()).flatten();
        let wanted = usize::from(self.options.reserve_segments) + usize::from(soon);
        let task = if let Some(next) = next {
            let epoch = tail.epoch + 1;
            Task::Name(Naming {
                disk: Arc::clone(&self.disk),
                dir: self.dir.clone(),
                next,
                path: segment_path(&self.dir, epoch),
                placeholder: Placeholder { salt: self.salt, epoch },
                sync_method: self.options.sync_method,
            })
        } else if state.waiting() < wanted && state.making.are_due(tail) {
            // No other log that this process has had open here can mean a file by this name:
            // its segments had lower epochs. Nor has a file that was a segment such a one.
            let names = (1..=u64::from(self.options.reserve_segments) + 1).map(|nth| nth << 56);
            let mut paths = names.map(|nth| spare_path(&self.dir, nth | (tail.epoch + 1)));
            let path = paths.find(|path| !state.knows(path))?;
            let (disk, bytes) = (Arc::clone(&self.disk), self.options.segment_bytes);
            Task::Make(Making { disk, path, bytes })
        } else {
            return None;
        };
        state.under_way = true;
        Some(PrepareJob { task })
    }

    /// Takes note of a finished [`PrepareJob`].
    ///
    /// # Errors
    /// The job's, where it is the first of its kind to fail after one that did not: see
    /// [`PrepareError`].
    ///
    /// # Panics
    /// Where no such job is under way.
    pub fn prepared(&mut self, done: PrepareDone) -> Result<(), PrepareError> {
        let (tail, state) = (self.tail, &mut self.preparation);
        assert!(state.under_way, "a file is being prepared when one is ready");
        state.under_way = false;
        match done.outcome {
            Ok(Prepared::Made(spare)) => {
                state.making.failing = false;
                state.spares.push(spare);
                Ok(())
            }
            Ok(Prepared::Named) => {
                state.naming.failing = false;
                Ok(())
            }
            Err(why @ PrepareError::NotMade(_)) => state.making.failed(tail, why),
            Err(why @ PrepareError::NotNamed(_)) => {
                state.next = None;
                state.naming.failed(tail, why)
            }
            Err(why @ PrepareError::Final(_)) => {
                self.poisoned = true;
                Err(why)
            }
        }
    }

    /// A file that waits, where a segment of this size can take it.
    pub(crate) fn take_ready(&mut self, bytes: u64) -> Option<Ready> {
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
        let mut room = MAX_SPARES.saturating_sub(self.preparation.waiting());
        let mut segments = Vec::new();
        for (epoch, Segment { file, bytes, is_unreadable, .. }) in gone {
            let name = spare_path(&self.dir, epoch);
            // Whoever still reads it must find what is written there, so that a file with
            // other handles is none to write to.
            let is_free = Arc::strong_count(&file) == 1;
            let fits = bytes == self.options.segment_bytes;
            let again = (room > 0 && is_free && fits && !is_unreadable).then_some((file, name));
            room -= usize::from(again.is_some());
            segments.push(Collected { path: segment_path(&self.dir, epoch), bytes, again });
        }
        (!segments.is_empty()).then(|| CollectJob { disk: Arc::clone(&self.disk), segments })
    }

    /// Takes note of a finished [`CollectJob`]: the files that it has kept become segments
    /// again. Without this they wait until the log is opened the next time.
    pub fn collected(&mut self, done: CollectDone) {
        self.preparation.spares.extend(done.kept);
    }
}
