//! One group, as far as the kept frames have been replayed.

mod set_back;

use std::collections::VecDeque;

use bytes::Bytes;
use raft_core::{
    Entry, EntryKind, HardState, Index, LogShape, Membership, Position, RecoveredGroup, Term,
    TermRun,
};

use crate::checkpoint::Checkpoint;
use crate::frames::{FrameRef, Frames, Place};
use crate::pieces::{Piece, Pieces};
use crate::record::{ResetBody, decode_membership};
use crate::replay::Contradiction;
use crate::scan::Appended;

/// One group. Unlike a [`LogShape`] it may miss entries at its beginning, which were
/// in segments that are gone: a later floor must then lie above them.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) hard_state: HardState,
    pub(crate) floor: Position,
    pub(crate) floor_membership: Membership,
    pub(crate) last: Position,
    /// See [`raft_core::RecoveredGroup::damaged_up_to`].
    pub(crate) damaged_up_to: Option<Position>,
    /// Where it was taken to end while a part of it could not be read, which can be read now.
    pub(crate) set_back_to: Option<Position>,
    /// Whether its making was seen, or a head or seal that knows of it.
    pub(crate) is_made: bool,
    /// The entries that were seen, without a gap, ending at `last`; it begins at `first`.
    first: Index,
    runs: VecDeque<TermRun>,
    memberships: VecDeque<(Index, Membership)>,
    pub(crate) frames: Frames,
    /// Relocated entries below `first`.
    pieces: Pieces,
}

impl Replayed {
    /// A group of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            hard_state: HardState::default(),
            floor: Position::ZERO,
            floor_membership: Membership::empty(),
            last: Position::ZERO,
            damaged_up_to: None,
            set_back_to: None,
            is_made: false,
            first: Index(1),
            runs: VecDeque::new(),
            memberships: VecDeque::new(),
            frames: Frames::default(),
            pieces: Pieces::default(),
        }
    }

    /// Takes in entries that stand at `place`. Where `lenient`, they may come after a gap.
    pub(crate) fn append(
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
            self.forget_entries(Position { index: first.prev(), ..last });
        } else if first > self.last.index.next() || first <= self.floor.index {
            let (floor, last) = (self.floor, self.last);
            let text = format!("entries from {first} on, in a log from {floor} to {last}");
            return Err(Contradiction(text));
        }
        self.stay_set_back();
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
        self.heal();
        self.frames.push(FrameRef { first, last: last.index, ticket: 0, place: Some(place) });
        self.join()
    }

    /// Takes in entries that stand at `place` as well as where they stood before. They are in
    /// the log, as far as it is known; where the segment of the first place is gone they are
    /// kept until it is known what follows them.
    pub(crate) fn relocate(
        &mut self,
        relocated: &Appended,
        place: Place,
    ) -> Result<(), Contradiction> {
        let (first, last) = (relocated.first.max(self.floor.index.next()), relocated.last());
        let known = first.max(self.first);
        let held = Piece::of(relocated, known, last, place);
        for run in held.iter().flat_map(|held| &held.runs) {
            // A run of another term in between would end in a position that is not here.
            let behind = relocated.runs.iter().find(|next| next.first > run.first);
            let end = behind.map_or(last, |next| next.first.prev());
            let is_here = |index| self.holds(Position { term: run.term, index });
            if !is_here(run.first) || !is_here(end) {
                let (from, to) = (self.floor, self.last);
                let text = format!(
                    "entries {} to {end} of term {} are relocated, not all of a log from {from} to {to}",
                    run.first, run.term
                );
                return Err(Contradiction(text));
            }
        }
        if held.is_some() {
            self.frames.relocate(known, last, place);
        }
        if let Some(piece) = Piece::of(relocated, first, last.min(self.first.prev()), place) {
            self.pieces.put(piece);
        }
        self.join()
    }

    /// Goes on downwards with the relocated entries that end where the log begins.
    fn join(&mut self) -> Result<(), Contradiction> {
        while let Some(mut piece) = self.pieces.pop_before(self.first) {
            let term = piece.last_term();
            match self.runs.front_mut() {
                Some(next) if next.term == term => {
                    next.first = piece.runs.pop().map_or(next.first, |run| run.first);
                }
                Some(next) if next.term > term => {}
                None if self.last.term == term => {}
                _ => {
                    let text = format!("term {term} at {} before a lower one", piece.last);
                    return Err(Contradiction(text));
                }
            }
            let Piece { first, last, runs, memberships, place } = piece;
            runs.into_iter().rev().for_each(|run| self.runs.push_front(run));
            memberships.into_iter().rev().for_each(|at| self.memberships.push_front(at));
            self.frames.push_front(FrameRef { first, last, ticket: 0, place: Some(place) });
            self.first = first;
        }
        Ok(())
    }

    /// Where the log had ended before a part of it was lost, whether or not that is back.
    pub(crate) fn lost_up_to(&self) -> Option<Position> {
        self.damaged_up_to.max(self.set_back_to.map(|_| self.last))
    }

    /// It had reached as far before frames went missing: unless it does again, that is lost.
    pub(crate) fn remember_loss(&mut self, up_to: Option<Position>) {
        self.damaged_up_to = self.damaged_up_to.max(up_to).filter(|up_to| self.last < *up_to);
    }

    /// Cuts what stands behind a position that the log holds.
    pub(crate) fn cut_behind(&mut self, last: Position) {
        if last < self.last {
            self.stay_set_back();
        }
        self.truncate_from(last.index.next());
        self.last = last;
    }

    fn truncate_from(&mut self, first: Index) {
        while self.runs.back().is_some_and(|run| run.first >= first) {
            self.runs.pop_back();
        }
        while self.memberships.back().is_some_and(|(at, _)| *at >= first) {
            self.memberships.pop_back();
        }
        self.frames.truncate(first);
        self.pieces.truncate(first);
        self.first = self.first.min(first);
        // The term is set by what is appended next.
        self.last.index = first.prev();
    }

    pub(crate) fn reset(&mut self, reset: &ResetBody) -> Result<(), Contradiction> {
        self.is_made = true;
        let membership = membership(&reset.membership)?;
        if reset.keeps_suffix {
            self.raise_floor(reset.floor, membership);
        } else {
            self.stay_set_back();
            self.forget_entries(reset.floor);
            (self.floor, self.floor_membership) = (reset.floor, membership);
        }
        self.heal();
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
        self.frames.trim(floor.index);
        self.pieces.trim(floor.index);
        self.first = self.first.max(floor.index.next());
    }

    /// Takes over what a head or a seal restates; the entries below its floor go.
    pub(crate) fn rebase(&mut self, checkpoint: &Checkpoint) -> Result<(), Contradiction> {
        self.is_made = true;
        self.hard_state = checkpoint.hard_state;
        (self.damaged_up_to, self.set_back_to) = (checkpoint.damaged_up_to, None);
        if self.frames.is_empty() || self.last != checkpoint.last {
            // Nothing of the group is left but what is said of it, and what was relocated.
            *self = Self { floor: Position::ZERO, ..std::mem::replace(self, Self::unknown()) };
            let is_same = self.last == checkpoint.last;
            let pieces = std::mem::take(&mut self.pieces);
            self.forget_entries(checkpoint.last);
            self.pieces = Some(pieces).filter(|_| is_same).unwrap_or_default();
        }
        self.raise_floor(checkpoint.floor, membership(&checkpoint.membership)?);
        Ok(())
    }

    /// The floor may be higher here: where a head could not be read that had raised it, and can
    /// be now.
    pub(crate) fn agrees_with(&self, checkpoint: &Checkpoint) -> Result<(), Contradiction> {
        let agrees = self.hard_state == checkpoint.hard_state && self.last == checkpoint.last;
        if agrees {
            return Ok(());
        }
        Err(Contradiction(format!(
            "group {} is at {:?} from {} to {}, a head or seal says {:?} from {} to {}",
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
    pub(crate) fn coherent(&self) -> Result<(), Contradiction> {
        let (floor, last) = (self.floor, self.last);
        let next_term = self.runs.front().map_or(last.term, |run| run.term);
        let is_below = floor.index < last.index && floor.term <= next_term;
        if is_below || floor == last {
            return Ok(());
        }
        let text = format!("a floor at {floor}, below term {next_term}, in a log to {last}");
        Err(Contradiction(text))
    }

    /// Forgets what the entries are: all that is known is where the last one stands.
    pub(crate) fn forget_entries(&mut self, last: Position) {
        self.runs.clear();
        self.memberships.clear();
        self.frames.clear();
        self.pieces.clear();
        (self.first, self.last) = (last.index.next(), last);
    }

    /// What was lost is made good once the log reaches as far again.
    fn heal(&mut self) {
        self.damaged_up_to.take_if(|up_to| self.last >= *up_to);
    }

    /// True where the log holds exactly this position, the floor included.
    pub(crate) fn holds(&self, position: Position) -> bool {
        if position == self.floor || position == self.last {
            return true;
        }
        let (index, is_known) = (position.index, self.first..=self.last.index);
        let after = self.runs.partition_point(|run| run.first <= index);
        let term = after.checked_sub(1).map(|place| self.runs[place].term);
        is_known.contains(&index) && term == Some(position.term)
    }

    /// True where these entries can only have been written to a log that agrees with this
    /// one up to the entry before them. An entry stands for all before it (thesis, section
    /// 3.5, log matching): either the first of them is here as well, or it follows the last
    /// one, which the leader of the same term wrote before it. Or they follow the floor, which
    /// is never cut.
    pub(crate) fn precedes(&self, appended: &Appended) -> bool {
        let Some(run) = appended.runs.first() else { return false };
        let first = Position { term: run.term, index: appended.first };
        let follows = first.index == self.last.index.next() && first.term == self.last.term;
        let follows_floor = first.index == self.floor.index.next();
        first.index > self.floor.index && (follows || follows_floor || self.holds(first))
    }

    /// Entries above the floor that no segment holds any more: the first and the last.
    pub(crate) fn missing(&self) -> Option<(Index, Index)> {
        let (from, to) = (self.floor.index.next(), self.first.min(self.last.index.next()).prev());
        (from <= to).then_some((from, to))
    }

    /// What is left of a group that misses entries: what it was `before` they went missing,
    /// where that is known and reaches its floor, or else nothing above the floor. With it
    /// goes where the log had ended.
    pub(crate) fn left(self, before: Option<Self>) -> Self {
        let ended = self.damaged_up_to.max(Some(self.last));
        let floor = self.floor;
        let mut left = match before {
            Some(before) if floor.index <= before.floor.index => before,
            Some(mut before) if before.holds(floor) => {
                before.raise_floor(floor, self.floor_membership);
                before
            }
            _ => {
                let mut left = Self::unknown();
                left.forget_entries(floor);
                (left.floor, left.floor_membership) = (floor, self.floor_membership);
                left
            }
        };
        if Some(left.last) >= ended || left.missing().is_some() {
            // Later entries were cut in between: what is left is certain up to the floor.
            left.forget_entries(left.floor);
        }
        left.damaged_up_to = ended.filter(|ended| left.last < *ended);
        left.hard_state = self.hard_state;
        left
    }

    /// What a replica goes on from.
    pub(crate) fn recovered(&self) -> RecoveredGroup {
        let (hard_state, damaged_up_to) = (self.hard_state, self.damaged_up_to);
        RecoveredGroup { hard_state, shape: self.shape(), damaged_up_to }
    }

    /// The shape of the log. Only for a log that misses nothing.
    fn shape(&self) -> LogShape {
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
