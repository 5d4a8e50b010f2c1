//! Watching a shell at work, for metrics.

use std::fmt;
use std::time::Duration;

use raft_core::{GroupId, NodeId, Term};

use crate::engine::EngineFigures;
use crate::handle::{RequestError, Role};

/// A part of a write's way through a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the handle to the engine's taking it in. Once per write.
    Queue,
    /// From being staged to the log's thread beginning to write it. Once per log write.
    Log,
    /// Writing and syncing. Once per log write.
    Sync,
    /// From an append's leaving to a follower's answer. Once per append.
    Replicate,
    /// From being proposed in the engine to being committed. Once per write.
    Commit,
    /// From being committed to being applied. Once per write.
    Apply,
    /// From the engine's answer to whoever asked having it. Once per write.
    Reply,
}

/// One write of the log, and its sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogWrite {
    /// Entries of all groups; none where only terms, votes or a seal were written.
    pub entries: usize,
    /// Bytes that went to the disk: after compression, in whole blocks, without the zeros and
    /// the head of a new segment.
    pub bytes: usize,
    /// How long it took to write them; with a new segment, to make that as well.
    pub write: Duration,
    /// How long the sync took.
    pub sync: Duration,
}

/// How much waits in a shell's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Depths {
    /// Requests of clients that the engine has not taken in.
    pub requests: usize,
    /// Batches of messages of peers that the engine has not taken in.
    pub messages: usize,
    /// Ends of work that the engine has not taken in.
    pub events: usize,
    /// Commands that were taken in and are not answered.
    pub proposals: usize,
    /// Reads that were taken in and are not answered.
    pub reads: usize,
}

/// Whoever watches a shell. All calls come from the shell's threads and from those that
/// hold a handle, so they must be quick and must not block. Each does nothing unless it
/// is written anew.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// This many writes each took this long in a stage.
    fn stage(&self, _stage: Stage, _took: Duration, _writes: u64) {}

    /// One wake-up of the engine took in this many requests.
    fn took_in(&self, _proposals: usize, _reads: usize) {}

    /// A request was refused before it came to the engine.
    fn refused(&self, _why: &RequestError) {}

    /// The log was written.
    fn wrote(&self, _write: LogWrite) {}

    /// This many commands of a group were applied in one batch.
    fn applied(&self, _commands: usize, _took: Duration) {}

    /// A replica changed its role, term or leader.
    fn role_changed(&self, _group: GroupId, _role: Role, _term: Term, _leader: Option<NodeId>) {}

    /// How the engine stands; several times a second while anything happens.
    fn published(&self, _depths: Depths, _figures: &EngineFigures) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
