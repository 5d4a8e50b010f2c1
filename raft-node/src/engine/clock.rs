//! A group's time: a leader puts it into the log where its state machine waits for it.

use std::time::Duration;

use raft_core::{GroupId, GroupTime, Instant};
use raft_log::Room;
use raft_state::Input;

use super::engine::Engine;
use crate::state_machine::{Timekeeping, WantsTime};

/// What a replica knows of its group's time, and while it leads when to put it into the
/// log.
///
/// Invariants:
/// - The time is the last one that the state machine was told, plus what the leader's clock
///   has counted since. So it never goes back, and nothing is counted while nobody leads.
/// - Where nothing waits for the time, nothing is due.
#[derive(Debug)]
pub(crate) struct GroupClock {
    told: Timekeeping,
    /// While leading: some moment, and the group's time at that moment.
    since: Option<(Instant, GroupTime)>,
    /// The time is not put into the log before this moment.
    not_before: Instant,
    due: Option<Instant>,
}

impl GroupClock {
    /// The clock of a replica that does not lead.
    pub(crate) const fn new(told: Timekeeping) -> Self {
        Self { told, since: None, not_before: Instant(0), due: None }
    }

    /// Notes what the state machine was told, and what it waits for.
    pub(crate) const fn told(&mut self, told: Timekeeping) {
        self.told = told;
    }

    /// Stops counting: the replica does not lead.
    pub(crate) const fn stop(&mut self) {
        (self.since, self.due) = (None, None);
    }

    /// Counts from now on, unless it does already, and sees what is due. The replica leads,
    /// and what earlier leaders told is applied.
    pub(crate) fn run(&mut self, now: Instant) {
        let (at, time) = *self.since.get_or_insert((now, self.told.reached));
        let due = match self.told.wants {
            WantsTime::Never => None,
            WantsTime::Soon => Some(now),
            WantsTime::At(wanted) => Some(at.after(wanted.since(time))),
        };
        self.due = due.map(|due| due.max(self.not_before));
    }

    /// When the time is to be put into the log.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The time, if it is due. Should it not come into the log, it is due again after
    /// `interval`, which is also the least time between two.
    pub(crate) fn take(&mut self, now: Instant, interval: Duration) -> Option<GroupTime> {
        let (at, time) = self.since.filter(|_| self.due.is_some_and(|due| due <= now))?;
        self.not_before = now.after(interval);
        self.run(now);
        Some(time.after(now.since(at)))
    }
}

impl Engine {
    /// Lets a group's clock run where the replica leads and everything of earlier terms is
    /// applied: before that nobody here knows how late it was.
    pub(crate) fn wind_clock(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let replica = &state.replica;
        let reached = replica.log().term_at(state.applying.applied);
        if replica.is_leader() && reached == Some(replica.term()) {
            state.clock.run(now);
        } else {
            state.clock.stop();
        }
        self.set_timer(group);
    }

    /// Puts a group's time into the log, if it is due.
    pub(crate) fn tell_time(&mut self, now: Instant, group: GroupId) {
        let interval = self.config.clock_interval;
        let due = self.groups.get_mut(&group).and_then(|state| state.clock.take(now, interval));
        // Should the disk be full, it stands still.
        if let Some(time) = due.filter(|_| self.disk.room() == Room::Plenty) {
            self.step(now, group, Input::Clock(time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn clock(reached: u64, wants: WantsTime) -> GroupClock {
        GroupClock::new(Timekeeping { reached: GroupTime(reached), wants })
    }

    #[test]
    fn the_time_goes_on_from_the_last_one_told_by_what_the_leader_has_counted() {
        let mut clock = clock(500, WantsTime::Soon);
        assert_eq!(clock.take(at(70_000), SECOND), None, "it does not lead");
        clock.run(at(70_000));
        assert_eq!(clock.take(at(70_030), SECOND), Some(GroupTime(530)));
        clock.stop();
        clock.told(Timekeeping { reached: GroupTime(800), wants: WantsTime::Soon });
        clock.run(at(90_000));
        assert_eq!(clock.take(at(90_001), SECOND), Some(GroupTime(801)), "another leader led");
    }

    #[test]
    fn what_expires_is_waited_for_and_what_was_used_is_soon_told() {
        let mut clock = clock(0, WantsTime::Never);
        clock.run(at(1000));
        assert_eq!(clock.due(), None);
        clock.told(Timekeeping { reached: GroupTime(0), wants: WantsTime::At(GroupTime(9000)) });
        clock.run(at(2000));
        assert_eq!(clock.due(), Some(at(10_000)));
        assert_eq!(clock.take(at(9999), SECOND), None);
        clock.told(Timekeeping { reached: GroupTime(0), wants: WantsTime::Soon });
        clock.run(at(3000));
        assert_eq!(clock.due(), Some(at(3000)));
    }

    #[test]
    fn the_time_is_told_at_most_once_per_interval_and_again_where_it_was_lost() {
        let mut clock = clock(0, WantsTime::Soon);
        clock.run(at(1000));
        assert_eq!(clock.take(at(1000), SECOND), Some(GroupTime(0)));
        assert_eq!(clock.due(), Some(at(2000)));
        clock.run(at(1500));
        assert_eq!(clock.take(at(1999), SECOND), None);
        assert_eq!(clock.take(at(2100), SECOND), Some(GroupTime(1100)));
    }
}
