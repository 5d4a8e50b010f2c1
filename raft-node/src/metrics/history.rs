//! The last five minutes, second by second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft_core::{GroupId, NodeId};
use serde::Serialize;

use super::collect::Sources;
use super::events::{EventKind, now_ms};
use super::histogram::Values;
use super::process;
use crate::engine::GroupFigures;
use crate::shell::Stage;

/// As many samples are kept.
const KEPT: usize = 300;

/// What one second was like. Rates are per second, over all groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// When the second ended, in milliseconds since 1970.
    pub time_ms: u64,
    /// Entries committed.
    pub writes_per_s: f64,
    /// Linearizable reads confirmed on this node as the leader.
    pub reads_per_s: f64,
    /// Requests of clients answered.
    pub http_requests_per_s: f64,
    /// The mean time a sync of the log took; `None` where there was none.
    pub sync_mean_ms: Option<f64>,
    /// The longest; `None` where there was none.
    pub sync_max_ms: Option<f64>,
    /// From a command's being proposed here to its being committed, in the middle;
    /// `None` where there was none.
    pub commit_p50_ms: Option<f64>,
    /// The same of the slowest hundredth.
    pub commit_p99_ms: Option<f64>,
    /// The last applied index; the highest where there are several groups.
    pub applied: u64,
    /// The size of the log's files.
    pub log_bytes: u64,
    /// The memory that the process uses.
    pub rss_bytes: u64,
}

/// The last samples of a node.
#[derive(Debug, Default)]
pub struct History {
    samples: Mutex<VecDeque<Sample>>,
}

impl History {
    /// The last 300 samples, the oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

/// What was counted when the last sample was taken.
#[derive(Debug)]
pub(super) struct Sampler {
    sources: Sources,
    at: Instant,
    figures: BTreeMap<GroupId, GroupFigures>,
    requests: u64,
    syncs: Values,
    commits: Values,
    queue_full: u64,
    overloaded: bool,
    connected: BTreeMap<NodeId, bool>,
}

impl Sampler {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            at: Instant::now(),
            figures: BTreeMap::new(),
            requests: 0,
            syncs: sources.recorder.log_sync.values(),
            commits: sources.recorder.of(Stage::Commit).values(),
            queue_full: 0,
            overloaded: false,
            connected: BTreeMap::new(),
            sources,
        }
    }

    /// Takes a sample of the time since the last one, and notes what happened in it.
    pub(super) fn take(&mut self, history: &History) {
        let sources = self.sources.clone();
        let took = std::mem::replace(&mut self.at, Instant::now()).elapsed();
        let seconds = took.max(Duration::from_millis(1)).as_secs_f64();
        let groups = sources.groups();
        let requests = sources.http.total();
        let syncs = sources.recorder.log_sync.values();
        let commits = sources.recorder.of(Stage::Commit).values();
        let (synced, committed) = (syncs.since(&self.syncs), commits.since(&self.commits));
        let slowest = sources.recorder.take_slowest_sync();
        let (mut writes, mut reads, mut refused) = (0, 0, 0);
        for (group, status) in &groups {
            let before = self.figures.insert(*group, status.figures).unwrap_or_default();
            writes += status.figures.committed - before.committed;
            let confirmed = |figures: &GroupFigures| figures.reads - figures.reads_refused;
            reads += confirmed(&status.figures) - confirmed(&before);
            refused += status.figures.refused_overloaded - before.refused_overloaded;
            self.note_snapshots(*group, &before, &status.figures);
        }
        self.note_overload(refused);
        self.note_peers();
        let ms = |seconds: f64| seconds * 1e3;
        history.add(Sample {
            time_ms: now_ms(),
            writes_per_s: writes as f64 / seconds,
            reads_per_s: reads as f64 / seconds,
            http_requests_per_s: (requests - self.requests) as f64 / seconds,
            sync_mean_ms: synced.mean().map(ms),
            sync_max_ms: synced.mean().map(|_| ms(slowest.as_secs_f64())),
            commit_p50_ms: committed.quantile(0.5).map(ms),
            commit_p99_ms: committed.quantile(0.99).map(ms),
            applied: groups.values().map(|status| status.applied.0).max().unwrap_or(0),
            log_bytes: sources.recorder.last_published().1.log.disk_bytes,
            rss_bytes: process::resident_bytes(),
        });
        (self.requests, self.syncs, self.commits) = (requests, syncs, commits);
    }

    fn note_snapshots(&self, group: GroupId, before: &GroupFigures, now: &GroupFigures) {
        let events = &self.sources.recorder.events;
        if now.snapshots_taken > before.snapshots_taken {
            events.add(EventKind::SnapshotTaken, format!("group {group}: a snapshot was taken"));
        }
        if now.snapshots_sent > before.snapshots_sent {
            let text = format!("group {group}: a follower was filled with a snapshot");
            events.add(EventKind::SnapshotSent, text);
        }
        if now.snapshots_installed > before.snapshots_installed {
            let text = format!("group {group}: the leader's snapshot was installed");
            events.add(EventKind::SnapshotInstalled, text);
        }
    }

    fn note_overload(&mut self, refused: u64) {
        let queue_full = self.sources.recorder.queue_full();
        let refused = refused + queue_full - std::mem::replace(&mut self.queue_full, queue_full);
        let events = &self.sources.recorder.events;
        match (self.overloaded, refused > 0) {
            (false, true) => {
                let text = format!("{refused} requests were refused: too much waits");
                events.add(EventKind::OverloadBegan, text);
            }
            (true, false) => {
                events.add(EventKind::OverloadEnded, "requests are taken again".to_owned());
            }
            _ => {}
        }
        self.overloaded = refused > 0;
    }

    fn note_peers(&mut self) {
        for link in self.sources.transport.peers() {
            let connected = link.lanes[0].connected;
            let before = self.connected.insert(link.id, connected);
            let events = &self.sources.recorder.events;
            match (before, connected) {
                (None | Some(false), true) => {
                    events.add(EventKind::PeerFound, format!("node {} is connected", link.id));
                }
                (Some(true), false) => {
                    let why = link.last_error.map(|why| format!(": {why}")).unwrap_or_default();
                    let text = format!("node {} is not connected{why}", link.id);
                    events.add(EventKind::PeerLost, text);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sample_makes_room() {
        let history = History::default();
        for applied in 0..=KEPT as u64 {
            history.add(Sample { applied, ..Sample::default() });
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].applied), (KEPT, 1));
    }
}
