//! Seeded envelopes of every kind, for the tests.

use bytes::Bytes;
use raft_core::{
    AppendOutcome, Beat, BeatReply, Body, Boot, Entry, EntryKind, Envelope, Forward,
    ForwardOutcome, ForwardReply, GroupBeat, GroupId, GroupTime, Incarnation, Index, Member,
    Membership, Message, NodeId, Position, Random, SnapshotMeta, Term, Token,
};

pub(crate) fn batch(random: &mut Random) -> Vec<Envelope> {
    (0..random.below(5)).map(|_| envelope(random)).collect()
}

pub(crate) fn envelope(random: &mut Random) -> Envelope {
    match random.below(18) {
        14 => Envelope::Beat(Beat {
            sequence: number(random),
            groups: several(random, group_beat),
            stopped: several(random, group_term),
        }),
        15 => Envelope::BeatReply(BeatReply {
            to_boot: Boot(number(random)),
            sequence: number(random),
            resets: number(random),
            follows: several(random, group_beat),
            refuses: several(random, group_term),
            stopped: several(random, group_term),
        }),
        16 => Envelope::Forward(Forward {
            to_boot: Boot(number(random)),
            group: GroupId(number(random)),
            term: Term(number(random)),
            number: number(random) / 2,
            commands: several(random, payload),
            read: random.chance(500),
        }),
        17 => Envelope::ForwardReply(ForwardReply {
            to_boot: Boot(number(random)),
            outcomes: several(random, |random| (number(random), forward_outcome(random))),
        }),
        kind => Envelope::Group(message(random, kind)),
    }
}

fn forward_outcome(random: &mut Random) -> ForwardOutcome {
    match random.below(6) {
        0 => ForwardOutcome::Applied { index: Index(number(random)), answer: payload(random) },
        1 => ForwardOutcome::Readable { index: Index(number(random)) },
        2 => ForwardOutcome::NotLeader { leader: random.chance(500).then(|| node(random)) },
        3 => ForwardOutcome::Overloaded,
        4 => ForwardOutcome::NoRoom,
        _ => ForwardOutcome::Lost,
    }
}

fn group_beat(random: &mut Random) -> GroupBeat {
    GroupBeat {
        group: GroupId(number(random)),
        term: Term(number(random)),
        token: token(random),
        commit: Index(number(random)),
        to_disk: Incarnation(number(random)),
    }
}

fn message(random: &mut Random, kind: u64) -> Message {
    let term = number(random);
    let token = token(random);
    let body = match kind {
        0 => Body::PreVote { token, last: position(random) },
        1 => Body::PreVoteReply { token, granted: random.chance(500) },
        2 => Body::Vote { token, last: position(random), transfer: random.chance(500) },
        3 => Body::VoteReply { token, granted: random.chance(500) },
        4 => append(random, token, term),
        5 => Body::AppendReply { token, outcome: outcome(random) },
        6 => Body::Heartbeat { token, commit: Index(number(random)) },
        7 => Body::HeartbeatReply { token, commit: Index(number(random)) },
        8 => Body::SnapshotChunk {
            token,
            meta: Box::new(SnapshotMeta {
                position: position(random),
                membership: membership(random),
                bytes: number(random),
                checksum: random.next_u64() as u32,
            }),
            offset: number(random),
            data: payload(random),
            checksum: random.next_u64() as u32,
        },
        9 => Body::SnapshotChunkReply { token, next_offset: number(random) },
        10 => Body::TimeoutNow { token, last: position(random) },
        11 => Body::Belong { token },
        12 => Body::Removed { token, at: position(random) },
        _ => Body::SnapshotInstalled { token, last: Index(number(random)) },
    };
    let group = GroupId(number(random));
    let to_disk = Incarnation(number(random));
    Message { to_disk, ..Message::new(group, node(random), node(random), Term(term), body) }
}

fn append(random: &mut Random, token: Token, term: u64) -> Body {
    let mut last = Position::new(random.below(term.saturating_add(1)), number(random) / 2);
    let prev = last;
    let entries = several(random, |random| {
        let span = term - last.term.0;
        last = Position::new(last.term.0 + random.below(span.saturating_add(1)), last.index.0 + 1);
        let (kind, payload) = match random.below(4) {
            0 => (EntryKind::Blank, Bytes::new()),
            1 => (EntryKind::Command, payload(random)),
            2 => (EntryKind::Clock, GroupTime(number(random)).encode()),
            _ => (EntryKind::Membership, membership(random).encode()),
        };
        Entry { term: last.term, index: last.index, kind, payload }
    });
    Body::Append { token, prev, entries, commit: Index(number(random)) }
}

fn outcome(random: &mut Random) -> AppendOutcome {
    match random.below(4) {
        0 => AppendOutcome::Matched(Index(number(random))),
        1 => AppendOutcome::Conflict(position(random)),
        2 => AppendOutcome::Lost(position(random)),
        _ => AppendOutcome::StaleTerm,
    }
}

fn membership(random: &mut Random) -> Membership {
    let voters = (1..=random.below(4)).map(|id| NodeId::new(id).unwrap()).collect();
    let member = |random: &mut Random| Member {
        incarnation: Incarnation(random.next_u64()),
        data: payload(random),
        ..Member::default()
    };
    let members = |ids: &std::collections::BTreeSet<NodeId>, random: &mut Random| {
        ids.iter().map(|id| (*id, member(random))).collect()
    };
    let described = members(&voters, random);
    Membership::new(voters, [].into(), [].into(), described).unwrap()
}

fn several<T>(random: &mut Random, mut of: impl FnMut(&mut Random) -> T) -> Vec<T> {
    (0..random.below(4)).map(|_| of(random)).collect()
}

fn group_term(random: &mut Random) -> (GroupId, Term) {
    (GroupId(number(random)), Term(number(random)))
}

fn position(random: &mut Random) -> Position {
    Position::new(number(random), number(random))
}

fn token(random: &mut Random) -> Token {
    Token { boot: Boot(random.next_u64()), number: number(random) }
}

fn node(random: &mut Random) -> NodeId {
    NodeId::new(number(random).max(1)).unwrap()
}

fn payload(random: &mut Random) -> Bytes {
    (0..random.below(20)).map(|_| random.next_u64() as u8).collect()
}

/// Numbers of every size, the smallest and the largest among them.
fn number(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => u64::MAX,
        _ => random.next_u64() >> random.below(64),
    }
}
