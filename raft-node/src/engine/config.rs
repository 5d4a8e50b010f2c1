//! The engine's settings.

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
    /// State machines are told to flush after this many entries, which bounds what a
    /// restart has to apply again.
    pub flush_every_entries: u64,
    /// The entries handed to a state machine at once weigh about this much, in bytes.
    pub apply_page_bytes: usize,
    /// The pieces of a snapshot on its way to a follower, in bytes.
    pub snapshot_piece_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            replica: raft_state::Config::default(),
            log: LogOptions::default(),
            gc: GcPolicy::default(),
            keep_snapshots: 2,
            flush_every_entries: 20_000,
            apply_page_bytes: 4 << 20,
            snapshot_piece_bytes: 1 << 20,
        }
    }
}
