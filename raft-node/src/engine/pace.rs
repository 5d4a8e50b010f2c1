//! So many bytes per second and no more.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::Duration;

use raft_core::{GroupId, Instant, NodeId};

use super::job::WriteSnapshot;

/// What snapshots take of the network and of the disk, for all groups together, and who
/// waits for it.
#[derive(Debug, Default)]
pub(crate) struct SnapshotTraffic {
    pub(crate) sending: Pace,
    /// Transfers whose next piece waits, the one that has waited longest first.
    pub(crate) pieces: VecDeque<(GroupId, NodeId)>,
    pub(crate) writing: Pace,
    /// Snapshots of which the next part is not written yet.
    pub(crate) writes: VecDeque<WriteSnapshot>,
}

impl SnapshotTraffic {
    /// When the first of those who wait may go on.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let pieces = (!self.pieces.is_empty()).then_some(self.sending.free_at);
        let writes = (!self.writes.is_empty()).then_some(self.writing.free_at);
        pieces.into_iter().chain(writes).min()
    }
}

/// Bytes that were taken, at a rate, and the moment from which more may be.
///
/// Nothing is saved up: after a pause it does not go faster than otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    free_at: Instant,
}

/// Bytes per second; nothing for as fast as it goes.
pub(crate) type Rate = Option<NonZeroU64>;

impl Pace {
    /// Whether some may be taken now.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        self.free_at <= now
    }

    /// Takes some; the next moment comes when they are through.
    pub(crate) fn take(&mut self, now: Instant, bytes: u64, rate: Rate) {
        self.free_at = self.free_at.max(now).after(duration(bytes, rate));
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, bytes: u64, rate: Rate) {
        let nanos = u64::try_from(duration(bytes, rate).as_nanos()).unwrap_or(u64::MAX);
        self.free_at = Instant(self.free_at.0.saturating_sub(nanos));
    }
}

fn duration(bytes: u64, rate: Rate) -> Duration {
    let Some(rate) = rate else { return Duration::ZERO };
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_through_when_their_time_is_over_and_nothing_is_saved_up() {
        let (rate, second) = (NonZeroU64::new(1000), Duration::from_secs(1));
        let mut pace = Pace::default();
        let now = Instant(0).after(second * 100);
        pace.take(now, 500, rate);
        pace.take(now, 1000, rate);
        assert!(!pace.is_free(now.after(second)));
        assert!(pace.is_free(now.after(second * 3 / 2)));
        pace.give_back(500, rate);
        assert!(pace.is_free(now.after(second)));
        assert!(!pace.is_free(now.after(second / 2)));
    }

    #[test]
    fn without_a_rate_there_is_no_wait() {
        let mut pace = Pace::default();
        pace.take(Instant(5), u64::MAX, None);
        assert!(pace.is_free(Instant(5)));
    }
}
