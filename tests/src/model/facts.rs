//! What the checks look at in a node.

use std::collections::HashMap;

use raft_core::{Entry, EntryKind, Index, Membership, NodeId};
use raft_state::RoleName;

use super::log::Log;
use super::node::Timed;

/// Names the entries of all logs by numbers, the same where term, kind and content are.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    ids: HashMap<(u64, u8, Vec<u8>), u32>,
    terms: Vec<u64>,
}

impl Entries {
    fn name(&mut self, entry: &Entry) -> u32 {
        let kind = match entry.kind {
            EntryKind::Blank => 0,
            EntryKind::Command => 1,
            EntryKind::Membership => 2,
            EntryKind::Clock => 3,
        };
        let key = (entry.term.0, kind, entry.payload.to_vec());
        let terms = &mut self.terms;
        *self.ids.entry(key).or_insert_with(|| {
            terms.push(entry.term.0);
            (terms.len() - 1) as u32
        })
    }

    pub(crate) fn term(&self, name: u32) -> u64 {
        self.terms[name as usize]
    }
}

/// A log with its entries named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) floor: u64,
    pub(crate) floor_term: u64,
    pub(crate) entries: Vec<u32>,
}

impl Named {
    fn of(log: &Log, names: &mut Entries) -> Self {
        let entries = log.entries.iter().map(|entry| names.name(entry)).collect();
        Self { floor: log.floor.index.0, floor_term: log.floor.term.0, entries }
    }

    pub(crate) fn at(&self, index: u64) -> Option<u32> {
        let place = index.checked_sub(self.floor + 1)?;
        self.entries.get(place as usize).copied()
    }

    pub(crate) const fn last(&self) -> u64 {
        self.floor + self.entries.len() as u64
    }

    /// Whether what was committed as `name` at this index is here.
    pub(crate) fn has(&self, index: u64, name: u32) -> bool {
        index <= self.floor || self.at(index) == Some(name)
    }
}

/// Voters as bits, the node 1 being the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voters {
    incoming: u8,
    outgoing: u8,
}

impl Voters {
    pub(crate) fn of(membership: &Membership) -> Self {
        let bits = |ids: &std::collections::BTreeSet<NodeId>| {
            ids.iter().fold(0, |bits, id| bits | bit(id.get() as u8))
        };
        Self { incoming: bits(membership.voters()), outgoing: bits(membership.outgoing()) }
    }

    pub(crate) const fn has(self, n: u8) -> bool {
        (self.incoming | self.outgoing) & bit(n) != 0
    }

    /// Whether these are a majority of the voters, in a joint membership of both sets (thesis,
    /// section 4.3). Not what the product counts with: a mistake there must not hide itself.
    pub(crate) fn is_quorum(self, has: u8) -> bool {
        let majority = |voters: u8| 2 * (voters & has).count_ones() > voters.count_ones();
        majority(self.incoming) && (self.outgoing == 0 || majority(self.outgoing))
    }
}

pub(crate) const fn bit(n: u8) -> u8 {
    1 << (n - 1)
}

/// What the checks look at.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) n: u8,
    pub(crate) boot: u64,
    pub(crate) term: u64,
    pub(crate) disk_term: u64,
    pub(crate) role: RoleName,
    pub(crate) leader: Option<u8>,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    pub(crate) log: Named,
    pub(crate) disk: Named,
    /// By what the log says, not the replica.
    pub(crate) voters: Voters,
    /// Where the membership in force stands.
    pub(crate) members_at: u64,
    pub(crate) busy: bool,
    pub(crate) damaged: bool,
    pub(crate) halted: bool,
    /// Whether the clock has gone beyond the deadline.
    pub(crate) overdue: bool,
    /// How many logs there are that damage may leave.
    pub(crate) shorter: u8,
}

impl Facts {
    pub(crate) fn of(timed: &Timed, names: &mut Entries) -> Self {
        let Timed { node, now, .. } = timed;
        let replica = &node.replica;
        let index = |index: Index| index.0;
        Self {
            n: node.me.get() as u8,
            boot: node.boots(),
            term: node.term().0,
            disk_term: node.disk.hard_state.term.0,
            role: node.role(),
            leader: replica.leader().map(|id| id.get() as u8),
            commit: index(replica.commit()),
            applied: index(replica.applied()),
            log: Named::of(&node.log, names),
            disk: Named::of(&node.disk.log, names),
            voters: Voters::of(node.log.shape().membership()),
            members_at: index(replica.log().membership_index()),
            busy: node.is_busy(),
            damaged: node.is_damaged(),
            halted: replica.is_halted(),
            overdue: *now >= replica.deadline(),
            shorter: node.shorter_logs().len() as u8,
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.role == RoleName::Leader
    }

    /// Whether the checks find nothing new in the other one.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.term == other.term
            && self.disk_term == other.disk_term
            && self.role == other.role
            && self.commit == other.commit
            && self.applied == other.applied
            && self.members_at == other.members_at
            && self.boot == other.boot
            && self.log == other.log
            && self.disk == other.disk
    }
}
