//! What is committed.

use raft_core::{Index, Membership, NodeId, quorum};

/// What became of the commit index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitVerdict {
    /// It stays.
    Unchanged,
    /// It moves up to this index.
    Advance(Index),
}

/// A leader's rule of commitment (thesis, section 3.6.2): an entry is committed once
/// it is durable on a quorum *and* was made in the leader's own term; what came
/// before is committed with it, never by counting.
///
/// Invariant: the verdict never moves the commit index back, nor to an entry before
/// the first of the leader's term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    term_start: Index,
}

impl Commitment {
    /// The rule of a leader whose first entry, the blank one, stands at `term_start`.
    #[must_use]
    pub const fn new(term_start: Index) -> Self {
        Self { term_start }
    }

    /// True once an entry of the leader's own term is committed.
    #[must_use]
    pub fn in_term(&self, commit: Index) -> bool {
        commit >= self.term_start
    }

    /// What follows from `matched`, each member's last durable agreeing entry, the
    /// leader's own included: it counts itself only for what its disk has.
    pub fn verdict(
        &self,
        membership: &Membership,
        commit: Index,
        matched: impl Fn(NodeId) -> Index,
    ) -> CommitVerdict {
        let agreed = quorum::agreed(membership, matched);
        if agreed > commit && agreed >= self.term_start {
            CommitVerdict::Advance(agreed)
        } else {
            CommitVerdict::Unchanged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(term_start: u64, commit: u64, matched: [u64; 3]) -> CommitVerdict {
        let ids = [1, 2, 3].map(|id| NodeId::new(id).unwrap());
        let at = |id: NodeId| Index(matched[id.get() as usize - 1]);
        let commitment = Commitment::new(Index(term_start));
        commitment.verdict(&Membership::of_voters(ids), Index(commit), at)
    }

    #[test]
    fn a_majority_commits() {
        assert_eq!(verdict(1, 0, [5, 3, 0]), CommitVerdict::Advance(Index(3)));
        assert_eq!(verdict(1, 3, [5, 3, 0]), CommitVerdict::Unchanged);
        assert_eq!(verdict(1, 3, [5, 0, 0]), CommitVerdict::Unchanged);
    }

    /// Figure 3.7 of the thesis: an entry of an earlier term on a majority may still
    /// be overwritten, until one of the leader's own term covers it.
    #[test]
    fn entries_of_earlier_terms_are_not_committed_by_counting() {
        assert_eq!(verdict(4, 1, [4, 3, 3]), CommitVerdict::Unchanged);
        assert_eq!(verdict(4, 1, [4, 4, 3]), CommitVerdict::Advance(Index(4)));
        assert!(!Commitment::new(Index(4)).in_term(Index(3)));
        assert!(Commitment::new(Index(4)).in_term(Index(4)));
    }
}
