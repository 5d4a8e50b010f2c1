//! What can happen to one node of the model.

use raft_core::{Member, MemberChange, Message, WhenCaughtUp};

use super::node::id;

/// One thing that happens to a node.
#[derive(Clone, Debug)]
pub(crate) enum Stimulus {
    /// A message arrives.
    Receive(Message),
    /// The disk completes its oldest write, or the state machine takes in a snapshot.
    Complete,
    /// It waits no longer for a leader: the clock jumps to its deadline.
    Stand,
    /// The clock jumps as far, and the node does not notice yet.
    Lapse,
    /// A leader's clock goes on by half an election timeout.
    Tick,
    /// Any clock goes on by half an election timeout, and nothing else happens.
    Pass,
    /// A leader sends a heartbeat.
    Beat {
        /// To whom.
        to: u8,
    },
    /// A client proposes the command of this number.
    Propose(u8),
    /// Somebody wants the members changed.
    Change(Change),
    /// Somebody wants leadership handed over.
    Transfer {
        /// To whom.
        to: u8,
    },
    /// A client wants to read.
    Read(u8),
    /// A snapshot of all that is applied takes the place of the log.
    Trim,
    /// The process dies and starts again on what is durable.
    Crash,
    /// The same, and of the log only the `left`th of what may be left is.
    Damage {
        /// Which one.
        left: u8,
    },
}

/// A change of the members that a world asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This voter goes.
    Remove(u8),
    /// A new node takes the place of this voter, in one change with learner and joint members.
    Replace {
        /// Who goes.
        old: u8,
        /// Who comes.
        new: u8,
    },
    /// This voter becomes a learner.
    Demote(u8),
}

impl Change {
    pub(crate) fn steps(self) -> Vec<MemberChange> {
        match self {
            Self::Remove(n) => vec![MemberChange::Remove { id: id(n) }],
            Self::Demote(n) => vec![MemberChange::Demote { id: id(n) }],
            Self::Replace { old, new } => {
                let when_caught_up = WhenCaughtUp::Replace(id(old));
                let member = Member { when_caught_up, ..Member::default() };
                vec![MemberChange::AddLearner { id: id(new), member }]
            }
        }
    }
}
