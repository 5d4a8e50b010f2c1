use raft_core::{
    Body, Boot, ChangeError, Entry, EntryKind, Incarnation, Index, Member, MemberChange,
    Membership, Message, NodeId, Position, Term, Token, WhenCaughtUp,
};

use crate::cluster::{Cluster, id};
use crate::{ChangeRefusal, Input, Output, ProposalId, Unheard};

pub(super) fn add(n: u64, when_caught_up: WhenCaughtUp) -> MemberChange {
    let member = Member { incarnation: Incarnation(n), when_caught_up, ..Member::default() };
    MemberChange::AddLearner { id: id(n), member }
}

fn promote(n: u64) -> MemberChange {
    MemberChange::Promote { id: id(n) }
}

pub(super) fn demote(n: u64) -> MemberChange {
    MemberChange::Demote { id: id(n) }
}

pub(super) fn remove(n: u64) -> MemberChange {
    MemberChange::Remove { id: id(n) }
}

pub(super) fn ask(cluster: &mut Cluster, n: u64, changes: &[MemberChange], unheard: Unheard) {
    let change = Input::ChangeMembers { id: ProposalId(7), changes: changes.to_vec(), unheard };
    cluster.input(n, change);
}

/// Asks, and says why it was refused.
fn refusal(cluster: &mut Cluster, n: u64, changes: &[MemberChange]) -> ChangeRefusal {
    ask(cluster, n, changes, Unheard::Refuse);
    match cluster.nodes.get_mut(&id(n)).unwrap().others.pop() {
        Some(Output::ChangeRefused { id: ProposalId(7), why }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// Makes a change and lets everybody hear of it.
pub(super) fn change(cluster: &mut Cluster, n: u64, changes: &[MemberChange]) {
    ask(cluster, n, changes, Unheard::Refuse);
    let others = &cluster.node(n).others;
    let refused = others.iter().any(|output| matches!(output, Output::ChangeRefused { .. }));
    assert!(!refused, "{others:?}");
    cluster.run(500);
}

pub(super) fn led(count: u64) -> Cluster {
    let mut cluster = Cluster::new(count);
    cluster.elect(1);
    cluster.propose(1, "old");
    cluster.run(500);
    cluster
}

pub(super) fn voters(cluster: &Cluster, n: u64) -> Vec<u64> {
    let membership = cluster.replica(n).membership();
    assert!(!membership.is_joint(), "{membership:?}");
    membership.voters().iter().map(|id| id.get()).collect()
}

pub(super) fn was_removed(cluster: &Cluster, n: u64) -> bool {
    let removed = |output: &Output| matches!(output, Output::Removed { .. });
    cluster.node(n).others.iter().any(removed) && cluster.replica(n).is_halted()
}

#[test]
fn a_new_member_begins_as_a_learner_and_is_promoted_once_it_has_caught_up() {
    let mut cluster = led(3);
    cluster.join(4);
    change(&mut cluster, 1, &[add(4, WhenCaughtUp::Promote)]);
    assert_eq!(voters(&cluster, 1), [1, 2, 3, 4]);
    assert_eq!(voters(&cluster, 4), [1, 2, 3, 4]);
    assert_eq!(cluster.applied(4), ["old"]);
    let own = cluster.replica(4).log();
    for index in 1..=own.last().index.0 {
        let index = Index(index);
        assert_eq!(own.membership_at(index), cluster.replica(1).log().membership_at(index));
    }
}

#[test]
fn a_learner_that_is_to_stay_stays_until_it_is_promoted_on_request() {
    let mut cluster = led(3);
    cluster.join(4);
    ask(&mut cluster, 1, &[add(4, WhenCaughtUp::Stay)], Unheard::Refuse);
    let (matched, last) = (Index::ZERO, cluster.replica(1).log().last().index);
    cluster.isolate(4);
    cluster.settle();
    assert_eq!(
        refusal(&mut cluster, 1, &[promote(4)]),
        ChangeRefusal::Behind { id: id(4), matched, last }
    );
    cluster.cut.clear();
    cluster.run(2500);
    assert_eq!(voters(&cluster, 4), [1, 2, 3]);
    change(&mut cluster, 1, &[promote(4)]);
    assert_eq!(voters(&cluster, 4), [1, 2, 3, 4]);
    change(&mut cluster, 1, &[demote(4)]);
    assert_eq!(voters(&cluster, 4), [1, 2, 3]);
    assert!(cluster.replica(4).membership().is_member(id(4)));
}

/// The learner is reached long after it was added, and nothing else happens in the group.
#[test]
fn the_only_voter_promotes_its_learner_however_late_that_has_caught_up() {
    let mut cluster = led(1);
    cluster.config.own_heartbeats = false;
    cluster.crash(1);
    cluster.elect(1);
    cluster.join(2);
    cluster.isolate(2);
    ask(&mut cluster, 1, &[add(2, WhenCaughtUp::Promote)], Unheard::Refuse);
    cluster.run(5000);
    cluster.cut.clear();
    cluster.run(5000);
    assert_eq!(voters(&cluster, 1), [1, 2]);
}

#[test]
fn a_promotion_survives_the_leader_that_was_asked_for_it() {
    let mut cluster = led(3);
    cluster.join(4);
    cluster.isolate(4);
    change(&mut cluster, 1, &[add(4, WhenCaughtUp::Promote)]);
    cluster.elect(2);
    cluster.cut.clear();
    cluster.run(3000);
    assert_eq!(voters(&cluster, 3), [1, 2, 3, 4]);
}

#[test]
fn a_member_is_replaced_in_one_request() {
    let mut cluster = led(3);
    cluster.join(4);
    cluster.isolate(3);
    change(&mut cluster, 1, &[add(4, WhenCaughtUp::Replace(id(3)))]);
    assert_eq!(voters(&cluster, 1), [1, 2, 4]);
    cluster.cut.clear();
    cluster.run(3000);
    assert!(was_removed(&cluster, 3), "it asked, and the leader told it");
    assert_eq!(cluster.leaders(), [1]);
}

#[test]
fn several_voters_change_through_a_joint_membership() {
    let mut cluster = led(3);
    for n in [4, 5] {
        cluster.join(n);
        change(&mut cluster, 1, &[add(n, WhenCaughtUp::Stay)]);
    }
    cluster.run(1000);
    ask(&mut cluster, 1, &[promote(4), promote(5), remove(2)], Unheard::Refuse);
    let joint = cluster.replica(1).membership();
    assert!(joint.is_joint());
    cluster.isolate(2);
    cluster.settle();
    assert_eq!(voters(&cluster, 1), [1, 3, 4, 5]);
}

/// Neither half of a joint membership decides alone.
#[test]
fn a_joint_membership_needs_both_majorities() {
    let mut cluster = led(3);
    for n in [4, 5] {
        cluster.join(n);
        change(&mut cluster, 1, &[add(n, WhenCaughtUp::Stay)]);
    }
    cluster.run(1000);
    // The incoming ones are 1, 4 and 5; the outgoing ones 1, 2 and 3.
    for n in [2, 3] {
        cluster.isolate(n);
    }
    let commit = cluster.replica(1).commit();
    ask(&mut cluster, 1, &[promote(4), promote(5), remove(2), remove(3)], Unheard::Refuse);
    cluster.run(500);
    assert_eq!(cluster.replica(1).commit(), commit, "1, 4 and 5 are no majority of 1, 2 and 3");
    assert!(cluster.replica(1).membership().is_joint());
    cluster.cut.clear();
    cluster.run(3000);
    let leader = cluster.leaders()[0];
    assert_eq!(voters(&cluster, leader), [1, 4, 5]);
}

/// The leader that began the change is gone when the joint membership is committed: the
/// next one leaves it.
#[test]
fn a_joint_membership_is_left_by_whoever_leads() {
    let mut cluster = led(3);
    for n in [4, 5] {
        cluster.join(n);
        change(&mut cluster, 1, &[add(n, WhenCaughtUp::Stay)]);
    }
    cluster.run(1000);
    ask(&mut cluster, 1, &[promote(4), promote(5)], Unheard::Refuse);
    // Everyone gets the joint membership; no acknowledgement comes back.
    for n in 2..=5 {
        cluster.cut.insert((id(n), id(1)));
    }
    cluster.settle();
    assert!(cluster.replica(3).membership().is_joint());
    cluster.crash(2);
    assert!(cluster.replica(2).membership().is_joint(), "also after a restart");
    cluster.isolate(1);
    cluster.run(4000);
    let leader = cluster.leaders()[0];
    assert_ne!(leader, 1);
    assert_eq!(voters(&cluster, leader), [1, 2, 3, 4, 5]);
}

#[test]
fn a_snapshot_in_the_joint_state_carries_it() {
    let mut cluster = led(3);
    for n in [4, 5] {
        cluster.join(n);
        change(&mut cluster, 1, &[add(n, WhenCaughtUp::Stay)]);
    }
    cluster.run(1000);
    cluster.isolate(3);
    ask(&mut cluster, 1, &[promote(4), promote(5)], Unheard::Refuse);
    let joint = cluster.replica(1).log().membership_index();
    cluster.run(300);
    cluster.trim(1, joint.0);
    let meta = cluster.snapshot(1);
    let membership = cluster.replica(1).log().membership_at(joint).clone();
    assert!(membership.is_joint());
    let term = cluster.replica(1).term();
    cluster.cut.clear();
    cluster.run(150);
    let token = raft_core::Token { boot: raft_core::Boot(1 << 32 | 1), number: u64::MAX / 4 };
    let meta = Box::new(raft_core::SnapshotMeta { membership, ..*meta });
    cluster.input(3, Input::SnapshotReceived { from: id(1), term, token, meta });
    assert!(cluster.replica(3).membership().is_joint());
    cluster.crash(3);
    assert!(cluster.replica(3).membership().is_joint());
}

#[test]
fn the_leader_removes_itself_and_hands_over() {
    let mut cluster = led(3);
    ask(&mut cluster, 1, &[remove(1)], Unheard::Refuse);
    assert!(cluster.replica(1).is_leader(), "until the others have committed it");
    let asked = cluster.now;
    cluster.settle();
    assert!(was_removed(&cluster, 1));
    let leaders: Vec<u64> = cluster.leaders().into_iter().filter(|n| *n != 1).collect();
    assert_eq!((leaders.len(), cluster.now), (1, asked), "no election timeout has passed");
    assert_eq!(voters(&cluster, leaders[0]), [2, 3]);
}

/// The membership without the leader is in its log alone when it loses leadership: its log
/// is the longest, so nobody else can win, and it must stand although it has no vote.
#[test]
fn who_has_lost_its_vote_stands_until_that_is_committed() {
    let mut cluster = led(2);
    cluster.isolate(1);
    ask(&mut cluster, 1, &[remove(1)], Unheard::Refuse);
    cluster.run(3000);
    assert_eq!(cluster.leaders(), [0u64; 0]);
    cluster.cut.clear();
    cluster.run(5000);
    assert!(was_removed(&cluster, 1));
    assert_eq!((cluster.leaders(), voters(&cluster, 2)), (vec![2], vec![2]));
}

/// The same after a restart, which forgets how far was committed: that node 2 ever had a vote
/// is proved by the change after it.
#[test]
fn who_has_lost_its_vote_stands_although_it_has_forgotten_that_it_had_one() {
    let mut cluster = led(1);
    cluster.join(2);
    change(&mut cluster, 1, &[add(2, WhenCaughtUp::Promote)]);
    cluster.input(1, Input::Transfer { id: ProposalId(9), to: NodeId::new(2) });
    cluster.run(500);
    cluster.isolate(2);
    ask(&mut cluster, 2, &[demote(2)], Unheard::Refuse);
    cluster.run(500);
    cluster.crash(2);
    assert_eq!((cluster.replica(2).commit(), voters(&cluster, 2)), (Index::ZERO, vec![1]));
    cluster.cut.clear();
    cluster.run(8000);
    assert_eq!((cluster.leaders(), voters(&cluster, 1)), (vec![1], vec![1]));
    assert!(!was_removed(&cluster, 2), "it is a learner");
}

#[test]
fn a_leader_that_is_demoted_steps_down_and_goes_on_as_a_learner() {
    let mut cluster = led(3);
    ask(&mut cluster, 1, &[demote(1)], Unheard::Refuse);
    cluster.run(500);
    let leader = cluster.leaders()[0];
    assert_ne!(leader, 1);
    cluster.propose(leader, "new");
    cluster.run(500);
    assert_eq!(cluster.applied(1), ["old", "new"]);
    assert!(!was_removed(&cluster, 1));
}

#[test]
fn two_shrink_to_one() {
    let mut cluster = led(2);
    cluster.isolate(2);
    ask(&mut cluster, 1, &[remove(2)], Unheard::Refuse);
    assert_eq!(voters(&cluster, 1), [1]);
    cluster.run(5000);
    assert_eq!(cluster.leaders(), [1]);
    cluster.propose(1, "alone");
    assert_eq!(cluster.applied(1), ["old", "alone"]);
}

/// A read waits for the answer of a member that is removed meanwhile: who is left decides.
#[test]
fn reads_do_not_wait_for_who_was_removed() {
    let mut cluster = led(2);
    cluster.isolate(2);
    cluster.read(1, 5);
    assert_eq!(cluster.reads_ready(1), []);
    ask(&mut cluster, 1, &[remove(2)], Unheard::Refuse);
    assert_eq!(cluster.reads_ready(1).len(), 1);
}

#[test]
fn a_change_is_refused_with_the_reason() {
    let mut cluster = led(3);
    let leader = Some(id(1));
    assert_eq!(refusal(&mut cluster, 2, &[remove(3)]), ChangeRefusal::NotLeader { leader });
    assert_eq!(
        refusal(&mut cluster, 1, &[remove(9)]),
        ChangeRefusal::Invalid(ChangeError::NotMember(id(9)))
    );
    let all = [remove(1), remove(2), remove(3)];
    assert_eq!(refusal(&mut cluster, 1, &all), ChangeRefusal::Invalid(ChangeError::NoVoter));
    cluster.join(4);
    ask(&mut cluster, 1, &[add(4, WhenCaughtUp::Stay)], Unheard::Refuse);
    let at = cluster.replica(1).log().last().index;
    assert_eq!(refusal(&mut cluster, 1, &[remove(3)]), ChangeRefusal::InFlight { at });
    cluster.run(200);
    cluster.cut.insert((id(1), id(2)));
    cluster.input(1, Input::Transfer { id: ProposalId(9), to: NodeId::new(2) });
    assert_eq!(refusal(&mut cluster, 1, &[remove(3)]), ChangeRefusal::Transferring);
    cluster.nodes.get_mut(&id(1)).unwrap().replica.stop();
    let nobody = ChangeRefusal::NotLeader { leader: None };
    assert_eq!(refusal(&mut cluster, 1, &[remove(3)]), nobody);
}

/// A new leader may not know of a change that its predecessor has committed: until it has
/// committed in its own term it makes none (the bug of 2015 in single-server changes).
#[test]
fn no_change_before_the_first_commit_of_the_term() {
    let mut cluster = led(3);
    cluster.now = cluster.now.after(cluster.config.election_timeout * 2);
    cluster.input(2, Input::Campaign);
    while let Some(message) = cluster.wire.pop_front() {
        if !matches!(message.body, Body::AppendReply { .. }) {
            cluster.deliver(message);
        }
    }
    assert!(cluster.replica(2).is_leader());
    assert_eq!(refusal(&mut cluster, 2, &[remove(3)]), ChangeRefusal::NoCommitInTerm);
}

#[test]
fn no_change_without_a_majority_that_is_heard_unless_it_is_forced() {
    let mut cluster = led(3);
    cluster.isolate(3);
    cluster.run(1500);
    let (missing, why) = (vec![id(3)], refusal(&mut cluster, 1, &[remove(2)]));
    assert!(why.to_string().ends_with("; silent: node 3"), "{why}");
    assert_eq!(why, ChangeRefusal::Unheard { missing });
    assert_eq!(voters(&cluster, 1), [1, 2, 3]);
    ask(&mut cluster, 1, &[remove(2)], Unheard::DangerouslyAllow);
    assert_eq!(voters(&cluster, 1), [1, 3]);
}

#[test]
fn who_was_removed_while_it_was_away_is_told_and_disturbs_nobody() {
    let mut cluster = led(4);
    cluster.isolate(4);
    change(&mut cluster, 1, &[remove(4)]);
    let term = cluster.replica(1).term();
    cluster.run(5000);
    assert!(!was_removed(&cluster, 4), "nobody could tell it");
    cluster.cut.clear();
    cluster.run(3000);
    assert!(was_removed(&cluster, 4));
    assert_eq!((cluster.leaders(), cluster.replica(1).term()), (vec![1], term));
}

#[test]
fn a_learner_that_was_removed_is_told_too() {
    let mut cluster = led(3);
    cluster.join(4);
    change(&mut cluster, 1, &[add(4, WhenCaughtUp::Stay)]);
    change(&mut cluster, 1, &[remove(4)]);
    cluster.run(4000);
    assert!(was_removed(&cluster, 4), "it never stands for election, and asks");
}

/// The leader that has added it is deposed before that is committed: nobody has removed the
/// new member, and it can be added again as it is.
#[test]
fn who_was_added_by_an_entry_that_is_overwritten_is_not_removed() {
    let mut cluster = led(3);
    cluster.join(4);
    for n in [2, 3] {
        cluster.cut.extend([(id(1), id(n)), (id(n), id(1))]);
    }
    ask(&mut cluster, 1, &[add(4, WhenCaughtUp::Promote)], Unheard::Refuse);
    cluster.run(500);
    assert!(cluster.replica(4).membership().is_member(id(4)));
    cluster.run(5000);
    cluster.cut.clear();
    cluster.run(5000);
    assert!(!was_removed(&cluster, 4), "it has asked, and was told of where it is no member");
    let leader = cluster.leaders()[0];
    assert!(!cluster.replica(leader).membership().is_member(id(4)));
    change(&mut cluster, leader, &[add(4, WhenCaughtUp::Promote)]);
    assert_eq!(voters(&cluster, 4), [1, 2, 3, 4]);
}

/// A removal that never was committed, and a notice that comes late, stop nobody.
#[test]
fn nobody_is_told_of_a_removal_that_is_not_committed_or_over() {
    let mut cluster = led(3);
    for n in [2, 3] {
        cluster.cut.insert((id(n), id(1)));
    }
    ask(&mut cluster, 1, &[remove(3)], Unheard::DangerouslyAllow);
    let token = raft_core::Token { boot: raft_core::Boot(3 << 32 | 1), number: 1 };
    let message = |body, from, to, term| {
        raft_core::Message::new(crate::cluster::GROUP, id(from), id(to), term, body)
    };
    let term = cluster.replica(1).term();
    cluster.wire.clear();
    cluster.input(1, Input::Message(message(Body::Belong { token }, 3, 1, term)));
    assert_eq!(cluster.wire, [], "it is not committed");
    // An answer to a question of an earlier run, and one that an addition has overtaken.
    let at = Position::new(9, 99);
    let earlier = raft_core::Token { boot: raft_core::Boot(3 << 32), number: 1 };
    let told = |token, at| message(Body::Removed { token, at }, 1, 3, term);
    cluster.input(3, Input::Message(told(earlier, at)));
    assert!(!was_removed(&cluster, 3));
    cluster.input(3, Input::Message(told(token, Position::ZERO)));
    assert!(!was_removed(&cluster, 3));
    cluster.input(3, Input::Message(told(token, at)));
    assert!(was_removed(&cluster, 3), "the very same otherwise");
}

#[test]
fn a_learner_votes_when_asked_and_never_stands() {
    let mut cluster = led(3);
    cluster.join(4);
    change(&mut cluster, 1, &[add(4, WhenCaughtUp::Stay)]);
    // A candidate that knows of its promotion asks a learner that does not.
    let (term, last) = (cluster.replica(4).term().next(), cluster.replica(4).log().last());
    let token = raft_core::Token { boot: raft_core::Boot(2 << 32 | 1), number: 50 };
    let body = Body::Vote { token, last, transfer: true };
    let group = crate::cluster::GROUP;
    let vote = raft_core::Message::new(group, id(2), id(4), term, body);
    cluster.input(4, Input::Message(vote));
    let granted = Body::VoteReply { token, granted: true };
    assert!(cluster.wire.iter().any(|message| message.body == granted));
    cluster.isolate(4);
    cluster.run(20_000);
    assert_eq!(cluster.replica(4).leader(), None, "nor does it name one that is silent");
    cluster.input(4, Input::Campaign);
    assert_eq!(cluster.replica(4).status().role, crate::RoleName::Follower);
    assert_eq!(cluster.replica(4).term(), term);
}

/// A learner that kept up while it was there and is silent now would hold everybody up.
#[test]
fn a_learner_that_is_silent_is_not_promoted() {
    let mut cluster = led(3);
    cluster.join(4);
    change(&mut cluster, 1, &[add(4, WhenCaughtUp::Stay)]);
    cluster.isolate(4);
    cluster.run(1200);
    let last = cluster.replica(1).log().last().index;
    assert_eq!(
        refusal(&mut cluster, 1, &[promote(4)]),
        ChangeRefusal::Behind { id: id(4), matched: last, last }
    );
}

/// The successor waits for a log that stands still.
#[test]
fn a_joint_membership_is_not_left_during_a_transfer() {
    let mut cluster = led(3);
    for n in [4, 5] {
        cluster.join(n);
        change(&mut cluster, 1, &[add(n, WhenCaughtUp::Stay)]);
    }
    cluster.run(1000);
    cluster.cut.insert((id(1), id(2)));
    ask(&mut cluster, 1, &[promote(4), promote(5)], Unheard::Refuse);
    let joint = cluster.replica(1).log().membership_index();
    cluster.input(1, Input::Transfer { id: ProposalId(9), to: NodeId::new(2) });
    cluster.settle();
    assert_eq!(cluster.replica(1).commit(), joint);
    assert_eq!(cluster.replica(1).log().last().index, joint);
    cluster.run(1001);
    assert_eq!(voters(&cluster, 1), [1, 2, 3, 4, 5], "the transfer came to nothing");
}

/// Something else is committed while its removal is under way: that is no reason to go.
#[test]
fn a_leader_leaves_only_once_its_own_removal_is_committed() {
    let mut cluster = led(3);
    cluster.propose(1, "x");
    let appends = core::mem::take(&mut cluster.wire);
    appends.into_iter().for_each(|append| cluster.deliver(append));
    let acknowledgements = core::mem::take(&mut cluster.wire);
    ask(&mut cluster, 1, &[remove(1)], Unheard::Refuse);
    acknowledgements.into_iter().for_each(|answer| cluster.deliver(answer));
    assert!(cluster.applied(1).contains(&"x"));
    assert!(cluster.replica(1).is_leader());
}

#[test]
fn a_change_of_the_membership_is_told_when_it_is_in_force_and_when_it_is_taken_back() {
    let mut cluster = led(3);
    let told = |cluster: &Cluster, n| {
        let others = cluster.node(n).others.iter();
        others.filter(|output| matches!(output, Output::MembershipChanged)).count()
    };
    assert_eq!(told(&cluster, 1), 0, "the first entry only restates it");
    cluster.isolate(1);
    ask(&mut cluster, 1, &[remove(3)], Unheard::Refuse);
    assert_eq!(told(&cluster, 1), 1, "before it is committed");
    cluster.run(100);
    assert_eq!(told(&cluster, 1), 1);
    cluster.elect(2);
    cluster.cut.clear();
    cluster.run(1000);
    assert_eq!(voters(&cluster, 1), [1, 2, 3]);
    assert_eq!(told(&cluster, 1), 2, "another leader's log took its place");
    assert_eq!(told(&cluster, 2), 0);
}

/// Whether node 4, whose log adds it in term 1 and then has `changes` more, and which knows of
/// a commit up to `commit`, stops when it is told that what is committed at `at` lacks it.
fn stops(changes: u64, commit: u64, at: Position) -> bool {
    let mut cluster = Cluster::new(3);
    cluster.join(4);
    let three = cluster.replica(1).membership().clone();
    let added = three.changed(&[add(4, WhenCaughtUp::Stay)]).unwrap();
    let promoted = added.changed(&[promote(4)]).unwrap();
    let memberships = [three, added, promoted];
    let entry = |(index, membership): (u64, &Membership)| Entry {
        term: Term(1),
        index: Index(index),
        kind: EntryKind::Membership,
        payload: membership.encode(),
    };
    let entries = (1..=2 + changes).zip(&memberships).map(entry).collect();
    let token = Token { boot: Boot(4 << 32 | 1), number: 1 };
    let (prev, commit, group) = (Position::ZERO, Index(commit), crate::cluster::GROUP);
    let append = Body::Append { token, prev, entries, commit };
    for (from, term, body) in [(1, Term(1), append), (2, at.term, Body::Removed { token, at })] {
        let message = Message::new(group, id(from), id(4), term, body);
        cluster.input(4, Input::Message(message));
    }
    was_removed(&cluster, 4)
}

#[test]
fn who_was_never_a_member_for_certain_is_not_removed() {
    let (same_term, later_term) = (Position::new(1, 9), Position::new(2, 9));
    assert!(!stops(0, 1, later_term), "that it was added may have been overwritten");
    assert!(stops(0, 2, later_term), "that it was added is known to be committed");
    assert!(stops(1, 1, later_term), "another change came after it, and so it was");
    assert!(stops(0, 1, same_term), "the leader that added it has committed more");
}
