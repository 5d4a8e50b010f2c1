//! What a node's threads report while they work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use raft_core::{GroupId, NodeId, Term};

use super::events::{EventKind, Events};
use super::histogram::Histogram;
use crate::engine::EngineFigures;
use crate::shell::{Depths, LogWrite, Observer, Stage};
use crate::{RequestError, Role};

/// A sync that takes longer than this is an event.
const SLOW_SYNC: Duration = Duration::from_millis(100);

/// The stages of a write with their names.
pub(crate) const STAGES: [(Stage, &str); 7] = [
    (Stage::Queue, "queue"),
    (Stage::Log, "log"),
    (Stage::Sync, "sync"),
    (Stage::Replicate, "replicate"),
    (Stage::Commit, "commit"),
    (Stage::Apply, "apply"),
    (Stage::Reply, "reply"),
];

/// Why a request can be refused before it comes to the engine.
pub(crate) const REASONS: [&str; 4] = ["queue_full", "too_large", "no_such_group", "stopped"];

/// Watches a shell. Nothing here takes a lock that anybody holds for long; once per
/// request there are only atomic additions.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) stages: [Histogram; STAGES.len()],
    pub(crate) wake_up_proposals: Histogram,
    pub(crate) refused: [AtomicU64; REASONS.len()],
    pub(crate) log_write: Histogram,
    pub(crate) log_sync: Histogram,
    pub(crate) log_entries: Histogram,
    pub(crate) log_bytes: Histogram,
    pub(crate) apply_entries: Histogram,
    pub(crate) apply: Histogram,
    /// The longest sync since somebody took it, in nanoseconds.
    slowest_sync: AtomicU64,
    pub(crate) events: Events,
    published: Mutex<(Depths, EngineFigures)>,
    leaders: Mutex<std::collections::BTreeMap<GroupId, Option<NodeId>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            stages: std::array::from_fn(|_| Histogram::durations()),
            wake_up_proposals: Histogram::counts(),
            refused: Default::default(),
            log_write: Histogram::durations(),
            log_sync: Histogram::durations(),
            log_entries: Histogram::counts(),
            log_bytes: Histogram::bytes(),
            apply_entries: Histogram::counts(),
            apply: Histogram::durations(),
            slowest_sync: AtomicU64::new(0),
            events: Events::default(),
            published: Mutex::default(),
            leaders: Mutex::default(),
        }
    }
}

impl Recorder {
    /// How the engine stood last.
    pub(crate) fn last_published(&self) -> (Depths, EngineFigures) {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The longest sync since the last call.
    pub(crate) fn take_slowest_sync(&self) -> Duration {
        Duration::from_nanos(self.slowest_sync.swap(0, Ordering::Relaxed))
    }

    /// The histogram of a stage.
    pub(crate) fn of(&self, stage: Stage) -> &Histogram {
        let place = STAGES.iter().position(|(known, _)| *known == stage);
        &self.stages[place.expect("every stage has a name")]
    }

    /// How many requests found the queue full.
    pub(crate) fn queue_full(&self) -> u64 {
        self.refused[0].load(Ordering::Relaxed)
    }
}

impl Observer for Recorder {
    fn stage(&self, stage: Stage, took: Duration, writes: u64) {
        self.of(stage).add_duration(took, writes);
    }

    fn took_in(&self, proposals: usize, _: usize) {
        if proposals > 0 {
            self.wake_up_proposals.add(proposals as u64, 1);
        }
    }

    fn refused(&self, why: &RequestError) {
        let reason = match why {
            RequestError::Overloaded => 0,
            RequestError::TooLarge { .. } => 1,
            RequestError::NoSuchGroup(_) => 2,
            RequestError::NotLeader { .. }
            | RequestError::NoRoom
            | RequestError::LeadershipLost
            | RequestError::Stopped
            | RequestError::Closed => 3,
        };
        self.refused[reason].fetch_add(1, Ordering::Relaxed);
    }

    fn wrote(&self, LogWrite { entries, bytes, write, sync }: LogWrite) {
        self.log_write.add_duration(write, 1);
        self.log_sync.add_duration(sync, 1);
        self.log_entries.add(entries as u64, 1);
        self.log_bytes.add(bytes as u64, 1);
        let nanos = u64::try_from(sync.as_nanos()).unwrap_or(u64::MAX);
        self.slowest_sync.fetch_max(nanos, Ordering::Relaxed);
        if sync > SLOW_SYNC {
            let text = format!("a sync of the log took {} ms", sync.as_millis());
            self.events.add(EventKind::SlowSync, text);
        }
    }

    fn applied(&self, commands: usize, took: Duration) {
        self.apply_entries.add(commands as u64, 1);
        self.apply.add_duration(took, 1);
    }

    fn role_changed(&self, group: GroupId, role: Role, term: Term, leader: Option<NodeId>) {
        let text = format!("group {group}: {} in term {term}", role.name());
        self.events.add(EventKind::Role, text);
        let mut leaders = self.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        let before = leaders.insert(group, leader).flatten();
        match (before, leader) {
            (before, Some(leader)) if before != Some(leader) => {
                let text = format!("group {group}: node {leader} leads in term {term}");
                self.events.add(EventKind::LeaderSeen, text);
            }
            (Some(before), None) => {
                let text = format!("group {group}: node {before} leads no longer, or is not heard");
                self.events.add(EventKind::LeaderLost, text);
            }
            _ => {}
        }
    }

    fn published(&self, depths: Depths, figures: &EngineFigures) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        *published = (depths, figures.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_seen_once_and_lost_once() {
        let recorder = Recorder::default();
        let (group, two) = (GroupId(1), NodeId::new(2));
        recorder.role_changed(group, Role::Follower, Term(1), two);
        recorder.role_changed(group, Role::Follower, Term(1), two);
        recorder.role_changed(group, Role::PreCandidate, Term(1), None);
        let kinds: Vec<EventKind> = recorder.events.recent().iter().map(|one| one.kind).collect();
        use EventKind::{LeaderLost, LeaderSeen, Role as Changed};
        assert_eq!(kinds, [Changed, LeaderSeen, Changed, Changed, LeaderLost]);
    }

    #[test]
    fn only_a_slow_sync_is_an_event_and_the_slowest_is_told_once() {
        let recorder = Recorder::default();
        for ms in [3, 150, 20] {
            let sync = Duration::from_millis(ms);
            recorder.wrote(LogWrite { entries: 1, bytes: 512, write: Duration::ZERO, sync });
        }
        assert_eq!(recorder.events.recent().len(), 1);
        assert_eq!(recorder.take_slowest_sync(), Duration::from_millis(150));
        assert_eq!(recorder.take_slowest_sync(), Duration::ZERO);
    }
}
