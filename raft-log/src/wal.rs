//! The write-ahead log of a node.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{
    Entry, GroupId, HardState, Index, Instant, LogShape, Position, RecoveredGroup, WriteNumber,
};

use crate::block_buffer::BlockBuffer;
use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, LogError};
use crate::frame::{BLOCK, HEADER, align_up};
use crate::group_log::GroupLog;
use crate::jobs::ReadJob;
use crate::opening;
use crate::options::{LogIdentity, LogOptions, LogStats};
use crate::recovery::segment_path;
use crate::relocating::{Relocating, Relocation};
use crate::room::Stuck;
use crate::segments::Preparation;
use crate::staging::Staged;

/// An answer of [`WriteAheadLog::read`].
#[derive(Debug)]
pub enum Read {
    /// The entries, from memory.
    Entries(Vec<Entry>),
    /// They are on disk: run the job where waiting is allowed.
    Later(ReadJob),
    /// They are no longer in the log (or the group is not): a snapshot covers them.
    Gone,
}

/// The log that all groups of a node share: what they stage between two syncs costs
/// one write and one sync.
///
/// It is a value owned by one engine. Whatever takes time is handed out as a job
/// ([`crate::WriteJob`], [`crate::PrepareJob`], [`ReadJob`], [`crate::RelocateJob`], [`crate::CollectJob`]) that
/// can run on another thread.
///
/// Invariants:
/// - At most one [`crate::WriteJob`] is out, so that jobs become durable in order.
/// - A job writes to one segment, beginning on a block that was never written before.
/// - The head of a segment is durable before any other frame of it is written.
/// - Nothing is promised (by [`WriteAheadLog::complete`]) before it is synced, and
///   nothing ever after a write or sync has failed.
#[derive(Debug)]
pub struct WriteAheadLog {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) identity: LogIdentity,
    pub(crate) options: LogOptions,
    pub(crate) boot_epoch: u64,
    /// See [`crate::frame::FrameHeader::salt`]; the same for all segments of a run.
    pub(crate) salt: u32,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
    /// Groups whose removal is staged with this ticket and not yet built.
    pub(crate) leaving: BTreeMap<(GroupId, u64), GroupLog>,
    /// Groups whose removal was built since the head that was built last.
    pub(crate) removed_since_head: Vec<GroupId>,
    /// What opening found to be damaged.
    pub(crate) damage: Vec<Damage>,
    pub(crate) may_lack_groups: bool,
    pub(crate) tail: Tail,
    pub(crate) durable: Durable,
    pub(crate) next_sequence: u64,
    pub(crate) staged: VecDeque<Staged>,
    pub(crate) staged_bytes: usize,
    /// The last ticket that was given to a staged frame, and the last that was built.
    pub(crate) staged_ticket: u64,
    pub(crate) built_ticket: u64,
    pub(crate) out: Option<Outstanding>,
    pub(crate) stuck: Option<Stuck>,
    pub(crate) poisoned: bool,
    pub(crate) preparation: Preparation,
    pub(crate) relocating: Relocating,
    /// The memory of the last write, for the next one.
    pub(crate) buffer: BlockBuffer,
    /// The cached frames of all groups, the oldest first. May name frames that are gone.
    pub(crate) cache_order: VecDeque<(u64, GroupId)>,
    /// How long `cache_order` may become before what is gone is removed from it.
    cache_order_limit: usize,
    /// See [`LogStats::saved_bytes`].
    pub(crate) saved_bytes: u64,
    pub(crate) cached_bytes: usize,
}

/// A segment file whose head is durable.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    /// The earliest segment with entries above the floors that this head states; 0
    /// where that is not known.
    pub(crate) needs: u64,
    /// Whether only the segment before it says to which log it belongs.
    pub(crate) lacks_head: bool,
    /// Whether the disk could not read some of it when the log was opened: whoever reads its
    /// file in another use could not tell what that had been.
    pub(crate) is_unreadable: bool,
}

/// Where the next job writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// What is known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Durable {
    /// The last durable sequence.
    pub(crate) sequence: u64,
    /// The highest `durable_upto` that a durable frame holds.
    pub(crate) covered: u64,
    /// The last durable frame that says more than a seal.
    pub(crate) content: u64,
    pub(crate) ticket: u64,
}

/// What the job that is out will have achieved.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) numbers: BTreeMap<GroupId, WriteNumber>,
    pub(crate) durable: Durable,
    pub(crate) tail: Tail,
    /// The `needs` of the segment it creates.
    pub(crate) created: Option<u64>,
    /// The frames of relocated entries that it writes.
    pub(crate) relocations: Vec<Relocation>,
    /// The file it writes to.
    pub(crate) path: PathBuf,
    /// When [`WriteAheadLog::outstanding`] was told of it first.
    pub(crate) since: Option<Instant>,
}

impl WriteAheadLog {
    /// Opens the log in `dir`, recovering what is there, or creates it where there is
    /// nothing. When this returns, everything in the answer is durable, and so is a
    /// new segment with a new [`WriteAheadLog::epoch`].
    ///
    /// Where something durable can no longer be read, a group is opened as what is left of it,
    /// see [`RecoveredGroup::damaged_up_to`] and [`WriteAheadLog::damage`].
    ///
    /// # Errors
    /// See [`LogError`]. After an error nothing that anybody needs has been cut.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
        options: LogOptions,
    ) -> Result<(Self, BTreeMap<GroupId, RecoveredGroup>), LogError> {
        opening::open(disk, dir, identity, options)
    }

    /// An empty log; opening fills in the rest.
    pub(crate) fn empty(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
        mut options: LogOptions,
    ) -> Self {
        options.segment_bytes = align_up(options.segment_bytes, BLOCK);
        options.reserve_segments = options.reserve_segments.min(LogOptions::MAX_RESERVE_SEGMENTS);
        let salt = disk.draw();
        Self {
            disk,
            dir: dir.to_owned(),
            identity,
            options,
            boot_epoch: 0,
            salt,
            segments: BTreeMap::new(),
            groups: BTreeMap::new(),
            leaving: BTreeMap::new(),
            removed_since_head: Vec::new(),
            damage: Vec::new(),
            may_lack_groups: false,
            tail: Tail { epoch: 0, offset: 0, bytes: 0 },
            durable: Durable::default(),
            next_sequence: 1,
            staged: VecDeque::new(),
            staged_bytes: 0,
            staged_ticket: 0,
            built_ticket: 0,
            out: None,
            stuck: None,
            poisoned: false,
            preparation: Preparation::default(),
            relocating: Relocating::default(),
            buffer: BlockBuffer::default(),
            cache_order: VecDeque::new(),
            cache_order_limit: 1024,
            saved_bytes: 0,
            cached_bytes: 0,
        }
    }

    /// A number that rises with every opening and is never used twice, as the log is
    /// not open before it is durable. Fit to be the node's boot number.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.boot_epoch
    }

    /// The epoch of the segment that is written to, which rises with every segment that is
    /// begun: then others may go, see [`collect`](Self::collect), whether or not anything is
    /// trimmed.
    #[must_use]
    pub const fn newest_epoch(&self) -> u64 {
        self.tail.epoch
    }

    /// Where a group's log had ended before a part of it was lost, for as long as that is not
    /// made good on the disk; see [`RecoveredGroup::damaged_up_to`].
    #[must_use]
    pub fn damaged_up_to(&self, group: GroupId) -> Option<Position> {
        self.groups.get(&group)?.damaged_up_to()
    }

    /// Where opening found that something durable can no longer be read. What that did to a
    /// group is in its [`RecoveredGroup::damaged_up_to`]; where that says nothing, the group
    /// has lost nothing that it needs. The files are left as they are until they are collected.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// True where there may have been groups of which damage has left nothing. Whoever makes
    /// a group then must know that this node has never had it: a replica that forgets how it
    /// has voted may vote twice. It stays true for as long as the folder is used.
    #[must_use]
    pub const fn may_lack_groups(&self) -> bool {
        self.may_lack_groups
    }

    /// Entries from `from` to `up_to`, both included: as many as `max_bytes` allows by
    /// [`Entry::weight`], but at least one; fewer also where memory holds the later
    /// ones and the disk the earlier. None where `from` lies beyond the last entry.
    #[must_use]
    pub fn read(&self, group: GroupId, from: Index, up_to: Index, max_bytes: usize) -> Read {
        let Some(log) = self.groups.get(&group) else { return Read::Gone };
        if from <= log.shape.floor().index {
            return Read::Gone;
        }
        let cached_from = log.cached_from();
        if from >= cached_from || up_to < from {
            return Read::Entries(log.cached(from, up_to, max_bytes));
        }
        let up_to = up_to.min(cached_from.prev());
        let mut frames = Vec::new();
        let mut bytes = 0;
        for frame in log.frames().holding(from, up_to) {
            let place = frame.place.expect("what is not cached is durable");
            let segment = self.segments.get(&place.epoch).unwrap_or_else(|| {
                panic!("group {group}: {frame:?} is in none of {:?}", self.segments.keys())
            });
            let path = segment_path(&self.dir, place.epoch);
            frames.push((Arc::clone(&segment.file), path, *frame));
            // A frame's body is no larger than what its entries weigh; the first frame
            // may begin before `from`.
            if frame.first >= from {
                bytes += place.length as usize - HEADER;
            }
            if bytes > max_bytes {
                break;
            }
        }
        Read::Later(ReadJob { group, frames, from, up_to, max_bytes })
    }

    /// The shape of a group's log, staged writes included.
    #[must_use]
    pub fn shape(&self, group: GroupId) -> Option<&LogShape> {
        self.groups.get(&group).map(|log| &log.shape)
    }

    /// A group's term and vote, staged writes included.
    #[must_use]
    pub fn hard_state(&self, group: GroupId) -> Option<HardState> {
        self.groups.get(&group).map(|log| log.hard_state)
    }

    /// Lets go of the entries of a group up to `to`, all of them durable and covered
    /// by a snapshot. The next head of a segment makes that durable; until then they
    /// may be back after a restart. A floor that is higher already stays.
    ///
    /// # Panics
    /// For an index above the last entry.
    pub fn trim(&mut self, group: GroupId, to: Index) {
        if let Some(log) = self.groups.get_mut(&group) {
            let (staged, built) = (self.staged_ticket, self.built_ticket);
            self.cached_bytes -= log.trim(to, staged, built, self.tail.epoch);
        }
    }

    /// What the log amounts to.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        LogStats {
            segments: self.segments.len(),
            disk_bytes: self.segments.values().map(|segment| segment.bytes).sum(),
            cached_bytes: self.cached_bytes,
            staged_bytes: self.staged_bytes,
            relocated_bytes: self.relocating.bytes,
            saved_bytes: self.saved_bytes,
            ..self.preparation.stats()
        }
    }

    /// The memory that the index takes: where the frames stand, not what is in them. It
    /// grows by some tens of bytes per frame, however many entries that has.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.groups.values().map(GroupLog::index_bytes).sum()
    }

    /// Drops the oldest durable entries from memory until the limit holds.
    pub(crate) fn shrink_cache(&mut self) {
        while self.cached_bytes > self.options.cache_bytes {
            match self.cache_order.front() {
                Some((ticket, group)) if *ticket <= self.durable.ticket => {
                    match self.groups.get_mut(group).and_then(|log| log.evict(*ticket)) {
                        Some(bytes) => self.cached_bytes -= bytes,
                        None => drop(self.cache_order.pop_front()),
                    }
                }
                _ => break,
            }
        }
        if self.cache_order.len() > self.cache_order_limit {
            // Frames leave the cache by trimming and cutting as well.
            let groups = &self.groups;
            self.cache_order
                .retain(|(ticket, group)| groups.get(group).is_some_and(|g| g.caches(*ticket)));
            self.cache_order_limit = 2 * self.cache_order.len() + 1024;
        }
    }
}

#[cfg(test)]
#[path = "wal_tests.rs"]
mod tests;
