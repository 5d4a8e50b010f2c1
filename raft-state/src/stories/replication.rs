use raft_core::{
    AppendOutcome, Body, EntryKind, GroupTime, Index, Instant, LogChange, Message, Position, Term,
    Token,
};

use crate::cluster::{Cluster, GROUP, entries, id};
use crate::{Input, Output, Proposal, ProposalId, Refusal, Replica};

#[test]
fn what_is_proposed_is_applied_everywhere_in_order() {
    let mut cluster = Cluster::new(3);
    cluster.elect(2);
    for text in ["a", "b", "c"] {
        cluster.propose(2, text);
        cluster.settle();
    }
    cluster.run(100);
    for n in [1, 2, 3] {
        assert_eq!(cluster.applied(n), ["a", "b", "c"], "node {n}");
    }
}

/// A leader that took a commit for told once it was sent would leave an idle group's
/// follower behind for as long as nothing is written.
#[test]
fn a_follower_that_missed_the_notice_or_restarted_is_told_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.settle();
    cluster.isolate(3);
    cluster.run(50);
    cluster.cut.clear();
    cluster.run(200);
    assert_eq!(cluster.applied(3), ["x"], "the notice was lost");
    cluster.crash(2);
    assert!(cluster.applied(2).is_empty(), "its state machine keeps nothing");
    cluster.run(300);
    assert_eq!(cluster.applied(2), ["x"]);
}

#[test]
fn only_a_leader_takes_proposals_and_others_name_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(2, "x");
    let why = Refusal::NotLeader { leader: Some(id(1)) };
    let refused = Output::ProposalsRefused { ids: vec![ProposalId(0)], why };
    assert_eq!(cluster.node(2).others.last(), Some(&refused));
}

#[test]
fn too_many_uncommitted_bytes_are_refused_and_make_room_again() {
    let mut cluster = Cluster::new(3);
    cluster.config.max_uncommitted_bytes = 100;
    cluster.crash(1);
    cluster.elect(1);
    cluster.isolate(1);
    let proposals = |ids: &[u64]| {
        let proposal = |id: &u64| Proposal { id: ProposalId(*id), payload: vec![0; 10].into() };
        Input::Propose(ids.iter().map(proposal).collect())
    };
    cluster.input(1, proposals(&[1, 2, 3]));
    let refused = Output::ProposalsRefused { ids: vec![ProposalId(3)], why: Refusal::Overloaded };
    let term = cluster.replica(1).term();
    let taken = Output::Proposed { first: Index(2), term, ids: vec![ProposalId(1), ProposalId(2)] };
    assert!(cluster.node(1).others.ends_with(&[refused, taken]), "{:?}", cluster.node(1).others);
    cluster.cut.clear();
    cluster.run(1500);
    cluster.input(1, proposals(&[4]));
    let taken = Output::Proposed { first: Index(4), term, ids: vec![ProposalId(4)] };
    assert_eq!(cluster.node(1).others.last(), Some(&taken));
}

#[test]
fn the_time_is_put_into_the_log_by_a_leader_that_has_room_for_it() {
    let mut cluster = Cluster::new(3);
    cluster.config.max_uncommitted_bytes = 100;
    cluster.crash(1);
    cluster.elect(1);
    cluster.input(2, Input::Clock(GroupTime(5)));
    cluster.input(1, Input::Clock(GroupTime(7)));
    cluster.run(100);
    cluster.isolate(1);
    for later in [8, 9, 10] {
        cluster.input(1, Input::Clock(GroupTime(later)));
    }
    let times = |n| {
        let entries = cluster.node(n).log.entries.iter();
        let clocks = entries.filter(|entry| entry.kind == EntryKind::Clock);
        clocks.map(|entry| GroupTime::decode(&entry.payload).unwrap().0).collect::<Vec<_>>()
    };
    assert_eq!(times(1), [7, 8, 9], "no room for the last one");
    assert_eq!((times(2), times(3)), (vec![7], vec![7]));
    assert_eq!(cluster.replica(3).commit(), Index(2));
}

/// Hundreds of diverging entries in few terms are passed over in few round trips
/// (thesis, section 3.5).
#[test]
fn a_diverged_follower_is_found_in_a_round_trip_per_term() {
    let mut cluster = Cluster::new(3);
    let common = [1; 50];
    let stale = [&common[..], &[2; 200], &[3; 200]].concat();
    let good = [&common[..], &[4; 100], &[5; 100]].concat();
    cluster.with_log(3, &stale);
    cluster.with_log(1, &good);
    cluster.with_log(2, &good);
    cluster.isolate(3);
    cluster.elect(1);
    cluster.cut.clear();
    cluster.delivered = 0;
    cluster.run(1200);
    assert_eq!(cluster.node(3).log.terms(), cluster.node(1).log.terms());
    let appends = cluster.delivered;
    assert!(appends < 100, "{appends} messages, heartbeats included");
}

#[test]
fn entries_of_an_earlier_term_are_committed_with_one_of_the_leaders_own() {
    let mut cluster = Cluster::new(3);
    cluster.with_log(1, &[1, 2]);
    cluster.with_log(2, &[1, 2]);
    cluster.elect(1);
    assert_eq!(cluster.replica(1).commit(), Index(3), "the blank entry of the new term");
    let terms = cluster.node(1).log.terms();
    assert_eq!(terms[..2], [1, 2]);
    assert!(terms[2] > 2);
}

#[test]
fn what_was_not_committed_gives_way_to_the_next_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.propose(1, "lost");
    cluster.settle();
    cluster.run(3000);
    let next = cluster.leaders()[0];
    cluster.propose(next, "kept");
    cluster.settle();
    cluster.cut.clear();
    cluster.run(2000);
    for n in [1, 2, 3] {
        assert_eq!(cluster.applied(n), ["kept"], "node {n}");
    }
}

/// The log diverges above what the request covers; its commit index says nothing about
/// that part.
#[test]
fn a_follower_that_was_down_for_long_catches_up_within_a_heartbeat() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "x");
    cluster.run(40_000);
    cluster.cut.clear();
    cluster.run(250);
    assert_eq!(cluster.applied(3), ["x"]);
}

#[test]
fn a_follower_commits_no_further_than_the_request_agrees() {
    let mut cluster = Cluster::new(3);
    cluster.with_log(2, &[1, 1, 2]);
    let body = Body::Append {
        token: Token::default(),
        prev: Position::new(1, 1),
        entries: Vec::new(),
        commit: Index(3),
    };
    let message = Message::new(GROUP, id(1), id(2), Term(3), body);
    cluster.input(2, Input::Message(message));
    assert_eq!(cluster.replica(2).commit(), Index(1));
}

/// The leader compares only what it sends: what follows in the log may be of another.
#[test]
fn an_append_that_brings_nothing_new_is_acknowledged_up_to_its_own_end() {
    let mut cluster = Cluster::new(3);
    cluster.with_log(2, &[1, 1, 2]);
    let token = Token::default();
    for (known, end) in [(&[][..], 1), (&[1][..], 2)] {
        let (prev, commit) = (Position::new(1, 1), Index(0));
        let body = Body::Append { token, prev, entries: entries(2, known), commit };
        cluster.input(2, Input::Message(Message::new(GROUP, id(1), id(2), Term(3), body)));
        let outcome = AppendOutcome::Matched(Index(end));
        let reply = cluster.wire.pop_back().map(|message| message.body);
        assert_eq!(reply, Some(Body::AppendReply { token, outcome }));
    }
}

#[test]
fn an_acknowledgement_of_an_earlier_term_counts_for_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "x");
    let sent = cluster.wire.drain(..).find(|message| message.to == id(2)).unwrap();
    let Body::Append { token, .. } = sent.body else { panic!("{sent:?}") };
    let body = Body::AppendReply { token, outcome: AppendOutcome::Matched(Index(2)) };
    let old = Term(sent.term.0 - 1);
    let reply = Message::new(GROUP, id(2), id(1), old, body);
    cluster.input(1, Input::Message(reply));
    assert_eq!(cluster.replica(1).commit(), Index(1));
}

#[test]
fn a_lost_append_is_sent_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "x");
    cluster.settle();
    cluster.cut.clear();
    cluster.run(1500);
    assert_eq!(cluster.applied(3), ["x"]);
}

#[test]
fn entries_travel_in_messages_of_bounded_size() {
    let mut cluster = Cluster::new(3);
    cluster.config.max_append_bytes = 100;
    cluster.crash(1);
    cluster.elect(1);
    cluster.isolate(3);
    for _ in 0..20 {
        cluster.propose(1, "0123456789");
    }
    cluster.settle();
    cluster.cut.clear();
    cluster.run(1500);
    assert_eq!(cluster.replica(3).log().last(), cluster.replica(1).log().last());
    assert_eq!(cluster.applied(3).len(), 20);
}

#[test]
fn a_restarted_follower_catches_up_from_its_disk() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.run(50);
    cluster.crash(2);
    cluster.propose(1, "b");
    cluster.run(1500);
    assert_eq!(cluster.applied(2), ["a", "b"]);
    assert_eq!(cluster.replica(1).term(), Term(1), "nobody was disturbed");
}

/// Node 1 leads on in term 1, while 2 and 3 are in a later one.
fn overtaken() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.elect(2);
    cluster.cut.clear();
    assert_eq!(cluster.leaders(), [1, 2]);
    cluster
}

#[test]
fn a_leader_learns_from_a_refused_append_that_its_term_is_over() {
    let mut cluster = overtaken();
    let log = cluster.replica(3).log().clone();
    cluster.propose(1, "x");
    let append = cluster.wire.pop_back().unwrap();
    cluster.wire.clear();
    cluster.deliver(append);
    assert_eq!((cluster.replica(3).log(), cluster.replica(3).leader()), (&log, Some(id(2))));
    let answer = cluster.wire.pop_back().unwrap();
    let Body::AppendReply { outcome, .. } = answer.body else { panic!("{answer:?}") };
    assert_eq!((outcome, answer.term), (AppendOutcome::StaleTerm, cluster.replica(2).term()));
    cluster.deliver(answer);
    assert_eq!(cluster.leaders(), [2]);
}

#[test]
fn a_leader_learns_from_the_answer_to_a_heartbeat_that_its_term_is_over() {
    let mut cluster = overtaken();
    cluster.read(1, 5);
    let beat = cluster.wire.pop_back().unwrap();
    cluster.wire.clear();
    cluster.deliver(beat);
    assert_eq!(cluster.replica(3).leader(), Some(id(2)));
    assert!(!cluster.node(3).others.iter().any(|o| matches!(o, Output::PeerBroken { .. })));
    cluster.settle();
    assert_eq!(cluster.leaders(), [2]);
    assert_eq!(cluster.reads_ready(1), []);
}

/// The log was trimmed between the request and the reading of it.
#[test]
fn entries_that_were_gone_are_asked_for_again_a_moment_later() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let (now, later) = (cluster.now, cluster.now.after(cluster.config.heartbeat_interval));
    let leader = &mut cluster.nodes.get_mut(&id(1)).unwrap().replica;
    let asked = |leader: &mut Replica| {
        let outputs = core::iter::from_fn(|| leader.poll_output());
        let requests = outputs.filter_map(|output| match output {
            Output::SendEntries(request) if request.to == id(2) => Some(request),
            _ => None,
        });
        requests.last()
    };
    let proposal = Proposal { id: ProposalId(1), payload: "x".into() };
    leader.handle(now, Input::Propose([proposal].into()));
    let first = asked(leader).expect("node 2 lacks it");
    leader.handle(now, Input::EntriesGone { to: id(2), number: first.token.number });
    assert_eq!(asked(leader), None, "not at once");
    assert!(leader.deadline() <= later);
    leader.handle(later, Input::Timeout);
    let again = asked(leader).expect("it still lacks it");
    assert_eq!((again.from, again.up_to), (first.from, first.up_to));
    assert_ne!(again.token, first.token);
}

/// A sector of the leader's log is lost, and what is left of it is of no use to a follower.
#[test]
fn committed_entries_that_cannot_be_read_are_sent_as_a_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let (now, later) = (cluster.now, cluster.now.after(cluster.config.heartbeat_interval));
    let leader = &mut cluster.nodes.get_mut(&id(1)).unwrap().replica;
    let asked = |leader: &mut Replica| {
        let outputs = core::iter::from_fn(|| leader.poll_output());
        let of_2 = outputs.filter(|output| match output {
            Output::SendEntries(request) => request.to == id(2),
            Output::SendSnapshot { to, .. } => *to == id(2),
            _ => false,
        });
        of_2.last()
    };
    propose(leader, now, 1);
    let Some(Output::SendEntries(request)) = asked(leader) else { panic!("node 2 lacks it") };
    let (to, number, from) = (id(2), request.token.number, request.from);
    assert!(leader.commit() < from);
    leader.handle(now, Input::EntriesUnreadable { to, number, from });
    leader.handle(later, Input::Timeout);
    let again = asked(leader);
    let Some(Output::SendEntries(again)) = again else { panic!("not committed: {again:?}") };
    let (number, from) = (again.token.number, leader.commit());
    leader.handle(later, Input::EntriesUnreadable { to, number, from });
    leader.handle(later.after(cluster.config.heartbeat_interval), Input::Timeout);
    let instead = asked(leader);
    assert!(matches!(instead, Some(Output::SendSnapshot { .. })), "{instead:?}");
}

/// Drives a leader of one by hand, which has led and committed already.
fn alone(drive: impl Fn(&mut Replica, Instant)) {
    let mut cluster = Cluster::new(1);
    cluster.run(0);
    let now = cluster.now;
    drive(&mut cluster.nodes.get_mut(&id(1)).unwrap().replica, now);
}

fn propose(replica: &mut Replica, now: Instant, n: u64) {
    let proposal = Proposal { id: ProposalId(n), payload: "x".into() };
    replica.handle(now, Input::Propose([proposal].into()));
}

#[test]
fn what_is_proposed_before_the_outputs_are_taken_becomes_one_write() {
    alone(|replica, now| {
        (1..=3).for_each(|n| propose(replica, now, n));
        let Some(Output::Persist(write)) = replica.poll_output() else { panic!("{replica:?}") };
        let Some(LogChange::Append(entries)) = write.change else { panic!("{write:?}") };
        assert_eq!(entries.len(), 3);
        let ids = [1, 2, 3].map(ProposalId).into();
        let taken = Output::Proposed { first: Index(2), term: Term(1), ids };
        assert_eq!((replica.poll_output(), replica.poll_output()), (Some(taken), None));
    });
}

#[test]
fn what_was_proposed_stands_before_whatever_comes_after_it() {
    alone(|replica, now| {
        propose(replica, now, 1);
        replica.handle(now, Input::Clock(GroupTime(7)));
        propose(replica, now, 2);
        let outputs: Vec<Output> = core::iter::from_fn(|| replica.poll_output()).collect();
        let proposed = outputs.iter().filter_map(|output| match output {
            Output::Proposed { first, ids, .. } => Some((first.0, ids[0].0)),
            _ => None,
        });
        assert_eq!(proposed.collect::<Vec<_>>(), [(2, 1), (4, 2)]);
    });
}

#[test]
fn what_was_proposed_just_before_the_end_is_refused() {
    alone(|replica, now| {
        propose(replica, now, 1);
        replica.stop();
        let why = Refusal::NotLeader { leader: None };
        let refused = Output::ProposalsRefused { ids: [ProposalId(1)].into(), why };
        assert_eq!((replica.poll_output(), replica.poll_output()), (Some(refused), None));
    });
}
