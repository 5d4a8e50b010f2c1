//! When to take a snapshot of a group and how far to trim its log: a plan, nothing is done.

use std::time::Duration;

use raft_core::Index;

/// What the plan is made from, for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupFacts {
    /// The log's floor: entries up to it are gone.
    pub floor: Index,
    /// The last entry.
    pub last: Index,
    /// Everything up to it has been applied, in memory at least: what a snapshot that
    /// is taken now would hold.
    pub applied: Index,
    /// Everything up to it has been applied and made durable in the store.
    pub applied_flushed: Index,
    /// The newest complete snapshot.
    pub newest_snapshot: Option<Index>,
    /// The last entry that the slowest follower is known to have; `None` where there
    /// is no follower, or where one is so far behind that it needs a snapshot anyway. One that
    /// is being sent a snapshot counts as having that.
    pub slowest_follower: Option<Index>,
    /// What the entries above the floor weigh: all of them, also those that a snapshot
    /// has and that are only kept for followers.
    pub bytes_above_floor: u64,
    /// What the entries weigh that were applied since the newest snapshot.
    pub bytes_since_snapshot: u64,
    /// How long ago the newest snapshot was taken, or the group opened, where that is
    /// later: nobody here knows how long it was closed.
    pub since_snapshot: Duration,
}

/// How much log is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcPolicy {
    /// Take a snapshot when so many entries were applied since the last one.
    pub snapshot_every_entries: u64,
    /// Take a snapshot when the entries that were applied since the last one have so
    /// many bytes.
    pub snapshot_every_bytes: u64,
    /// Take a snapshot when the last one is so old and anything was applied since; `None`
    /// for never because of the time. A group in which little happens would otherwise keep
    /// its entries, and with them the log that it shares with others, for ever.
    pub snapshot_every: Option<Duration>,
    /// So many entries before the end of what could be trimmed are kept, so that a
    /// follower that is a little behind does not need a snapshot.
    pub keep_entries: u64,
}

impl Default for GcPolicy {
    /// A snapshot every 400,000 entries, 128 MiB or day, and 10,000 entries kept. A snapshot
    /// is a copy of the whole state, so it is taken for as much log as it is worth.
    fn default() -> Self {
        Self {
            snapshot_every_entries: 400_000,
            snapshot_every_bytes: 128 << 20,
            snapshot_every: Some(Duration::from_secs(24 * 60 * 60)),
            keep_entries: 10_000,
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcPlan {
    /// Take a snapshot of what is applied.
    pub take_snapshot: bool,
    /// Trim the log up to here.
    pub trim_to: Option<Index>,
}

/// What to do for one group.
///
/// A snapshot is due by what was applied since the newest one (or since the floor, where
/// that is higher), in memory: whether the store has flushed it does not matter, for
/// the snapshot has a file of its own. What is kept above the floor for followers does
/// not make one due either, or a large kept tail would call for one all the time.
///
/// Never trims above what is flushed or above the newest snapshot: every entry that
/// goes is in the store after a crash, and in a snapshot for whoever needs it (Raft
/// thesis, section 5.1). A follower that still reads the log holds the trimming up,
/// but only for as long as the log above the floor is not larger than what calls for
/// two snapshots: a follower that is down must not fill the disk.
#[must_use]
pub fn plan(facts: GroupFacts, policy: &GcPolicy) -> GcPlan {
    let snapshot = facts.newest_snapshot.unwrap_or(Index::ZERO);
    let since = facts.applied.0.saturating_sub(snapshot.max(facts.floor).0);
    let too_many_bytes = facts.bytes_since_snapshot >= policy.snapshot_every_bytes;
    let too_old = policy.snapshot_every.is_some_and(|every| facts.since_snapshot >= every);
    let take_snapshot =
        since >= policy.snapshot_every_entries.max(1) || ((too_many_bytes || too_old) && since > 0);

    let safe = facts.applied_flushed.min(snapshot).min(facts.last);
    let kept = Index(facts.last.0.saturating_sub(policy.keep_entries));
    let mut to = safe.min(kept);
    let above_floor = facts.last.0.saturating_sub(facts.floor.0);
    let log_is_long = above_floor > 2 * policy.snapshot_every_entries
        || facts.bytes_above_floor > 2 * policy.snapshot_every_bytes;
    if let Some(slowest) = facts.slowest_follower.filter(|_| !log_is_long) {
        to = to.min(slowest);
    }
    GcPlan { take_snapshot, trim_to: (to > facts.floor).then_some(to) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::Random;

    fn facts() -> GroupFacts {
        GroupFacts {
            floor: Index(100),
            last: Index(1000),
            applied: Index(950),
            applied_flushed: Index(950),
            newest_snapshot: Some(Index(900)),
            slowest_follower: None,
            bytes_above_floor: 1000,
            bytes_since_snapshot: 60,
            since_snapshot: Duration::from_secs(59),
        }
    }

    const POLICY: GcPolicy = GcPolicy {
        snapshot_every_entries: 500,
        snapshot_every_bytes: 5000,
        snapshot_every: Some(Duration::from_secs(60)),
        keep_entries: 50,
    };

    #[test]
    fn trimming_stops_at_the_snapshot_the_flush_and_the_tail() {
        let trim_to = |facts| plan(facts, &POLICY).trim_to;
        assert_eq!(trim_to(facts()), Some(Index(900)), "the snapshot");
        let flushed = GroupFacts { applied_flushed: Index(700), ..facts() };
        assert_eq!(trim_to(flushed), Some(Index(700)), "what is flushed");
        let short = GroupFacts { last: Index(930), applied_flushed: Index(930), ..facts() };
        assert_eq!(trim_to(short), Some(Index(880)), "the tail that is kept");
        assert_eq!(trim_to(GroupFacts { newest_snapshot: None, ..facts() }), None);
        assert_eq!(trim_to(GroupFacts { floor: Index(900), ..facts() }), None, "already there");
    }

    #[test]
    fn a_slow_follower_holds_trimming_up_until_the_log_is_too_long() {
        let slow = GroupFacts { slowest_follower: Some(Index(300)), ..facts() };
        assert_eq!(plan(slow, &POLICY).trim_to, Some(Index(300)));
        let heavy = GroupFacts { bytes_above_floor: 10_001, ..slow };
        assert_eq!(plan(heavy, &POLICY).trim_to, Some(Index(900)));
        let long = GroupFacts { last: Index(1101), ..slow };
        assert_eq!(plan(long, &POLICY).trim_to, Some(Index(900)));
    }

    #[test]
    fn a_snapshot_is_due_by_entries_bytes_or_time_and_never_of_nothing() {
        let take = |facts| plan(facts, &POLICY).take_snapshot;
        assert!(!take(facts()));
        assert!(take(GroupFacts { newest_snapshot: Some(Index(450)), ..facts() }));
        assert!(take(GroupFacts { bytes_since_snapshot: 5000, ..facts() }));
        let since_snapshot = Duration::from_secs(60);
        assert!(take(GroupFacts { since_snapshot, ..facts() }));
        assert!(
            !plan(
                GroupFacts { since_snapshot, ..facts() },
                &GcPolicy { snapshot_every: None, ..POLICY }
            )
            .take_snapshot
        );
        let nothing_new = GroupFacts {
            newest_snapshot: Some(Index(950)),
            bytes_since_snapshot: 5000,
            since_snapshot,
            ..facts()
        };
        assert!(!take(nothing_new));
    }

    #[test]
    fn a_snapshot_is_due_by_what_is_applied_whether_the_store_has_flushed_it_or_not() {
        let facts = GroupFacts {
            newest_snapshot: Some(Index(450)),
            applied_flushed: Index(450),
            ..facts()
        };
        let due = plan(facts, &POLICY);
        assert_eq!(due, GcPlan { take_snapshot: true, trim_to: Some(Index(450)) });
        let behind = GroupFacts { applied: Index(949), ..facts };
        assert!(!plan(behind, &POLICY).take_snapshot);
    }

    #[test]
    fn a_heavy_tail_that_is_kept_for_followers_makes_no_snapshot_due() {
        let heavy = GroupFacts { bytes_above_floor: 1 << 40, ..facts() };
        assert!(!plan(heavy, &POLICY).take_snapshot);
    }

    #[test]
    fn no_facts_make_it_trim_what_is_not_safe() {
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let mut index = || Index(random.below(50));
            let facts = GroupFacts {
                floor: index(),
                last: index(),
                applied: index(),
                applied_flushed: index(),
                newest_snapshot: Some(index()).filter(|index| index.0 > 5),
                slowest_follower: Some(index()).filter(|index| index.0 > 9),
                bytes_above_floor: index().0 * 100,
                bytes_since_snapshot: index().0 * 100,
                since_snapshot: Duration::from_secs(index().0),
            };
            let policy = GcPolicy {
                snapshot_every_entries: index().0,
                snapshot_every_bytes: index().0 * 100,
                snapshot_every: Some(Duration::from_secs(index().0)),
                keep_entries: index().0,
            };
            if let Some(to) = plan(facts, &policy).trim_to {
                let snapshot = facts.newest_snapshot.expect("no trimming without a snapshot");
                assert!(to <= snapshot && to <= facts.applied_flushed, "{to} of {facts:?}");
                assert!(
                    to > facts.floor && to.0 + policy.keep_entries <= facts.last.0,
                    "{facts:?}"
                );
            }
        }
    }
}
