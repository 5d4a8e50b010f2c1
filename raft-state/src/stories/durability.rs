use raft_core::{Body, Index, Message, Position, Term, Token, WriteNumber};

use crate::Input;
use crate::cluster::{Cluster, GROUP, entries, id};

fn votes_on_the_wire(cluster: &Cluster) -> usize {
    cluster.wire.iter().filter(|message| matches!(message.body, Body::Vote { .. })).count()
}

/// A candidate whose term was lost in a crash would campaign in it again.
#[test]
fn a_request_for_votes_leaves_only_once_its_term_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.nodes.get_mut(&id(1)).unwrap().stalled = true;
    cluster.now = cluster.replica(1).deadline();
    cluster.input(1, Input::Timeout);
    cluster.settle();
    assert_eq!(cluster.replica(1).term(), Term(1), "the pre-votes were won");
    assert_eq!(votes_on_the_wire(&cluster), 0);
    cluster.sync(1);
    assert_eq!(votes_on_the_wire(&cluster), 2);
}

#[test]
fn a_vote_leaves_only_once_it_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    cluster.isolate(3);
    cluster.now = cluster.replica(1).deadline();
    cluster.input(1, Input::Timeout);
    cluster.settle();
    assert_eq!(cluster.leaders(), [0u64; 0]);
    cluster.sync(2);
    cluster.settle();
    assert_eq!(cluster.leaders(), [1]);
}

#[test]
fn the_only_voter_leads_only_once_its_vote_is_durable() {
    let mut cluster = Cluster::new(1);
    cluster.nodes.get_mut(&id(1)).unwrap().stalled = true;
    cluster.input(1, Input::Timeout);
    assert_eq!(cluster.leaders(), [0u64; 0]);
    cluster.sync(1);
    assert_eq!(cluster.leaders(), [1]);
    assert_eq!(cluster.replica(1).commit(), Index(0), "the blank entry is not durable");
    cluster.sync(1);
    assert_eq!(cluster.replica(1).commit(), Index(1));
}

#[test]
fn an_acknowledgement_waits_for_the_followers_disk() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    cluster.propose(1, "x");
    cluster.settle();
    assert_eq!(cluster.replica(1).commit(), Index(1));
    cluster.sync(2);
    cluster.settle();
    assert_eq!(cluster.replica(1).commit(), Index(2));
}

#[test]
fn followers_commit_while_the_leaders_own_disk_is_still_writing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.nodes.get_mut(&id(1)).unwrap().stalled = true;
    cluster.propose(1, "x");
    cluster.settle();
    assert_eq!(cluster.replica(1).commit(), Index(2), "two followers are a quorum");
    assert!(cluster.applied(1).is_empty(), "a store is never ahead of its log");
    cluster.sync(1);
    assert_eq!(cluster.applied(1), ["x"]);
}

#[test]
fn a_leader_counts_itself_only_for_what_its_disk_has() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.nodes.get_mut(&id(1)).unwrap().stalled = true;
    cluster.propose(1, "x");
    cluster.settle();
    assert_eq!(cluster.replica(1).commit(), Index(1), "one follower is no quorum");
    cluster.sync(1);
    assert_eq!(cluster.replica(1).commit(), Index(2));
}

#[test]
fn a_heartbeats_reply_waits_for_its_term_and_never_for_entries() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    cluster.propose(1, "x");
    cluster.settle();
    cluster.read(1, 7);
    cluster.settle();
    assert_eq!(cluster.reads_ready(1), [(7, 1)], "the follower's disk is not waited for");

    let mut fresh = Cluster::new(3);
    fresh.nodes.get_mut(&id(2)).unwrap().stalled = true;
    let body = Body::Heartbeat { token: Token::default(), commit: Index(0) };
    let message = Message::new(GROUP, id(1), id(2), Term(4), body);
    fresh.input(2, Input::Message(message));
    assert!(fresh.wire.is_empty(), "the term is not durable");
    fresh.sync(2);
    assert_eq!(fresh.wire.len(), 1);
}

/// The replies of an old term must not leave once a later one is entered.
#[test]
fn promises_held_in_an_old_term_are_dropped() {
    let mut cluster = Cluster::new(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    let append = |term, from, prev, terms: &[u64]| {
        let body = Body::Append {
            token: Token::default(),
            prev,
            entries: entries(1, terms),
            commit: Index(0),
        };
        Input::Message(Message::new(GROUP, id(from), id(2), Term(term), body))
    };
    cluster.input(2, append(1, 1, Position::ZERO, &[1, 1]));
    cluster.input(2, append(2, 3, Position::ZERO, &[2]));
    assert_eq!(cluster.node(2).log.terms(), [2], "the second leader's entry took their place");
    cluster.sync_one(2);
    assert!(cluster.wire.is_empty(), "the acknowledgement for the first leader is void");
    cluster.sync_one(2);
    assert_eq!(cluster.wire.len(), 1);
    assert_eq!(cluster.wire[0].to, id(3));
}

#[test]
fn writes_are_numbered_without_a_gap_and_carry_the_term() {
    let mut cluster = Cluster::new(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    let body = Body::Append {
        token: Token::default(),
        prev: Position::ZERO,
        entries: entries(1, &[3]),
        commit: Index(0),
    };
    let message = Message::new(GROUP, id(1), id(2), Term(3), body);
    cluster.input(2, Input::Message(message));
    let writes = &cluster.node(2).writes;
    assert_eq!(writes.len(), 1, "the new term travels with the entries");
    assert_eq!((writes[0].number, writes[0].hard_state.term), (WriteNumber(1), Term(3)));
}

/// Nothing is written after the vote, so nothing else carries it to the disk.
#[test]
fn a_vote_alone_survives_a_crash() {
    let mut cluster = Cluster::new(3);
    let token = Token::default();
    let ask = |from| {
        let body = Body::Vote { token, last: Position::new(9, 9), transfer: false };
        Input::Message(Message::new(GROUP, id(from), id(2), Term(4), body))
    };
    cluster.input(2, ask(1));
    assert_eq!(cluster.wire.pop_back().unwrap().body, Body::VoteReply { token, granted: true });
    cluster.crash(2);
    cluster.input(2, ask(3));
    assert_eq!(cluster.wire.pop_back().unwrap().body, Body::VoteReply { token, granted: false });
}

#[test]
fn a_term_and_a_vote_survive_a_crash() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.replica(2).term();
    cluster.crash(2);
    assert_eq!(cluster.replica(2).term(), term);
    let token = Token::default();
    let body = Body::Vote { token, last: Position::new(9, 9), transfer: false };
    let message = Message::new(GROUP, id(3), id(2), term, body);
    cluster.input(2, Input::Message(message));
    let refused = Body::VoteReply { token, granted: false };
    assert_eq!(cluster.wire.back().unwrap().body, refused, "its vote is given to 1");
}

/// Were a term written before the vote that is given in it, a crash between the two would let
/// a node vote twice.
#[test]
fn a_vote_that_has_left_survives_a_crash_before_the_next_write() {
    let mut cluster = Cluster::new(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    let token = Token::default();
    let ask = |from| {
        let body = Body::Vote { token, last: Position::new(9, 9), transfer: false };
        Input::Message(Message::new(GROUP, id(from), id(2), Term(4), body))
    };
    cluster.input(2, ask(1));
    assert!(cluster.wire.is_empty(), "the vote is not durable");
    cluster.sync_one(2);
    assert_eq!(cluster.wire.pop_back().unwrap().body, Body::VoteReply { token, granted: true });
    cluster.crash(2);
    cluster.input(2, ask(3));
    cluster.sync(2);
    assert_eq!(cluster.wire.pop_back().unwrap().body, Body::VoteReply { token, granted: false });
}

/// Were the vote decided on what is durable while the append is acknowledged all the same, a
/// candidate could win without an entry that was committed with the voter's help.
#[test]
fn a_vote_is_decided_on_the_log_with_what_is_still_being_written() {
    let mut cluster = Cluster::new(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    let (token, prev, commit) = (Token::default(), Position::ZERO, Index(0));
    let append = Body::Append { token, prev, entries: entries(1, &[1]), commit };
    cluster.input(2, Input::Message(Message::new(GROUP, id(1), id(2), Term(1), append)));
    let vote = Body::Vote { token, last: Position::ZERO, transfer: true };
    cluster.input(2, Input::Message(Message::new(GROUP, id(3), id(2), Term(2), vote)));
    cluster.sync(2);
    let said: Vec<_> = cluster.wire.drain(..).map(|message| message.body).collect();
    assert_eq!(said, [Body::VoteReply { token, granted: false }]);
}

#[test]
fn a_vote_that_is_given_is_given_to_nobody_else_in_its_term() {
    let mut cluster = Cluster::new(3);
    let token = Token::default();
    for (from, granted) in [(1, true), (3, false), (1, true)] {
        let body = Body::Vote { token, last: Position::new(9, 9), transfer: false };
        let ask = Message::new(GROUP, id(from), id(2), Term(4), body);
        cluster.input(2, Input::Message(ask));
        let answer = cluster.wire.pop_back().map(|message| (message.to, message.body));
        assert_eq!(answer, Some((id(from), Body::VoteReply { token, granted })));
    }
}
