//! One group in memory: its shape, where its entries stand, and the latest of them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{Entry, GroupId, HardState, Index, LogShape, Membership, Position, RecoveredGroup};

use crate::checkpoint::Checkpoint;
use crate::frames::{FrameRef, Frames, Place};
use crate::record::ResetBody;

/// Entries of one write that are kept in memory. Several may stand in one frame.
#[derive(Debug)]
struct Cached {
    ticket: u64,
    entries: Arc<Vec<Entry>>,
    /// How many of them are still the log's: a truncation cuts the end.
    valid: usize,
    bytes: usize,
}

/// One group.
///
/// Invariants:
/// - `frames` cover `shape.floor() + 1 ..= shape.last()`.
/// - `cache` holds a suffix of the log (possibly none of it) without a gap.
/// - `written` is the group as the frames say that jobs have written so far.
#[derive(Debug)]
pub(crate) struct GroupLog {
    pub(crate) hard_state: HardState,
    pub(crate) shape: LogShape,
    frames: Frames,
    cache: VecDeque<Cached>,
    written: Checkpoint,
    /// Whether a frame that a job has written, or a head, has made the group.
    is_built: bool,
    /// Whether a frame was written since the head that is written last.
    differs_from_head: bool,
    /// A floor that no frame or head says yet, and the last ticket staged before it.
    trimmed: Option<(Position, Bytes, u64)>,
    /// No entry above `written.floor` stands before this segment, once everything that
    /// was staged when this was found out is written; 0 where it is not known.
    needs: u64,
}

impl GroupLog {
    /// A group of which nothing is known.
    pub(crate) fn new(group: GroupId) -> Self {
        let shape = LogShape::new(Position::ZERO, Membership::empty());
        let nothing =
            RecoveredGroup { hard_state: HardState::default(), shape, damaged_up_to: None };
        let log = Self::recovered(group, &nothing, Frames::default());
        Self { is_built: false, ..log }
    }

    /// A group as recovery has found it.
    pub(crate) fn recovered(
        group: GroupId,
        recovered: &RecoveredGroup,
        mut frames: Frames,
    ) -> Self {
        frames.recovered();
        let RecoveredGroup { hard_state, shape, damaged_up_to } = recovered.clone();
        let written = Checkpoint {
            group,
            hard_state,
            floor: shape.floor(),
            last: shape.last(),
            damaged_up_to,
            membership: shape.membership_at(shape.floor().index).encode(),
        };
        Self {
            hard_state,
            shape,
            frames,
            cache: VecDeque::new(),
            written,
            is_built: true,
            differs_from_head: false,
            trimmed: None,
            needs: 0,
        }
    }

    /// Takes in entries that are staged with `ticket`; answers how many bytes the
    /// cache has gained and lost.
    pub(crate) fn append(&mut self, ticket: u64, entries: &Arc<Vec<Entry>>) -> (usize, usize) {
        let first = entries[0].index;
        assert!(
            first > self.shape.floor().index && first <= self.shape.last().index.next(),
            "appending from {first} on to a log from {} to {}",
            self.shape.floor(),
            self.shape.last()
        );
        let mut lost = 0;
        if first <= self.shape.last().index {
            self.shape.truncate_from(first);
            self.frames.truncate(first);
            lost = self.truncate_cache(first);
        }
        for entry in entries.iter() {
            self.shape.append(entry);
        }
        let last = self.shape.last().index;
        self.frames.push(FrameRef { first, last, ticket, place: None });
        let bytes = entries.iter().map(Entry::weight).sum();
        let (entries, valid) = (Arc::clone(entries), entries.len());
        self.cache.push_back(Cached { ticket, entries, valid, bytes });
        (bytes, lost)
    }

    /// Whether what was staged last is the frame of `ticket`, with entries that are all
    /// still the log's.
    pub(crate) fn extends(&self, ticket: u64) -> bool {
        let last = self.shape.last().index;
        self.frames.last().is_some_and(|frame| frame.ticket == ticket && frame.last == last)
    }

    /// Takes in entries that are staged in the frame of `ticket` as well, which must be the
    /// last one; answers how many bytes the cache has gained.
    pub(crate) fn extend(&mut self, ticket: u64, entries: &Arc<Vec<Entry>>) -> usize {
        for entry in entries.iter() {
            self.shape.append(entry);
        }
        self.frames.extend_last(self.shape.last().index);
        let bytes = entries.iter().map(Entry::weight).sum();
        let (entries, valid) = (Arc::clone(entries), entries.len());
        self.cache.push_back(Cached { ticket, entries, valid, bytes });
        bytes
    }

    /// Puts a snapshot in the place of the log's beginning; answers the record to
    /// write and the bytes the cache has lost.
    pub(crate) fn reset(&mut self, floor: Position, membership: Membership) -> (ResetBody, usize) {
        let keeps_suffix = self.shape.holds(floor);
        let record = ResetBody { floor, membership: membership.encode(), keeps_suffix };
        self.shape.reset(floor, membership);
        let lost = if keeps_suffix {
            self.frames.trim(floor.index);
            self.trim_cache(floor.index)
        } else {
            self.frames.clear();
            self.cache.drain(..).map(|cached| cached.bytes).sum()
        };
        self.trimmed = None;
        (record, lost)
    }

    /// Raises the floor, when the tickets up to `built` of those up to `staged` are
    /// built and jobs write to the segment `tail` or a later one. Answers the bytes the
    /// cache has lost.
    pub(crate) fn trim(&mut self, to: Index, staged: u64, built: u64, tail: u64) -> usize {
        if to <= self.shape.floor().index {
            return 0;
        }
        // Or else a floor that rises before every head would never be said by any.
        self.settle(built, tail);
        self.shape.trim_to(to);
        self.frames.trim(to);
        let floor = self.shape.floor();
        self.trimmed = Some((floor, self.shape.membership_at(to).encode(), staged));
        self.trim_cache(to)
    }

    /// Notes where a job writes the frame of `ticket`, and what it says.
    pub(crate) fn built(
        &mut self,
        ticket: u64,
        place: Place,
        hard_state: HardState,
        last: Position,
        reset: Option<&ResetBody>,
    ) {
        self.is_built = true;
        self.differs_from_head = true;
        self.written.hard_state = hard_state;
        self.written.last = last;
        self.written.damaged_up_to.take_if(|up_to| last >= *up_to);
        if let Some(reset) = reset {
            self.written.floor = reset.floor;
            self.written.membership = reset.membership.clone();
        }
        // The frame is absent where all of its entries were cut in the meantime.
        self.frames.built(ticket, place);
    }

    /// What the head of the segment `head` restates of the group when everything up to
    /// the ticket `built` is built; nothing where the group is not made yet.
    pub(crate) fn checkpoint(&mut self, built: u64, head: u64) -> Option<Checkpoint> {
        self.settle(built, head);
        self.differs_from_head = false;
        self.is_built.then(|| self.written.clone())
    }

    /// See [`RecoveredGroup::damaged_up_to`], as far as frames are written.
    pub(crate) const fn damaged_up_to(&self) -> Option<Position> {
        self.written.damaged_up_to
    }

    /// What a seal restates of the group; nothing where the latest head says the same.
    pub(crate) fn change_since_head(&self) -> Option<Checkpoint> {
        (self.is_built && self.differs_from_head).then(|| self.written.clone())
    }

    /// Finds out what heads can say of the floor, and what is needed then, when
    /// everything up to the ticket `built` is built and whatever is not will stand in
    /// the segment `next` or a later one.
    fn settle(&mut self, built: u64, next: u64) {
        match self.trimmed.take_if(|(.., staged)| *staged <= built) {
            Some((floor, membership, _)) => {
                self.written.floor = floor;
                self.written.membership = membership;
                self.needs = self.oldest_epoch().unwrap_or(next);
            }
            // No head can say the floor yet: what lies below stays needed.
            None if self.trimmed.is_some() => {}
            None => self.needs = self.oldest_epoch().unwrap_or(next),
        }
    }

    /// The memory that the places of its frames take.
    pub(crate) fn index_bytes(&self) -> usize {
        self.frames.bytes()
    }

    /// The earliest segment that the last checkpoint needs; 0 where that is not known.
    pub(crate) fn needs(&self) -> u64 {
        self.needs
    }

    /// The earliest segment with an entry of the group; nothing where none has a place yet.
    pub(crate) fn oldest_epoch(&self) -> Option<u64> {
        self.frames.oldest_epoch()
    }

    /// Where its entries stand.
    pub(crate) const fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Moves the entries of a frame that recovery copied.
    pub(crate) fn moved(&mut self, from: Place, to: Place) {
        self.frames.moved(from, to);
    }

    /// Notes that these entries, as far as they still stand at the places `from`, stand at `to`
    /// as well, and are durable there.
    pub(crate) fn relocated(&mut self, from: &[Place], entries: (Index, Index), to: Place) {
        self.frames.relocate_from(from, entries, to);
    }

    /// The first index that the cache holds, or the one after the end.
    pub(crate) fn cached_from(&self) -> Index {
        let floor = self.shape.floor().index;
        let first = self.cache.front().map(|cached| cached.entries[0].index);
        first.unwrap_or(self.shape.last().index.next()).max(floor.next())
    }

    /// Cached entries from `from` on: at least one, and no more than `max_bytes` of them.
    pub(crate) fn cached(&self, from: Index, up_to: Index, max_bytes: usize) -> Vec<Entry> {
        let mut taken = Taken::new(max_bytes);
        let start = self.cache.partition_point(|cached| cached.last() < from);
        for cached in self.cache.range(start..) {
            let skip = from.0.saturating_sub(cached.entries[0].index.0) as usize;
            for entry in &cached.entries[skip..cached.valid] {
                if entry.index > up_to || !taken.take(entry) {
                    return taken.entries;
                }
            }
        }
        taken.entries
    }

    /// Drops the oldest write that is cached of the frame of `ticket`; answers its bytes,
    /// nothing where the frame is not the oldest.
    pub(crate) fn evict(&mut self, ticket: u64) -> Option<usize> {
        let oldest = self.cache.front().filter(|cached| cached.ticket == ticket);
        let bytes = oldest.map(|cached| cached.bytes)?;
        self.cache.pop_front();
        Some(bytes)
    }

    /// Whether entries of the frame of `ticket` are in memory.
    pub(crate) fn caches(&self, ticket: u64) -> bool {
        self.cache.binary_search_by_key(&ticket, |cached| cached.ticket).is_ok()
    }

    /// Drops everything cached; answers its bytes.
    pub(crate) fn evict_all(&mut self) -> usize {
        self.cache.drain(..).map(|cached| cached.bytes).sum()
    }

    fn trim_cache(&mut self, to: Index) -> usize {
        let mut lost = 0;
        while self.cache.front().is_some_and(|cached| cached.last() <= to) {
            lost += self.cache.pop_front().map_or(0, |cached| cached.bytes);
        }
        lost
    }

    fn truncate_cache(&mut self, first: Index) -> usize {
        let mut lost = 0;
        while self.cache.back().is_some_and(|cached| cached.entries[0].index >= first) {
            lost += self.cache.pop_back().map_or(0, |cached| cached.bytes);
        }
        if let Some(cached) = self.cache.back_mut().filter(|cached| cached.last() >= first) {
            cached.valid = (first.0 - cached.entries[0].index.0) as usize;
            let bytes = cached.entries[..cached.valid].iter().map(Entry::weight).sum();
            lost += cached.bytes - bytes;
            cached.bytes = bytes;
        }
        lost
    }
}

impl Cached {
    fn last(&self) -> Index {
        self.entries[self.valid - 1].index
    }
}

/// Entries up to a limit in bytes, but never none.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) entries: Vec<Entry>,
    left: usize,
}

impl Taken {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { entries: Vec::new(), left: max_bytes }
    }

    /// False where the limit forbids it.
    pub(crate) fn take(&mut self, entry: &Entry) -> bool {
        if !self.entries.is_empty() && entry.weight() > self.left {
            return false;
        }
        self.left = self.left.saturating_sub(entry.weight());
        self.entries.push(entry.clone());
        true
    }
}
