use core::time::Duration;

use raft_core::{Body, GroupTime, MemberChange, Message, NodeId, Token};

use super::members::ask;
use crate::cluster::{Cluster, GROUP, id};
use crate::{
    Input, Output, ProposalId, Refusal, RoleName, TransferOutcome, TransferRefusal, Unheard,
};

fn transfer(cluster: &mut Cluster, n: u64, to: Option<u64>) {
    let to = to.and_then(NodeId::new);
    cluster.input(n, Input::Transfer { id: ProposalId(7), to });
}

fn outcomes(cluster: &Cluster, n: u64) -> Vec<TransferOutcome> {
    let outcome = |output: &Output| match output {
        Output::TransferEnded { id: ProposalId(7), outcome } => Some(outcome.clone()),
        _ => None,
    };
    cluster.node(n).others.iter().filter_map(outcome).collect()
}

fn refusal(cluster: &mut Cluster, n: u64, to: Option<u64>) -> TransferRefusal {
    cluster.nodes.get_mut(&id(n)).unwrap().others.clear();
    transfer(cluster, n, to);
    match outcomes(cluster, n).pop() {
        Some(TransferOutcome::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// A leader of three that has heard everybody.
fn led(count: u64) -> Cluster {
    let mut cluster = Cluster::new(count);
    cluster.elect(1);
    cluster.run(500);
    cluster
}

#[test]
fn leadership_is_handed_over_without_an_election_timeout() {
    let mut cluster = led(3);
    cluster.propose(1, "before");
    let asked = cluster.now;
    transfer(&mut cluster, 1, Some(2));
    cluster.settle();
    assert_eq!((cluster.leaders(), cluster.now), (vec![2], asked), "messages take no time here");
    assert_eq!(outcomes(&cluster, 1), [TransferOutcome::SteppedDown]);
    cluster.run(200);
    assert_eq!(cluster.applied(3), ["before"]);
}

#[test]
fn whoever_has_most_is_chosen_where_nobody_is_named() {
    let mut cluster = led(3);
    cluster.cut.insert((id(1), id(2)));
    cluster.propose(1, "more");
    cluster.settle();
    transfer(&mut cluster, 1, None);
    cluster.settle();
    assert_eq!(cluster.leaders(), [3]);
}

#[test]
fn nothing_is_proposed_meanwhile_and_all_is_as_it_was_after_an_election_timeout() {
    let mut cluster = led(3);
    cluster.isolate(2);
    transfer(&mut cluster, 1, Some(2));
    cluster.propose(1, "refused");
    let refused = Output::ProposalsRefused { ids: vec![ProposalId(0)], why: Refusal::Transferring };
    assert!(cluster.node(1).others.contains(&refused));
    let last = cluster.replica(1).log().last();
    cluster.input(1, Input::Clock(GroupTime(7)));
    assert_eq!(cluster.replica(1).log().last(), last, "nor is the time told");
    cluster.run(999);
    assert_eq!(outcomes(&cluster, 1), [], "an election timeout is not over");
    cluster.run(2);
    assert_eq!(outcomes(&cluster, 1), [TransferOutcome::TimedOut]);
    assert!(cluster.replica(1).is_leader(), "node 3 was heard all the time");
    cluster.cut.clear();
    cluster.propose(1, "taken");
    cluster.settle();
    assert_eq!(cluster.applied(1), ["taken"]);
}

#[test]
fn an_asking_that_is_lost_is_repeated() {
    let mut cluster = led(3);
    transfer(&mut cluster, 1, Some(2));
    let asking = |m: &raft_core::Message| matches!(m.body, Body::TimeoutNow { .. });
    let lost = cluster.wire.iter().position(asking);
    cluster.wire.remove(lost.unwrap());
    cluster.input(1, Input::Timeout);
    assert!(!cluster.wire.iter().any(asking), "not whenever anything happens");
    cluster.run(99);
    assert_eq!(cluster.leaders(), [1]);
    cluster.run(50);
    assert_eq!(cluster.leaders(), [2]);
}

/// The target must have everything on its disk, not only in its log: it is asked when
/// its acknowledgement comes, and that leaves once it is durable.
#[test]
fn a_target_is_asked_only_once_its_disk_has_everything() {
    let mut cluster = led(3);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    cluster.propose(1, "late");
    cluster.run(150);
    // What is committed is not on its disk, and it does not answer.
    assert_eq!(refusal(&mut cluster, 1, Some(2)), TransferRefusal::Behind(id(2)));
    // What has only just been sent may still arrive there: the transfer waits for it.
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = false;
    cluster.sync(2);
    cluster.run(300);
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = true;
    cluster.propose(1, "later");
    cluster.settle();
    transfer(&mut cluster, 1, Some(2));
    cluster.settle();
    assert_eq!(cluster.replica(2).status().role, RoleName::Follower, "not asked yet");
    cluster.nodes.get_mut(&id(2)).unwrap().stalled = false;
    cluster.sync(2);
    cluster.settle();
    assert_eq!(cluster.leaders(), [2]);
}

#[test]
fn a_transfer_that_cannot_be_is_refused_with_the_reason() {
    let mut cluster = led(3);
    let leader = Some(id(1));
    assert_eq!(refusal(&mut cluster, 2, Some(3)), TransferRefusal::NotLeader { leader });
    assert_eq!(refusal(&mut cluster, 1, Some(1)), TransferRefusal::AlreadyLeads(id(1)));
    assert_eq!(refusal(&mut cluster, 1, Some(9)), TransferRefusal::NotVoter(id(9)));
    cluster.cut.insert((id(3), id(1)));
    cluster.run(1200);
    assert_eq!(refusal(&mut cluster, 1, Some(3)), TransferRefusal::Unheard(id(3)));
    cluster.cut.insert((id(2), id(1)));
    cluster.now = cluster.now.after(Duration::from_millis(1000));
    assert_eq!(refusal(&mut cluster, 1, None), TransferRefusal::Nobody);
    let mut cluster = led(3);
    cluster.cut.insert((id(1), id(2)));
    transfer(&mut cluster, 1, Some(2));
    let to = id(2);
    assert_eq!(refusal(&mut cluster, 1, Some(3)), TransferRefusal::Transferring { to });
    cluster.nodes.get_mut(&id(1)).unwrap().replica.stop();
    assert_eq!(refusal(&mut cluster, 1, None), TransferRefusal::NotLeader { leader: None });
}

#[test]
fn an_asking_counts_only_from_the_leader_followed_and_with_its_log() {
    let mut cluster = led(3);
    transfer(&mut cluster, 1, Some(2));
    let ask = cluster.wire.pop_back().unwrap();
    let Body::TimeoutNow { token, last } = ask.body else { panic!("{ask:?}") };
    let longer = raft_core::Position { index: last.index.next(), ..last };
    let mut changed = ask.clone();
    changed.body = Body::TimeoutNow { token, last: longer };
    cluster.deliver(changed);
    assert_eq!(cluster.replica(2).status().role, RoleName::Follower, "it lacks an entry");
    let mut foreign = ask.clone();
    foreign.from = id(3);
    cluster.deliver(foreign);
    assert_eq!(cluster.replica(2).status().role, RoleName::Follower, "not its leader");
    cluster.deliver(ask);
    assert_eq!(cluster.replica(2).status().role, RoleName::Candidate);
}

/// It may have been asked before the change of the members, by a leader that meant a voter.
#[test]
fn who_has_lost_its_vote_does_not_take_over_when_it_is_asked_to() {
    let mut cluster = led(3);
    ask(&mut cluster, 1, &[MemberChange::Demote { id: id(2) }], Unheard::Refuse);
    cluster.run(500);
    let replica = cluster.replica(2);
    assert!(replica.membership().learners().contains(&id(2)));
    assert!(replica.commit() >= replica.log().membership_index(), "until then it may stand");
    let last = cluster.replica(2).log().last();
    let body = Body::TimeoutNow { token: Token::default(), last };
    let term = cluster.replica(1).term();
    cluster.deliver(Message::new(GROUP, id(1), id(2), term, body));
    assert_eq!(cluster.replica(2).status().role, RoleName::Follower);
    assert_eq!(cluster.replica(2).term(), term);
}

#[test]
fn a_leader_whose_disk_stalls_hands_over_to_one_whose_disk_works() {
    let mut cluster = led(5);
    cluster.nodes.get_mut(&id(1)).unwrap().stalled = true;
    for n in [2, 3] {
        cluster.nodes.get_mut(&id(n)).unwrap().stalled = true;
    }
    cluster.propose(1, "waits");
    cluster.run(900);
    assert_eq!(cluster.leaders(), [1], "a disk may be slow");
    cluster.nodes.get_mut(&id(3)).unwrap().stalled = false;
    cluster.sync(3);
    cluster.run(300);
    let leaders = cluster.leaders();
    assert!(leaders.len() == 1 && [3, 4, 5].contains(&leaders[0]), "{leaders:?}");
    cluster.run(200);
    assert_eq!(cluster.applied(4), ["waits"]);
}

/// Nothing new is sent that would show which disk works; what was sent before shows it.
#[test]
fn a_leader_whose_disk_stalls_again_without_new_proposals_hands_over_as_well() {
    let mut cluster = led(3);
    cluster.nodes.get_mut(&id(1)).unwrap().stalled = true;
    cluster.propose(1, "first");
    cluster.run(100);
    cluster.propose(1, "second");
    cluster.run(500);
    cluster.sync_one(1);
    cluster.run(900);
    assert_eq!(cluster.leaders(), [1], "it has done something less than a second ago");
    cluster.run(400);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    cluster.run(200);
    assert_eq!(cluster.applied(leaders[0]), ["first", "second"]);
}

#[test]
fn a_leader_whose_disk_stalls_stays_where_no_other_disk_works() {
    let mut cluster = led(3);
    for n in [1, 2, 3] {
        cluster.nodes.get_mut(&id(n)).unwrap().stalled = true;
    }
    cluster.propose(1, "waits");
    cluster.run(4000);
    assert_eq!(cluster.leaders(), [1]);
    for n in [1, 2, 3] {
        cluster.nodes.get_mut(&id(n)).unwrap().stalled = false;
        cluster.sync(n);
    }
    cluster.settle();
    assert_eq!(cluster.applied(1), ["waits"]);
}

#[test]
fn a_campaign_on_request_needs_no_timeout_and_deposes_nobody() {
    let mut cluster = Cluster::new(3);
    cluster.input(2, Input::Campaign);
    cluster.settle();
    assert_eq!(cluster.leaders(), [2]);
    let term = cluster.replica(2).term();
    cluster.input(3, Input::Campaign);
    cluster.input(2, Input::Campaign);
    cluster.run(300);
    assert_eq!((cluster.leaders(), cluster.replica(2).term()), (vec![2], term));
}

#[test]
fn replicas_of_a_lower_priority_lead_only_where_no_other_can() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3);
        cluster.seed = seed;
        for n in [1, 2] {
            cluster.config.priority = raft_election::Priority(1);
            let disk = cluster.node(n).disk.clone();
            cluster.boot(id(n), disk, 1);
        }
        cluster.config.priority = raft_election::Priority(0);
        let disk = cluster.node(3).disk.clone();
        cluster.boot(id(3), disk, 1);
        cluster.run(4000);
        assert_eq!(cluster.leaders(), [3], "seed {seed}");
        cluster.isolate(3);
        cluster.run(6000);
        assert_ne!(cluster.leaders(), [3]);
        assert_eq!(cluster.leaders().len(), 1);
    }
}

/// Between two attempts proposals have their turn.
#[test]
fn a_leader_whose_disk_stalls_tries_again_only_after_a_while() {
    let mut cluster = led(3);
    for n in [1, 2, 3] {
        cluster.nodes.get_mut(&id(n)).unwrap().stalled = true;
    }
    cluster.propose(1, "waits");
    cluster.run(1500);
    for n in [2, 3] {
        cluster.nodes.get_mut(&id(n)).unwrap().stalled = false;
        cluster.sync(n);
    }
    cluster.propose(1, "taken");
    cluster.run(3400);
    assert_eq!(cluster.leaders(), [1], "the attempt after one second found nobody");
    cluster.run(300);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
}

/// Under load something is always under way; what is not answered for long is not.
#[test]
fn a_target_that_is_about_to_have_everything_is_waited_for() {
    for (ms, outcome) in [(99, None), (100, Some(TransferRefusal::Behind(id(2))))] {
        let mut cluster = led(3);
        cluster.cut.insert((id(2), id(1)));
        cluster.propose(1, "under way");
        cluster.settle();
        assert_eq!(cluster.replica(1).commit(), cluster.replica(1).log().last().index);
        cluster.now = cluster.now.after(Duration::from_millis(ms));
        transfer(&mut cluster, 1, Some(2));
        let refused = outcome.map(TransferOutcome::Refused);
        assert_eq!(outcomes(&cluster, 1), Vec::from_iter(refused), "after {ms} ms");
    }
}

#[test]
fn a_target_that_was_not_yet_sent_what_is_committed_is_behind() {
    let mut cluster = Cluster::new(3);
    cluster.config.max_flights = 1;
    (1..=3).for_each(|n| cluster.crash(n));
    cluster.elect(1);
    cluster.run(500);
    cluster.cut.insert((id(2), id(1)));
    for text in ["under way", "waits for it"] {
        cluster.propose(1, text);
        cluster.settle();
    }
    assert_eq!(cluster.replica(1).commit(), cluster.replica(1).log().last().index);
    assert_eq!(refusal(&mut cluster, 1, Some(2)), TransferRefusal::Behind(id(2)));
}
