//! What one node passes on to another for its clients.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{Boot, GroupId, Index, NodeId, Term};

/// What clients of one node ask of a group that another node leads, as one batch.
///
/// Requests have numbers: the commands from `number` on, and the read the one after
/// the last command. A receiver takes each number of a run once and never an older one
/// after a newer one, so a request that comes twice or late does nothing. It says
/// nothing either: whoever forwards counts a request that is not answered as unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The run of the receiver that is meant. Another one ignores it: it cannot know
    /// what the one before has taken.
    pub to_boot: Boot,
    /// The group.
    pub group: GroupId,
    /// The term in which the receiver leads it.
    pub term: Term,
    /// The number of the first request; numbers only rise in one run of a sender.
    pub number: u64,
    /// Commands, in order.
    pub commands: Vec<Bytes>,
    /// True where the batch ends with a question: up to which index must the sender
    /// have applied to answer reads linearizably (Raft thesis, section 6.4)?
    pub read: bool,
}

/// What became of forwarded requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardReply {
    /// The run that forwarded them.
    pub to_boot: Boot,
    /// The requests by number, each with its outcome.
    pub outcomes: Vec<(u64, ForwardOutcome)>,
}

/// What became of one forwarded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardOutcome {
    /// The command was applied.
    Applied {
        /// Where it stands in the log.
        index: Index,
        /// What the state machine answered.
        answer: Bytes,
    },
    /// Reads are linearizable where this is applied.
    Readable {
        /// What was committed when the question came.
        index: Index,
    },
    /// Nothing happened: the receiver does not lead in that term.
    NotLeader {
        /// Who does, where that is known.
        leader: Option<NodeId>,
    },
    /// Nothing happened: too much is under way.
    Overloaded,
    /// Nothing happened: the receiver's disk is full.
    NoRoom,
    /// Leadership ended while the command was under way: it may have happened.
    Lost,
}

impl Forward {
    /// How many requests it carries, and so how many numbers it takes.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.commands.len() as u64 + self.read as u64
    }
}
