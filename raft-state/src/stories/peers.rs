//! Whatever a peer sends, a replica never panics: it refuses, or halts with evidence.

use core::time::Duration;

use bytes::Bytes;
use raft_core::{
    AppendOutcome, Body, Entry, EntryKind, GroupTime, Index, MemberChange, Membership, Message,
    NodeId, Position, Random, SnapshotMeta, Term, Token,
};

use crate::cluster::{Cluster, GROUP, entries, id};
use crate::{Evidence, Input, Output, Proposal, ProposalId, ReadId, Replica, Unheard};

fn append(from: u64, term: u64, prev: Position, terms: &[u64], commit: u64) -> Input {
    let body = Body::Append {
        token: Token::default(),
        prev,
        entries: entries(prev.index.0 + 1, terms),
        commit: Index(commit),
    };
    Input::Message(Message::new(GROUP, id(from), id(2), Term(term), body))
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
fn a_leader_reports_another_one_of_its_term_and_leads_on() {
    let mut cluster = Cluster::new(3);
    cluster.elect(2);
    let term = cluster.replica(2).term();
    cluster.input(2, append(3, term.0, Position::ZERO, &[1, 1], 2));
    let evidence = Evidence::TwoLeaders { term, known: id(2), other: id(3) };
    let broken = Output::PeerBroken { peer: id(3), evidence };
    assert_eq!(cluster.node(2).others.last(), Some(&broken));
    assert_eq!((cluster.leaders(), cluster.node(2).log.terms()), (vec![2], vec![1]));
}

#[test]
fn what_no_leader_would_send_is_reported() {
    let mut cluster = Cluster::new(3);
    cluster.input(2, append(1, 5, Position::ZERO, &[6], 0));
    let malformed = Output::PeerBroken { peer: id(1), evidence: Evidence::Malformed };
    assert!(cluster.node(2).others.contains(&malformed), "an entry of a term to come");
    let body = Body::Heartbeat { token: Token::default(), commit: Index(9) };
    let message = Message::new(GROUP, id(1), id(2), Term(5), body);
    cluster.input(2, Input::Message(message));
    let evidence = Evidence::CommitBeyondLog { commit: Index(9), last: Index(0) };
    let beyond = Output::PeerBroken { peer: id(1), evidence };
    assert_eq!(cluster.node(2).others.last(), Some(&beyond));
}

/// A number near the end of its range would make an addition overflow sooner or later.
#[test]
fn numbers_out_of_all_proportion_are_reported() {
    let (token, far) = (Token::default(), Position::new(1, u64::MAX));
    let bodies = [
        Body::PreVote { token, last: far },
        Body::Vote { token, last: far, transfer: false },
        Body::AppendReply { token, outcome: AppendOutcome::Conflict(far) },
        Body::Append { token, prev: far, entries: Vec::new(), commit: Index(0) },
    ];
    let message = |term, body| Message::new(GROUP, id(1), id(2), term, body);
    let mut messages: Vec<Message> = bodies.map(|body| message(Term(1), body)).into();
    messages.push(message(Term(u64::MAX), Body::Belong { token }));
    for message in messages {
        let mut cluster = Cluster::new(3);
        cluster.input(2, Input::Message(message));
        let malformed = Output::PeerBroken { peer: id(1), evidence: Evidence::Malformed };
        assert_eq!(cluster.node(2).others, [malformed]);
        assert_eq!((cluster.replica(2).term(), cluster.wire.len()), (Term(0), 0));
    }
}

#[test]
fn a_follower_that_denies_entries_is_quarantined() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.settle();
    cluster.propose(1, "y");
    let sent = cluster.wire.iter().find(|message| message.to == id(2)).unwrap().clone();
    let Body::Append { token, .. } = sent.body else { panic!("{sent:?}") };
    let body = Body::AppendReply { token, outcome: AppendOutcome::Conflict(Position::ZERO) };
    cluster.input(1, Input::Message(Message::new(GROUP, id(2), id(1), sent.term, body)));
    let broken = Output::PeerBroken { peer: id(2), evidence: Evidence::Denied };
    assert!(cluster.node(1).others.contains(&broken), "{:?}", cluster.node(1).others);
    cluster.settle();
    assert_eq!(cluster.replica(1).commit(), Index(3), "the other follower is a quorum");
}

#[test]
fn a_follower_that_invents_entries_is_quarantined() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    let sent = cluster.wire.iter().find(|message| message.to == id(2)).unwrap().clone();
    let Body::Append { token, .. } = sent.body else { panic!("{sent:?}") };
    let body = Body::AppendReply { token, outcome: AppendOutcome::Matched(Index(99)) };
    let message = Message::new(GROUP, id(2), id(1), sent.term, body);
    cluster.input(1, Input::Message(message));
    let broken = Output::PeerBroken { peer: id(2), evidence: Evidence::Invented };
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

/// Entries of any kinds, whose payloads are seldom what their kind promises. Mostly they
/// follow `prev`, and their terms rise.
fn any_entries(random: &mut Random, prev: Position) -> Vec<Entry> {
    let mut terms: Vec<u64> = (0..random.below(4)).map(|_| random.below(6)).collect();
    if random.chance(800) {
        terms.sort_unstable();
    }
    let follows = random.chance(800) && prev.index.0 < 8;
    let first = if follows { prev.index.0 + 1 } else { random.below(9) };
    let mut entries = entries(first, &terms);
    for entry in &mut entries {
        (entry.kind, entry.payload) = match random.below(10) {
            0 => (EntryKind::Membership, Membership::of_voters([id(1), id(2)]).encode()),
            1 => (EntryKind::Clock, GroupTime(random.below(9)).encode()),
            2 => (EntryKind::Membership, entry.payload.clone()),
            3 => (EntryKind::Clock, entry.payload.clone()),
            4 => (EntryKind::Blank, Bytes::new()),
            _ => (EntryKind::Command, entry.payload.clone()),
        };
    }
    entries
}

fn any_snapshot(random: &mut Random) -> Box<SnapshotMeta> {
    let membership = Membership::of_voters((1..=random.below(4)).map(id));
    Box::new(SnapshotMeta { position: any_position(random), membership, bytes: 1, checksum: 0 })
}

fn any_body(random: &mut Random, token: Token) -> Body {
    let granted = random.chance(500);
    let index = Index(any_number(random, 9));
    let position = any_position(random);
    match random.below(16) {
        0 => Body::PreVote { token, last: position },
        1 => Body::PreVoteReply { token, granted },
        2 => Body::Vote { token, last: position, transfer: granted },
        3 => Body::VoteReply { token, granted },
        4 => {
            let entries = any_entries(random, position);
            Body::Append { token, prev: position, entries, commit: index }
        }
        5 => Body::AppendReply { token, outcome: AppendOutcome::Matched(index) },
        6 => Body::AppendReply { token, outcome: AppendOutcome::Conflict(position) },
        7 => Body::AppendReply { token, outcome: AppendOutcome::StaleTerm },
        8 => Body::Heartbeat { token, commit: index },
        9 => Body::HeartbeatReply { token, commit: index },
        10 => Body::TimeoutNow { token, last: position },
        11 => Body::Belong { token },
        12 if random.chance(100) => Body::Removed { token, at: position },
        13 => {
            let (meta, data) = (any_snapshot(random), Bytes::new());
            Body::SnapshotChunk { token, meta, offset: 0, data, checksum: 0 }
        }
        14 => Body::SnapshotChunkReply { token, next_offset: index.0 },
        _ => Body::SnapshotInstalled { token, last: index },
    }
}

/// A message that mostly is of the term the receiver is in, and often answers what it asked.
fn any_message(random: &mut Random, to: &Replica) -> Message {
    let number = (to.tokens + 1).saturating_sub(random.below(4));
    let term = match random.below(20) {
        0 => any_number(random, 9),
        1 => (to.term().0 + 1).saturating_sub(random.below(3)),
        _ => to.term().0,
    };
    let body = any_body(random, Token { boot: to.boot, number });
    let from = id(1 + random.below(5));
    Message::new(GROUP, from, to.me, Term(term), body)
}

/// What clients and operators ask of a replica meanwhile.
fn any_request(random: &mut Random) -> Input {
    let request = ProposalId(random.below(9));
    match random.below(6) {
        0 => Input::Read([ReadId(request.0)].into()),
        1 => Input::Campaign,
        2 => Input::Transfer { id: request, to: NodeId::new(random.below(4)) },
        3 => {
            let step = |n| match n % 2 {
                0 => MemberChange::Remove { id: id(n) },
                _ => MemberChange::Demote { id: id(n) },
            };
            let changes = (1..=random.below(4)).map(step).collect();
            Input::ChangeMembers { id: request, changes, unheard: Unheard::DangerouslyAllow }
        }
        _ => Input::Propose([Proposal { id: request, payload: Bytes::from_static(b"x") }].into()),
    }
}

/// Three replicas, in some worlds with leases, with a leader, in a joint membership.
fn any_world(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(3);
    if seed.is_multiple_of(4) {
        cluster.config.lease_drift = Some(Duration::from_millis(100));
        (1..=3).for_each(|n| cluster.crash(n));
    }
    if seed.is_multiple_of(3) {
        cluster.elect(1);
    }
    if seed.is_multiple_of(6) {
        let changes = [2, 3].map(|n| MemberChange::Demote { id: id(n) }).into();
        let unheard = Unheard::DangerouslyAllow;
        cluster.input(1, Input::ChangeMembers { id: ProposalId(0), changes, unheard });
        assert!(cluster.replica(1).membership().is_joint());
        let appends = core::mem::take(&mut cluster.wire);
        appends.into_iter().for_each(|append| cluster.deliver(append));
        cluster.wire.clear();
    }
    cluster
}

#[test]
fn random_messages_never_panic_a_replica() {
    let (mut leaders, mut joint, mut removed, mut halted) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut cluster = any_world(seed);
        for _ in 0..200 {
            let to = 1 + random.below(3);
            let message = any_message(&mut random, cluster.replica(to));
            let Message { from, term, .. } = message;
            let input = match message.body {
                // Whoever stores snapshots says when one is whole.
                Body::SnapshotChunk { token, meta, .. } if random.chance(300) => {
                    Input::SnapshotReceived { from, term, token, meta }
                }
                _ => Input::Message(message),
            };
            cluster.input(to, input);
            if random.chance(100) {
                cluster.input(to, any_request(&mut random));
            }
            if random.chance(200) {
                // There are no nodes 4 and 5: they are made up.
                while let Some(message) = cluster.wire.pop_front() {
                    if message.to <= id(3) {
                        cluster.deliver(message);
                    }
                }
            }
            cluster.wire.clear();
            if random.chance(100) {
                let soon = cluster.now.after(Duration::from_secs(3));
                cluster.now = cluster.replica(to).deadline().min(soon);
                cluster.input(to, Input::Timeout);
            }
            // Who has stopped, with evidence or because it was removed, takes nothing in.
            if cluster.replica(to).is_halted() {
                let was_removed = cluster.replica(to).removed.is_some();
                *if was_removed { &mut removed } else { &mut halted } += 1;
                cluster.crash(to);
            }
            leaders += u64::from(cluster.replica(to).is_leader());
            joint += u64::from(cluster.replica(to).membership().is_joint());
        }
    }
    // A run in which nothing happens would pass as well.
    assert!(
        leaders > 1000 && joint > 1000 && removed > 100 && halted > 50,
        "{leaders} leaders, {joint} joint memberships, {removed} removed, {halted} halted"
    );
}
