//! Everything that can happen in the world.

use bytes::Bytes;
use raft_core::{Boot, NodeId};
use raft_log::{WriteDone, WriteJob};
use raft_node::engine::{Event, Job, JobDone, MachineTask};

/// One thing that happens at its time. Numbers are the node and its life.
#[derive(Debug)]
pub(super) enum Happening {
    Start(usize),
    Timer(usize, u64),
    Arrive { to: usize, from: NodeId, boot: Boot, bytes: Bytes },
    Ask(usize, u64, Event),
    Write(usize, u64, WriteJob),
    Written(usize, u64, WriteDone),
    Machine(usize, u64, MachineTask),
    Job(usize, u64, Box<Job>),
    Done(usize, u64, Box<JobDone>),
    Client(usize),
    GiveUp(u64),
    Fault,
    Heal,
}

impl Happening {
    pub(super) const fn kind(&self) -> u64 {
        match self {
            Self::Start(_) => 0,
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
        }
    }

    /// The node whose process this happens in.
    pub(super) const fn node(&self) -> Option<usize> {
        match self {
            Self::Timer(node, _)
            | Self::Ask(node, ..)
            | Self::Write(node, ..)
            | Self::Written(node, ..)
            | Self::Machine(node, ..)
            | Self::Job(node, ..)
            | Self::Done(node, ..) => Some(*node),
            Self::Arrive { to, .. } => Some(*to),
            Self::Start(_) | Self::Client(_) | Self::GiveUp(_) | Self::Fault | Self::Heal => None,
        }
    }
}
