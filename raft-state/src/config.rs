//! What may be set about a replica.

use core::time::Duration;

use raft_election::{Loyalty, Priority};
use raft_replication::Limits;

/// The settings of a replica. All members of a group should have the same timeouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a follower waits for its leader, at least; each wait is drawn between
    /// this and twice this (thesis, section 3.4). A leader that hears no quorum for
    /// this long steps down.
    pub election_timeout: Duration,
    /// How early this replica stands for election, compared with the others.
    pub priority: Priority,
    /// Whether leaders answer reads at once while their lease lasts (thesis, section
    /// 6.4.1). All members of a group must have the same. `None`, the default, asks a
    /// quorum for every round of reads and relies on no clock. `Some(drift)` relies on that
    /// while one member's clock measures an election timeout, no other's runs further away
    /// from it than `drift`; where a clock does, a read may miss what a newer leader wrote.
    pub lease_drift: Option<Duration>,
    /// How often a leader is heard. The engine sends heartbeats for all groups of a
    /// node together unless [`Config::own_heartbeats`] is set; rounds of reads are
    /// retried after this long in either case.
    pub heartbeat_interval: Duration,
    /// Whether this replica sends heartbeats of its own, every interval. For those
    /// who drive a single replica without the engine.
    pub own_heartbeats: bool,
    /// How long an idle follower may stay untold of a commit.
    pub commit_notice: Duration,
    /// The entries of one append weigh about this many bytes at most; a single larger
    /// entry still travels.
    pub max_append_bytes: usize,
    /// Appends under way to one follower at once. Few make for larger batches.
    pub max_flights: usize,
    /// Bytes of entries under way to one follower at once.
    pub max_flight_bytes: usize,
    /// Bytes of entries proposed and not committed; above it proposals are refused.
    pub max_uncommitted_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            election_timeout: Duration::from_millis(1000),
            priority: Priority(0),
            lease_drift: None,
            heartbeat_interval: Duration::from_millis(100),
            own_heartbeats: false,
            commit_notice: Duration::from_millis(10),
            max_append_bytes: 1 << 20,
            max_flights: 8,
            max_flight_bytes: 8 << 20,
            max_uncommitted_bytes: 64 << 20,
        }
    }
}

impl Config {
    pub(crate) const fn loyalty(&self) -> Loyalty {
        if self.lease_drift.is_some() { Loyalty::Bound } else { Loyalty::Polite }
    }

    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            max_flights: self.max_flights,
            max_flight_bytes: self.max_flight_bytes,
            resend_after: self.election_timeout,
        }
    }
}
