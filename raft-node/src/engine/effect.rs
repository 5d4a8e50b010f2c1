//! Everything an engine can want.

use std::sync::Arc;

use bytes::Bytes;
use raft_core::{Envelope, GroupId, Index, Membership, NodeId, Position};
use raft_log::WriteJob;
use raft_state::{
    ChangeRefusal, Evidence, ProposalId, ReadId, Refusal, RoleChange, TransferOutcome,
};

use super::job::Job;
use super::machine::MachineTask;
use super::snapshots::SnapshotOutcome;

/// One thing to be done outside the engine. The set is closed.
#[derive(Debug)]
pub enum Effect {
    /// Run this on the log's thread, then say [`super::Event::Written`]. There is at
    /// most one at a time.
    Write(WriteJob),
    /// Send these to a peer, in this order; losing them is allowed.
    Send {
        /// The peer.
        to: NodeId,
        /// What to send.
        envelopes: Vec<Envelope>,
    },
    /// Hand this to whoever holds the state machines, in this order.
    Machine(MachineTask),
    /// Run this wherever blocking is allowed.
    Run(Box<Job>),
    /// Tell clients what became of their requests.
    Answer(Vec<Answer>),
    /// Tell a client what became of its wish for a snapshot.
    Snapshot {
        /// The request.
        id: ProposalId,
        /// The snapshot.
        outcome: SnapshotOutcome,
    },
    /// A replica changed its role, term or leader.
    RoleChanged {
        /// The group.
        group: GroupId,
        /// What it is now.
        change: RoleChange,
    },
    /// Another membership is in force: the latest in the log here, committed or not.
    MembersChanged {
        /// The group.
        group: GroupId,
        /// Where it stands in the log.
        at: Position,
        /// The membership.
        members: Arc<Membership>,
    },
    /// This node is no member of a group any more, and that is committed. The group has
    /// stopped here.
    Removed {
        /// The group.
        group: GroupId,
        /// Where the membership without this node stands in the log.
        index: Index,
    },
    /// A group stopped on this node for good.
    Halted {
        /// The group.
        group: GroupId,
        /// Why, for people.
        why: String,
    },
    /// Something went wrong that the engine copes with; for the operator's eyes.
    Trouble {
        /// What, for people.
        why: String,
    },
    /// A peer broke its promises.
    PeerBroken {
        /// The group.
        group: GroupId,
        /// The peer.
        peer: NodeId,
        /// What it did.
        evidence: Evidence,
    },
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command was applied.
    Applied {
        /// The request.
        id: ProposalId,
        /// Where the command stands in the log.
        index: Index,
        /// What the state machine answered.
        answer: Bytes,
    },
    /// Nothing happened, and nothing will.
    ProposalRefused {
        /// The request.
        id: ProposalId,
        /// Why.
        why: Refusal,
    },
    /// Leadership ended while the command, or the change of the members, was under way: it
    /// may have happened, or may still happen.
    ProposalLost {
        /// The request.
        id: ProposalId,
    },
    /// The change of the members is committed; the last step of a joint one follows by
    /// itself.
    Changed {
        /// The request.
        id: ProposalId,
        /// Where the new membership stands in the log.
        index: Index,
    },
    /// The change of the members was refused; nothing happened.
    ChangeRefused {
        /// The request.
        id: ProposalId,
        /// Why.
        why: ChangeRefusal,
    },
    /// The transfer of leadership is over.
    TransferEnded {
        /// The request.
        id: ProposalId,
        /// What came of it.
        outcome: TransferOutcome,
    },
    /// The state here now reflects all that was acknowledged before the read began.
    ReadReady {
        /// The request.
        id: ReadId,
        /// The index that is applied.
        index: Index,
    },
    /// The read was refused.
    ReadRefused {
        /// The request.
        id: ReadId,
        /// Why.
        why: Refusal,
    },
}
