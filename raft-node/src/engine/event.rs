//! Everything that can happen to an engine.

use raft_core::{Boot, Envelope, GroupId, MemberChange, NodeId};
use raft_log::WriteDone;
use raft_state::{Proposal, ProposalId, ReadId, Unheard};

use super::group::Collection;
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
    /// Somebody wants to change who takes part in a group. Names as for proposals.
    ChangeMembers {
        /// The group.
        group: GroupId,
        /// The change's name in the answer.
        id: ProposalId,
        /// Its steps, which happen together.
        changes: Vec<MemberChange>,
        /// What to do where a majority of the new members is not heard.
        unheard: Unheard,
    },
    /// Somebody wants this node to hand over the leadership of a group. Names as for
    /// proposals.
    Transfer {
        /// The group.
        group: GroupId,
        /// The transfer's name in the answer.
        id: ProposalId,
        /// To whom; `None` for whoever is best placed.
        to: Option<NodeId>,
    },
    /// Somebody wants this node to stand for the leadership of a group now.
    Campaign {
        /// The group.
        group: GroupId,
    },
    /// Somebody wants a snapshot of everything that is applied here: [`super::Effect::Snapshot`]
    /// follows. Names as for proposals.
    WantSnapshot {
        /// The group.
        group: GroupId,
        /// The request's name in the effect.
        id: ProposalId,
    },
    /// Somebody wants this node to keep everything, or to let go again of what it does not
    /// need.
    Collect(Collection),
    /// The log's write under way has ended.
    Written(WriteDone),
    /// A state machine has done its task.
    Machine(MachineDone),
    /// A job has ended.
    Done(Box<JobDone>),
}
