//! Relocated entries, while those between them and the rest of the log are not known yet.

use raft_core::{Index, Membership, Term, TermRun};

use crate::frames::Place;
use crate::scan::Appended;

/// Entries that follow one another, at least one.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) first: Index,
    pub(crate) last: Index,
    /// The first one begins at `first`.
    pub(crate) runs: Vec<TermRun>,
    pub(crate) memberships: Vec<(Index, Membership)>,
    pub(crate) place: Place,
}

impl Piece {
    /// The entries `first ..= last` of those that stand at `place`; nothing where there are
    /// none.
    pub(crate) fn of(appended: &Appended, first: Index, last: Index, place: Place) -> Option<Self> {
        let whole = Self {
            first: appended.first,
            last: appended.last(),
            runs: appended.runs.clone(),
            memberships: appended.memberships.clone(),
            place,
        };
        whole.within(first, last)
    }

    /// The term of the last one.
    pub(crate) fn last_term(&self) -> Term {
        self.runs.last().map_or(Term::ZERO, |run| run.term)
    }

    /// What it has of `first ..= last`.
    pub(crate) fn within(mut self, first: Index, last: Index) -> Option<Self> {
        let (first, last) = (first.max(self.first), last.min(self.last));
        if first > last {
            return None;
        }
        (self.first, self.last) = (first, last);
        self.runs.retain(|run| run.first <= last);
        let begin = self.runs.partition_point(|run| run.first <= first).saturating_sub(1);
        self.runs.drain(..begin);
        if let Some(run) = self.runs.first_mut() {
            run.first = first;
        }
        self.memberships.retain(|(at, _)| (first..=last).contains(at));
        Some(self)
    }
}

/// Pieces that do not overlap, by rising index.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Vec<Piece>);

impl Pieces {
    /// Takes in a piece, in the place of what is known of the same entries: what was relocated
    /// later stays longer.
    pub(crate) fn put(&mut self, piece: Piece) {
        let mut all = Vec::with_capacity(self.0.len() + 2);
        for other in self.0.drain(..) {
            all.extend(other.clone().within(Index::ZERO, piece.first.prev()));
            all.extend(other.within(piece.last.next(), Index(u64::MAX)));
        }
        all.push(piece);
        all.sort_by_key(|piece| piece.first);
        self.0 = all;
    }

    /// Forgets the entries from `first` on.
    pub(crate) fn truncate(&mut self, first: Index) {
        self.keep(Index::ZERO, first.prev());
    }

    /// Forgets the entries up to `to`.
    pub(crate) fn trim(&mut self, to: Index) {
        self.keep(to.next(), Index(u64::MAX));
    }

    fn keep(&mut self, first: Index, last: Index) {
        let all = self.0.drain(..).filter_map(|piece| piece.within(first, last));
        self.0 = all.collect();
    }

    /// The last one, where it ends right before `next`.
    pub(crate) fn pop_before(&mut self, next: Index) -> Option<Piece> {
        self.0.pop_if(|piece| piece.last.next() == next)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first: u64, last: u64, terms: &[(u64, u64)], epoch: u64) -> Piece {
        let run = |(first, term): &(u64, u64)| TermRun { first: Index(*first), term: Term(*term) };
        Piece {
            first: Index(first),
            last: Index(last),
            runs: terms.iter().map(run).collect(),
            memberships: Vec::new(),
            place: Place { epoch, offset: 0, length: 100 },
        }
    }

    fn listed(pieces: &Pieces) -> Vec<(u64, u64, u64)> {
        let all = pieces.0.iter();
        all.map(|piece| (piece.first.0, piece.last.0, piece.place.epoch)).collect()
    }

    #[test]
    fn what_was_relocated_later_takes_the_place_of_what_was_before() {
        let mut pieces = Pieces::default();
        pieces.put(piece(1, 9, &[(1, 1), (4, 2), (8, 3)], 1));
        pieces.put(piece(20, 22, &[(20, 5)], 2));
        pieces.put(piece(3, 5, &[(3, 1), (4, 2)], 3));
        assert_eq!(listed(&pieces), [(1, 2, 1), (3, 5, 3), (6, 9, 1), (20, 22, 2)]);
        assert!(pieces.pop_before(Index(22)).is_none(), "it ends behind that");
        pieces.truncate(Index(9));
        pieces.trim(Index(1));
        assert_eq!(listed(&pieces), [(2, 2, 1), (3, 5, 3), (6, 8, 1)]);
        let upper = pieces.pop_before(Index(9)).unwrap();
        let runs: Vec<_> = upper.runs.iter().map(|run| (run.first.0, run.term.0)).collect();
        assert_eq!((runs, upper.last_term()), (vec![(6, 2), (8, 3)], Term(3)));
        pieces.put(piece(1, 9, &[(1, 3)], 4));
        assert_eq!(listed(&pieces), [(1, 9, 4)]);
    }
}
