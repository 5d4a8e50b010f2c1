//! What is known of a log without reading it.

use alloc::collections::VecDeque;

use crate::{Entry, EntryKind, Incarnation, Index, Membership, NodeId, Position, Term};

/// Entries that follow one another and have the same term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermRun {
    /// The first entry of the run; the run ends where the next begins.
    pub first: Index,
    /// The term they share.
    pub term: Term,
}

/// The shape of one group's log: where it begins and ends, where terms change, and
/// which memberships it holds. Everything a replica decides, it decides from this,
/// so that it never reads the log; it is as small as elections are rare.
///
/// Invariants, asserted on every change:
/// - `floor <= last`; entries `floor.index + 1 ..= last.index` are in the log.
/// - Runs begin above the floor, in rising order, with rising terms.
/// - The first membership is the one in force at the floor, where it stands; the others
///   stand at rising positions above it. The last one is in force (thesis, section 4.1: the
///   latest in the log, committed or not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogShape {
    floor: Position,
    last: Index,
    runs: VecDeque<TermRun>,
    memberships: VecDeque<(Position, Membership)>,
}

impl LogShape {
    /// A log with nothing above `floor`, where `membership` is in force.
    #[must_use]
    pub fn new(floor: Position, membership: Membership) -> Self {
        Self {
            floor,
            last: floor.index,
            runs: VecDeque::new(),
            memberships: VecDeque::from([(floor, membership)]),
        }
    }

    /// The position below which entries are gone: a snapshot covers them.
    #[must_use]
    pub const fn floor(&self) -> Position {
        self.floor
    }

    /// The last entry's position, or the floor where there is no entry.
    #[inline]
    #[must_use]
    pub fn last(&self) -> Position {
        let term = self.runs.back().map_or(self.floor.term, |run| run.term);
        Position { term, index: self.last }
    }

    /// The term of the entry at `index`; `None` below the floor and above the end.
    #[inline]
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index < self.floor.index || index > self.last {
            return None;
        }
        let after = self.runs.partition_point(|run| run.first <= index);
        Some(after.checked_sub(1).map_or(self.floor.term, |place| self.runs[place].term))
    }

    /// True where the log holds exactly this position, the floor included.
    #[inline]
    #[must_use]
    pub fn holds(&self, position: Position) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// The last position at or below `index` whose term is at or below `term`; the
    /// floor where there is none. With it two diverged logs find the place where
    /// they part in one round trip per term, not per entry (thesis, section 3.5).
    #[must_use]
    pub fn last_at_or_below(&self, index: Index, term: Term) -> Position {
        let mut end = index.min(self.last);
        for run in self.runs.iter().rev() {
            if run.first <= end {
                if run.term <= term {
                    return Position { term: run.term, index: end };
                }
                end = run.first.prev();
            }
        }
        self.floor
    }

    /// The membership in force: the latest one in the log.
    #[inline]
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.memberships[self.memberships.len() - 1].1
    }

    /// Where the membership in force stands; the floor where it stands no higher, for a
    /// snapshot covers it.
    #[inline]
    #[must_use]
    pub fn membership_position(&self) -> Position {
        self.memberships[self.memberships.len() - 1].0
    }

    /// The index of [`membership_position`](Self::membership_position).
    #[inline]
    #[must_use]
    pub fn membership_index(&self) -> Index {
        self.membership_position().index
    }

    /// Where the first membership stands that names this replica, by its id and its disk, in
    /// the log or at its floor.
    #[must_use]
    pub fn member_since(&self, id: NodeId, incarnation: Incarnation) -> Option<Index> {
        let has = |(_, membership): &&(Position, Membership)| membership.names(id, incarnation);
        self.memberships.iter().find(has).map(|(at, _)| at.index)
    }

    /// The membership that was in force at `index`, which is not below the floor.
    ///
    /// # Panics
    /// For an index below the floor: what was in force there is forgotten.
    #[must_use]
    pub fn membership_at(&self, index: Index) -> &Membership {
        assert!(index >= self.floor.index, "index {index} is below the floor {}", self.floor);
        let after = self.memberships.partition_point(|(at, _)| at.index <= index);
        &self.memberships[after - 1].1
    }

    /// Where the membership stands that was in force at `index`.
    ///
    /// # Panics
    /// As [`membership_at`](Self::membership_at).
    #[must_use]
    pub fn membership_position_at(&self, index: Index) -> Position {
        assert!(index >= self.floor.index, "index {index} is below the floor {}", self.floor);
        let after = self.memberships.partition_point(|(at, _)| at.index <= index);
        self.memberships[after - 1].0
    }

    /// Notes an appended entry.
    ///
    /// # Panics
    /// Where it does not follow the last one, lowers the term, or carries a payload
    /// of kind membership that is none: whoever takes entries in checks them first.
    #[inline]
    pub fn append(&mut self, entry: &Entry) {
        let last = self.last();
        assert_eq!(entry.index, last.index.next(), "entry {:?} after {last}", entry.position());
        assert!(entry.term >= last.term, "entry {:?} after {last}", entry.position());
        if entry.term > last.term || self.runs.is_empty() {
            self.runs.push_back(TermRun { first: entry.index, term: entry.term });
        }
        self.last = entry.index;
        if entry.kind == EntryKind::Membership {
            let membership = Membership::decode(&entry.payload)
                .unwrap_or_else(|why| panic!("membership at {:?}: {why}", entry.position()));
            self.memberships.push_back((entry.position(), membership));
        }
    }

    /// Cuts everything from `first` on.
    ///
    /// # Panics
    /// At or below the floor: what a snapshot covers is committed.
    pub fn truncate_from(&mut self, first: Index) {
        assert!(first > self.floor.index, "cutting from {first} at floor {}", self.floor);
        while self.runs.back().is_some_and(|run| run.first >= first) {
            self.runs.pop_back();
        }
        while self.memberships.len() > 1 && self.membership_index() >= first {
            self.memberships.pop_back();
        }
        self.last = self.last.min(first.prev());
    }

    /// Forgets what lies at and below `index`, raising the floor to it. A floor
    /// that is higher already stays.
    ///
    /// # Panics
    /// Above the last entry.
    pub fn trim_to(&mut self, index: Index) {
        if index <= self.floor.index {
            return;
        }
        let term = self
            .term_at(index)
            .unwrap_or_else(|| panic!("trimming to {index}, but the log ends at {}", self.last));
        while self.runs.get(1).is_some_and(|run| run.first <= index.next()) {
            self.runs.pop_front();
        }
        match self.runs.front_mut() {
            Some(_) if index == self.last => self.runs.clear(),
            Some(run) => run.first = run.first.max(index.next()),
            None => {}
        }
        while self.memberships.get(1).is_some_and(|(at, _)| at.index <= index) {
            self.memberships.pop_front();
        }
        self.floor = Position { term, index };
        self.memberships[0].0 = self.floor;
    }

    /// Makes `floor` the log's beginning after a snapshot: the suffix stays where the
    /// log holds that very position, else everything goes (paper, figure 13, step 6).
    pub fn reset(&mut self, floor: Position, membership: Membership) {
        if self.holds(floor) {
            self.trim_to(floor.index);
            self.memberships[0].1 = membership;
        } else {
            *self = Self::new(floor, membership);
        }
    }
}

#[cfg(test)]
#[path = "log_shape_tests.rs"]
mod tests;
