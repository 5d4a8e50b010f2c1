//! Whatever a peer sends, a replica never panics: it refuses, or halts with evidence.

use raft_core::{AppendOutcome, Body, Index, Message, Position, Random, SnapshotMeta, Term, Token};

use crate::cluster::{Cluster, GROUP, entries, id};
use crate::{Evidence, Input, Output};

fn append(from: u64, term: u64, prev: Position, terms: &[u64], commit: u64) -> Input {
    let body = Body::Append {
        token: Token::default(),
        prev,
        entries: entries(prev.index.0 + 1, terms),
        commit: Index(commit),
    };
    Input::Message(Message { group: GROUP, from: id(from), to: id(2), term: Term(term), body })
}

#[test]
fn overwriting_a_committed_entry_halts_the_group_with_evidence() {
    let mut cluster = Cluster::new(3);
    cluster.input(2, append(1, 1, Position::ZERO, &[1, 1], 2));
    cluster.input(2, append(3, 2, Position::ZERO, &[2], 0));
    let evidence = Evidence::Contradiction {
        from: id(3),
        term: Term(2),
        own: Position::new(1, 1),
        theirs: Position::new(2, 1),
    };
    assert_eq!(cluster.node(2).others.last(), Some(&Output::Halt(evidence)));
    assert!(cluster.replica(2).is_halted());
    cluster.input(2, append(3, 2, Position::new(1, 2), &[2], 0));
    assert_eq!(cluster.node(2).log.terms(), [1, 1], "nothing more is taken in");
    cluster.propose(2, "x");
    assert!(matches!(cluster.node(2).others.last(), Some(Output::ProposalsRefused { .. })));
}

#[test]
fn a_second_leader_of_a_term_is_reported_and_not_believed() {
    let mut cluster = Cluster::new(3);
    cluster.input(2, append(1, 5, Position::ZERO, &[5], 0));
    cluster.input(2, append(3, 5, Position::ZERO, &[4], 0));
    let evidence = Evidence::TwoLeaders { term: Term(5), known: id(1), other: id(3) };
    let broken = Output::PeerBroken { peer: id(3), evidence };
    assert_eq!(cluster.node(2).others.last(), Some(&broken));
    assert_eq!(cluster.node(2).log.terms(), [5]);
}

#[test]
fn what_no_leader_would_send_is_reported() {
    let mut cluster = Cluster::new(3);
    cluster.input(2, append(1, 5, Position::ZERO, &[6], 0));
    let malformed = Output::PeerBroken { peer: id(1), evidence: Evidence::Malformed };
    assert!(cluster.node(2).others.contains(&malformed), "an entry of a term to come");
    let body = Body::Heartbeat { token: Token::default(), commit: Index(9) };
    let message = Message { group: GROUP, from: id(1), to: id(2), term: Term(5), body };
    cluster.input(2, Input::Message(message));
    let evidence = Evidence::CommitBeyondLog { commit: Index(9), last: Index(0) };
    let beyond = Output::PeerBroken { peer: id(1), evidence };
    assert_eq!(cluster.node(2).others.last(), Some(&beyond));
}

#[test]
fn a_follower_that_invents_entries_is_quarantined() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    let sent = cluster.wire.iter().find(|message| message.to == id(2)).unwrap().clone();
    let Body::Append { token, .. } = sent.body else { panic!("{sent:?}") };
    let body = Body::AppendReply { token, outcome: AppendOutcome::Matched(Index(99)) };
    let message = Message { group: GROUP, from: id(2), to: id(1), term: sent.term, body };
    cluster.input(1, Input::Message(message));
    let broken = Output::PeerBroken { peer: id(2), evidence: Evidence::BrokenPromise };
    assert!(cluster.node(1).others.contains(&broken));
    cluster.settle();
    assert_eq!(cluster.replica(1).commit(), Index(2), "the other follower is a quorum");
}

#[test]
fn messages_for_another_group_or_node_are_not_taken_in() {
    let mut cluster = Cluster::new(3);
    let Input::Message(good) = append(1, 5, Position::ZERO, &[5], 0) else { unreachable!() };
    let strangers = [
        Message { group: raft_core::GroupId(9), ..good.clone() },
        Message { to: id(3), ..good.clone() },
        Message { from: id(2), ..good },
    ];
    for message in strangers {
        cluster.input(2, Input::Message(message));
        assert_eq!(cluster.replica(2).term(), Term(0));
    }
}

/// Mostly small numbers, which mean something here; now and then the largest ones.
fn any_number(random: &mut Random, below: u64) -> u64 {
    if random.chance(20) { u64::MAX - random.below(2) } else { random.below(below) }
}

fn any_position(random: &mut Random) -> Position {
    Position::new(any_number(random, 5), any_number(random, 8))
}

fn any_body(random: &mut Random, token: Token) -> Body {
    let granted = random.chance(500);
    let index = Index(any_number(random, 9));
    let position = any_position(random);
    match random.below(11) {
        0 => Body::PreVote { token, last: position },
        1 => Body::PreVoteReply { token, granted },
        2 => Body::Vote { token, last: position, transfer: granted },
        3 => Body::VoteReply { token, granted },
        4 => {
            let terms: Vec<u64> = (0..random.below(4)).map(|_| random.below(6)).collect();
            let entries = entries(random.below(9), &terms);
            Body::Append { token, prev: position, entries, commit: index }
        }
        5 => Body::AppendReply { token, outcome: AppendOutcome::Matched(index) },
        6 => Body::AppendReply { token, outcome: AppendOutcome::Conflict(position) },
        7 => Body::Heartbeat { token, commit: index },
        8 => Body::HeartbeatReply { token, commit: index },
        9 => Body::SnapshotChunk {
            token,
            meta: Box::new(SnapshotMeta {
                position,
                membership: raft_core::Membership::empty(),
                bytes: 1,
                checksum: 0,
            }),
            offset: 0,
            data: bytes::Bytes::new(),
            checksum: 0,
        },
        _ => Body::SnapshotInstalled { token, last: index },
    }
}

#[test]
fn random_messages_never_panic_a_replica() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::new(3);
        if seed % 3 == 0 {
            cluster.elect(1);
        }
        for _ in 0..200 {
            let to = 1 + random.below(3);
            let boot = cluster.replica(to).boot;
            let token = Token { boot, number: random.below(20) };
            let message = Message {
                group: GROUP,
                from: id(1 + random.below(5)),
                to: id(to),
                term: Term(any_number(&mut random, 6)),
                body: any_body(&mut random, token),
            };
            cluster.input(to, Input::Message(message));
            cluster.wire.clear();
            if random.chance(100) {
                cluster.now = cluster
                    .replica(to)
                    .deadline()
                    .min(cluster.now.after(core::time::Duration::from_secs(3)));
                cluster.input(to, Input::Timeout);
            }
        }
    }
}
