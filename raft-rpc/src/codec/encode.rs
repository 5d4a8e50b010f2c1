//! From what the crates speak of to the messages on the wire.

use raft_core::{
    AppendOutcome, Beat, BeatReply, Body, Entry, EntryKind, Envelope, Forward, ForwardOutcome,
    ForwardReply, GroupBeat, GroupId, Message, NodeId, Position, SnapshotMeta, Term, Token,
};

use crate::wire;

pub(super) fn envelope(from: &Envelope) -> wire::Envelope {
    let content = match from {
        Envelope::Group(message) => wire::EnvelopeContent::Group(group(message)),
        Envelope::Beat(of) => wire::EnvelopeContent::Beat(beat(of)),
        Envelope::BeatReply(of) => wire::EnvelopeContent::BeatReply(beat_reply(of)),
        Envelope::Forward(of) => wire::EnvelopeContent::Forward(forward(of)),
        Envelope::ForwardReply(of) => wire::EnvelopeContent::ForwardReply(forward_reply(of)),
    };
    wire::Envelope { content: Some(content) }
}

fn group(message: &Message) -> wire::GroupMessage {
    wire::GroupMessage {
        group: message.group.0,
        from: message.from.get(),
        to: message.to.get(),
        term: message.term.0,
        body: Some(body(&message.body)),
        to_disk: message.to_disk.0,
    }
}

fn body(of: &Body) -> wire::GroupMessageBody {
    use wire::GroupMessageBody as To;
    match of {
        Body::PreVote { token, last } => To::PreVote(ask(*token, *last, false)),
        Body::PreVoteReply { token, granted } => To::PreVoteReply(answer(*token, *granted)),
        Body::Vote { token, last, transfer } => To::Vote(ask(*token, *last, *transfer)),
        Body::VoteReply { token, granted } => To::VoteReply(answer(*token, *granted)),
        Body::Append { token, prev, entries, commit } => To::Append(wire::Append {
            token: some(*token),
            prev: position(*prev),
            entries: run(*prev, entries),
            commit: commit.0,
        }),
        Body::AppendReply { token, outcome } => To::AppendReply(wire::AppendReply {
            token: some(*token),
            outcome: Some(match outcome {
                AppendOutcome::Matched(index) => wire::AppendReplyOutcome::Matched(index.0),
                AppendOutcome::Conflict(hint) => {
                    wire::AppendReplyOutcome::Conflict(plain_position(*hint))
                }
                AppendOutcome::Lost(hint) => wire::AppendReplyOutcome::Lost(plain_position(*hint)),
                AppendOutcome::StaleTerm => wire::AppendReplyOutcome::StaleTerm(wire::StaleTerm {}),
            }),
        }),
        Body::Heartbeat { token, commit } => {
            To::Heartbeat(wire::Heartbeat { token: some(*token), commit: commit.0 })
        }
        Body::HeartbeatReply { token, commit } => {
            To::HeartbeatReply(wire::HeartbeatReply { token: some(*token), commit: commit.0 })
        }
        Body::TimeoutNow { token, last } => To::TimeoutNow(ask(*token, *last, false)),
        Body::Belong { token } => To::Belong(wire::Belong { token: some(*token) }),
        Body::Removed { token, at } => {
            To::Removed(wire::Removed { token: some(*token), at: position(*at) })
        }
        Body::SnapshotChunk { token, meta: of, offset, data, checksum } => {
            To::SnapshotChunk(wire::SnapshotChunk {
                token: some(*token),
                meta: Some(meta(of)),
                offset: *offset,
                data: data.clone(),
                checksum: *checksum,
            })
        }
        Body::SnapshotChunkReply { token, next_offset } => {
            To::SnapshotChunkReply(wire::SnapshotChunkReply {
                token: some(*token),
                next_offset: *next_offset,
            })
        }
        Body::SnapshotInstalled { token, last } => {
            To::SnapshotInstalled(wire::SnapshotInstalled { token: some(*token), last: last.0 })
        }
    }
}

fn ask(token: Token, last: Position, transfer: bool) -> wire::Ask {
    wire::Ask { token: some(token), last: position(last), transfer }
}

fn answer(token: Token, granted: bool) -> wire::Answer {
    wire::Answer { token: some(token), granted }
}

/// Entries without their indexes, which follow from `prev`; hence the assertion.
fn run(prev: Position, entries: &[Entry]) -> Vec<wire::Entry> {
    let mut expected = prev.index;
    let mut encoded = Vec::with_capacity(entries.len());
    for entry in entries {
        expected = expected.next();
        assert_eq!(entry.index, expected, "the entries of an append after {prev} have a gap");
        let kind = match entry.kind {
            EntryKind::Command => wire::EntryKind::Command,
            EntryKind::Blank => wire::EntryKind::Blank,
            EntryKind::Membership => wire::EntryKind::Membership,
            EntryKind::Clock => wire::EntryKind::Clock,
        };
        encoded.push(wire::Entry {
            term: entry.term.0,
            kind: kind.into(),
            payload: entry.payload.clone(),
        });
    }
    encoded
}

fn meta(of: &SnapshotMeta) -> wire::SnapshotMeta {
    wire::SnapshotMeta {
        position: position(of.position),
        membership: of.membership.encode(),
        bytes: of.bytes,
        checksum: of.checksum,
    }
}

fn beat(of: &Beat) -> wire::Beat {
    wire::Beat {
        sequence: of.sequence,
        groups: group_beats(&of.groups),
        stopped: group_terms(&of.stopped),
    }
}

fn beat_reply(of: &BeatReply) -> wire::BeatReply {
    wire::BeatReply {
        to_boot: of.to_boot.0,
        sequence: of.sequence,
        resets: of.resets,
        follows: group_beats(&of.follows),
        refuses: group_terms(&of.refuses),
        stopped: group_terms(&of.stopped),
    }
}

fn forward(of: &Forward) -> wire::Forward {
    wire::Forward {
        to_boot: of.to_boot.0,
        group: of.group.0,
        term: of.term.0,
        number: of.number,
        commands: of.commands.clone(),
        read: of.read,
    }
}

fn forward_reply(of: &ForwardReply) -> wire::ForwardReply {
    let outcomes = of.outcomes.iter().map(|(number, outcome)| {
        use wire::ForwardOutcomeResult as To;
        let result = match outcome {
            ForwardOutcome::Applied { index, answer } => {
                To::Applied(wire::Applied { index: index.0, answer: answer.clone() })
            }
            ForwardOutcome::Readable { index } => To::Readable(index.0),
            ForwardOutcome::NotLeader { leader } => To::NotLeader(leader.map_or(0, NodeId::get)),
            ForwardOutcome::Overloaded => To::Overloaded(wire::Overloaded {}),
            ForwardOutcome::NoRoom => To::NoRoom(wire::NoRoom {}),
            ForwardOutcome::Lost => To::Lost(wire::Lost {}),
        };
        wire::ForwardOutcome { number: *number, result: Some(result) }
    });
    wire::ForwardReply { to_boot: of.to_boot.0, outcomes: outcomes.collect() }
}

fn group_beats(of: &[GroupBeat]) -> Vec<wire::GroupBeat> {
    let wired = |named: &GroupBeat| wire::GroupBeat {
        group: named.group.0,
        term: named.term.0,
        token: some(named.token),
        commit: named.commit.0,
        to_disk: named.to_disk.0,
    };
    of.iter().map(wired).collect()
}

fn group_terms(of: &[(GroupId, Term)]) -> Vec<wire::GroupTerm> {
    of.iter().map(|(group, term)| wire::GroupTerm { group: group.0, term: term.0 }).collect()
}

fn some(token: Token) -> Option<wire::Token> {
    Some(wire::Token { boot: token.boot.0, number: token.number })
}

fn position(of: Position) -> Option<wire::Position> {
    Some(plain_position(of))
}

fn plain_position(of: Position) -> wire::Position {
    wire::Position { term: of.term.0, index: of.index.0 }
}
