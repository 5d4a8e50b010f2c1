//! How many bytes a leader has proposed and not committed.

use alloc::collections::VecDeque;

use raft_core::Index;

/// The bytes of proposals that are not committed.
///
/// Invariant: `bytes` is the sum over the batches, so it is zero once everything is
/// committed and nothing leaks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uncommitted {
    batches: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Uncommitted {
    /// True where `more` bytes fit below `limit`, `taken` being about to be proposed.
    /// With nothing outstanding anything fits, so that no proposal is too large for ever.
    pub(crate) const fn has_room(&self, taken: usize, more: usize, limit: usize) -> bool {
        self.bytes + taken == 0 || self.bytes + taken + more <= limit
    }

    /// Notes proposals of `bytes` that end at `last`.
    pub(crate) fn proposed(&mut self, last: Index, bytes: usize) {
        self.bytes += bytes;
        self.batches.push_back((last, bytes));
    }

    /// Forgets what `commit` covers.
    pub(crate) fn committed(&mut self, commit: Index) {
        while self.batches.front().is_some_and(|(last, _)| *last <= commit) {
            let (_, bytes) = self.batches.pop_front().expect("the front is there");
            self.bytes -= bytes;
        }
        assert!(!self.batches.is_empty() || self.bytes == 0, "{} bytes leaked", self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_makes_room() {
        let mut uncommitted = Uncommitted::default();
        assert!(uncommitted.has_room(0, 500, 100), "one too large is taken where nothing waits");
        uncommitted.proposed(Index(2), 60);
        assert!(uncommitted.has_room(0, 40, 100) && !uncommitted.has_room(1, 40, 100));
        uncommitted.proposed(Index(3), 40);
        uncommitted.committed(Index(2));
        assert!(uncommitted.has_room(0, 60, 100) && !uncommitted.has_room(0, 61, 100));
        uncommitted.committed(Index(9));
        assert!(uncommitted.has_room(0, 1000, 100) && !uncommitted.has_room(1, 1000, 100));
    }

    #[test]
    #[should_panic(expected = "5 bytes leaked")]
    fn bytes_of_no_proposal_are_a_broken_invariant() {
        let mut uncommitted = Uncommitted { bytes: 5, ..Uncommitted::default() };
        uncommitted.committed(Index(1));
    }
}
