//! The one clock of a node.

use std::time::Duration;

use raft_core::Instant;

/// The monotonic clock, as the numbers that the engine understands.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// When `at` is, to sleep until then; far away where it lies beyond all reach.
    pub(crate) fn until(&self, at: Instant) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(3600);
        let away = at.since(self.now()).min(FAR);
        tokio::time::Instant::now() + away
    }
}
