//! The model finds what it is there to find, and sees nothing where nothing is.

use std::time::Duration;

use super::{Bug, Limits, Report, Size, Verdict, World, explore, worlds};

const LIMITS: Limits = Limits { states: 2_000_000, time: Duration::from_secs(600) };

fn explored(world: World, bug: Option<Bug>) -> Report {
    explore(world, bug, LIMITS, &|_, _| {})
}

fn world(name: &str) -> World {
    worlds(Size::Smoke).into_iter().find(|world| world.name == name).expect("there is such a world")
}

/// What a broken rule leads to, and by how many steps at most.
fn leads_to(bug: Bug, property: &str, most: usize) {
    let Verdict::Violated { what, trace } = explored(bug.world(), Some(bug)).verdict else {
        panic!("{} is not found", bug.name());
    };
    assert!(what.starts_with(property), "{} leads to {what}", bug.name());
    assert!((1..=most).contains(&trace.len()), "{trace:#?}");
}

#[test]
fn what_is_said_before_it_is_durable_is_found() {
    leads_to(Bug::RepliesBeforeFlush, "durable on a quorum", 4);
}

#[test]
fn a_vote_that_a_restart_forgets_is_found() {
    leads_to(Bug::VoteIsForgotten, "one vote per term", 8);
}

/// Figure 3.7 of the thesis.
#[test]
fn commitment_of_earlier_terms_by_counting_is_found() {
    leads_to(Bug::CountsEarlierTerms, "commitment", 13);
}

#[test]
fn a_membership_that_a_restart_forgets_is_found() {
    leads_to(Bug::MembershipIsForgotten, "election safety", 8);
}

#[test]
fn a_replica_that_does_not_know_of_its_damage_is_found() {
    leads_to(Bug::DamageIsForgotten, "no replica is broken", 4);
}

/// The trace is the one that explains leases: one clock runs ahead, its node votes, and the
/// old leader answers a read that misses what the new one has committed.
#[test]
fn leases_that_do_not_allow_for_drift_are_found() {
    leads_to(Bug::LeasesIgnoreDrift, "linearizable reads", 14);
}

#[test]
fn a_small_world_is_seen_to_its_end_twice_the_same() {
    let [one, other] = [(); 2].map(|()| explored(world("transfer"), None));
    assert_eq!(
        (&one.verdict, one.distinct, one.visited),
        (&Verdict::Exhausted, other.distinct, other.visited)
    );
    assert!(one.distinct > 1000 && one.depth > 10 && one.healed > 0, "{one:?}");
}

#[test]
fn a_search_ends_at_its_limit() {
    let limits = Limits { states: 500, ..LIMITS };
    let report = explore(world("elections"), None, limits, &|_, _| {});
    assert_eq!(report.verdict, Verdict::Limited);
    assert!((500..1000).contains(&report.distinct), "{report:?}");
}
