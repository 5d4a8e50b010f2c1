//! How fast a disk is.

use std::time::Duration;

use raft_core::Instant;

/// A disk does nothing for a while, or is slow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiskPace {
    stalled_until: Instant,
    slow_until: Instant,
    /// How much longer everything takes that begins before then.
    slower_by: Duration,
}

impl DiskPace {
    /// Nothing begins before this moment. A shorter stall within a longer one changes nothing:
    /// what is asked for later would be done sooner.
    pub(super) fn stall(&mut self, until: Instant) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// What begins before this moment takes longer by so much.
    pub(super) const fn slow_down(&mut self, until: Instant, by: Duration) {
        self.slow_until = until;
        self.slower_by = by;
    }

    /// When something is done that is asked for now, and would take so long by itself.
    pub(super) fn done(&self, now: Instant, took: Duration) -> Instant {
        let begins = now.max(self.stalled_until);
        let slower_by = if begins < self.slow_until { self.slower_by } else { Duration::ZERO };
        begins.after(took + slower_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_ends_and_slowness_counts_for_what_begins_before_its_end() {
        let (ms, took) = (Duration::from_millis, Duration::from_millis(2));
        let at = |after| Instant(0).after(ms(after));
        let mut pace = DiskPace::default();
        assert_eq!(pace.done(at(1), took), at(3));
        pace.slow_down(at(100), ms(40));
        pace.stall(at(50));
        assert_eq!(pace.done(at(1), took), at(92));
        assert_eq!(pace.done(at(99), took), at(141));
        assert_eq!(pace.done(at(100), took), at(102));
        pace.stall(at(200));
        pace.stall(at(60));
        assert_eq!(pace.done(at(99), took), at(202));
    }
}
