//! Majorities, joint ones included.
//!
//! The one place that knows what a quorum is. Elections ask [`tally`], commitment
//! asks [`agreed`], check-quorum and reads ask [`reached`]. In a joint
//! membership both sets of voters must agree (Raft thesis, section 4.3); learners
//! never count.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::{Membership, NodeId};

/// How a ballot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More answers are needed.
    Pending,
    /// A quorum said yes.
    Won,
    /// So many said no that a quorum cannot be reached any more.
    Lost,
}

/// How a ballot stands in which `answer` is each voter's yes, no, or silence.
pub fn tally(membership: &Membership, answer: impl Fn(NodeId) -> Option<bool>) -> Outcome {
    let incoming = tally_one(membership.voters(), &answer);
    if !membership.is_joint() {
        return incoming;
    }
    match (incoming, tally_one(membership.outgoing(), &answer)) {
        (Outcome::Lost, _) | (_, Outcome::Lost) => Outcome::Lost,
        (Outcome::Won, Outcome::Won) => Outcome::Won,
        _ => Outcome::Pending,
    }
}

/// True where a quorum of voters satisfies `has`. Nobody is no quorum.
pub fn reached(membership: &Membership, has: impl Fn(NodeId) -> bool) -> bool {
    tally(membership, |id| Some(has(id))) == Outcome::Won
}

/// The highest value that a quorum has reached, `at` being how far each voter is: an
/// index for commitment, a moment for check-quorum. The default value, which is the
/// lowest, for a membership without voters.
pub fn agreed<T: Ord + Copy + Default>(membership: &Membership, at: impl Fn(NodeId) -> T) -> T {
    let incoming = agreed_one(membership.voters(), &at);
    if membership.is_joint() {
        incoming.min(agreed_one(membership.outgoing(), &at))
    } else {
        incoming
    }
}

/// More voters than a group usually has.
const USUAL_VOTERS: usize = 9;

fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

fn tally_one(voters: &BTreeSet<NodeId>, answer: &impl Fn(NodeId) -> Option<bool>) -> Outcome {
    let (mut yes, mut no) = (0, 0);
    for id in voters {
        match answer(*id) {
            Some(true) => yes += 1,
            Some(false) => no += 1,
            None => {}
        }
    }
    if yes >= majority(voters.len()) {
        Outcome::Won
    } else if voters.len() - no < majority(voters.len()) {
        Outcome::Lost
    } else {
        Outcome::Pending
    }
}

fn agreed_one<T: Ord + Copy + Default>(voters: &BTreeSet<NodeId>, at: &impl Fn(NodeId) -> T) -> T {
    // A leader asks with every acknowledgement: as many as are usual take no memory.
    let (mut few, mut many) = ([T::default(); USUAL_VOTERS], Vec::new());
    let reached = match few.get_mut(..voters.len()) {
        Some(few) => few,
        None => {
            many.resize(voters.len(), T::default());
            &mut many[..]
        }
    };
    for (reached, id) in reached.iter_mut().zip(voters) {
        *reached = at(*id);
    }
    reached.sort_unstable();
    // The entry at `len - majority` has a majority at or above it.
    reached
        .len()
        .checked_sub(majority(reached.len()))
        .and_then(|place| reached.get(place).copied())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Index, Member, Random};
    use alloc::collections::BTreeMap;

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn membership(voters: &BTreeSet<NodeId>, outgoing: &BTreeSet<NodeId>) -> Membership {
        let members = voters.union(outgoing).map(|id| (*id, Member::default())).collect();
        Membership::new(voters.clone(), outgoing.clone(), BTreeSet::new(), members).unwrap()
    }

    /// The nodes whose bits are set; node 1 is the lowest.
    fn subset(mask: u64) -> BTreeSet<NodeId> {
        (0..64).filter(|bit| mask >> bit & 1 == 1).map(|bit| id(bit + 1)).collect()
    }

    /// A quorum, straight from the definition: more than half of each set.
    fn is_quorum(membership: &Membership, yes: &BTreeSet<NodeId>) -> bool {
        let most = |set: &BTreeSet<NodeId>| 2 * set.intersection(yes).count() > set.len();
        most(membership.voters()) && (!membership.is_joint() || most(membership.outgoing()))
    }

    /// Compares a ballot with the definition: it is won by a quorum, and lost where not even
    /// all others together are one.
    fn check_ballot(membership: &Membership, answers: &BTreeMap<NodeId, Option<bool>>) -> Outcome {
        let who = |wanted: fn(Option<bool>) -> bool| -> BTreeSet<NodeId> {
            answers.iter().filter(|(_, answer)| wanted(**answer)).map(|(id, _)| *id).collect()
        };
        let expected = if is_quorum(membership, &who(|answer| answer == Some(true))) {
            Outcome::Won
        } else if is_quorum(membership, &who(|answer| answer != Some(false))) {
            Outcome::Pending
        } else {
            Outcome::Lost
        };
        let stands = tally(membership, |id| answers[&id]);
        assert_eq!(stands, expected, "{membership:?} {answers:?}");
        stands
    }

    /// Compares what is agreed on with every value, from the highest down.
    fn check_agreed(membership: &Membership, at: &BTreeMap<NodeId, Index>) {
        let reached = |index: u64| {
            let has = at.iter().filter(|(_, at)| at.0 >= index).map(|(id, _)| *id).collect();
            is_quorum(membership, &has)
        };
        let highest = at.values().map(|index| index.0).max().unwrap_or_default();
        let oracle = (0..=highest).rev().find(|index| reached(*index)).map(Index);
        assert_eq!(Some(agreed(membership, |id| at[&id])), oracle, "{membership:?} {at:?}");
    }

    const ANSWERS: [Option<bool>; 3] = [Some(true), Some(false), None];

    #[test]
    fn ballots_and_indexes_agree_with_the_definition_in_all_memberships_of_four() {
        let mut seen = BTreeMap::new();
        for (voters, outgoing) in (1..16).flat_map(|set| (0..16).map(move |other| (set, other))) {
            let membership = membership(&subset(voters), &subset(outgoing));
            for all in 0..256_usize {
                // Two bits for each node: how far it is, or what it answers.
                let of = |n: u64| all >> (2 * (n - 1)) & 3;
                check_agreed(&membership, &(1..=4).map(|n| (id(n), Index(of(n) as u64))).collect());
                let answers = (1..=4).map(|n| Some((id(n), *ANSWERS.get(of(n))?))).collect();
                if let Some(answers) = answers {
                    *seen.entry(check_ballot(&membership, &answers) as u8).or_insert(0) += 1;
                }
            }
        }
        assert!(seen.len() == 3 && seen.values().all(|times| *times > 1000), "{seen:?}");
    }

    #[test]
    fn ballots_and_indexes_agree_with_the_definition_in_large_memberships() {
        const NODES: u64 = 13;
        let mut random = Random::new(3);
        for round in 0..5000 {
            let voters = 1 + random.below((1 << NODES) - 1);
            let outgoing = if round % 2 == 0 { 0 } else { random.below(1 << NODES) };
            let membership = membership(&subset(voters), &subset(outgoing));
            let all = (1..=NODES).map(id);
            check_agreed(&membership, &all.clone().map(|n| (n, Index(random.below(9)))).collect());
            let answers = all.map(|n| (n, ANSWERS[random.below(3) as usize])).collect();
            check_ballot(&membership, &answers);
        }
    }

    #[test]
    fn groups_larger_than_usual_agree_as_others_do() {
        for voters in USUAL_VOTERS as u64 - 1..USUAL_VOTERS as u64 + 3 {
            let members = Membership::of_voters((1..=voters).map(id));
            // Of 4 voters 3 have reached the second, of 5 voters 3 have reached the third.
            let expected = Index(voters.div_ceil(2));
            assert_eq!(agreed(&members, |id| Index(id.get())), expected, "{voters} voters");
        }
    }

    #[test]
    fn silence_counts_for_no() {
        let three = membership(&subset(0b111), &subset(0));
        assert!(reached(&three, |id| id.get() != 2));
        assert!(!reached(&three, |id| id.get() == 2));
    }

    #[test]
    fn nobody_is_no_quorum() {
        assert!(!reached(&Membership::empty(), |_| true));
        assert_eq!(agreed(&Membership::empty(), |_| Index(9)), Index::ZERO);
    }
}
