//! Everything that can happen in the world.

use bytes::Bytes;
use raft_core::{Boot, Incarnation, NodeId};
use raft_log::{WriteDone, WriteJob};
use raft_node::engine::{Event, Job, JobDone, MachineTask};

use super::faults::Fault;
use super::recording::Message;

/// One thing that happens at its time. Numbers are the node and its life.
#[derive(Debug)]
pub(super) enum Happening {
    /// The node in this place starts, if it still has this id.
    Start(usize, NodeId),
    Timer(usize, u64),
    Arrive {
        to: usize,
        id: NodeId,
        /// The disk of that node when it was sent.
        disk: Incarnation,
        from: NodeId,
        boot: Boot,
        bytes: Bytes,
        /// What the recording calls it, where there is one.
        message: Message,
    },
    Ask(usize, u64, Event),
    Write(usize, u64, WriteJob),
    Written(usize, u64, WriteDone),
    Machine(usize, u64, MachineTask),
    Job(usize, u64, Box<Job>),
    Done(usize, u64, Box<JobDone>),
    Client(usize),
    GiveUp(u64),
    Fault,
    /// This fault strikes after the wish of this number.
    Strike(u64, Fault),
    /// Nobody hears the node in this place any more, if it still has this id.
    Silence(usize, NodeId),
    /// The process is killed, to lead anew, unless everything is healed.
    Kill(usize, u64),
    /// There is room again on the disk of the node in this place.
    EmptyDisk(usize),
    /// The operator stops the process, to start it again.
    Restart(usize, u64),
    Admin,
    Heal,
}

impl Happening {
    pub(super) const fn kind(&self) -> u64 {
        match self {
            Self::Start(..) => 0,
            Self::Timer(..) => 1,
            Self::Arrive { .. } => 2,
            Self::Ask(..) => 3,
            Self::Write(..) => 4,
            Self::Written(..) => 5,
            Self::Machine(..) => 6,
            Self::Job(..) => 7,
            Self::Client(_) => 8,
            Self::GiveUp(_) => 9,
            Self::Fault => 10,
            Self::Heal => 11,
            Self::Done(..) => 12,
            Self::Admin => 13,
            Self::Strike(..) => 14,
            Self::Restart(..) => 15,
            Self::EmptyDisk(_) => 16,
            Self::Silence(..) => 17,
            Self::Kill(..) => 18,
        }
    }

    /// The process that this belongs to, and is void without.
    pub(super) const fn life(&self) -> Option<(usize, u64)> {
        match self {
            Self::Timer(node, life)
            | Self::Restart(node, life)
            | Self::Kill(node, life)
            | Self::Ask(node, life, _)
            | Self::Write(node, life, _)
            | Self::Written(node, life, _)
            | Self::Machine(node, life, _)
            | Self::Job(node, life, _)
            | Self::Done(node, life, _) => Some((*node, *life)),
            Self::Arrive { .. }
            | Self::Start(..)
            | Self::Client(_)
            | Self::GiveUp(_)
            | Self::EmptyDisk(_)
            | Self::Silence(..)
            | Self::Fault
            | Self::Strike(..)
            | Self::Admin
            | Self::Heal => None,
        }
    }

    /// The node whose process this happens in.
    pub(super) const fn node(&self) -> Option<usize> {
        match self {
            Self::Arrive { to, .. } => Some(*to),
            _ => match self.life() {
                Some((node, _)) => Some(node),
                None => None,
            },
        }
    }
}
