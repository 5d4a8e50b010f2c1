//! Time as an argument.

use core::time::Duration;

/// A moment on the caller's monotonic clock, in nanoseconds since any fixed origin.
///
/// The pure crates never read a clock: whoever drives them says what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `duration` later, or the end of time where that does not fit.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// How long ago `earlier` was; zero where it lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_never_wrap() {
        let early = Instant(5);
        let late = early.after(Duration::from_nanos(10));
        assert_eq!(late, Instant(15));
        assert_eq!(late.since(early), Duration::from_nanos(10));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.after(Duration::MAX), Instant(u64::MAX));
    }
}
