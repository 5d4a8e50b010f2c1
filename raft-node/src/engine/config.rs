//! The engine's settings.

use std::num::NonZeroU64;
use std::time::Duration;

use raft_log::LogOptions;
use raft_log::gc::GcPolicy;

/// The settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// What every replica is set to. Its heartbeat interval is that between nodes.
    pub replica: raft_state::Config,
    /// The sizes of the log.
    pub log: LogOptions,
    /// When snapshots are taken and entries let go.
    pub gc: GcPolicy,
    /// Complete snapshots kept per group.
    pub keep_snapshots: usize,
    /// State machines are told to flush after this many entries at most, which bounds
    /// what a restart has to apply again.
    pub flush_every_entries: u64,
    /// The same for what the entries weigh, in bytes. It bounds the memory of a state
    /// machine that keeps what it has applied until it is flushed.
    pub flush_every_bytes: u64,
    /// While a flush is under way and entries of this weight have been applied since
    /// the one before began, in bytes, no more are applied.
    pub max_unflushed_bytes: u64,
    /// The entries handed to a state machine at once weigh about this much, in bytes.
    pub apply_page_bytes: usize,
    /// Whether requests for a group that another node leads are passed on to it.
    /// Otherwise they are refused at once, and the refusal names the leader.
    pub forward: bool,
    /// The commands that are under way to leaders weigh at most this much, in bytes;
    /// more are refused as overload.
    pub max_forwarded_bytes: usize,
    /// How long the answer to a command that was passed on is waited for; it then counts
    /// as unknown. A read is refused after an election timeout, or where what the answer
    /// names is not applied here for as long as this, and may be asked again.
    pub forward_timeout: Duration,
    /// While a state machine waits for its group's time, the leader puts it into the log
    /// this often at most. What expires does so up to this much late.
    pub clock_interval: Duration,
    /// Writes are taken while so much is free on the file system of the log, in bytes: the
    /// rest is for what is under way, the state machines and snapshots. `None` for 256 MiB,
    /// and no more than a tenth of the file system; zero for as long as the log finds room.
    pub min_free_bytes: Option<u64>,
    /// A write of the log that is under way for longer than this is reported as a stalled
    /// disk.
    pub stall_after: Duration,
    /// The pieces of a snapshot on its way to a follower, in bytes.
    pub snapshot_piece_bytes: usize,
    /// What this node sends of snapshots in a second at most, in bytes, to all followers of
    /// all groups together; `None` for as fast as it goes.
    pub snapshot_send_bytes_per_s: Option<NonZeroU64>,
    /// What this node writes of its own snapshots in a second at most, in bytes before
    /// compression, for all groups together; `None` for as fast as it goes.
    pub snapshot_write_bytes_per_s: Option<NonZeroU64>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            replica: raft_state::Config::default(),
            log: LogOptions::default(),
            gc: GcPolicy::default(),
            keep_snapshots: 2,
            flush_every_entries: 200_000,
            flush_every_bytes: 32 << 20,
            max_unflushed_bytes: 96 << 20,
            apply_page_bytes: 4 << 20,
            forward: true,
            max_forwarded_bytes: 32 << 20,
            forward_timeout: Duration::from_secs(10),
            clock_interval: Duration::from_secs(1),
            min_free_bytes: None,
            stall_after: Duration::from_millis(500),
            snapshot_piece_bytes: 1 << 20,
            snapshot_send_bytes_per_s: NonZeroU64::new(64 << 20),
            snapshot_write_bytes_per_s: None,
        }
    }
}
