//! From messages on the wire to what the crates speak of. A peer is not trusted:
//! whatever it leaves out or gets wrong is an error that names the field.

use bytes::Bytes;
use raft_core::{
    AppendOutcome, Beat, BeatReply, Body, Boot, Entry, EntryKind, Envelope, Forward,
    ForwardOutcome, ForwardReply, GroupBeat, GroupId, GroupTime, Incarnation, Index, Membership,
    Message, NodeId, Position, SnapshotMeta, Term, Token,
};

use super::DecodeError;
use crate::wire;

type Decoded<T> = Result<T, DecodeError>;

pub(super) fn envelope(number: usize, from: wire::Envelope) -> Decoded<Envelope> {
    let at = At(number);
    Ok(match at.need(from.content, "content")? {
        wire::EnvelopeContent::Group(message) => Envelope::Group(at.group(message)?),
        wire::EnvelopeContent::Beat(of) => Envelope::Beat(at.beat(of)?),
        wire::EnvelopeContent::BeatReply(of) => Envelope::BeatReply(at.beat_reply(of)?),
        wire::EnvelopeContent::Forward(of) => Envelope::Forward(at.forward(of)?),
        wire::EnvelopeContent::ForwardReply(of) => Envelope::ForwardReply(at.forward_reply(of)?),
    })
}

/// Decodes one envelope, and knows which one for the errors.
#[derive(Clone, Copy)]
struct At(usize);

impl At {
    fn group(self, message: wire::GroupMessage) -> Decoded<Message> {
        let term = Term(message.term);
        Ok(Message {
            group: GroupId(message.group),
            from: self.node(message.from, "group.from")?,
            to: self.node(message.to, "group.to")?,
            to_disk: Incarnation(message.to_disk),
            term,
            body: self.body(term, self.need(message.body, "group.body")?)?,
        })
    }

    fn body(self, term: Term, from: wire::GroupMessageBody) -> Decoded<Body> {
        use wire::GroupMessageBody as From;
        Ok(match from {
            From::PreVote(ask) => {
                let token = self.token(ask.token, "pre_vote.token")?;
                Body::PreVote { token, last: self.position(ask.last, "pre_vote.last")? }
            }
            From::PreVoteReply(answer) => Body::PreVoteReply {
                token: self.token(answer.token, "pre_vote_reply.token")?,
                granted: answer.granted,
            },
            From::Vote(ask) => {
                let token = self.token(ask.token, "vote.token")?;
                let last = self.position(ask.last, "vote.last")?;
                Body::Vote { token, last, transfer: ask.transfer }
            }
            From::VoteReply(answer) => Body::VoteReply {
                token: self.token(answer.token, "vote_reply.token")?,
                granted: answer.granted,
            },
            From::Append(append) => self.append(term, append)?,
            From::AppendReply(reply) => Body::AppendReply {
                token: self.token(reply.token, "append_reply.token")?,
                outcome: outcome(self.need(reply.outcome, "append_reply.outcome")?),
            },
            From::Heartbeat(beat) => Body::Heartbeat {
                token: self.token(beat.token, "heartbeat.token")?,
                commit: Index(beat.commit),
            },
            From::HeartbeatReply(reply) => Body::HeartbeatReply {
                token: self.token(reply.token, "heartbeat_reply.token")?,
                commit: Index(reply.commit),
            },
            From::TimeoutNow(ask) => {
                let token = self.token(ask.token, "timeout_now.token")?;
                Body::TimeoutNow { token, last: self.position(ask.last, "timeout_now.last")? }
            }
            From::Belong(asked) => Body::Belong { token: self.token(asked.token, "belong.token")? },
            From::Removed(removed) => {
                let token = self.token(removed.token, "removed.token")?;
                Body::Removed { token, at: self.position(removed.at, "removed.at")? }
            }
            From::SnapshotChunk(chunk) => Body::SnapshotChunk {
                token: self.token(chunk.token, "snapshot_chunk.token")?,
                meta: Box::new(self.meta(self.need(chunk.meta, "snapshot_chunk.meta")?)?),
                offset: chunk.offset,
                data: chunk.data,
                checksum: chunk.checksum,
            },
            From::SnapshotChunkReply(reply) => Body::SnapshotChunkReply {
                token: self.token(reply.token, "snapshot_chunk_reply.token")?,
                next_offset: reply.next_offset,
            },
            From::SnapshotInstalled(reply) => Body::SnapshotInstalled {
                token: self.token(reply.token, "snapshot_installed.token")?,
                last: Index(reply.last),
            },
        })
    }

    fn append(self, term: Term, append: wire::Append) -> Decoded<Body> {
        let prev = self.position(append.prev, "append.prev")?;
        let mut entries = Vec::with_capacity(append.entries.len());
        let mut before = prev;
        for encoded in append.entries {
            let entry = self.entry(before, term, encoded)?;
            before = entry.position();
            entries.push(entry);
        }
        let token = self.token(append.token, "append.token")?;
        Ok(Body::Append { token, prev, entries, commit: Index(append.commit) })
    }

    /// The entry that stands right after `before` in the log of a leader of `term`.
    fn entry(self, before: Position, term: Term, encoded: wire::Entry) -> Decoded<Entry> {
        let Some(index) = before.index.0.checked_add(1).map(Index) else {
            return self.malformed("append.prev", "has an index that no entry can follow");
        };
        let of = Term(encoded.term);
        if of < before.term || of > term {
            let bounds = format!("from {} to {term}", before.term);
            return self.malformed(
                "append.entries.term",
                format!("of the entry at {index} is {of}, which is not {bounds}"),
            );
        }
        let kind = match wire::EntryKind::try_from(encoded.kind) {
            Ok(wire::EntryKind::Command) => EntryKind::Command,
            Ok(wire::EntryKind::Blank) => EntryKind::Blank,
            Ok(wire::EntryKind::Membership) => EntryKind::Membership,
            Ok(wire::EntryKind::Clock) => EntryKind::Clock,
            Err(_) => {
                let problem = format!("{} of the entry at {index} is not known", encoded.kind);
                return self.malformed("append.entries.kind", problem);
            }
        };
        if kind == EntryKind::Membership {
            self.membership(&encoded.payload, "append.entries.payload")?;
        }
        if kind == EntryKind::Clock
            && let Err(why) = GroupTime::decode(&encoded.payload)
        {
            let problem = format!("of the entry at {index} holds no time: {why}");
            return self.malformed("append.entries.payload", problem);
        }
        Ok(Entry { term: of, index, kind, payload: encoded.payload })
    }

    fn meta(self, from: wire::SnapshotMeta) -> Decoded<SnapshotMeta> {
        Ok(SnapshotMeta {
            position: self.position(from.position, "snapshot_chunk.meta.position")?,
            membership: self.membership(&from.membership, "snapshot_chunk.meta.membership")?,
            bytes: from.bytes,
            checksum: from.checksum,
        })
    }

    fn beat(self, from: wire::Beat) -> Decoded<Beat> {
        Ok(Beat {
            sequence: from.sequence,
            groups: self.group_beats(from.groups, "beat.groups.token")?,
            stopped: group_terms(&from.stopped),
        })
    }

    fn beat_reply(self, from: wire::BeatReply) -> Decoded<BeatReply> {
        Ok(BeatReply {
            to_boot: Boot(from.to_boot),
            sequence: from.sequence,
            resets: from.resets,
            follows: self.group_beats(from.follows, "beat_reply.follows.token")?,
            refuses: group_terms(&from.refuses),
            stopped: group_terms(&from.stopped),
        })
    }

    fn forward(self, from: wire::Forward) -> Decoded<Forward> {
        let forward = Forward {
            to_boot: Boot(from.to_boot),
            group: GroupId(from.group),
            term: Term(from.term),
            number: from.number,
            commands: from.commands,
            read: from.read,
        };
        if forward.number.checked_add(forward.requests()).is_none() {
            return self.malformed("forward.number", "leaves no numbers for the requests");
        }
        Ok(forward)
    }

    fn forward_reply(self, from: wire::ForwardReply) -> Decoded<ForwardReply> {
        use wire::ForwardOutcomeResult as From;
        let decoded = |one: wire::ForwardOutcome| {
            let outcome = match self.need(one.result, "forward_reply.outcomes.result")? {
                From::Applied(wire::Applied { index, answer }) => {
                    ForwardOutcome::Applied { index: Index(index), answer }
                }
                From::Readable(index) => ForwardOutcome::Readable { index: Index(index) },
                From::NotLeader(id) => ForwardOutcome::NotLeader { leader: NodeId::new(id) },
                From::Overloaded(_) => ForwardOutcome::Overloaded,
                From::NoRoom(_) => ForwardOutcome::NoRoom,
                From::Lost(_) => ForwardOutcome::Lost,
            };
            Ok((one.number, outcome))
        };
        let outcomes = from.outcomes.into_iter().map(decoded).collect::<Decoded<_>>()?;
        Ok(ForwardReply { to_boot: Boot(from.to_boot), outcomes })
    }

    fn group_beats(
        self,
        from: Vec<wire::GroupBeat>,
        token: &'static str,
    ) -> Decoded<Vec<GroupBeat>> {
        let decoded = |named: wire::GroupBeat| {
            Ok(GroupBeat {
                group: GroupId(named.group),
                term: Term(named.term),
                token: self.token(named.token, token)?,
                commit: Index(named.commit),
                to_disk: Incarnation(named.to_disk),
            })
        };
        from.into_iter().map(decoded).collect()
    }

    fn node(self, id: u64, field: &'static str) -> Decoded<NodeId> {
        match NodeId::new(id) {
            Some(id) => Ok(id),
            None => self.malformed(field, "is 0, which names no node"),
        }
    }

    fn token(self, token: Option<wire::Token>, field: &'static str) -> Decoded<Token> {
        let token = self.need(token, field)?;
        Ok(Token { boot: Boot(token.boot), number: token.number })
    }

    fn position(self, of: Option<wire::Position>, field: &'static str) -> Decoded<Position> {
        self.need(of, field).map(|position| plain_position(&position))
    }

    fn membership(self, bytes: &Bytes, field: &'static str) -> Decoded<Membership> {
        Membership::decode(bytes)
            .or_else(|error| self.malformed(field, format!("holds no membership: {error}")))
    }

    fn need<T>(self, part: Option<T>, field: &'static str) -> Decoded<T> {
        part.map_or_else(|| self.malformed(field, "is missing or not known"), Ok)
    }

    fn malformed<T>(self, field: &'static str, problem: impl Into<String>) -> Decoded<T> {
        Err(DecodeError::Malformed { envelope: self.0, field, problem: problem.into() })
    }
}

fn outcome(from: wire::AppendReplyOutcome) -> AppendOutcome {
    match from {
        wire::AppendReplyOutcome::Matched(index) => AppendOutcome::Matched(Index(index)),
        wire::AppendReplyOutcome::Conflict(hint) => AppendOutcome::Conflict(plain_position(&hint)),
        wire::AppendReplyOutcome::Lost(hint) => AppendOutcome::Lost(plain_position(&hint)),
        wire::AppendReplyOutcome::StaleTerm(_) => AppendOutcome::StaleTerm,
    }
}

fn plain_position(of: &wire::Position) -> Position {
    Position::new(of.term, of.index)
}

fn group_terms(of: &[wire::GroupTerm]) -> Vec<(GroupId, Term)> {
    of.iter().map(|pair| (GroupId(pair.group), Term(pair.term))).collect()
}
