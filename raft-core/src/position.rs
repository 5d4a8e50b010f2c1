//! Terms, indexes, and the two together.

use core::fmt;

/// A term: a period with at most one leader (Raft thesis, section 3.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

impl Term {
    /// The term before any election.
    pub const ZERO: Self = Self(0);

    /// The term after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The index of an entry in a log. The first entry has index 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

impl Index {
    /// The index before the first entry.
    pub const ZERO: Self = Self(0);

    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; zero stays zero.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The index `count` entries later.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

/// An index with the term of the entry that stands there.
///
/// The order is that of section 3.6.1 of the thesis: the later term wins, then
/// the longer log. `a >= b` says that a log ending at `a` is at least as up to
/// date as one ending at `b`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The term of the entry.
    pub term: Term,
    /// The index of the entry.
    pub index: Index,
}

impl Position {
    /// The position before the first entry.
    pub const ZERO: Self = Self { term: Term::ZERO, index: Index::ZERO };

    /// A position from its two parts.
    #[must_use]
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term: Term(term), index: Index(index) }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_term_beats_a_longer_log() {
        assert!(Position::new(3, 1) > Position::new(2, 100));
        assert!(Position::new(2, 5) > Position::new(2, 4));
        assert!(Position::new(2, 5) >= Position::new(2, 5));
    }

    #[test]
    fn terms_and_indexes_follow_one_another() {
        assert_eq!(Term(7).next(), Term(8));
        assert_eq!(Index(7).plus(0), Index(7));
        assert_eq!(Index(7).plus(5), Index(12));
    }

    #[test]
    fn what_is_shown_tells_terms_from_indexes() {
        let at = Position::new(2, 7);
        let (Position { term, index }, debug) = (at, format!("{at:?}"));
        assert_eq!(format!("{term} {index} {at}"), "2 7 7@2");
        assert_eq!(format!("{term:?} {index:?} {debug}"), "t2 i7 7@2");
    }

    #[test]
    fn the_index_before_the_first_is_zero() {
        assert_eq!(Index::ZERO.prev(), Index::ZERO);
        assert_eq!(Index(7).prev(), Index(6));
        assert_eq!(Index(7).next(), Index(8));
    }
}
