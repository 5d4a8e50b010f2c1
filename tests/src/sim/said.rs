//! Messages in plain words.

use raft_core::{AppendOutcome, Body, Envelope, GroupId, Term};

/// What one envelope says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) kind: Kind,
    /// The group it is for, where it is for one.
    pub(super) group: Option<GroupId>,
    pub(super) term: Option<Term>,
    pub(super) text: String,
}

/// What kind of message it is, as people tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Vote,
    Append,
    Heartbeat,
    Snapshot,
    Forward,
    Other,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Vote, Self::Append, Self::Heartbeat, Self::Snapshot, Self::Forward, Self::Other];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Vote => "votes",
            Self::Append => "appends",
            Self::Heartbeat => "heartbeats",
            Self::Snapshot => "snapshots",
            Self::Forward => "forwards",
            Self::Other => "others",
        }
    }
}

impl Said {
    pub(super) fn of(envelope: &Envelope) -> Self {
        match envelope {
            Envelope::Group(message) => {
                let (kind, text) = body(&message.body);
                Self { kind, group: Some(message.group), term: Some(message.term), text }
            }
            Envelope::Beat(beat) => {
                let named = beat.groups.iter();
                let named: Vec<String> = named
                    .map(|beat| {
                        format!("group {} term {} commit {}", beat.group, beat.term, beat.commit)
                    })
                    .collect();
                let text = format!("heartbeat {}: {}", beat.sequence, named.join(", "));
                Self::node_wide(Kind::Heartbeat, text)
            }
            Envelope::BeatReply(reply) => {
                let follows = reply.follows.iter();
                let follows: Vec<String> = follows
                    .map(|beat| format!("group {} term {}", beat.group, beat.term))
                    .collect();
                let refuses: Vec<String> = reply
                    .refuses
                    .iter()
                    .map(|(group, term)| format!("group {group} term {term}"))
                    .collect();
                let text = format!(
                    "heartbeat {} answered: follows {}; refuses {}",
                    reply.sequence,
                    listed(&follows),
                    listed(&refuses)
                );
                Self::node_wide(Kind::Heartbeat, text)
            }
            Envelope::Forward(forward) => {
                let read = if forward.read { " and a read" } else { "" };
                let commands = forward.commands.len();
                Self {
                    kind: Kind::Forward,
                    group: Some(forward.group),
                    term: Some(forward.term),
                    text: format!("passes on {commands} commands{read}"),
                }
            }
            Envelope::ForwardReply(reply) => {
                let text = format!("answers {} requests passed on", reply.outcomes.len());
                Self::node_wide(Kind::Forward, text)
            }
        }
    }

    const fn node_wide(kind: Kind, text: String) -> Self {
        Self { kind, group: None, term: None, text }
    }
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn body(body: &Body) -> (Kind, String) {
    let granted = |granted: &bool| if *granted { "yes" } else { "no" };
    match body {
        Body::PreVote { last, .. } => {
            (Kind::Vote, format!("would you vote for me? My log ends at {last}"))
        }
        Body::PreVoteReply { granted: would, .. } => {
            (Kind::Vote, format!("would vote: {}", granted(would)))
        }
        Body::Vote { last, transfer, .. } => {
            let why = if *transfer { ", as the leader wishes" } else { "" };
            (Kind::Vote, format!("vote for me{why}! My log ends at {last}"))
        }
        Body::VoteReply { granted: given, .. } => {
            (Kind::Vote, format!("vote given: {}", granted(given)))
        }
        Body::Append { prev, entries, commit, .. } => {
            let text = match (entries.first(), entries.last()) {
                (Some(first), Some(last)) => format!(
                    "append {} to {} after {prev}, commit {commit}",
                    first.index,
                    last.position()
                ),
                _ => format!("append nothing after {prev}, commit {commit}"),
            };
            (Kind::Append, text)
        }
        Body::AppendReply { outcome, .. } => {
            let text = match outcome {
                AppendOutcome::Matched(index) => format!("my log agrees up to {index}, durably"),
                AppendOutcome::Conflict(hint) => format!("my log does not agree; try {hint}"),
                AppendOutcome::Lost(hint) => format!("my disk has lost what is above {hint}"),
                AppendOutcome::StaleTerm => "your term is over".to_owned(),
            };
            (Kind::Append, text)
        }
        Body::Heartbeat { commit, .. } => (Kind::Heartbeat, format!("heartbeat, commit {commit}")),
        Body::HeartbeatReply { commit, .. } => {
            (Kind::Heartbeat, format!("heartbeat answered, commit {commit}"))
        }
        Body::TimeoutNow { last, .. } => {
            (Kind::Vote, format!("stand for election now, if your log ends at {last}"))
        }
        Body::Belong { .. } => (Kind::Other, "am I still a member?".to_owned()),
        Body::Removed { at, .. } => (Kind::Other, format!("you are no member, as of {at}")),
        Body::SnapshotChunk { meta, offset, data, .. } => {
            let (position, bytes) = (meta.position, meta.bytes);
            let length = data.len();
            (Kind::Snapshot, format!("snapshot {position}: {length} at {offset} of {bytes} bytes"))
        }
        Body::SnapshotChunkReply { next_offset, .. } => {
            (Kind::Snapshot, format!("snapshot: go on at {next_offset}"))
        }
        Body::SnapshotInstalled { last, .. } => {
            (Kind::Snapshot, format!("snapshot installed; my log ends at {last}"))
        }
    }
}
