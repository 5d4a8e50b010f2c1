//! What a replica is at the moment.

use alloc::collections::BTreeMap;
use core::time::Duration;

use raft_core::{Index, Instant, Membership, NodeId, WriteNumber};
use raft_election::{Ballots, HeartbeatController};
use raft_replication::{Commitment, ReplicationController};

use crate::config::Config;
use crate::reading::Reads;
use crate::transfer::Transfer;
use crate::uncommitted::Uncommitted;
use crate::unreadable::Unsent;

/// The name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RoleName {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it would be elected (thesis, section 9.6).
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// A role with what it needs; what another role needs cannot exist meanwhile.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Follower { leader: Option<NodeId> },
    PreCandidate { ballots: Ballots },
    Candidate { ballots: Ballots, own_vote: Option<OwnVote> },
    Leader(alloc::boxed::Box<Leader>),
}

/// A candidate's vote for itself, which counts once its write is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnVote {
    pub(crate) round: u64,
    pub(crate) write: WriteNumber,
}

/// What a leader keeps besides the log.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) heartbeats: HeartbeatController,
    pub(crate) replication: ReplicationController,
    pub(crate) commitment: Commitment,
    pub(crate) reads: Reads,
    pub(crate) uncommitted: Uncommitted,
    /// When followers that nothing else tells are told of the commit index.
    pub(crate) notice_at: Option<Instant>,
    /// Leadership is being handed over; nothing is proposed meanwhile.
    pub(crate) transfer: Option<Transfer>,
    /// Since when no read is answered under a lease: another one was asked to stand.
    pub(crate) lease_given_up: bool,
    /// Not before this moment a stalled disk makes the leader hand over again.
    pub(crate) next_hand_over: Instant,
    /// What could not be read for those who lack it, since it was last tried.
    pub(crate) unsent: BTreeMap<NodeId, Unsent>,
}

impl Leader {
    pub(crate) fn new(
        config: &Config,
        me: NodeId,
        membership: &Membership,
        term_start: Index,
        number: u64,
        now: Instant,
    ) -> Self {
        let interval: Option<Duration> = config.own_heartbeats.then_some(config.heartbeat_interval);
        let timeout = config.election_timeout;
        Self {
            heartbeats: HeartbeatController::new(interval, timeout, now, membership),
            replication: ReplicationController::new(
                me,
                config.limits(),
                membership,
                term_start,
                number,
                now,
            ),
            commitment: Commitment::new(term_start),
            reads: Reads::default(),
            uncommitted: Uncommitted::default(),
            notice_at: None,
            transfer: None,
            lease_given_up: false,
            next_hand_over: Instant::default(),
            unsent: BTreeMap::new(),
        }
    }
}

impl Role {
    pub(crate) const fn name(&self) -> RoleName {
        match self {
            Self::Follower { .. } => RoleName::Follower,
            Self::PreCandidate { .. } => RoleName::PreCandidate,
            Self::Candidate { .. } => RoleName::Candidate,
            Self::Leader(_) => RoleName::Leader,
        }
    }
}
