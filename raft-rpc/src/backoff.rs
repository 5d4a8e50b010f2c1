//! How long to wait before trying again.

use std::time::Duration;

use raft_core::Random;

/// Delays that double from an initial one up to a greatest one, each spread by up to
/// a fifth in either direction, so that nodes which failed together do not return
/// together.
///
/// It neither sleeps nor reads a clock; the same seed gives the same delays.
///
/// ```
/// use raft_rpc::Backoff;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::new(Backoff::INITIAL, Backoff::MAX, 7);
/// let first = backoff.next_delay();
/// assert!(first >= Duration::from_millis(80) && first <= Duration::from_millis(120));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    coming: Duration,
    random: Random,
}

impl Backoff {
    /// The usual first delay between machines, before it is spread.
    pub const INITIAL: Duration = Duration::from_millis(100);
    /// The usual greatest delay between machines, before it is spread.
    pub const MAX: Duration = Duration::from_secs(30);

    /// Delays from `initial` to `max`; a greatest delay below the first one counts as
    /// equal to it.
    #[must_use]
    pub fn new(initial: Duration, max: Duration, seed: u64) -> Self {
        let max = max.max(initial);
        Self { initial, max, coming: initial, random: Random::new(seed) }
    }

    /// How long to wait now; the next one is twice as long, up to the greatest delay.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.coming;
        self.coming = delay.saturating_mul(2).min(self.max);
        delay.mul_f64(0.8) + delay.mul_f64(0.4 * self.fraction())
    }

    /// Starts from the initial delay again: what was tried has succeeded.
    pub const fn reset(&mut self) {
        self.coming = self.initial;
    }

    /// A number from 0 up to, but not including, 1, in thousandths.
    fn fraction(&mut self) -> f64 {
        self.random.below(1_000) as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(delay: Duration, expected_ms: u64) {
        let expected = Duration::from_millis(expected_ms);
        let range = expected.mul_f64(0.8)..=expected.mul_f64(1.2);
        assert!(range.contains(&delay), "{delay:?} is not within a fifth of {expected:?}");
    }

    #[test]
    fn delays_double_up_to_the_greatest_and_start_again() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(Backoff::INITIAL, Backoff::MAX, seed);
            for expected in [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600] {
                assert_near(backoff.next_delay(), expected);
            }
            for _ in 0..100 {
                assert_near(backoff.next_delay(), 30_000);
            }
            backoff.reset();
            assert_near(backoff.next_delay(), 100);
        }
    }

    #[test]
    fn delays_spread_and_follow_the_seed() {
        let first = |seed| Backoff::new(Backoff::INITIAL, Backoff::MAX, seed).next_delay();
        assert_eq!(first(1), first(1));
        let mut delays: Vec<_> = (0..100).map(first).collect();
        delays.sort();
        assert!(delays[0] < Duration::from_millis(85), "{:?}", delays[0]);
        assert!(delays[99] > Duration::from_millis(115), "{:?}", delays[99]);
    }

    #[test]
    fn a_greatest_delay_below_the_first_is_the_first() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::ZERO, 1);
        for _ in 0..3 {
            assert_near(backoff.next_delay(), 2_000);
        }
    }
}
