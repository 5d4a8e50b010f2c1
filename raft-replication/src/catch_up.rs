//! Whether a learner keeps up.

use core::time::Duration;

use raft_core::{Index, Instant};

/// Whether a learner has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUpVerdict {
    /// It lacks more than it takes in within an election timeout: as a voter it would make
    /// the group wait.
    Behind,
    /// Its last round took less than that.
    CaughtUp,
}

/// The rounds in which one learner catches up (thesis, section 4.2.1): each ends when it
/// holds what the leader's log held when the round began. Once a round takes no longer
/// than an election timeout, the learner would hold nobody up as a voter. An absolute
/// distance would not do: under load every follower is always some entries behind.
///
/// Invariant: a learner that makes no progress counts as behind after one such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    target: Index,
    since: Instant,
    verdict: CatchUpVerdict,
}

impl CatchUp {
    /// The first round of a learner, which is to reach `last`.
    #[must_use]
    pub const fn new(now: Instant, last: Index) -> Self {
        Self { target: last, since: now, verdict: CatchUpVerdict::Behind }
    }

    /// Notes how far the learner is (`matched`) and where the leader's log ends (`last`). A
    /// round must not take longer than `within`.
    pub fn note(&mut self, now: Instant, matched: Index, last: Index, within: Duration) {
        let in_time = now < self.since.after(within);
        if matched >= self.target {
            // Who lacks nothing keeps up: in an idle group no other round may ever come.
            let keeps_up = in_time || matched >= last;
            self.verdict = if keeps_up { CatchUpVerdict::CaughtUp } else { CatchUpVerdict::Behind };
            (self.target, self.since) = (last, now);
        } else if !in_time {
            self.verdict = CatchUpVerdict::Behind;
        }
    }

    /// Whether it has caught up, as of the last note.
    #[must_use]
    pub const fn verdict(&self) -> CatchUpVerdict {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(1000);

    fn at_ms(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    #[test]
    fn a_learner_catches_up_in_rounds_although_the_log_grows() {
        let mut learner = CatchUp::new(at_ms(0), Index(1_000));
        learner.note(at_ms(500), Index(999), Index(1_500), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::Behind, "the first round is not over");
        learner.note(at_ms(3_000), Index(1_000), Index(2_000), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::Behind, "it took too long");
        learner.note(at_ms(3_999), Index(2_000), Index(2_500), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::CaughtUp, "500 entries behind all the same");
    }

    #[test]
    fn who_stops_is_behind_again() {
        let mut learner = CatchUp::new(at_ms(0), Index(5));
        learner.note(at_ms(10), Index(5), Index(9), WITHIN);
        learner.note(at_ms(1_009), Index(8), Index(20), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::CaughtUp);
        learner.note(at_ms(1_010), Index(8), Index(20), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::Behind);
        learner.note(at_ms(1_020), Index(9), Index(20), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::Behind, "that round took too long");
        learner.note(at_ms(1_030), Index(20), Index(20), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::CaughtUp);
    }

    #[test]
    fn who_holds_everything_has_caught_up_however_long_it_took() {
        let mut learner = CatchUp::new(at_ms(0), Index(5));
        learner.note(at_ms(9_000), Index(5), Index(6), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::Behind);
        learner.note(at_ms(18_000), Index(6), Index(6), WITHIN);
        assert_eq!(learner.verdict(), CatchUpVerdict::CaughtUp);
    }
}
