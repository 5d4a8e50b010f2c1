//! Members and what is asked of them, in plain words.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use raft_core::{MemberChange, Membership, NodeId, WhenCaughtUp};
use raft_state::{TransferOutcome, Unheard};

use super::admin::{Ended, Wish};

/// A membership as `voters 1, 2, 3; learners 4`.
pub(super) struct Members<'a>(pub(super) &'a Membership);

impl Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(members) = self;
        write!(f, "voters {}", listed(members.voters()))?;
        if members.is_joint() {
            write!(f, "; together with {}", listed(members.outgoing()))?;
        }
        if !members.learners().is_empty() {
            write!(f, "; learners {}", listed(members.learners()))?;
        }
        Ok(())
    }
}

fn listed(ids: &BTreeSet<NodeId>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { changes, unheard } => {
                let steps: Vec<String> = changes.iter().map(step).collect();
                let dares = matches!(unheard, Unheard::DangerouslyAllow);
                let dares = if dares { ", whether or not they are heard" } else { "" };
                write!(f, "change the members: {}{dares}", steps.join(", "))
            }
            Self::Transfer { to: Some(to) } => write!(f, "hand leadership over to node {to}"),
            Self::Transfer { to: None } => f.write_str("hand leadership over to anybody"),
            Self::Campaign => f.write_str("stand for election"),
        }
    }
}

fn step(change: &MemberChange) -> String {
    match change {
        MemberChange::AddLearner { id, member } => {
            let then = match member.when_caught_up {
                WhenCaughtUp::Stay => String::new(),
                WhenCaughtUp::Promote => ", to vote once it has caught up".to_owned(),
                WhenCaughtUp::Replace(old) => format!(", to replace {old} once it has caught up"),
            };
            format!("add {id}{then}")
        }
        MemberChange::Promote { id } => format!("promote {id}"),
        MemberChange::Demote { id } => format!("demote {id}"),
        MemberChange::Remove { id } => format!("remove {id}"),
        MemberChange::Update { id, .. } => format!("update {id}"),
    }
}

impl Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("the change of the members is committed"),
            Self::Refused(why) => write!(f, "the change of the members is refused: {why}"),
            Self::Transfer(TransferOutcome::SteppedDown) => {
                f.write_str("leadership is handed over")
            }
            Self::Transfer(TransferOutcome::TimedOut) => {
                f.write_str("leadership is not handed over in time")
            }
            Self::Transfer(TransferOutcome::Refused(why)) => {
                write!(f, "leadership is not handed over: {why}")
            }
            Self::Unknown => f.write_str("nobody knows what became of what was asked"),
        }
    }
}
