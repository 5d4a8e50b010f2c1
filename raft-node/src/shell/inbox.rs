//! Where messages of peers arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raft_core::{Boot, Envelope, NodeId};
use tokio::sync::mpsc;

/// A batch of one peer.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) from: NodeId,
    pub(crate) boot: Boot,
    pub(crate) envelopes: Vec<Envelope>,
}

/// Takes messages in for the engine, from any thread and without blocking. Where the
/// engine cannot keep up they are dropped and counted; their senders try again.
#[derive(Clone, Debug)]
pub struct Inbox {
    mail: mpsc::Sender<Mail>,
    dropped: Arc<AtomicU64>,
}

impl Inbox {
    pub(crate) fn new(mail: mpsc::Sender<Mail>) -> Self {
        Self { mail, dropped: Arc::default() }
    }

    /// Takes in what a peer's run sent.
    pub fn receive(&self, from: NodeId, boot: Boot, envelopes: Vec<Envelope>) {
        if self.mail.try_send(Mail { from, boot, envelopes }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Batches that were dropped because the engine could not keep up, or has stopped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
