//! A histogram that costs three atomic additions, and that can be read.
//!
//! The one of prometheus-client takes a lock for every value and keeps its buckets to
//! itself; the history needs quantiles of the last second, and the hot path no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;

/// Bounds for durations, in nanoseconds.
const DURATIONS: &[u64] = &[
    10 * US,
    25 * US,
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    5 * S,
    10 * S,
];

/// Bounds for how many things share one step.
const COUNTS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

/// Bounds for bytes.
const BYTES: &[u64] =
    &[1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26];

/// Counts values by size, from any thread.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// Values are kept in whole units, of which this many are one of the base unit.
    per_unit: f64,
    /// One more than there are bounds: the last takes what exceeds them all.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a [`Histogram`] held at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    bounds: &'static [u64],
    per_unit: f64,
    buckets: Vec<u64>,
    sum: u64,
}

impl Histogram {
    /// Of durations, shown in seconds.
    pub(crate) fn durations() -> Self {
        Self::new(DURATIONS, S as f64)
    }

    /// Of numbers of things.
    pub(crate) fn counts() -> Self {
        Self::new(COUNTS, 1.0)
    }

    /// Of sizes in bytes.
    pub(crate) fn bytes() -> Self {
        Self::new(BYTES, 1.0)
    }

    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, per_unit, buckets, sum: AtomicU64::new(0) }
    }

    /// Adds a duration `times` times.
    pub(crate) fn add_duration(&self, took: Duration, times: u64) {
        self.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), times);
    }

    /// Adds a value `times` times.
    pub(crate) fn add(&self, value: u64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    /// What it holds.
    pub(crate) fn values(&self) -> Values {
        Values {
            bounds: self.bounds,
            per_unit: self.per_unit,
            buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Values {
    /// What was added since `earlier`, which is of the same histogram.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now - then);
        Self { buckets: buckets.collect(), sum: self.sum.wrapping_sub(earlier.sum), ..self.clone() }
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum, in the base unit.
    pub(crate) fn sum(&self) -> f64 {
        self.sum as f64 / self.per_unit
    }

    /// Their mean, in the base unit; `None` of nothing.
    pub(crate) fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum() / count as f64)
    }

    /// About the value below which this share of them lies, in the base unit; `None` of
    /// nothing. Within a bucket values are taken to lie evenly; what exceeds the last
    /// bound counts as that.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let mut left = share * count as f64;
        let mut below = 0.0;
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            let (bound, bucket) = (*bound as f64 / self.per_unit, *bucket as f64);
            if left <= bucket && bucket > 0.0 {
                return Some(below + (bound - below) * left / bucket);
            }
            left -= bucket;
            below = bound;
        }
        Some(below)
    }

    /// The buckets with their upper bounds in the base unit, the last without a limit.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.per_unit);
        bounds.chain([f64::INFINITY]).zip(self.buckets.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_below_it_and_one_above_all_to_the_last() {
        let histogram = Histogram::counts();
        for value in [0, 1, 2, 3, 4, 4096, 4097] {
            histogram.add(value, 1);
        }
        let buckets = histogram.values().buckets();
        assert_eq!(buckets[..3], [(1.0, 2), (2.0, 1), (4.0, 2)]);
        assert_eq!(buckets[12..], [(4096.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.values().sum(), 8203.0);
    }

    #[test]
    fn quantiles_are_of_what_was_added_since() {
        let histogram = Histogram::durations();
        histogram.add_duration(Duration::from_secs(9), 1000);
        let before = histogram.values();
        assert_eq!(histogram.values().since(&before).quantile(0.5), None);
        histogram.add_duration(Duration::from_micros(90), 98);
        histogram.add_duration(Duration::from_millis(4), 2);
        let second = histogram.values().since(&before);
        assert_eq!(second.count(), 100);
        let (middle, tail) = (second.quantile(0.5).unwrap(), second.quantile(0.99).unwrap());
        assert!((50e-6..=100e-6).contains(&middle), "{middle}");
        assert!((2.5e-3..=5e-3).contains(&tail), "{tail}");
        assert!((second.mean().unwrap() - 168.2e-6).abs() < 1e-9);
    }
}
