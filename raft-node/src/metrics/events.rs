//! Notable events, the last ones of them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

/// As many are kept.
const KEPT: usize = 100;

/// What kind of event it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// This node's replica stands for election, or leads, or follows.
    Role,
    /// A leader is known.
    LeaderSeen,
    /// No leader is known any more.
    LeaderLost,
    /// A snapshot was taken here.
    SnapshotTaken,
    /// A follower has installed a snapshot that this node sent.
    SnapshotSent,
    /// A snapshot of the leader was installed here.
    SnapshotInstalled,
    /// The disk took long.
    SlowSync,
    /// Requests are refused because too much waits.
    OverloadBegan,
    /// None was for a second.
    OverloadEnded,
    /// The connection to a peer is gone.
    PeerLost,
    /// There is a connection to a peer.
    PeerFound,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeEvent {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What kind of event it was.
    pub kind: EventKind,
    /// What happened, for people.
    pub text: String,
}

/// The last notable events of a node.
#[derive(Debug, Default)]
pub struct Events {
    events: Mutex<VecDeque<NodeEvent>>,
}

impl Events {
    /// The last hundred events, the oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<NodeEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn add(&self, kind: EventKind, text: String) {
        let event = NodeEvent { time_ms: now_ms(), kind, text };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == KEPT {
            events.pop_front();
        }
        events.push_back(event);
    }
}

/// Milliseconds since 1970, by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_event_makes_room() {
        let events = Events::default();
        for n in 0..=KEPT {
            events.add(EventKind::SlowSync, n.to_string());
        }
        let recent = events.recent();
        assert_eq!((recent.len(), &recent[0].text[..]), (KEPT, "1"));
        assert_eq!(recent.last().unwrap().text, KEPT.to_string());
    }
}
