//! Hashing of keys that are numbers, fast.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`Spread`] for maps and sets.
pub(crate) type BuildSpread = BuildHasherDefault<Spread>;

/// A hasher of one number of 128 bits. It holds no secret: nobody chooses the keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers of 128 bits are looked up");
    }

    fn write_u128(&mut self, key: u128) {
        let folded = (key >> 64) as u64 ^ (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = folded.wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_that_lie_close_together_are_spread() {
        let hash = |key: u128| {
            let mut spread = Spread::default();
            spread.write_u128(key);
            spread.finish()
        };
        let keys = (0..100_u128).flat_map(|high| (0..100).map(move |low| high << 64 | low));
        let low_bits: HashSet<u64> = keys.map(|key| hash(key) & 0xffff).collect();
        assert!(low_bits.len() > 8000, "{} of 10,000 in 65,536 places", low_bits.len());
    }
}
