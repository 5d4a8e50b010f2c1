//! Entries of idle groups are written again, so that the segments they stand in can go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use raft_core::{Entry, GroupId, Index};

use crate::LogError;
use crate::disk::DiskFile;
use crate::frame::HEADER;
use crate::frames::{FrameRef, Place};
use crate::jobs::ReadJob;
use crate::record::Body;
use crate::recovery::segment_path;
use crate::staging::MERGED_BYTES;
use crate::wal::WriteAheadLog;

/// Segments go by relocation where at most this part of them is still needed: so it costs
/// little in comparison with what it frees.
const NEEDED_PARTS: u64 = 8;

/// How relocation goes.
#[derive(Debug, Default)]
pub(crate) struct Relocating {
    /// A job is out.
    under_way: bool,
    /// Frames that are staged and not yet durable.
    staged: usize,
    /// The segment from which on it is considered again: that takes a look at every group, so
    /// it is done once per segment.
    again_from: u64,
    /// What was written again since the log was opened.
    pub(crate) bytes: u64,
}

/// Entries that are written to a second place.
#[derive(Clone, Debug)]
pub(crate) struct Relocated {
    pub(crate) entries: Arc<Vec<Entry>>,
    /// The places of the frames that held them when they were read.
    pub(crate) from: Arc<[Place]>,
}

/// A frame of relocated entries that a job writes.
#[derive(Debug)]
pub(crate) struct Relocation {
    pub(crate) group: GroupId,
    pub(crate) from: Arc<[Place]>,
    /// The first and the last entry of it.
    pub(crate) entries: (Index, Index),
    pub(crate) to: Place,
}

/// Reads the entries that old segments are needed for, few as they are. See
/// [`WriteAheadLog::relocate`].
#[derive(Debug)]
pub struct RelocateJob {
    reads: Vec<ReadJob>,
}

/// What a [`RelocateJob`] has read; goes back with [`WriteAheadLog::relocated`].
#[derive(Debug)]
#[must_use = "nothing is relocated before the log has heard of it"]
pub struct RelocateDone {
    read: Vec<(GroupId, Relocated)>,
    failed: Option<LogError>,
}

impl RelocateJob {
    /// Reads and checks. What cannot be read stays where it is.
    pub fn run(self) -> RelocateDone {
        let mut done = RelocateDone { read: Vec::with_capacity(self.reads.len()), failed: None };
        for read in self.reads {
            let group = read.group;
            let from = read.frames.iter().filter_map(|(_, _, frame)| frame.place).collect();
            match read.run() {
                Ok(entries) => {
                    done.read.push((group, Relocated { entries: Arc::new(entries), from }));
                }
                Err(why) => done.failed = done.failed.or(Some(why)),
            }
        }
        done
    }
}

/// The frames of a group that are read together.
type Row = Vec<(Arc<dyn DiskFile>, PathBuf, FrameRef)>;

impl WriteAheadLog {
    /// The job that frees the oldest segments of a log that has more than
    /// [`crate::LogOptions::relocate_above_segments`], where only little in them is needed:
    /// it reads that, or a portion. To be asked for where [`collect`](Self::collect) is. `None` where there
    /// is nothing to gain, or too much would have to be written for it, or there is no room,
    /// or one is under way, or there was one since the current segment was begun.
    pub fn relocate(&mut self) -> Option<RelocateJob> {
        let state = &self.relocating;
        let busy = state.under_way || state.staged > 0 || self.tail.epoch < state.again_from;
        if busy || self.poisoned || self.stuck.is_some() || self.preparation.is_failing() {
            return None;
        }
        // The newest one is the one that is written to.
        let kept = self.options.relocate_above_segments.max(1);
        let old = self.segments.len().checked_sub(kept).filter(|old| *old > 0)?;
        self.relocating.again_from = self.tail.epoch + 1;
        let end = self.relocated_before(old)?;
        let mut reads = Vec::new();
        let mut left = self.most_at_once();
        for (group, log) in &self.groups {
            let mut row = Row::new();
            let mut bytes = 0;
            for (frame, place) in log.frames().before(end) {
                if left == 0 {
                    break;
                }
                left = left.saturating_sub(place.length.into());
                let follows = row.last().is_some_and(|(.., before)| {
                    before.last.next() == frame.first
                        && bytes + place.length as usize <= MERGED_BYTES
                });
                if !follows {
                    reads.extend(read(*group, std::mem::take(&mut row)));
                    bytes = 0;
                }
                bytes += place.length as usize - HEADER;
                let file = Arc::clone(&self.segments[&place.epoch].file);
                row.push((file, segment_path(&self.dir, place.epoch), *frame));
            }
            reads.extend(read(*group, row));
        }
        self.relocating.under_way = !reads.is_empty();
        self.relocating.under_way.then_some(RelocateJob { reads })
    }

    /// What is relocated while one segment is written, so that it takes the smaller part of it.
    const fn most_at_once(&self) -> u64 {
        self.options.segment_bytes / NEEDED_PARTS
    }

    /// The segment before which everything should go: one of the `old` oldest, or the one
    /// behind them. Where that is more than is relocated at once, the oldest ones go first, in
    /// several portions if need be: so however much idle groups have, a log that goes on
    /// grows to no more than some times of that.
    fn relocated_before(&self, old: usize) -> Option<u64> {
        let mut epochs = self.segments.iter().map(|(epoch, segment)| (*epoch, segment.bytes));
        let end = epochs.clone().nth(old)?.0;
        let mut needed: BTreeMap<u64, u64> = BTreeMap::new();
        for log in self.groups.values() {
            if log.oldest_epoch().is_some_and(|oldest| oldest < end) {
                for (_, place) in log.frames().before(end) {
                    *needed.entry(place.epoch).or_default() += u64::from(place.length);
                }
            }
        }
        let (mut bytes, mut to_move, mut worth_it, mut at_once) = (0, 0, None, None);
        let most = self.most_at_once();
        let ends = self.segments.keys().skip(1);
        for ((epoch, size), behind) in epochs.by_ref().zip(ends).take(old) {
            bytes += size;
            to_move += needed.get(&epoch).copied().unwrap_or(0);
            if to_move > 0 && (to_move <= most || at_once.is_none()) {
                at_once = Some(*behind);
            }
            if to_move > 0 && to_move <= bytes / NEEDED_PARTS {
                worth_it = Some(*behind);
            }
        }
        Some(worth_it?.min(at_once?))
    }

    /// Stages what a [`RelocateJob`] has read, as far as it still stands in the log and where it
    /// did. Once that is durable it is read from there, and [`collect`](Self::collect) takes
    /// the old segments away when two more have been begun.
    ///
    /// # Errors
    /// The job's, where entries could not be read. The log goes on, with the segments that
    /// they stand in, and tries again when another segment has been begun.
    ///
    /// # Panics
    /// Where no such job is under way.
    pub fn relocated(&mut self, done: RelocateDone) -> Result<(), LogError> {
        assert!(self.relocating.under_way, "entries are being relocated when they were read");
        self.relocating.under_way = false;
        if self.poisoned {
            return Ok(());
        }
        for (group, mut relocated) in done.read {
            let Some(log) = self.groups.get(&group) else { continue };
            let Some((first, last)) = log.frames().at(&relocated.from) else { continue };
            let still = |entry: &Entry| (first..=last).contains(&entry.index);
            if !relocated.entries.iter().all(still) {
                Arc::make_mut(&mut relocated.entries).retain(still);
            }
            if relocated.entries.is_empty() {
                continue;
            }
            let held = relocated.entries.iter().all(|entry| log.shape.holds(entry.position()));
            assert!(held, "entries of group {group} stand where others were");
            let (hard_state, last) = (log.hard_state, log.shape.last());
            self.relocating.staged += 1;
            self.push(group, None, hard_state, last, Body::Relocate(relocated));
        }
        done.failed.map_or(Ok(()), Err)
    }

    /// Has the entries that are durable in a second place be read from there.
    pub(crate) fn take_relocations(&mut self, relocations: Vec<Relocation>) {
        self.relocating.staged -= relocations.len();
        for Relocation { group, from, entries, to } in relocations {
            self.relocating.bytes += u64::from(to.length);
            // Where the group is another one by now, nothing of it stands there.
            if let Some(log) = self.groups.get_mut(&group) {
                log.relocated(&from, entries, to);
            }
        }
    }
}

fn read(group: GroupId, frames: Row) -> Option<ReadJob> {
    let (from, up_to) = (frames.first()?.2.first, frames.last()?.2.last);
    Some(ReadJob { group, frames, from, up_to, max_bytes: usize::MAX })
}
