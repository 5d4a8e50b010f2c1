//! What a log must hold.

use std::collections::BTreeMap;

use raft_core::{Entry, EntryKind, GroupId, HardState, Index, Membership, Position, Term};

/// What one group must hold.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) hard_state: HardState,
    /// The version that made it: a removed group that is made again is another one.
    pub(crate) born: usize,
    /// Where the latest reset put the log's beginning.
    pub(crate) floor: Position,
    pub(crate) floor_membership: Membership,
    /// Everything above `floor`, trimmed or not.
    pub(crate) entries: Vec<Entry>,
}

pub(crate) type Groups = BTreeMap<GroupId, Group>;

impl Group {
    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.floor, Entry::position)
    }

    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        match index.0.checked_sub(self.floor.index.0)? {
            0 => Some(self.floor.term),
            above => self.entries.get(above as usize - 1).map(|entry| entry.term),
        }
    }

    pub(crate) fn membership_at(&self, index: Index) -> Membership {
        let below = self.entries.iter().rev().filter(|entry| entry.index <= index);
        let mut memberships = below.filter(|entry| entry.kind == EntryKind::Membership);
        match memberships.next() {
            Some(entry) => Membership::decode(&entry.payload).unwrap(),
            None => self.floor_membership.clone(),
        }
    }
}
