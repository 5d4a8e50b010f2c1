//! What a follower makes of an append.

use raft_core::{Entry, EntryKind, GroupTime, Index, LogShape, Membership, Position};

/// What becomes of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The log holds all of it already and agrees up to `last`.
    Known {
        /// The last index they agree on.
        last: Index,
    },
    /// Everything from the entry number `skip` of the request on is new and is to be
    /// appended; what the log has from that index on is cut first.
    Append {
        /// How many entries of the request the log holds already.
        skip: usize,
    },
    /// The log does not hold the entry before the first one.
    Conflict {
        /// The last own position that may agree.
        hint: Position,
    },
    /// The request would overwrite a committed entry. Either the sender is no leader
    /// or the log here is not what it was: nothing more may be done with it.
    Contradiction {
        /// What is committed here.
        own: Position,
        /// What the request says stands there.
        theirs: Position,
    },
    /// The request is none: indexes with a gap, falling terms, or a membership that
    /// cannot be read. Its sender is broken.
    Malformed,
}

/// Decides about an append of `entries` after `prev`, at a follower whose log is
/// `log` and which knows that everything up to `commit` is committed (thesis,
/// section 3.5). An entry that the log already holds is never written again, and
/// nothing is cut unless a new entry contradicts it: a late duplicate must not take
/// back what a later request brought.
#[must_use]
pub fn accept(log: &LogShape, commit: Index, prev: Position, entries: &[Entry]) -> Acceptance {
    if !well_formed(prev, entries) {
        return Acceptance::Malformed;
    }
    let floor = log.floor();
    // What lies at or below the floor is committed, and so equal in every leader's
    // log; only its last entry can still be compared.
    let covered = usize::try_from(floor.index.0.saturating_sub(prev.index.0)).unwrap_or(usize::MAX);
    let Some(above) = entries.get(covered..) else {
        return Acceptance::Known { last: Index(prev.index.0 + entries.len() as u64) };
    };
    let prev = covered.checked_sub(1).map_or(prev, |last| entries[last].position());
    if !log.holds(prev) {
        return if prev.index <= commit {
            let term = log.term_at(prev.index).unwrap_or_default();
            Acceptance::Contradiction { own: Position { term, index: prev.index }, theirs: prev }
        } else {
            Acceptance::Conflict { hint: log.last_at_or_below(prev.index, prev.term) }
        };
    }
    let known = above.iter().take_while(|entry| log.holds(entry.position())).count();
    let Some(first_new) = above.get(known) else {
        return Acceptance::Known { last: Index(prev.index.0 + above.len() as u64) };
    };
    if first_new.index <= commit {
        let term = log.term_at(first_new.index).unwrap_or_default();
        let own = Position { term, index: first_new.index };
        return Acceptance::Contradiction { own, theirs: first_new.position() };
    }
    Acceptance::Append { skip: covered + known }
}

fn well_formed(prev: Position, entries: &[Entry]) -> bool {
    let mut before = prev;
    entries.iter().all(|entry| {
        let follows = entry.index == before.index.next() && entry.term >= before.term;
        before = entry.position();
        follows
            && match entry.kind {
                EntryKind::Blank | EntryKind::Command => true,
                EntryKind::Membership => Membership::decode(&entry.payload).is_ok(),
                EntryKind::Clock => GroupTime::decode(&entry.payload).is_ok(),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use raft_core::Term;

    fn entry(term: u64, index: u64) -> Entry {
        let payload = Bytes::new();
        Entry { term: Term(term), index: Index(index), kind: EntryKind::Command, payload }
    }

    /// A log with entries of these terms above `floor`, which is of term 1.
    fn log(floor: u64, terms: &[u64]) -> LogShape {
        let mut shape = LogShape::new(Position::new(1, floor), Membership::empty());
        for (place, term) in terms.iter().enumerate() {
            shape.append(&entry(*term, floor + place as u64 + 1));
        }
        shape
    }

    /// An append of entries of these terms after `prev`.
    fn offer(log: &LogShape, commit: u64, prev: Position, terms: &[u64]) -> Acceptance {
        let entries: Vec<Entry> = terms
            .iter()
            .enumerate()
            .map(|(place, term)| entry(*term, prev.index.0 + place as u64 + 1))
            .collect();
        accept(log, Index(commit), prev, &entries)
    }

    #[test]
    fn new_entries_are_appended_and_known_ones_skipped() {
        let log = log(0, &[1, 1, 2]);
        assert_eq!(offer(&log, 0, Position::new(2, 3), &[2]), Acceptance::Append { skip: 0 });
        assert_eq!(offer(&log, 0, Position::new(1, 1), &[1, 2, 2]), Acceptance::Append { skip: 2 });
        assert_eq!(offer(&log, 0, Position::new(1, 1), &[1, 3]), Acceptance::Append { skip: 1 });
    }

    #[test]
    fn a_late_duplicate_cuts_nothing() {
        let log = log(0, &[1, 1, 2]);
        let known = offer(&log, 0, Position::new(1, 1), &[1]);
        assert_eq!(known, Acceptance::Known { last: Index(2) });
        let empty = offer(&log, 0, Position::new(1, 2), &[]);
        assert_eq!(empty, Acceptance::Known { last: Index(2) }, "not the last index of the log");
    }

    #[test]
    fn a_conflict_hints_past_a_whole_term() {
        let log = log(0, &[1, 1, 2, 2, 2]);
        let conflict = |prev, hint| {
            assert_eq!(offer(&log, 1, prev, &[5]), Acceptance::Conflict { hint }, "{prev}");
        };
        conflict(Position::new(4, 9), Position::new(2, 5));
        conflict(Position::new(1, 5), Position::new(1, 2));
        conflict(Position::new(3, 4), Position::new(2, 4));
    }

    #[test]
    fn what_a_snapshot_covers_is_known() {
        let log = log(10, &[1, 2]);
        let known = |prev, terms: &[u64], last| {
            assert_eq!(offer(&log, 10, prev, terms), Acceptance::Known { last: Index(last) });
        };
        known(Position::new(1, 3), &[1, 1], 5);
        known(Position::new(1, 8), &[1, 1, 1], 11);
        let more = offer(&log, 10, Position::new(1, 9), &[1, 1, 2, 3]);
        assert_eq!(more, Acceptance::Append { skip: 3 });
    }

    #[test]
    fn committed_entries_are_never_overwritten() {
        let log = log(0, &[1, 1, 2]);
        let contradiction = |index, own, theirs| Acceptance::Contradiction {
            own: Position::new(own, index),
            theirs: Position::new(theirs, index),
        };
        assert_eq!(offer(&log, 2, Position::new(1, 1), &[3]), contradiction(2, 1, 3));
        assert_eq!(offer(&log, 3, Position::new(3, 3), &[3]), contradiction(3, 2, 3));
        let trimmed = self::log(10, &[]);
        assert_eq!(offer(&trimmed, 10, Position::new(1, 9), &[2, 2]), contradiction(10, 1, 2));
    }

    #[test]
    fn what_no_leader_would_send_is_malformed() {
        let log = log(0, &[1, 1]);
        let prev = Position::new(1, 2);
        assert_eq!(accept(&log, Index(0), prev, &[entry(1, 4)]), Acceptance::Malformed);
        assert_eq!(accept(&log, Index(0), prev, &[entry(0, 3)]), Acceptance::Malformed);
        let no_time = Entry { kind: EntryKind::Clock, ..entry(1, 3) };
        assert_eq!(accept(&log, Index(0), prev, &[no_time]), Acceptance::Malformed);
        let unreadable = Entry { kind: EntryKind::Membership, ..entry(1, 3) };
        assert_eq!(accept(&log, Index(0), prev, &[unreadable]), Acceptance::Malformed);
    }
}
