//! The clocks of the nodes: none of them shows the time of the world.

use std::time::Duration;

use raft_core::{Instant, Random};

const MILLION: u64 = 1_000_000;

/// How far the clocks of one world are from running as the world does, in parts per
/// million.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drift {
    most_ppm: u64,
}

impl Drift {
    /// All run as the world does.
    pub(crate) const NONE: Self = Self { most_ppm: 0 };
    /// Of two clocks, one runs ten per cent faster than the other at most.
    pub(crate) const WITHIN_LEASES: Self = Self { most_ppm: 47_000 };
    /// Elections go by nobody else's clock.
    pub(crate) const WITHOUT_LEASES: Self = Self { most_ppm: 200_000 };
    /// One clock may run four times as fast as another.
    pub(crate) const WILD: Self = Self { most_ppm: 600_000 };

    /// How fast a clock runs, in millionths.
    pub(crate) const fn draw(self, random: &mut Random) -> u64 {
        self.bounds().0 + random.below(2 * self.most_ppm + 1)
    }

    /// How fast the slowest and the fastest run.
    pub(crate) const fn bounds(self) -> (u64, u64) {
        (MILLION - self.most_ppm, MILLION + self.most_ppm)
    }
}

/// The monotonic clock of one process: it begins anywhere and has a pace of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalClock {
    /// What the clock showed at this moment of the world.
    showed: Instant,
    at: Instant,
    pace: u64,
}

impl LocalClock {
    pub(crate) const fn start(at: Instant, shows: Instant, pace: u64) -> Self {
        Self { showed: shows, at, pace }
    }

    /// What it shows.
    pub(crate) const fn shows(&self, at: Instant) -> Instant {
        Instant(self.showed.0 + at.0.saturating_sub(self.at.0) * self.pace / MILLION)
    }

    /// The first moment of the world at which it shows `local`.
    pub(crate) fn when(&self, local: Instant) -> Instant {
        let away = local.0.saturating_sub(self.showed.0);
        match away.checked_mul(MILLION) {
            Some(away) => Instant(self.at.0 + away.div_ceil(self.pace)),
            None => Instant(u64::MAX),
        }
    }

    /// It stands still until it goes on.
    pub(crate) const fn stand_still(&mut self, now: Instant, goes_on: Instant) {
        *self = Self::start(goes_on, self.shows(now), self.pace);
    }

    /// It shows this much more at once.
    pub(crate) fn jump(&mut self, by: Duration) {
        self.showed = self.showed.after(by);
    }

    /// From now on it runs at another pace.
    pub(crate) const fn change_pace(&mut self, now: Instant, pace: u64) {
        *self = Self::start(now, self.shows(now), pace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_when_the_clock_shows_it_and_not_before() {
        let mut random = Random::new(1);
        for pace in [400_000, 999_999, 1_000_000, 1_200_001] {
            let clock = LocalClock::start(Instant(77), Instant(5), pace);
            for _ in 0..100 {
                let local = Instant(5 + random.below(1 << 36));
                let due = clock.when(local);
                assert!(clock.shows(due) >= local, "{clock:?} {local:?}");
                assert!(clock.shows(Instant(due.0 - 1)) < local || due == clock.at);
            }
            assert_eq!(clock.when(Instant(u64::MAX)), Instant(u64::MAX));
        }
    }

    #[test]
    fn a_clock_stands_still_and_jumps() {
        let mut clock = LocalClock::start(Instant(100), Instant(0), MILLION);
        clock.stand_still(Instant(150), Instant(400));
        assert_eq!([150, 300, 410].map(|at| clock.shows(Instant(at)).0), [50, 50, 60]);
        clock.jump(Duration::from_nanos(7));
        assert_eq!(clock.shows(Instant(410)), Instant(67));
    }

    #[test]
    fn a_clock_goes_on_from_what_it_shows_when_its_pace_changes() {
        let mut clock = LocalClock::start(Instant(100), Instant(0), 500_000);
        clock.change_pace(Instant(300), 2_000_000);
        assert_eq!(clock.shows(Instant(300)), Instant(100));
        assert_eq!(clock.shows(Instant(350)), Instant(200));
    }
}
