//! Looking at a replica from outside.

use alloc::vec::Vec;

use raft_core::{GroupId, Index, Instant, LogShape, Membership, NodeId, Position, Term};
use raft_replication::{Progress, State};

use crate::replica::Replica;
use crate::role::{Role, RoleName};

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub role: RoleName,
    /// The term it is in.
    pub term: Term,
    /// Who leads in that term, where known.
    pub leader: Option<NodeId>,
    /// The last entry in its log.
    pub last: Index,
    /// The last entry it knows to be committed.
    pub commit: Index,
    /// Where its log ended before the disk lost a part of it, until that is made good.
    pub damaged_up_to: Option<Position>,
    /// When the leader was last heard; `None` on the leader itself.
    pub leader_heard: Option<Instant>,
    /// The other members; empty unless it leads.
    pub peers: Vec<PeerStatus>,
}

/// How far a follower is, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The follower.
    pub id: NodeId,
    /// Its log agrees up to here, durably.
    pub matched: Index,
    /// When the last request left that it answered.
    pub contact: Option<Instant>,
    /// How many appends to it are under way, and what their entries weigh in bytes: nothing
    /// weighs nothing.
    pub in_flight: (usize, usize),
}

impl Replica {
    /// The group it belongs to.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// The term it is in.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.voter.term()
    }

    /// Whom it has given its vote in that term, where it has.
    #[must_use]
    pub const fn vote(&self) -> Option<NodeId> {
        self.voter.hard_state().vote
    }

    /// Who leads in that term, where known.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower { leader } => *leader,
            Role::PreCandidate { .. } | Role::Candidate { .. } => None,
            Role::Leader(_) => Some(self.me),
        }
    }

    /// True where it leads.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// True where it stopped for good; see [`crate::Output::Halt`].
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        self.halted
    }

    /// The last entry it knows to be committed.
    #[must_use]
    pub const fn commit(&self) -> Index {
        self.commit
    }

    /// The last entry it has given out to be applied.
    #[must_use]
    pub const fn applied(&self) -> Index {
        self.applied
    }

    /// The last entry that is durable here and that no write on its way takes back.
    #[must_use]
    pub const fn durable(&self) -> Index {
        self.durability.durable_index()
    }

    /// The shape of its log.
    #[must_use]
    pub const fn log(&self) -> &LogShape {
        &self.log
    }

    /// The membership in force: the latest one in its log.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.log.membership()
    }

    /// The match of the slowest follower that is served from the log; `None` unless it
    /// leads such followers.
    #[must_use]
    pub fn slowest_match(&self) -> Option<Index> {
        match &self.role {
            Role::Leader(leader) => leader.replication.slowest(),
            _ => None,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let peers = match &self.role {
            Role::Leader(leader) => leader
                .replication
                .peers()
                .map(|(id, peer)| PeerStatus {
                    id,
                    matched: peer.matched(),
                    contact: leader.heartbeats.contact(id),
                    in_flight: in_flight(peer),
                })
                .collect(),
            _ => Vec::new(),
        };
        Status {
            role: self.role.name(),
            term: self.term(),
            leader: self.leader(),
            last: self.log.last().index,
            commit: self.commit,
            damaged_up_to: self.damaged_up_to(),
            leader_heard: if self.is_leader() { None } else { self.election.heard() },
            peers,
        }
    }
}

fn in_flight(peer: &Progress) -> (usize, usize) {
    match peer.state() {
        State::Replicate { window } => (window.count(), window.bytes()),
        State::Probe { flight: Some(flight), .. } => (1, flight.bytes),
        State::Probe { flight: None, .. } | State::Snapshot { .. } | State::Quarantined => (0, 0),
    }
}
