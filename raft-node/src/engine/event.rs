//! Everything that can happen to an engine.

use raft_core::{Boot, Envelope, GroupId, NodeId};
use raft_log::WriteDone;
use raft_state::{Proposal, ReadId};

use super::job::JobDone;
use super::machine::MachineDone;

/// One thing that happened. The set is closed.
#[derive(Debug)]
pub enum Event {
    /// Time has passed; the deadline may have come.
    Timeout,
    /// A peer sent these, in this order.
    Received {
        /// The peer.
        from: NodeId,
        /// Its run.
        boot: Boot,
        /// What it sent.
        envelopes: Vec<Envelope>,
    },
    /// Clients propose commands to a group. Names from 2^63 on are the engine's own.
    Propose {
        /// The group.
        group: GroupId,
        /// The commands.
        proposals: Vec<Proposal>,
    },
    /// Clients want to read a group linearizably. Names as for proposals.
    Read {
        /// The group.
        group: GroupId,
        /// The reads.
        ids: Vec<ReadId>,
    },
    /// The log's write under way has ended.
    Written(WriteDone),
    /// A state machine has done its task.
    Machine(MachineDone),
    /// A job has ended.
    Done(Box<JobDone>),
}
