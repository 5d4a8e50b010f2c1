//! What can be tuned.

use std::time::Duration;

/// How a transport behaves; the defaults suit one data centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportOptions {
    /// The first delay before dialing again; see [`crate::Backoff`].
    pub backoff_initial: Duration,
    /// The greatest delay before dialing again. A peer that dials this node is
    /// dialed at once, so that a node which restarts is never waited for that long.
    pub backoff_max: Duration,
    /// How long a connection may take, and then the greeting on its streams: a peer
    /// that accepts connections and never answers counts as down.
    pub connect_timeout: Duration,
    /// How often an open connection is probed.
    pub keep_alive_interval: Duration,
    /// How long a probe may go unanswered before the connection counts as broken. A
    /// stopped process is noticed after at most the interval and this together.
    pub keep_alive_timeout: Duration,
    /// How many envelopes may wait in one lane to one peer.
    pub queue_envelopes: usize,
    /// How many bytes may wait in one lane to one peer. A batch that finds the queue
    /// empty always has room.
    pub queue_bytes: usize,
    /// How many bytes one frame takes up at most, unless one envelope alone is larger.
    pub frame_bytes: usize,
    /// The largest frame that is accepted, and the largest envelope that is sent. It
    /// must be the same on all nodes, and above the largest entry.
    pub message_bytes: usize,
    /// What waited longer than this for a lane to come up is dropped.
    pub stale_after: Duration,
    /// How many nodes of the cluster that are no peers may call at once; with none,
    /// every stranger is refused. A node that is behind does not know everyone yet that
    /// may lead it, and one that was removed must be told.
    pub guests: usize,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            backoff_initial: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(2),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(3),
            queue_envelopes: 16 * 1024,
            queue_bytes: 32 << 20,
            frame_bytes: 4 << 20,
            message_bytes: 64 << 20,
            stale_after: Duration::from_millis(500),
            guests: 0,
        }
    }
}
