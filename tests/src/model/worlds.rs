//! The worlds themselves.

use super::bounds::{Beginning, Budget, World};
use super::bug::Bug;
use super::stimulus::Change;

/// How far the worlds go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Seconds: for every run of continuous integration.
    Smoke,
    /// Minutes.
    Usual,
    /// Up to an hour each, and more than one can see in it.
    Deep,
}

/// The worlds of this size.
#[must_use]
pub fn worlds(size: Size) -> Vec<World> {
    let all = [
        replacement,
        elections,
        replication,
        membership,
        transfer,
        damage,
        snapshot,
        reads,
        leases,
        handover,
    ];
    all.map(|world| world(size)).into()
}

/// How often something may happen, in each of the three sizes.
type Bound = (Budget, [u8; 3]);

fn bounded(world: World, size: Size, bounds: &[Bound]) -> World {
    bounds.iter().fold(world, |world, (what, times)| world.with(*what, times[size as usize]))
}

fn elections(size: Size) -> World {
    let about = "terms and votes, before anybody has an entry of another";
    let world = World {
        beginning: Beginning::Fresh,
        max_term: 3,
        appends_lost: true,
        old_ballots_lost: false,
        ..World::new("elections", about)
    };
    // A crash among three candidacies is more than can be seen in minutes; the smaller bounds
    // have one among two, and several other worlds have one.
    let bounds = [
        (Budget::Stand, [2, 3, 4]),
        (Budget::Crash, [1, 0, 2]),
        (Budget::Late, [1, 0, 1]),
        (Budget::Duplicate, [0, 0, 1]),
        (Budget::Tick, [0, 0, 2]),
    ];
    bounded(world, size, &bounds)
}

fn replication(size: Size) -> World {
    let about = "two entries, a change of leaders, loss, late writes";
    let bounds = [
        (Budget::Propose, [1, 2, 2]),
        (Budget::Stand, [1, 1, 2]),
        (Budget::Lapse, [1, 1, 2]),
        (Budget::Tick, [0, 0, 2]),
        (Budget::Beat, [0, 0, 1]),
        (Budget::Crash, [1, 1, 1]),
        (Budget::Late, [1, 1, 1]),
        (Budget::Duplicate, [0, 0, 1]),
    ];
    bounded(World::new("replication", about), size, &bounds)
}

fn membership(size: Size) -> World {
    let about = "a voter, or the leader, is removed or demoted";
    let changes = &[Change::Remove(1), Change::Remove(3), Change::Demote(3)];
    let world = World { changes, ..World::new("membership", about) };
    let bounds = [
        (Budget::Change, [1, 1, 2]),
        (Budget::Propose, [0, 0, 1]),
        (Budget::Stand, [1, 1, 2]),
        (Budget::Lapse, [1, 1, 2]),
        (Budget::Crash, [1, 1, 1]),
        (Budget::Late, [1, 1, 1]),
    ];
    bounded(world, size, &bounds)
}

fn replacement(size: Size) -> World {
    let about = "a new node takes the place of a voter, by a joint membership";
    let changes = &[Change::Replace { old: 3, new: 4 }];
    let world = World { spare: true, changes, ..World::new("replacement", about) };
    let bounds = [
        (Budget::Change, [1, 1, 1]),
        (Budget::Stand, [0, 1, 2]),
        (Budget::Lapse, [0, 1, 2]),
        (Budget::Crash, [0, 0, 1]),
        (Budget::Late, [0, 0, 1]),
    ];
    bounded(world, size, &bounds)
}

fn transfer(size: Size) -> World {
    let about = "leadership is handed over while an entry is under way";
    let bounds = [
        (Budget::Transfer, [1, 1, 1]),
        (Budget::Propose, [1, 1, 1]),
        (Budget::Stand, [0, 0, 1]),
        (Budget::Lapse, [0, 0, 1]),
        (Budget::Tick, [0, 2, 2]),
        (Budget::Crash, [1, 1, 1]),
        (Budget::Late, [1, 1, 1]),
    ];
    bounded(World::new("transfer", about), size, &bounds)
}

fn snapshot(size: Size) -> World {
    let about = "logs are trimmed, and snapshots sent";
    let bounds = [
        (Budget::Trim, [1, 2, 2]),
        (Budget::Propose, [1, 1, 2]),
        (Budget::Stand, [1, 1, 2]),
        (Budget::Lapse, [1, 1, 2]),
        (Budget::Crash, [0, 1, 1]),
        (Budget::Late, [0, 1, 1]),
    ];
    bounded(World::new("snapshot", about), size, &bounds)
}

fn damage(size: Size) -> World {
    let about = "a disk loses a part of its log";
    let bounds = [
        (Budget::Damage, [1, 1, 1]),
        (Budget::Propose, [1, 1, 2]),
        (Budget::Stand, [1, 1, 2]),
        (Budget::Lapse, [1, 1, 2]),
        (Budget::Beat, [0, 1, 1]),
        (Budget::Crash, [0, 0, 1]),
        (Budget::Late, [0, 0, 1]),
    ];
    bounded(World::new("damage", about), size, &bounds)
}

fn reads(size: Size) -> World {
    let about = "reads that ask a quorum while leaders change";
    let bounds = [
        (Budget::Read, [1, 2, 2]),
        (Budget::Propose, [1, 1, 2]),
        (Budget::Stand, [1, 1, 2]),
        (Budget::Lapse, [1, 1, 2]),
        (Budget::Crash, [0, 0, 1]),
        (Budget::Duplicate, [0, 1, 1]),
    ];
    bounded(World::new("reads", about), size, &bounds)
}

fn leases(size: Size) -> World {
    let about = "reads under leases while clocks drift";
    let world = World { lease_drift: Some(1), ..World::new("leases", about) };
    let bounds = [
        (Budget::Read, [1, 1, 2]),
        (Budget::Beat, [1, 2, 2]),
        (Budget::Pass, [2, 2, 3]),
        (Budget::Skew, [1, 1, 1]),
        (Budget::Stand, [1, 1, 2]),
    ];
    bounded(world, size, &bounds)
}

fn handover(size: Size) -> World {
    let about = "reads under leases while leadership is handed over";
    let world = World { lease_drift: Some(1), ..World::new("handover", about) };
    let bounds = [
        (Budget::Read, [1, 1, 2]),
        (Budget::Beat, [1, 1, 2]),
        (Budget::Pass, [1, 2, 3]),
        (Budget::Transfer, [1, 1, 2]),
    ];
    bounded(world, size, &bounds)
}

impl Bug {
    /// The smallest world in which what this leads to can be seen.
    #[must_use]
    pub fn world(self) -> World {
        match self {
            Self::RepliesBeforeFlush => replication(Size::Smoke),
            Self::VoteIsForgotten => elections(Size::Smoke),
            Self::CountsEarlierTerms => {
                let about = "a new leader sends what an old one has left, entry by entry";
                let world = World { one_by_one: true, ..World::new("replication", about) };
                let bounds = [Budget::Propose, Budget::Stand, Budget::Lapse];
                bounds.into_iter().fold(world, |world, what| world.with(what, 1))
            }
            Self::MembershipIsForgotten => membership(Size::Smoke),
            Self::DamageIsForgotten => damage(Size::Smoke),
            Self::LeasesIgnoreDrift => leases(Size::Smoke),
        }
    }
}
