//! What a scrape reads: all families, in the order of docs/metrics.md.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use raft_core::{GroupId, Lane};
use raft_log::Room;
use raft_rpc::grpc::{GrpcTransport, PeerLink};

use super::http::HttpRequests;
use super::page::{Labels, Page, bare};
use super::process;
use super::recorder::{REASONS, Recorder, STAGES};
use crate::engine::Collection;
use crate::engine::GroupFigures;
use crate::handle::Statuses;
use crate::{GroupStatus, Role};

/// Where the figures of a node are.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) http: Arc<HttpRequests>,
    pub(crate) statuses: Statuses,
    pub(crate) transport: GrpcTransport,
    /// The file of the store.
    pub(crate) store: PathBuf,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("store", &self.store).finish_non_exhaustive()
    }
}

type Groups = BTreeMap<GroupId, GroupStatus>;

impl Sources {
    /// How all groups stand.
    pub(crate) fn groups(&self) -> Groups {
        self.statuses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        let groups = self.groups();
        standing(page, &groups)?;
        counted(page, &groups)?;
        snapshots(page, &groups)?;
        self.write_path(page)?;
        self.log_and_store(page)?;
        self.queues(page)?;
        self.peers(page, &groups)?;
        self.requests(page)?;
        this_process(page)
    }
}

fn by_group<'a>(
    groups: &'a Groups,
    of: impl Fn(&GroupStatus) -> u64 + 'a,
) -> impl Iterator<Item = (Labels, u64)> + 'a {
    groups.iter().map(move |(group, status)| (vec![("group", group.to_string())], of(status)))
}

/// Series of each group that differ in one more label.
fn split<'a, const N: usize>(
    groups: &'a Groups,
    label: &'static str,
    of: impl Fn(&GroupFigures) -> [(&'static str, u64); N] + 'a,
) -> impl Iterator<Item = (Labels, u64)> + 'a {
    groups.iter().flat_map(move |(group, status)| {
        let series = |(value, count): (&str, u64)| {
            (vec![("group", group.to_string()), (label, value.to_owned())], count)
        };
        of(&status.figures).map(series)
    })
}

fn standing(page: &mut Page<'_>, groups: &Groups) -> fmt::Result {
    let has = by_group(groups, |status| u64::from(status.leader.is_some()));
    page.gauge("raft_has_leader", "1 where a leader is known here, else 0.", has)?;
    let leads = by_group(groups, |status| u64::from(status.role == Role::Leader));
    page.gauge("raft_is_leader", "1 where this node leads, else 0.", leads)?;
    let halted = by_group(groups, |status| u64::from(status.halted.is_some()));
    page.gauge("raft_group_halted", "1 where the group stopped here for good, else 0.", halted)?;
    let damaged = by_group(groups, |status| u64::from(status.damaged_up_to.is_some()));
    let help = "1 where the log lacks what the disk has lost, else 0.";
    page.gauge("raft_group_damaged", help, damaged)?;
    let term = by_group(groups, |status| status.term.0);
    page.gauge("raft_term", "The term that the replica is in.", term)?;
    let last = by_group(groups, |status| status.last.0);
    page.gauge("raft_last_index", "The last index in the log.", last)?;
    let commit = by_group(groups, |status| status.commit.0);
    page.gauge("raft_commit_index", "The last committed index.", commit)?;
    let applied = by_group(groups, |status| status.applied.0);
    page.gauge("raft_applied_index", "The last applied index.", applied)
}

fn counted(page: &mut Page<'_>, groups: &Groups) -> fmt::Result {
    let proposals = by_group(groups, |status| status.figures.proposals);
    let help = "Commands handed in where this node led or knew no leader.";
    page.counter("raft_proposals", help, proposals)?;
    let refused = split(groups, "reason", |figures| {
        [
            ("not_leader", figures.refused_not_leader),
            ("overloaded", figures.refused_overloaded),
            ("no_room", figures.refused_no_room),
            ("leadership_lost", figures.lost),
        ]
    });
    let help = "Commands that the engine did not carry out; leadership_lost: nobody knows.";
    page.counter("raft_proposals_refused", help, refused)?;
    let committed = by_group(groups, |status| status.figures.committed);
    page.counter("raft_entries_committed", "Entries committed.", committed)?;
    let applied = by_group(groups, |status| status.figures.applied);
    page.counter("raft_entries_applied", "Entries applied, without snapshots.", applied)?;
    let changes = by_group(groups, |status| status.figures.leader_changes);
    page.counter("raft_leader_changes", "How often another leader was found.", changes)?;
    let reads = by_group(groups, |status| status.figures.reads);
    page.counter("raft_reads", "Linearizable reads that were confirmed or refused.", reads)?;
    let refused = by_group(groups, |status| status.figures.reads_refused);
    page.counter("raft_reads_refused", "Linearizable reads that were refused.", refused)?;
    let rounds = by_group(groups, |status| status.figures.read_rounds);
    page.counter("raft_read_rounds", "Confirmed batches of reads.", rounds)?;
    let waiting = by_group(groups, |status| status.figures.waiting_proposals);
    page.gauge("raft_waiting_proposals", "Commands in the log that somebody awaits.", waiting)?;
    let waiting = by_group(groups, |status| status.figures.waiting_reads);
    page.gauge("raft_waiting_reads", "Confirmed reads that wait for entries.", waiting)
}

fn snapshots(page: &mut Page<'_>, groups: &Groups) -> fmt::Result {
    let done = split(groups, "event", |figures| {
        [
            ("taken", figures.snapshots_taken),
            ("sent", figures.snapshots_sent),
            ("installed", figures.snapshots_installed),
        ]
    });
    page.counter("raft_snapshots", "Snapshots taken, sent whole, and installed.", done)?;
    let bytes = split(groups, "direction", |figures| {
        [("sent", figures.snapshot_bytes_sent), ("received", figures.snapshot_bytes_received)]
    });
    page.counter("raft_snapshot_bytes", "Bytes of snapshots, sent and received.", bytes)?;
    let under_way = split(groups, "direction", |figures| {
        [("sending", figures.sending_snapshots), ("receiving", figures.receiving_snapshots)]
    });
    page.gauge("raft_snapshots_under_way", "Snapshots on their way.", under_way)?;
    let paused = by_group(groups, |status| u64::from(status.collection == Collection::Paused));
    let help = "1 where this node keeps its log and its snapshots because somebody wants it.";
    page.gauge("raft_collection_paused", help, paused)
}

impl Sources {
    fn write_path(&self, page: &mut Page<'_>) -> fmt::Result {
        let recorder = &*self.recorder;
        let stages = STAGES.iter().map(|(stage, name)| {
            (vec![("stage", (*name).to_owned())], recorder.of(*stage).values())
        });
        let help = "The parts of a write's way; which part begins and ends where is in the table.";
        page.histogram("raft_write_stage_duration_seconds", help, stages)?;
        let each = |histogram: &super::histogram::Histogram| [(bare(), histogram.values())];
        let help = "Commands that one wake-up of the engine took in.";
        page.histogram("raft_wake_up_proposals", help, each(&recorder.wake_up_proposals))?;
        let help = "Commands that were applied in one batch.";
        page.histogram("raft_apply_batch_entries", help, each(&recorder.apply_entries))?;
        let help = "Applying one batch.";
        page.histogram("raft_apply_duration_seconds", help, each(&recorder.apply))?;
        let help = "Putting a write of the log together; a new segment included.";
        page.histogram("raft_log_write_duration_seconds", help, each(&recorder.log_write))?;
        let help = "Syncing the log.";
        page.histogram("raft_log_sync_duration_seconds", help, each(&recorder.log_sync))?;
        let help = "Entries in one write of the log.";
        page.histogram("raft_log_write_entries", help, each(&recorder.log_entries))?;
        let help =
            "Bytes in one write of the log as they go to the disk: compressed, whole blocks.";
        page.histogram("raft_log_write_bytes", help, each(&recorder.log_bytes))
    }

    fn log_and_store(&self, page: &mut Page<'_>) -> fmt::Result {
        let (_, figures) = self.recorder.last_published();
        let log = figures.log;
        let one = |value: usize| [(bare(), value as u64)];
        page.gauge("raft_log_bytes", "The size of the log's files.", [(bare(), log.disk_bytes)])?;
        page.gauge("raft_log_segments", "The number of the log's files.", one(log.segments))?;
        let help = "Segments that were begun.";
        page.counter("raft_log_segments_begun", help, [(bare(), log.begun_segments)])?;
        let help = "Segments begun with a file that was ready, so that no write waited for it.";
        page.counter("raft_log_segments_prepared", help, [(bare(), log.prepared_segments)])?;
        let help = "Segments begun with a file that had its name, so that no folder was changed.";
        page.counter("raft_log_segments_named", help, [(bare(), log.named_segments)])?;
        let help = "What was written a second time so that old segments could go, in bytes.";
        page.counter("raft_log_relocated_bytes", help, [(bare(), log.relocated_bytes)])?;
        let help = "What compressing commands has kept from being written to the log, in bytes.";
        page.counter("raft_log_compression_saved_bytes", help, [(bare(), log.saved_bytes)])?;
        let help = "Entries of the log in memory, in bytes.";
        page.gauge("raft_log_cached_bytes", help, one(log.cached_bytes))?;
        let help = "What waits for the next write of the log, in bytes.";
        page.gauge("raft_log_staged_bytes", help, one(log.staged_bytes))?;
        let disk = figures.disk;
        let help = "What is free on the file system of the log, in bytes.";
        page.gauge("raft_disk_free_bytes", help, disk.free_bytes.map(|free| (bare(), free)))?;
        let help = "What must be free for writes to be taken, in bytes.";
        page.gauge("raft_disk_min_free_bytes", help, [(bare(), disk.min_free_bytes)])?;
        let room = match disk.room {
            Room::Plenty => 0,
            Room::Low => 1,
            Room::Exhausted => 2,
        };
        let help = "0 while there is room, 1 while writes are refused for want of it, 2 while \
                    entries from leaders are as well.";
        page.gauge("raft_disk_full", help, [(bare(), room)])?;
        let help = "Writes of the log that took so long that the disk counted as stalled.";
        page.counter("raft_disk_stalls", help, [(bare(), disk.stalls)])?;
        let help = "1 while a write of the log takes that long.";
        page.gauge("raft_disk_stalled", help, [(bare(), u64::from(disk.stalled))])?;
        let size = std::fs::metadata(&self.store).map_or(0, |file| file.len());
        page.gauge("raft_store_bytes", "The size of the store's file.", [(bare(), size)])
    }

    fn queues(&self, page: &mut Page<'_>) -> fmt::Result {
        let (depths, _) = self.recorder.last_published();
        let queues = [
            ("requests", depths.requests),
            ("messages", depths.messages),
            ("events", depths.events),
            ("pending_proposals", depths.proposals),
            ("pending_reads", depths.reads),
        ];
        let queues = queues.map(|(name, depth)| (vec![("queue", name.to_owned())], depth as u64));
        page.gauge("raft_queue_depth", "What waits, by queue.", queues)?;
        let refused = REASONS.iter().zip(&self.recorder.refused).map(|(reason, count)| {
            (vec![("reason", (*reason).to_owned())], count.load(Ordering::Relaxed))
        });
        let help = "Requests refused before they came to the engine.";
        page.counter("raft_requests_refused", help, refused)
    }

    fn peers(&self, page: &mut Page<'_>, groups: &Groups) -> fmt::Result {
        let lag = groups.iter().flat_map(|(group, status)| {
            status.peers.iter().map(move |peer| {
                let labels = vec![("group", group.to_string()), ("peer", peer.id.to_string())];
                (labels, status.last.0.saturating_sub(peer.matched.0))
            })
        });
        let help = "Entries that a peer is behind the leader's log; on the leader.";
        page.gauge("raft_peer_lag_entries", help, lag)?;
        let (_, figures) = self.recorder.last_published();
        let trips = figures
            .round_trips
            .iter()
            .map(|(peer, took)| (vec![("peer", peer.to_string())], took.as_secs_f64()));
        let help = "How long a peer took to answer the last heartbeat.";
        page.seconds("raft_peer_round_trip_seconds", help, trips)?;
        let links = self.transport.peers();
        let up = links
            .iter()
            .map(|link| (vec![("peer", link.id.to_string())], u64::from(link.lanes[0].connected)));
        page.gauge("raft_peer_connected", "1 while this node can send to the peer, else 0.", up)?;
        let refused = links.iter().map(|link| (vec![("peer", link.id.to_string())], link.refused));
        let help = "Batches and messages of a peer that were refused as malformed or not its own.";
        page.counter("raft_peer_refused", help, refused)?;
        let damaged = links.iter().map(|link| (vec![("peer", link.id.to_string())], link.damaged));
        let help = "Batches of a peer that arrived damaged; each ends a connection.";
        page.counter("raft_peer_damaged", help, damaged)?;
        lanes(page, &links)
    }

    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.http.counts().map(|([route, method, status], count)| {
            (vec![("route", route), ("method", method), ("status", status)], count)
        });
        page.counter("raft_http_requests", "Requests of clients that were answered.", counts)?;
        let took = self.http.durations();
        let took = took.map(|(route, values)| (vec![("route", route.to_owned())], values));
        let help = "From a request's head to the head of its answer.";
        page.histogram("raft_http_request_duration_seconds", help, took)
    }
}

fn lanes(page: &mut Page<'_>, links: &[PeerLink]) -> fmt::Result {
    let by_lane = |of: fn(&raft_rpc::grpc::LaneLink) -> u64| {
        links.iter().flat_map(move |link| {
            link.lanes.iter().map(move |lane| {
                let name = match lane.lane {
                    Lane::Control => "control",
                    Lane::Append => "append",
                    Lane::Snapshot => "snapshot",
                };
                (vec![("peer", link.id.to_string()), ("lane", name.to_owned())], of(lane))
            })
        })
    };
    let queued = by_lane(|lane| lane.queued as u64);
    page.gauge("raft_peer_queue_messages", "Messages that wait to be sent.", queued)?;
    let bytes = by_lane(|lane| lane.queued_bytes as u64);
    page.gauge("raft_peer_queue_bytes", "About how many bytes wait to be sent.", bytes)?;
    let dropped = by_lane(|lane| lane.dropped);
    page.counter("raft_peer_dropped_messages", "Messages dropped unsent.", dropped)?;
    page.counter("raft_peer_sent_frames", "Frames sent.", by_lane(|lane| lane.sent))?;
    page.counter("raft_peer_received_frames", "Frames received.", by_lane(|lane| lane.received))
}

fn this_process(page: &mut Page<'_>) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.info("raft_build", "The version of this program.", &version)?;
    let Some(process) = process::read() else { return Ok(()) };
    let help = "Processor time used, in seconds.";
    page.seconds_counter("process_cpu_seconds", help, process.cpu_seconds)?;
    let resident = [(bare(), process.resident_bytes)];
    page.gauge("process_resident_memory_bytes", "Memory in use.", resident)?;
    let virtual_bytes = [(bare(), process.virtual_bytes)];
    page.gauge("process_virtual_memory_bytes", "Addresses in use.", virtual_bytes)?;
    page.gauge("process_open_fds", "Open files.", [(bare(), process.open_fds)])?;
    let max = process.max_fds.map(|max| (bare(), max));
    page.gauge("process_max_fds", "Files that may be open.", max)?;
    let help = "When the process started, in seconds since 1970.";
    page.seconds("process_start_time_seconds", help, [(bare(), process.start_seconds)])
}
