use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::*;
use crate::{Incarnation, Random, quorum};

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn voters(of: &[u64]) -> Membership {
    Membership::of_voters(of.iter().map(|n| id(*n)))
}

fn add(n: u64, when_caught_up: WhenCaughtUp) -> MemberChange {
    let member = Member { incarnation: Incarnation(n), when_caught_up, ..Member::default() };
    MemberChange::AddLearner { id: id(n), member }
}

fn promote(n: u64) -> MemberChange {
    MemberChange::Promote { id: id(n) }
}

fn demote(n: u64) -> MemberChange {
    MemberChange::Demote { id: id(n) }
}

fn remove(n: u64) -> MemberChange {
    MemberChange::Remove { id: id(n) }
}

fn numbers(of: &BTreeSet<NodeId>) -> Vec<u64> {
    of.iter().map(|id| id.get()).collect()
}

#[test]
fn one_voter_more_or_less_is_a_single_step() {
    let three = voters(&[1, 2, 3]);
    let four = three.changed(&[add(4, WhenCaughtUp::Stay)]).unwrap();
    assert!(!four.is_joint() && four.learners().contains(&id(4)));
    let four = four.changed(&[promote(4)]).unwrap();
    assert!(!four.is_joint());
    assert_eq!(numbers(four.voters()), [1, 2, 3, 4]);
    let back = four.changed(&[remove(1)]).unwrap();
    assert!(!back.is_joint() && !back.is_member(id(1)));
    let learner = back.changed(&[demote(2)]).unwrap();
    assert!(!learner.is_joint() && !learner.is_voter(id(2)) && learner.is_member(id(2)));
}

#[test]
fn more_than_one_voter_needs_a_joint_membership_that_is_left_later() {
    let joint = voters(&[1, 2, 3]).changed(&[remove(1), demote(2)]).unwrap();
    assert!(joint.is_joint());
    assert_eq!((numbers(joint.voters()), numbers(joint.outgoing())), (vec![3], vec![1, 2, 3]));
    assert!(joint.is_member(id(1)), "it has a say until the joint membership is left");
    assert_eq!(joint.changed(&[remove(3)]), Err(ChangeError::Joint));
    let left = joint.left_joint();
    assert!(!left.is_joint() && !left.is_member(id(1)) && left.learners().contains(&id(2)));
    assert_eq!(left.left_joint(), left);
}

#[test]
fn every_step_that_does_not_fit_is_named() {
    let three = voters(&[1, 2, 3]);
    let refused = |changes: &[MemberChange]| three.changed(changes).unwrap_err();
    assert_eq!(refused(&[]), ChangeError::Nothing);
    assert_eq!(refused(&[remove(1), demote(1)]), ChangeError::Twice(id(1)));
    assert_eq!(refused(&[add(1, WhenCaughtUp::Stay)]), ChangeError::AlreadyMember(id(1)));
    assert_eq!(refused(&[remove(4)]), ChangeError::NotMember(id(4)));
    assert_eq!(refused(&[promote(4)]), ChangeError::NotMember(id(4)));
    assert_eq!(refused(&[demote(4)]), ChangeError::NotMember(id(4)));
    let update = MemberChange::Update { id: id(4), data: Bytes::new() };
    assert_eq!(refused(&[update]), ChangeError::NotMember(id(4)));
    assert_eq!(refused(&[promote(1)]), ChangeError::NotLearner(id(1)));
    assert_eq!(refused(&[add(4, WhenCaughtUp::Replace(id(9)))]), ChangeError::NotVoter(id(9)));
    assert_eq!(refused(&[remove(1), remove(2), remove(3)]), ChangeError::NoVoter);
    let with_learner = three.changed(&[add(4, WhenCaughtUp::Stay)]).unwrap();
    assert_eq!(with_learner.changed(&[demote(4)]), Err(ChangeError::NotVoter(id(4))));
}

#[test]
fn a_learner_says_what_becomes_of_it_once_it_has_caught_up() {
    let three = voters(&[1, 2, 3]);
    let with = |wish| three.changed(&[add(4, wish)]).unwrap();
    assert_eq!(with(WhenCaughtUp::Stay).promotion(id(4)), None);
    assert_eq!(with(WhenCaughtUp::Promote).promotion(id(4)), Some(vec![promote(4)]));
    let replacing = with(WhenCaughtUp::Replace(id(1)));
    assert_eq!(replacing.promotion(id(4)), Some(vec![promote(4), remove(1)]));
    assert_eq!(replacing.promotion(id(1)), None, "a voter waits for nothing");
    let replaced = replacing.changed(&replacing.promotion(id(4)).unwrap()).unwrap();
    assert!(replaced.is_joint());
    let replaced = replaced.left_joint();
    assert_eq!(numbers(replaced.voters()), [2, 3, 4]);
    assert_eq!(replaced.members()[&id(4)].when_caught_up, WhenCaughtUp::Stay);
    let gone = replacing.changed(&[remove(1)]).unwrap();
    assert_eq!(gone.promotion(id(4)), Some(vec![promote(4)]), "the place is free already");
}

#[test]
fn data_is_replaced_and_nothing_else() {
    let data = Bytes::from_static(b"elsewhere");
    let three = voters(&[1, 2, 3]);
    let moved = three.changed(&[MemberChange::Update { id: id(2), data: data.clone() }]).unwrap();
    assert_eq!(moved.members()[&id(2)].data, data);
    assert_eq!(moved.voters(), three.voters());
    assert!(!moved.is_joint());
}

fn subset(mask: u64) -> BTreeSet<NodeId> {
    (0..6).filter(|bit| mask >> bit & 1 == 1).map(|bit| id(bit + 1)).collect()
}

/// True where some quorum of one and some quorum of the other have nobody in common, found
/// by looking at all of them.
fn could_decide_apart(one: &Membership, other: &Membership) -> bool {
    let quorums = |of: &Membership| -> Vec<u64> {
        (0..64)
            .filter(|mask| {
                let set = subset(*mask);
                quorum::reached(of, |id| set.contains(&id))
            })
            .collect()
    };
    let theirs = quorums(other);
    quorums(one).iter().any(|a| theirs.iter().any(|b| a & b == 0))
}

/// Two memberships of which each quorum of one meets each quorum of the other can follow
/// one another: nothing is decided by both without somebody who knows of it.
#[test]
fn no_change_of_six_nodes_lets_two_quorums_decide_apart() {
    let mut random = Random::new(4);
    let (mut single, mut joint) = (0, 0);
    for _ in 0..1500 {
        let before = loop {
            let voters = subset(1 + random.below(63));
            let learners: BTreeSet<NodeId> =
                subset(random.below(64)).difference(&voters).copied().collect();
            let members = voters.union(&learners).map(|id| (*id, Member::default())).collect();
            if let Ok(made) = Membership::new(voters, BTreeSet::new(), learners, members) {
                break made;
            }
        };
        let steps: Vec<MemberChange> = (1..=6)
            .filter_map(|n| match random.below(6) {
                0 => Some(remove(n)),
                1 => Some(demote(n)),
                2 | 3 => Some(promote(n)),
                _ => None,
            })
            .filter(|step| before.changed(core::slice::from_ref(step)) != Err(ChangeError::NoVoter))
            .filter(|step| before.clone().step(step).is_ok())
            .collect();
        let Ok(after) = before.changed(&steps) else { continue };
        assert!(!could_decide_apart(&before, &after), "{before:?} to {after:?}");
        assert!(!could_decide_apart(&after, &after), "{after:?}");
        let left = after.left_joint();
        assert!(!could_decide_apart(&after, &left), "{after:?} to {left:?}");
        if after.is_joint() {
            joint += 1;
        } else {
            single += 1;
        }
    }
    assert!(single > 200 && joint > 200, "{single} single steps and {joint} joint ones");
}

/// The checker itself: the change that joint memberships exist for.
#[test]
fn the_checker_finds_a_change_in_one_leap() {
    assert!(could_decide_apart(&voters(&[1, 2, 3]), &voters(&[3, 4, 5])));
    assert!(could_decide_apart(&voters(&[1, 2]), &voters(&[2, 3, 4])));
    assert!(!could_decide_apart(&voters(&[1, 2, 3]), &voters(&[1, 2, 3, 4])));
}

#[test]
#[should_panic(expected = "a change broke the membership: node 1 has a part in the membership")]
fn a_change_that_breaks_the_membership_is_a_broken_invariant() {
    let mut one = voters(&[1]);
    one.members.clear();
    let _ = one.left_joint();
}
