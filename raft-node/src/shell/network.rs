//! What joins nodes to one another, and one that needs no sockets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use raft_core::{Boot, Envelope, NodeId};

use super::{Inbox, Outbound};

/// Joins a node to its peers. [`LocalNetwork`] does it within one process; one over
/// sockets hands what it receives to the [`Inbox`], after it has made sure who sent it
/// (`raft_rpc::grpc`, for example).
pub trait Network {
    /// Joins this run of a node. What peers send it from now on goes to `inbox`; what
    /// it has to say goes to the answer.
    fn join(&self, node: NodeId, boot: Boot, inbox: Inbox) -> Arc<dyn Outbound>;
}

/// The nodes of one process, for tests and for clusters that need no machines of their
/// own. Clones are the same network.
///
/// A node that stops simply receives nothing any more; one that starts again under its
/// id takes the place of its former run.
#[derive(Clone, Default)]
pub struct LocalNetwork {
    inboxes: Arc<RwLock<BTreeMap<NodeId, Inbox>>>,
}

impl LocalNetwork {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Network for LocalNetwork {
    fn join(&self, node: NodeId, boot: Boot, inbox: Inbox) -> Arc<dyn Outbound> {
        self.inboxes.write().unwrap_or_else(PoisonError::into_inner).insert(node, inbox);
        Arc::new(Plug { network: self.clone(), node, boot })
    }
}

/// One node's end.
struct Plug {
    network: LocalNetwork,
    node: NodeId,
    boot: Boot,
}

impl Outbound for Plug {
    fn send(&self, to: NodeId, envelopes: Vec<Envelope>) {
        let inboxes = self.network.inboxes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = inboxes.get(&to) {
            inbox.receive(self.node, self.boot, envelopes);
        }
    }
}

impl fmt::Debug for LocalNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inboxes = self.inboxes.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("LocalNetwork").field(&inboxes.keys()).finish()
    }
}
