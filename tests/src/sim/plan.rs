//! Which change of the members is asked for next.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{
    Incarnation, Instant, Member, MemberChange, Membership, NodeId, Random, WhenCaughtUp,
};
use raft_state::Unheard;

use super::admin::Wish;
use super::report::Disks;

/// How the members of one world are changed; a random choice per seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Churn {
    weights: [u64; 11],
    every: Duration,
    /// Groups have this many voters at least, and this many at most.
    pub(super) voters: (usize, usize),
    /// Whether nodes lose their disks. Then a group has three voters at least, joint or
    /// not: one of them may be gone for good while it is replaced.
    pub(super) wipes: bool,
}

/// Whom a plan may be about.
#[derive(Debug)]
pub(super) struct Cast<'a> {
    /// Who is asked.
    pub(super) asked: NodeId,
    pub(super) members: &'a Membership,
    /// Nodes that are up and have never been members.
    pub(super) joiners: &'a [(NodeId, Incarnation)],
    /// Members that another group of theirs has lost already.
    pub(super) leaving: &'a [NodeId],
    /// A member whose disk was lost.
    pub(super) dead: Option<NodeId>,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Plan {
    Ask(Wish),
    /// Nobody is there who could be added.
    NeedsNode,
    Nothing,
}

impl Churn {
    /// `None` where nothing changes.
    ///
    /// Where disks lose something, as many voters stay as where they are lost altogether.
    pub(super) fn draw(disks: Disks, random: &mut Random) -> Option<Self> {
        if random.chance(250) {
            return None;
        }
        let mut weights = [0; 11];
        for weight in &mut weights {
            *weight = if random.chance(700) { 1 + random.below(5) } else { 0 };
        }
        // Some runs have more of one kind than of all others.
        if random.chance(300) {
            weights[random.below(weights.len() as u64) as usize] *= 8;
        }
        // Some come in every world, and so do some go.
        weights[0] = weights[0].max(1);
        weights[5] = weights[5].max(1);
        let wipes = random.chance(if disks == Disks::Lose { 400 } else { 300 });
        let least = [1, 1, 2, 3][random.below(4) as usize];
        let voters = (if wipes || disks == Disks::Lose { 3 } else { least }, 5);
        let every = Duration::from_millis(60 + random.below(600));
        Some(Self { weights, every, voters, wipes })
    }

    pub(super) fn next_at(&self, now: Instant, random: &mut Random) -> Instant {
        now.after(random.up_to_twice(self.every))
    }

    /// Something at random that leaves the group enough voters.
    pub(super) fn plan(&self, cast: &Cast<'_>, random: &mut Random) -> Plan {
        if let Some(repair) = self.repair(cast, random).filter(|_| random.chance(600)) {
            return repair;
        }
        let mut weights = self.weights;
        if self.voters.0 > 1 {
            weights[8] = 0;
        }
        let mut at = random.below(weights.iter().sum());
        let mut kind = 0;
        while at >= weights[kind] {
            at -= weights[kind];
            kind += 1;
        }
        let members = cast.members;
        let steps = match kind {
            0 => add(cast, WhenCaughtUp::Promote, random),
            1 => add(cast, WhenCaughtUp::Stay, random),
            2 => match pick(members.voters(), random) {
                Some(old) => add(cast, WhenCaughtUp::Replace(old), random),
                None => Ok(Vec::new()),
            },
            3 => {
                let id = pick(members.learners(), random);
                Ok(id.map(|id| MemberChange::Promote { id }).into_iter().collect())
            }
            4 => {
                let id = pick(members.voters(), random);
                Ok(id.map(|id| MemberChange::Demote { id }).into_iter().collect())
            }
            5 => Ok(remove(cast, random)),
            6 => Ok(several(cast, random)),
            7 => Ok(odd(cast, random)),
            8 => return alone(cast, random).unwrap_or(Plan::Nothing),
            9 => {
                let to = pick(members.members().keys(), random).filter(|_| random.chance(600));
                return Plan::Ask(Wish::Transfer { to });
            }
            _ => return Plan::Ask(Wish::Campaign),
        };
        match steps {
            Err(nobody) => nobody,
            Ok(steps) if steps.is_empty() || !self.leaves_enough(members, &steps) => Plan::Nothing,
            Ok(changes) => {
                let dares = random.chance(100);
                let unheard = if dares { Unheard::DangerouslyAllow } else { Unheard::Refuse };
                Plan::Ask(Wish::Change { changes, unheard })
            }
        }
    }

    /// Takes a member whose disk was lost out of the group, as its operator would.
    pub(super) fn repair(&self, cast: &Cast<'_>, random: &mut Random) -> Option<Plan> {
        let members = cast.members;
        let dead = cast.dead.filter(|id| members.is_member(*id))?;
        let replaces =
            |id: &&NodeId| members.members()[*id].when_caught_up == WhenCaughtUp::Replace(dead);
        let living: Vec<NodeId> =
            members.learners().iter().copied().filter(|id| *id != dead).collect();
        let removal = MemberChange::Remove { id: dead };
        let changes = if self.leaves_enough(members, std::slice::from_ref(&removal)) {
            vec![removal]
        } else if living.iter().any(|id| replaces(&id)) {
            return Some(Plan::Nothing);
        } else if let Some(id) = pick(&living, random) {
            vec![MemberChange::Promote { id }, removal]
        } else if let Some(new) = pick(cast.joiners, random) {
            vec![learner(new, WhenCaughtUp::Replace(dead))]
        } else {
            return Some(Plan::NeedsNode);
        };
        Some(Plan::Ask(Wish::Change { changes, unheard: Unheard::Refuse }))
    }

    fn leaves_enough(&self, members: &Membership, steps: &[MemberChange]) -> bool {
        let (least, most) = self.voters;
        let before = members.voters().len();
        members.changed(steps).map_or(true, |next| {
            let after = next.voters().len();
            (after >= least.min(before)) && (after <= most.max(before))
        })
    }
}

fn learner((id, incarnation): (NodeId, Incarnation), when_caught_up: WhenCaughtUp) -> MemberChange {
    let member = Member { incarnation, when_caught_up, ..Member::default() };
    MemberChange::AddLearner { id, member }
}

fn add(
    cast: &Cast<'_>,
    when_caught_up: WhenCaughtUp,
    random: &mut Random,
) -> Result<Vec<MemberChange>, Plan> {
    match pick(cast.joiners, random) {
        Some(new) => Ok(vec![learner(new, when_caught_up)]),
        None => Err(Plan::NeedsNode),
    }
}

/// Whoever has left elsewhere leaves here as well, sooner than others.
fn remove(cast: &Cast<'_>, random: &mut Random) -> Vec<MemberChange> {
    let leaving = pick(cast.leaving, random).filter(|_| random.chance(700));
    let id = leaving.or_else(|| pick(cast.members.members().keys(), random));
    id.map(|id| MemberChange::Remove { id }).into_iter().collect()
}

/// Up to four steps at once, mostly a joint change.
fn several(cast: &Cast<'_>, random: &mut Random) -> Vec<MemberChange> {
    let Cast { members, joiners, .. } = cast;
    let known = members.members().iter().map(|(id, member)| (*id, member.incarnation));
    let mut all: Vec<(NodeId, Incarnation)> = known.chain(joiners.iter().copied()).collect();
    let mut steps = Vec::new();
    for _ in 0..2 + random.below(3) {
        if all.is_empty() {
            break;
        }
        let (id, disk) = all.swap_remove(random.below(all.len() as u64) as usize);
        let goes = random.chance(400);
        steps.push(if !members.is_member(id) {
            learner((id, disk), WhenCaughtUp::Promote)
        } else if goes {
            MemberChange::Remove { id }
        } else if members.learners().contains(&id) {
            MemberChange::Promote { id }
        } else {
            MemberChange::Demote { id }
        });
    }
    steps
}

/// Brings a group down to two voters, and then to one, mostly the one that is asked: that
/// whether or not the other is heard.
fn alone(cast: &Cast<'_>, random: &mut Random) -> Option<Plan> {
    let voters = cast.members.voters();
    let asked = Some(cast.asked).filter(|id| voters.contains(id) && random.chance(800));
    let stays = asked.or_else(|| pick(voters, random)).filter(|_| voters.len() > 1)?;
    let others: Vec<NodeId> = voters.iter().copied().filter(|id| *id != stays).collect();
    let id = pick(&others, random)?;
    let unheard = if voters.len() == 2 { Unheard::DangerouslyAllow } else { Unheard::Refuse };
    Some(Plan::Ask(Wish::Change { changes: vec![MemberChange::Remove { id }], unheard }))
}

/// What changes nothing that counts, or does not fit.
fn odd(cast: &Cast<'_>, random: &mut Random) -> Vec<MemberChange> {
    let member = pick(cast.members.members().keys(), random);
    let joiner = pick(cast.joiners, random);
    match (random.below(3), member, joiner) {
        (0, Some(id), _) => {
            let data = Bytes::from(random.next_u64().to_be_bytes().to_vec());
            vec![MemberChange::Update { id, data }]
        }
        (1, Some(id), _) => {
            let disk = cast.members.members()[&id].incarnation;
            vec![learner((id, disk), WhenCaughtUp::Stay)]
        }
        (_, _, Some((id, _))) => vec![MemberChange::Remove { id }],
        _ => Vec::new(),
    }
}

fn pick<'a, T: Copy + 'a>(
    from: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>,
    random: &mut Random,
) -> Option<T> {
    let mut from = from.into_iter();
    let count = from.len() as u64;
    (count > 0).then(|| random.below(count)).and_then(|place| from.nth(place as usize).copied())
}
