//! A way through a world, told step by step.

use raft_core::{AppendOutcome, Body, Message};

use super::action::{Action, What};
use super::facts::Facts;
use super::state::{Model, State};

/// One step, and how the node stands after it.
pub(crate) fn tell(model: &Model, action: Action, next: Option<&State>) -> String {
    let Action { what, n, late } = action;
    let happens = match what {
        What::Receive { message, again } => {
            let again = if again { ", and may come again" } else { "" };
            format!("receives {}{again}", said(model.tables.message(message)))
        }
        What::Complete => "completes its oldest write".into(),
        What::Stand => "waits no longer for a leader".into(),
        What::Lapse => "has not heard its leader for an election timeout".into(),
        What::Tick => "lets half an election timeout pass".into(),
        What::Pass => "and all others let half an election timeout pass".into(),
        What::Skew => "has a clock that runs ahead by half an election timeout".into(),
        What::Beat(to) => format!("sends a heartbeat to node {to}"),
        What::Propose => "is given a command".into(),
        What::Change(at) => {
            format!("is to change the members: {:?}", model.world.changes[usize::from(at)])
        }
        What::Transfer(to) => format!("is to hand over to node {to}"),
        What::Read => "is asked to read".into(),
        What::Trim => "takes a snapshot and trims its log".into(),
        What::Crash => "crashes and starts again".into(),
        What::Damage(left) => format!("crashes, and of its log only version {left} is left"),
    };
    let late = if late { "; the disk takes its time" } else { "" };
    let stands = next.map(|next| format!(" -> {}", stands(model, model.facts(next, n))));
    format!("node {n} {happens}{late}{}", stands.unwrap_or_default())
}

fn stands(model: &Model, facts: &Facts) -> String {
    let Facts { role, term, disk_term, commit, log, disk, .. } = facts;
    let terms = |named: &super::facts::Named| {
        let terms: Vec<String> =
            named.entries.iter().map(|name| model.tables.entries.term(*name).to_string()).collect();
        format!("{}|{}", named.floor, terms.join(","))
    };
    let mut text = format!("{role:?} of term {term}, log {}, commit {commit}", terms(log));
    if disk_term != term || disk != log {
        text += &format!("; on its disk term {disk_term}, log {}", terms(disk));
    }
    text
}

/// What a message says, in short.
pub(crate) fn said(message: &Message) -> String {
    let Message { from, term, body, .. } = message;
    let body = match body {
        Body::PreVote { last, .. } => format!("\"would you vote for me, log {last}?\""),
        Body::PreVoteReply { granted, .. } => format!("\"would vote: {granted}\""),
        Body::Vote { last, transfer, .. } => {
            format!(
                "\"vote for me, log {last}\"{}",
                if *transfer { ", asked to stand" } else { "" }
            )
        }
        Body::VoteReply { granted, .. } => format!("\"vote: {granted}\""),
        Body::Append { prev, entries, commit, .. } => {
            let terms: Vec<String> =
                entries.iter().map(|entry| entry.position().to_string()).collect();
            format!("entries [{}] after {prev}, commit {commit}", terms.join(" "))
        }
        Body::AppendReply { outcome, .. } => match outcome {
            AppendOutcome::Matched(last) => format!("\"have all up to {last}\""),
            other => format!("\"{other:?}\""),
        },
        Body::Heartbeat { commit, .. } => format!("a heartbeat, commit {commit}"),
        Body::HeartbeatReply { .. } => "the answer to a heartbeat".into(),
        Body::TimeoutNow { .. } => "\"stand now\"".into(),
        Body::SnapshotChunk { meta, .. } => format!("a snapshot at {}", meta.position),
        Body::SnapshotInstalled { last, .. } => format!("\"have a snapshot at {last}\""),
        other => format!("{other:?}"),
    };
    format!("{body} from node {from} in term {term}")
}
