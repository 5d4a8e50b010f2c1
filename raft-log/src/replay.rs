//! Replaying the kept frames: from what is on disk to what every group is.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft_core::{
    Entry, EntryKind, GroupId, HardState, Index, LogShape, Membership, Position, Term, TermRun,
};

use crate::group_log::{FrameRef, Place};
use crate::record::{Checkpoint, Head, ResetBody, decode_membership};
use crate::scan::{Appended, Content, Found};

/// What contradicts everything before it; never seen unless this code or the disk lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction(pub(crate) String);

/// The groups, as far as the frames have been replayed.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    groups: BTreeMap<GroupId, Replayed>,
    /// The first head replayed is the authority on everything before it.
    has_base: bool,
}

/// One group. Unlike a [`LogShape`] it may miss entries at its beginning, which were
/// in segments that are gone: a later floor must then lie above them.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) hard_state: HardState,
    pub(crate) floor: Position,
    pub(crate) floor_membership: Membership,
    pub(crate) last: Position,
    /// The entries that were seen, without a gap, ending at `last`; it begins at `first`.
    first: Index,
    runs: VecDeque<TermRun>,
    memberships: VecDeque<(Index, Membership)>,
    pub(crate) frames: VecDeque<FrameRef>,
}

impl Replay {
    /// Takes in the frame of the next sequence.
    pub(crate) fn take(&mut self, epoch: u64, found: &Found) -> Result<(), Contradiction> {
        let header = &found.header;
        match &found.content {
            Content::Nothing => return Ok(()),
            Content::Removed => {
                self.groups.remove(&header.group);
                return Ok(());
            }
            Content::Head(head) => return self.take_head(head),
            Content::Append(_) | Content::Reset(_) => {}
        }
        let known = self.groups.contains_key(&header.group);
        let group = self.groups.entry(header.group).or_insert_with(Replayed::unknown);
        match &found.content {
            Content::Append(appended) => {
                // Before the base, copies are replayed onto groups of which nothing is
                // known yet; the base then says what is true.
                let lenient = !self.has_base;
                if !known && !lenient {
                    return Err(Contradiction(format!("group {} was never made", header.group)));
                }
                let place = Place { epoch, offset: found.offset, length: found.length };
                group.append(appended, header.last, place, lenient)?;
            }
            Content::Reset(reset) => group.reset(reset)?,
            Content::Nothing | Content::Removed | Content::Head(_) => unreachable!("handled above"),
        }
        group.hard_state = header.hard_state;
        if self.has_base && group.last != header.last {
            let (found, said) = (group.last, header.last);
            return Err(Contradiction(format!("the log ends at {found}, the frame says {said}")));
        }
        // Before the base little of the group may be known.
        if self.has_base { group.coherent() } else { Ok(()) }
    }

    fn take_head(&mut self, head: &Head) -> Result<(), Contradiction> {
        let restated: BTreeMap<GroupId, &Checkpoint> =
            head.groups.iter().map(|group| (group.group, group)).collect();
        if self.has_base {
            for (id, group) in &self.groups {
                let restated = restated
                    .get(id)
                    .ok_or_else(|| Contradiction(format!("the head does not know group {id}")))?;
                group.agrees_with(restated)?;
            }
        }
        self.groups.retain(|id, _| restated.contains_key(id));
        for (id, checkpoint) in restated {
            if self.has_base && !self.groups.contains_key(&id) {
                return Err(Contradiction(format!("only the head knows group {id}")));
            }
            let group = self.groups.entry(id).or_insert_with(Replayed::unknown);
            group.hard_state = checkpoint.hard_state;
            group.rebase(checkpoint)?;
            group.coherent()?;
        }
        self.has_base = true;
        Ok(())
    }

    /// Whether a head has been replayed.
    pub(crate) const fn has_base(&self) -> bool {
        self.has_base
    }

    /// The groups at the end of the log.
    pub(crate) fn finish(self) -> BTreeMap<GroupId, Replayed> {
        self.groups
    }
}

impl Replayed {
    fn unknown() -> Self {
        Self {
            hard_state: HardState::default(),
            floor: Position::ZERO,
            floor_membership: Membership::empty(),
            last: Position::ZERO,
            first: Index(1),
            runs: VecDeque::new(),
            memberships: VecDeque::new(),
            frames: VecDeque::new(),
        }
    }

    fn append(
        &mut self,
        appended: &Appended,
        last: Position,
        place: Place,
        lenient: bool,
    ) -> Result<(), Contradiction> {
        if appended.count == 0 {
            return Ok(());
        }
        let first = appended.first;
        if lenient && first > self.last.index.next() {
            *self = Self { hard_state: self.hard_state, ..Self::unknown() };
            self.first = first;
        } else if first > self.last.index.next() || first <= self.floor.index {
            let (floor, last) = (self.floor, self.last);
            let text = format!("entries from {first} on, in a log from {floor} to {last}");
            return Err(Contradiction(text));
        }
        self.truncate_from(first);
        if let (Some(before), Some(run)) = (self.runs.back(), appended.runs.first())
            && before.term > run.term
        {
            let text = format!("term {} after term {} at {first}", run.term, before.term);
            return Err(Contradiction(text));
        }
        for run in &appended.runs {
            if self.runs.back().is_none_or(|before| before.term < run.term) {
                self.runs.push_back(*run);
            }
        }
        self.memberships.extend(appended.memberships.iter().cloned());
        self.last = last;
        self.frames.push_back(FrameRef { first, last: last.index, ticket: 0, place: Some(place) });
        Ok(())
    }

    fn truncate_from(&mut self, first: Index) {
        while self.runs.back().is_some_and(|run| run.first >= first) {
            self.runs.pop_back();
        }
        while self.memberships.back().is_some_and(|(at, _)| *at >= first) {
            self.memberships.pop_back();
        }
        FrameRef::truncate(&mut self.frames, first);
        self.first = self.first.min(first);
        // The term is set by what is appended next.
        self.last.index = first.prev();
    }

    fn reset(&mut self, reset: &ResetBody) -> Result<(), Contradiction> {
        let membership = membership(&reset.membership)?;
        if reset.keeps_suffix {
            self.raise_floor(reset.floor, membership);
        } else {
            self.runs.clear();
            self.memberships.clear();
            self.frames.clear();
            self.first = reset.floor.index.next();
            (self.floor, self.last, self.floor_membership) = (reset.floor, reset.floor, membership);
        }
        Ok(())
    }

    fn raise_floor(&mut self, floor: Position, membership: Membership) {
        if floor.index < self.floor.index {
            return;
        }
        self.floor = floor;
        self.floor_membership = membership;
        while self.runs.get(1).is_some_and(|run| run.first <= floor.index.next()) {
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut() {
            run.first = run.first.max(floor.index.next());
        }
        if floor.index >= self.last.index {
            self.runs.clear();
        }
        while self.memberships.front().is_some_and(|(at, _)| *at <= floor.index) {
            self.memberships.pop_front();
        }
        FrameRef::trim(&mut self.frames, floor.index);
        self.first = self.first.max(floor.index.next());
    }

    /// Takes over what a head restates; the entries below its floor go.
    fn rebase(&mut self, checkpoint: &Checkpoint) -> Result<(), Contradiction> {
        if self.frames.is_empty() || self.last != checkpoint.last {
            // Nothing of the group is left but what the head says of it.
            *self = Self { hard_state: self.hard_state, ..Self::unknown() };
            self.first = checkpoint.last.index.next();
            self.last = checkpoint.last;
        }
        self.raise_floor(checkpoint.floor, membership(&checkpoint.membership)?);
        Ok(())
    }

    fn agrees_with(&self, checkpoint: &Checkpoint) -> Result<(), Contradiction> {
        let agrees = self.hard_state == checkpoint.hard_state
            && self.last == checkpoint.last
            && self.floor.index <= checkpoint.floor.index;
        if agrees {
            return Ok(());
        }
        Err(Contradiction(format!(
            "group {} is at {:?} from {} to {}, the head says {:?} from {} to {}",
            checkpoint.group,
            self.hard_state,
            self.floor,
            self.last,
            checkpoint.hard_state,
            checkpoint.floor,
            checkpoint.last
        )))
    }

    /// Whether the floor lies below what follows it, in index and term.
    fn coherent(&self) -> Result<(), Contradiction> {
        let (floor, last) = (self.floor, self.last);
        let next_term = self.runs.front().map_or(last.term, |run| run.term);
        let is_below = floor.index < last.index && floor.term <= next_term;
        if is_below || floor == last {
            return Ok(());
        }
        let text = format!("a floor at {floor}, below term {next_term}, in a log to {last}");
        Err(Contradiction(text))
    }

    /// Entries above the floor that no segment holds any more: the first and the last.
    pub(crate) fn missing(&self) -> Option<(Index, Index)> {
        let (from, to) = (self.floor.index.next(), self.first.min(self.last.index.next()).prev());
        (from <= to).then_some((from, to))
    }

    /// The shape of the log. Only for a log that misses nothing.
    pub(crate) fn shape(&self) -> LogShape {
        let mut shape = LogShape::new(self.floor, self.floor_membership.clone());
        let mut runs = self.runs.iter().peekable();
        let mut memberships = self.memberships.iter().peekable();
        let mut term = Term::ZERO;
        for index in (self.floor.index.0 + 1..=self.last.index.0).map(Index) {
            if let Some(run) = runs.next_if(|run| run.first == index) {
                term = run.term;
            }
            let (kind, payload) = match memberships.next_if(|(at, _)| *at == index) {
                Some((_, membership)) => (EntryKind::Membership, membership.encode()),
                None => (EntryKind::Blank, Bytes::new()),
            };
            shape.append(&Entry { term, index, kind, payload });
        }
        assert_eq!(shape.last(), self.last, "the end of a replayed log");
        shape
    }
}

fn membership(bytes: &[u8]) -> Result<Membership, Contradiction> {
    decode_membership(bytes).map_err(|what| Contradiction(what.0.to_owned()))
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
