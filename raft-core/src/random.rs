//! A seeded source of randomness.

use core::time::Duration;

/// A small pseudo-random generator (SplitMix64, Steele, Lea and Flood 2014).
///
/// It spreads timeouts and drives simulations; it is not meant for secrets. The
/// same seed gives the same numbers for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose numbers are decided by `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0 where `bound` is 0. The bias of the
    /// multiplication is below `bound / 2^64`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// A duration from `from` up to, but not including, twice `from`.
    pub fn up_to_twice(&mut self, from: Duration) -> Duration {
        let nanos = u64::try_from(from.as_nanos()).unwrap_or(u64::MAX / 2);
        Duration::from_nanos(nanos.saturating_add(self.below(nanos)))
    }

    /// True in `per_mille` of a thousand cases.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new(1);
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            assert!(random.below(7) < 7);
            let drawn = random.up_to_twice(second);
            assert!(drawn >= second && drawn < 2 * second, "{drawn:?}");
        }
        assert_eq!(random.below(0), 0);
        assert!(random.up_to_twice(Duration::MAX) >= Duration::from_nanos(u64::MAX / 2));
    }

    #[test]
    fn every_number_below_a_bound_is_drawn() {
        let mut random = Random::new(1);
        let mut drawn = [0; 7];
        for _ in 0..7000 {
            drawn[random.below(7) as usize] += 1;
        }
        assert!(drawn.iter().all(|count| (850..1150).contains(count)), "{drawn:?}");
    }

    #[test]
    fn what_is_impossible_never_happens_and_what_is_certain_always() {
        let mut random = Random::new(1);
        assert!((0..10_000).all(|_| !random.chance(0) && random.chance(1000)));
    }
}
