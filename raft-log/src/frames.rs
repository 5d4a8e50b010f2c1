//! Where the entries of a group stand.

use std::collections::VecDeque;

use raft_core::Index;

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    /// Header and body, without padding.
    pub(crate) length: u32,
}

/// Which entries of a frame are still the log's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameRef {
    pub(crate) first: Index,
    pub(crate) last: Index,
    /// The order in which it was staged; 0 for what was there at opening.
    pub(crate) ticket: u64,
    /// Unknown until a job writes it.
    pub(crate) place: Option<Place>,
}

impl FrameRef {
    /// What rises with every frame that is written.
    fn order(&self) -> (u64, u64) {
        self.place.map_or((u64::MAX, 0), |place| (place.epoch, place.offset))
    }
}

/// The frames that hold the entries of a group.
///
/// Invariants:
/// - They hold a range of indexes without a gap, each index once, and rise in index and
///   ticket.
/// - From `in_order` on they rise in place as well. Those before it were relocated, or stand
///   before one that was.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    frames: VecDeque<FrameRef>,
    in_order: usize,
}

impl Frames {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.in_order = 0;
    }

    /// Finds the order of what recovery has put together, where copies that a crash has left
    /// incomplete stand behind what they precede; and gives back the memory it does not need.
    pub(crate) fn recovered(&mut self) {
        self.frames.shrink_to_fit();
        self.find_order();
    }

    /// The memory that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.frames.capacity() * size_of::<FrameRef>()
    }

    /// Takes in a frame behind all others, which is written after them.
    ///
    /// # Panics
    /// Where entries are missing in between.
    pub(crate) fn push(&mut self, frame: FrameRef) {
        if let Some(before) = self.frames.back() {
            assert_eq!(frame.first, before.last.next(), "{frame:?} after {before:?}");
        }
        self.frames.push_back(frame);
    }

    /// Takes in relocated entries that end where the others begin.
    pub(crate) fn push_front(&mut self, frame: FrameRef) {
        if let Some(next) = self.frames.front() {
            assert_eq!(frame.last.next(), next.first, "{frame:?} before {next:?}");
        }
        self.frames.push_front(frame);
        self.find_order();
    }

    pub(crate) fn last(&self) -> Option<&FrameRef> {
        self.frames.back()
    }

    /// The last frame holds entries up to this one now.
    ///
    /// # Panics
    /// Where there is none.
    pub(crate) fn extend_last(&mut self, last: Index) {
        self.frames.back_mut().expect("the frame that is extended").last = last;
    }

    /// Forgets the entries from `first` on.
    pub(crate) fn truncate(&mut self, first: Index) {
        while self.frames.back().is_some_and(|frame| frame.first >= first) {
            self.frames.pop_back();
        }
        if let Some(frame) = self.frames.back_mut() {
            frame.last = frame.last.min(first.prev());
        }
        self.in_order = self.in_order.min(self.frames.len());
    }

    /// Forgets the entries up to `to`.
    pub(crate) fn trim(&mut self, to: Index) {
        while self.frames.front().is_some_and(|frame| frame.last <= to) {
            self.frames.pop_front();
            self.in_order = self.in_order.saturating_sub(1);
        }
        if let Some(frame) = self.frames.front_mut() {
            frame.first = frame.first.max(to.next());
        }
    }

    /// Notes where the frame of this ticket stands, where it is still there.
    pub(crate) fn built(&mut self, ticket: u64, place: Place) {
        if let Ok(at) = self.frames.binary_search_by_key(&ticket, |frame| frame.ticket) {
            self.frames[at].place = Some(place);
        }
    }

    /// Notes that the frame at `from` stands at `to`: recovery has copied it, or it was
    /// compressed when it was written, or one before it. That is so for the last ones of the
    /// log only, and is noted in their order, so that what was in order stays so.
    pub(crate) fn moved(&mut self, from: Place, to: Place) {
        let is_there = |frame: &&mut FrameRef| frame.place == Some(from);
        for frame in self.frames.range_mut(..self.in_order).filter(is_there) {
            frame.place = Some(to);
        }
        let before = (from.epoch, from.offset);
        let ordered = self.frames.range_mut(self.in_order..).rev();
        for frame in ordered.take_while(|frame| frame.order() >= before) {
            if frame.place == Some(from) {
                frame.place = Some(to);
            }
        }
    }

    /// Notes that the entries `first ..= last`, all of which are there, stand at `place` as
    /// well, where they are read from now on.
    pub(crate) fn relocate(&mut self, first: Index, last: Index, place: Place) {
        let from = self.frames.partition_point(|frame| frame.last < first);
        let to = self.frames.partition_point(|frame| frame.first <= last);
        let mut rest = self.frames.split_off(from);
        let behind = rest.split_off(to - from);
        let (Some(lowest), Some(highest)) = (rest.front(), rest.back()) else {
            return self.frames.extend(behind);
        };
        let below = FrameRef { last: first.prev(), ..*lowest };
        let ticket = lowest.ticket;
        let above = FrameRef { first: last.next(), ..*highest };
        self.frames.extend((below.first <= below.last).then_some(below));
        self.frames.push_back(FrameRef { first, last, ticket, place: Some(place) });
        self.frames.extend((above.first <= above.last).then_some(above));
        self.frames.extend(behind);
        self.find_order();
    }

    /// Notes that of what stood at the places `from` the entries `first ..= last` stand at `to`.
    /// The rest of a frame may have been relocated before, or come later: it stays.
    pub(crate) fn relocate_from(
        &mut self,
        from: &[Place],
        (first, last): (Index, Index),
        to: Place,
    ) {
        if let Some((still_from, still_to)) = self.at(from) {
            let (first, last) = (first.max(still_from), last.min(still_to));
            if first <= last {
                self.relocate(first, last, to);
            }
        }
    }

    fn find_order(&mut self) {
        let pairs = self.frames.iter().zip(self.frames.iter().skip(1));
        // A relocated part has the same place as the rest of its frame.
        let falls = pairs.rev().position(|(one, next)| one.order() > next.order());
        self.in_order = falls.map_or(0, |from_end| self.frames.len() - 1 - from_end);
    }

    /// The earliest segment with one of them; nothing where none has a place yet.
    pub(crate) fn oldest_epoch(&self) -> Option<u64> {
        let unordered = self.frames.range(..self.in_order);
        let all = unordered.chain(self.frames.get(self.in_order));
        all.filter_map(|frame| Some(frame.place?.epoch)).min()
    }

    /// Those that stand before the segment `end`, by index.
    pub(crate) fn before(&self, end: u64) -> impl Iterator<Item = (&FrameRef, Place)> {
        let is_before = move |frame: &&FrameRef| frame.place.is_some_and(|p| p.epoch < end);
        let unordered = self.frames.range(..self.in_order).filter(is_before);
        let ordered = self.frames.range(self.in_order..).take_while(is_before);
        unordered.chain(ordered).filter_map(|frame| Some((frame, frame.place?)))
    }

    /// Those that hold `from ..= up_to`.
    pub(crate) fn holding(&self, from: Index, up_to: Index) -> impl Iterator<Item = &FrameRef> {
        let start = self.frames.partition_point(|frame| frame.last < from);
        self.frames.range(start..).take_while(move |frame| frame.first <= up_to)
    }

    /// Which entries stand at one of these places, which followed one another: the first and
    /// the last.
    pub(crate) fn at(&self, places: &[Place]) -> Option<(Index, Index)> {
        let is_there = |frame: &&FrameRef| frame.place.is_some_and(|p| places.contains(&p));
        let first = self.frames.iter().find(is_there)?.first;
        let last = self.frames.iter().rev().find(is_there)?.last;
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: u64, offset: u64) -> Place {
        Place { epoch, offset, length: 100 }
    }

    fn pushed(frames: &mut Frames, first: u64, last: u64, place: Place) {
        let (first, last, ticket) = (Index(first), Index(last), first);
        frames.push(FrameRef { first, last, ticket, place: Some(place) });
    }

    fn listed(frames: &Frames) -> Vec<(u64, u64, u64)> {
        let all = frames.holding(Index(1), Index(99));
        all.map(|frame| (frame.first.0, frame.last.0, frame.place.unwrap().epoch)).collect()
    }

    #[test]
    fn relocated_entries_no_longer_need_the_segment_that_they_stood_in() {
        let mut frames = Frames::default();
        pushed(&mut frames, 1, 5, place(1, 0));
        pushed(&mut frames, 6, 9, place(1, 200));
        pushed(&mut frames, 10, 12, place(3, 0));
        assert_eq!(frames.oldest_epoch(), Some(1));
        assert_eq!(frames.before(3).count(), 2);
        // A part of the first frame, then the rest together with the second one.
        frames.relocate(Index(1), Index(2), place(5, 0));
        assert_eq!(listed(&frames), [(1, 2, 5), (3, 5, 1), (6, 9, 1), (10, 12, 3)]);
        assert_eq!((frames.oldest_epoch(), frames.before(3).count()), (Some(1), 2));
        frames.relocate(Index(3), Index(9), place(5, 200));
        assert_eq!(listed(&frames), [(1, 2, 5), (3, 9, 5), (10, 12, 3)]);
        assert_eq!((frames.oldest_epoch(), frames.before(5).count()), (Some(3), 1));
        frames.relocate(Index(11), Index(11), place(6, 0));
        assert_eq!(frames.oldest_epoch(), Some(3));
        frames.trim(Index(10));
        assert_eq!(listed(&frames), [(11, 11, 6), (12, 12, 3)]);
        frames.truncate(Index(12));
        assert_eq!((frames.oldest_epoch(), frames.before(9).count()), (Some(6), 1));
    }

    /// Both rests of a frame have its place, and only one of them was read and written again.
    #[test]
    fn only_entries_that_were_written_again_are_read_from_there() {
        let mut frames = Frames::default();
        let (frame, rest) = (place(1, 0), place(5, 0));
        pushed(&mut frames, 1, 5, frame);
        frames.relocate(Index(3), Index(3), place(2, 0));
        frames.relocate_from(&[frame], (Index(1), Index(2)), rest);
        assert_eq!(listed(&frames), [(1, 2, 5), (3, 3, 2), (4, 5, 1)]);
        frames.truncate(Index(5));
        frames.relocate_from(&[frame], (Index(4), Index(5)), rest);
        assert_eq!(listed(&frames), [(1, 2, 5), (3, 3, 2), (4, 4, 5)], "5 is gone");
        frames.relocate_from(&[frame], (Index(4), Index(5)), place(6, 0));
        assert_eq!(listed(&frames), [(1, 2, 5), (3, 3, 2), (4, 4, 5)], "nothing stands there");
    }

    #[test]
    fn frames_are_relocated_at_any_time_and_in_any_order() {
        let mut random = raft_core::Random::new(3);
        for _ in 0..500 {
            let mut frames = Frames::default();
            let mut truth: Vec<(u64, u64)> = Vec::new();
            for epoch in 1..40 {
                let first = truth.len() as u64 + 1;
                match random.below(6) {
                    0 | 1 if !truth.is_empty() => {
                        let held = frames.holding(Index(1), Index(999)).next().unwrap().first.0;
                        let from = held + random.below(first - held);
                        let to = from + random.below(first - from);
                        frames.relocate(Index(from), Index(to), place(epoch, 0));
                        truth[from as usize - 1..to as usize].fill((epoch, 0));
                    }
                    2 if frames.frames.len() > 2 => {
                        let at = first - 1 - random.below(2);
                        frames.truncate(Index(at));
                        truth.truncate(at as usize - 1);
                    }
                    3 if frames.frames.len() > 3 => {
                        frames.trim(frames.frames[1].first);
                    }
                    _ => {
                        pushed(&mut frames, first, first + 2, place(epoch, 0));
                        truth.extend([(epoch, 0); 3]);
                    }
                }
                let held = frames.frames.front().map_or(truth.len(), |f| f.first.0 as usize - 1);
                let oldest = truth[held..].iter().map(|(epoch, _)| *epoch).min();
                assert_eq!(frames.oldest_epoch(), oldest);
                for (at, (epoch, _)) in truth.iter().enumerate().skip(held) {
                    let index = Index(at as u64 + 1);
                    let frame = frames.holding(index, index).next().unwrap();
                    assert_eq!(frame.order().0, *epoch, "{index}");
                }
                let before = frames.frames.iter().filter(|f| f.order().0 < epoch / 2).count();
                assert_eq!(frames.before(epoch / 2).count(), before);
            }
        }
    }
}
