//! The settings of all replicas of a world, and which rule is broken.

use raft_core::{EntryKind, HardState};
use raft_state::Config;

use super::bug::Bug;
use super::canon::TIMEOUT;
use super::log::Log;

/// What is the same for all nodes of a world.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) config: Config,
    pub(crate) bug: Option<Bug>,
}

impl Rules {
    /// An election timeout is two nanoseconds, a heartbeat's interval one.
    pub(crate) fn new(bug: Option<Bug>, lease_drift: Option<u64>, one_by_one: bool) -> Self {
        let nanos = std::time::Duration::from_nanos;
        let config = Config {
            election_timeout: nanos(TIMEOUT),
            heartbeat_interval: nanos(1),
            lease_drift: lease_drift.map(nanos),
            // The model tells of commits itself.
            commit_notice: nanos(1_000_000),
            max_append_bytes: if one_by_one { 1 } else { 1 << 20 },
            ..Config::default()
        };
        Self { config, bug }
    }

    /// The log as a restart sees it.
    pub(super) fn recovered(&self, log: &Log) -> Log {
        let mut log = log.clone();
        if self.bug == Some(Bug::MembershipIsForgotten) {
            let members =
                log.entries.iter_mut().filter(|entry| entry.kind == EntryKind::Membership);
            members.for_each(|entry| entry.kind = EntryKind::Blank);
        }
        log
    }

    /// Term and vote as a restart sees them.
    pub(super) fn remembered(&self, hard_state: HardState) -> HardState {
        if self.bug == Some(Bug::VoteIsForgotten) {
            return HardState { vote: None, ..hard_state };
        }
        hard_state
    }
}
