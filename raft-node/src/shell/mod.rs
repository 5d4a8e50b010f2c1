//! The thin shell that runs an engine on tokio: one task for the engine, a thread for
//! the log, a thread for the state machines, three that give way to all others for what
//! nobody waits for, and blocking tasks for everything else.
//!
//! The shell decides nothing. It turns requests, messages, ends of work and the clock
//! into events, hands the engine as many as have come, and carries out what it wants:
//! one wake-up per batch and direction, never one per request.
//!
//! [`Node`] is all of it in one, for embedding: a folder, groups, a network.

mod node;

mod driver;

mod background;
mod broken;
mod clock;
mod inbox;
mod network;
mod observer;
mod status;
mod waiting;
mod workers;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use raft_core::{Envelope, GroupId, Membership, NodeId, Position};
use raft_log::LogError;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::engine::{Engine, Machines};
use crate::handle::NodeHandle;

use driver::Driver;
use inbox::Mail;

pub use clock::Clock;
pub use inbox::Inbox;
pub use network::{LocalNetwork, Network};
pub use node::{Node, NodeBuilder, StartError};
pub use observer::{Depths, LogWrite, Observer, Stage, Unobserved};

/// Whoever carries envelopes to peers. It may lose them and must not block.
pub trait Outbound: Send + Sync + 'static {
    /// Sends these to a peer, in this order within each lane.
    fn send(&self, to: NodeId, envelopes: Vec<Envelope>);

    /// These are the members of a group now, by the entry at `index` of its log: those to
    /// be reached, and by what they say in [`raft_core::Member::data`] where. Told of every
    /// group when the node starts, and whenever another membership comes into force here,
    /// committed or not. It does nothing unless it is written anew.
    fn members_changed(&self, _group: GroupId, _at: Position, _members: &Membership) {}
}

/// The sizes of a shell's queues. A full one refuses at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShellOptions {
    /// Requests of clients that wait to be taken in.
    pub queued_requests: usize,
    /// What the requests of clients that are not answered take up, in bytes: the
    /// commands, and something for each request.
    pub max_waiting_bytes: usize,
    /// Batches of messages from peers that wait to be taken in.
    pub queued_messages: usize,
    /// The largest command, in bytes.
    pub max_command_bytes: usize,
}

impl Default for ShellOptions {
    fn default() -> Self {
        Self {
            queued_requests: 16 << 10,
            max_waiting_bytes: 64 << 20,
            queued_messages: 1 << 10,
            max_command_bytes: 16 << 20,
        }
    }
}

/// Why an engine stopped by itself. The process must end: nothing more can be promised.
#[derive(Debug, Error)]
pub enum ShellError {
    /// The log failed; the cause says which file and what to do.
    #[error("the log failed, which is final for this process: {0}")]
    Log(#[from] LogError),
    /// The state machines could not be flushed at the end. What they had applied is
    /// applied again at the next start.
    #[error(
        "the state machines could not be flushed, which loses nothing since the log has all they \
         applied: {0}"
    )]
    Flush(#[source] std::io::Error),
    /// A part of the node panicked; its message has been printed.
    #[error("the node stops because its {0} panicked")]
    Panicked(&'static str),
}

/// The queues between an engine that is still to be started and its surroundings.
#[derive(Debug)]
pub struct Queues {
    mail: mpsc::Receiver<Mail>,
    requests: mpsc::Receiver<crate::handle::Request>,
    handle: NodeHandle,
    inbox: Inbox,
    options: ShellOptions,
    observer: Arc<dyn Observer>,
}

impl Queues {
    /// Empty queues.
    #[must_use]
    pub fn new(options: ShellOptions) -> Self {
        Self::observed(options, Arc::new(Unobserved))
    }

    /// Empty queues of a shell that `observer` watches.
    #[must_use]
    pub fn observed(options: ShellOptions, observer: Arc<dyn Observer>) -> Self {
        let (mail_in, mail) = mpsc::channel(options.queued_messages);
        let (requests_in, requests) = mpsc::channel(options.queued_requests);
        let statuses = Arc::new(RwLock::new(BTreeMap::new()));
        let handle = NodeHandle::new(
            requests_in,
            statuses,
            Arc::clone(&observer),
            options.max_waiting_bytes,
        );
        Self { mail, requests, handle, inbox: Inbox::new(mail_in), options, observer }
    }

    /// Where clients of the node's groups ask.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Where messages of peers arrive.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }
}

/// An engine at work.
#[derive(Debug)]
pub struct Shell {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ShellError>>,
}

impl Shell {
    /// Starts the engine's task and threads. `clock` is the one the engine was opened
    /// by. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Where the operating system has no thread left.
    pub fn start(
        engine: Engine,
        machines: Machines,
        clock: Clock,
        queues: Queues,
        outbound: Arc<dyn Outbound>,
    ) -> std::io::Result<Self> {
        Self::start_holding(engine, machines, clock, queues, outbound, ())
    }

    /// Like [`start`](Self::start); `held` is let go when the engine has ended.
    fn start_holding(
        engine: Engine,
        machines: Machines,
        clock: Clock,
        queues: Queues,
        outbound: Arc<dyn Outbound>,
        held: impl Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let driver = Driver::new(engine, machines, clock, queues, outbound)?;
        let task = tokio::spawn(async move {
            let ended = driver.run(stopped).await;
            drop(held);
            ended
        });
        Ok(Self { stop: Some(stop), task })
    }

    /// Completes when the engine has stopped: because it was told to, because the node was
    /// removed from all of its groups (see [`crate::GroupStatus::removed`]), or because of an
    /// error.
    ///
    /// # Errors
    /// [`ShellError`] where it did not stop cleanly.
    pub async fn ended(&mut self) -> Result<(), ShellError> {
        (&mut self.task).await.unwrap_or(Err(ShellError::Panicked("engine")))
    }

    /// Finishes what is being written, seals the log, flushes the state machines and
    /// ends the threads; nothing is written any more then. Requests that wait are answered
    /// as stopped.
    ///
    /// # Errors
    /// [`ShellError`] where any of that failed.
    pub async fn stop(mut self) -> Result<(), ShellError> {
        if let Some(stop) = self.stop.take() {
            // Where nobody listens any more, it has stopped by itself.
            let _ = stop.send(());
        }
        self.ended().await
    }
}

#[cfg(test)]
mod shell_tests;
