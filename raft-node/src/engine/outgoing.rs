//! What is to be sent at the end of a batch of events.

use std::collections::BTreeMap;

use raft_core::{Envelope, NodeId};

use super::effect::Effect;

/// Envelopes by receiver, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    by_peer: BTreeMap<NodeId, Vec<Envelope>>,
}

impl Outgoing {
    pub(crate) fn push(&mut self, to: NodeId, envelope: Envelope) {
        self.by_peer.entry(to).or_default().push(envelope);
    }

    /// One effect per receiver for everything so far.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Effect> + use<> {
        std::mem::take(&mut self.by_peer)
            .into_iter()
            .map(|(to, envelopes)| Effect::Send { to, envelopes })
    }
}
