//! Log entries.

use bytes::Bytes;

use crate::{Index, Position, Term};

/// What an entry is for. The kind decides who reads the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// The empty entry with which a new leader commits what came before it
    /// (Raft thesis, sections 3.6.2 and 6.4).
    Blank,
    /// A command for the state machine; no crate here looks into it.
    Command,
    /// A new membership, in the encoding of [`crate::Membership::encode`]. It is in
    /// force from the moment it is appended (thesis, section 4.1).
    Membership,
    /// The group's time, in the encoding of [`crate::GroupTime::encode`], for whatever
    /// expires by it (thesis, section 6.3).
    Clock,
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// Its place in the log.
    pub index: Index,
    /// What it is for.
    pub kind: EntryKind,
    /// Its content. Cloning it is a reference count.
    pub payload: Bytes,
}

impl Entry {
    /// Where the entry stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { term: self.term, index: self.index }
    }

    /// What the entry counts towards limits on bytes: its payload and a fixed
    /// allowance for its header, so that empty entries are never free.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.payload.len() + Self::HEADER_WEIGHT
    }

    /// The allowance for an entry's header in [`Entry::weight`].
    pub const HEADER_WEIGHT: usize = 32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_entry_is_not_free() {
        let weight = |payload: &'static [u8]| {
            let payload = Bytes::from_static(payload);
            Entry { term: Term(1), index: Index(1), kind: EntryKind::Command, payload }.weight()
        };
        assert_eq!(weight(b""), 32);
        assert_eq!(weight(b"command"), 39);
    }
}
