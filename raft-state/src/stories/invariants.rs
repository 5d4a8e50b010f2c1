//! What must never be stops a replica, with the values that show it.

use raft_core::{
    Boot, Incarnation, Index, Instant, LogShape, Membership, NodeId, Position, Term, Token,
};

use crate::cluster::{Cluster, GROUP, id};
use crate::{
    ChangeRefusal, Config, Input, Output, Proposal, ProposalId, ReadId, Refusal, Replica,
    SendEntries, Start, TransferOutcome, TransferRefusal, Unheard,
};

/// A replica whose log begins at 5 and whose state machine has applied `applied`.
fn opened(applied: u64) -> Replica {
    let shape = LogShape::new(Position::new(1, 5), Membership::of_voters([id(1)]));
    let start = Start::fresh(GROUP, id(1), Boot(1), shape);
    Replica::new(Config::default(), Start { applied: Index(applied), ..start }, Instant(0))
}

#[test]
#[should_panic(expected = "6 applied, log 5..5")]
fn a_state_machine_ahead_of_the_log_is_not_opened() {
    opened(6);
}

#[test]
#[should_panic(expected = "4 applied, log 5..5")]
fn a_state_machine_behind_the_floor_is_not_opened() {
    opened(4);
}

/// A leader of one that has applied its only entry, with something about it changed.
fn broken(change: impl Fn(&mut Replica)) {
    let mut cluster = Cluster::new(1);
    cluster.run(0);
    let now = cluster.now;
    let replica = &mut cluster.nodes.get_mut(&id(1)).unwrap().replica;
    replica.handle(now, Input::Timeout);
    change(replica);
    replica.handle(now, Input::Timeout);
}

#[test]
#[should_panic(expected = "floor 0, applied 1, commit 9, last 1")]
fn what_is_committed_is_in_the_log() {
    broken(|replica| replica.commit = Index(9));
}

#[test]
#[should_panic(expected = "floor 0, applied 1, commit 0, last 1")]
fn what_is_applied_is_committed() {
    broken(|replica| replica.commit = Index(0));
}

#[test]
#[should_panic(expected = "floor 1, applied 0, commit 0, last 1")]
fn what_is_trimmed_is_applied() {
    broken(|replica| {
        replica.log.trim_to(Index(1));
        (replica.applied, replica.commit) = (Index(0), Index(0));
    });
}

#[test]
#[should_panic(expected = "is answered without an entry")]
fn a_request_for_entries_is_not_answered_without_any() {
    let request = SendEntries {
        to_disk: Incarnation(0),
        to: id(2),
        term: Term(1),
        token: Token::default(),
        prev: Position::ZERO,
        from: Index(1),
        up_to: Index(2),
        max_bytes: 1,
        commit: Index(0),
    };
    let _ = request.append(GROUP, id(1), Vec::new());
}

#[test]
fn chance_differs_between_nodes_and_between_runs() {
    let seed = |me, boot| {
        let shape = LogShape::new(Position::ZERO, Membership::empty());
        Start::fresh(GROUP, id(me), Boot(boot), shape).seed
    };
    let nodes = [seed(1, 7), seed(2, 7), seed(3, 7)];
    let runs = [seed(1, 8), seed(1, 10), seed(1, 12)];
    for seeds in [nodes, runs] {
        assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[0] != seeds[2], "{seeds:?}");
    }
}

#[test]
fn a_replica_that_has_stopped_refuses_everything_and_does_nothing() {
    let mut cluster = Cluster::new(1);
    cluster.run(0);
    assert!(!cluster.replica(1).is_halted());
    let now = cluster.now;
    let replica = &mut cluster.nodes.get_mut(&id(1)).unwrap().replica;
    replica.stop();
    let mut answer = |input| {
        replica.handle(now, input);
        let answer = replica.poll_output();
        assert_eq!(replica.poll_output(), None);
        answer
    };
    let (leader, request, read) = (None, ProposalId(3), ReadId(4));
    let why = Refusal::NotLeader { leader };
    let proposal = Proposal { id: request, payload: bytes::Bytes::new() };
    let refused = Output::ProposalsRefused { ids: [request].into(), why };
    assert_eq!(answer(Input::Propose([proposal].into())), Some(refused));
    let refused = Output::ReadsRefused { ids: [read].into(), why };
    assert_eq!(answer(Input::Read([read].into())), Some(refused));
    let (changes, unheard) = (Vec::new(), Unheard::Refuse);
    let refused = Output::ChangeRefused { id: request, why: ChangeRefusal::NotLeader { leader } };
    assert_eq!(answer(Input::ChangeMembers { id: request, changes, unheard }), Some(refused));
    let outcome = TransferOutcome::Refused(TransferRefusal::NotLeader { leader });
    let refused = Output::TransferEnded { id: request, outcome };
    assert_eq!(answer(Input::Transfer { id: request, to: NodeId::new(1) }), Some(refused));
    assert_eq!(answer(Input::Timeout), None);
    assert_eq!(cluster.replica(1).deadline(), Instant(u64::MAX));
    assert!(cluster.replica(1).is_halted());
}
