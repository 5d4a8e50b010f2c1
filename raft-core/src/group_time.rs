//! The time that a group counts in its log.

use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// How long a group has been led so far, in milliseconds, as far as anybody counted it.
///
/// Leaders count with their monotonic clocks and put the time into the log
/// ([`crate::EntryKind::Clock`]), so that whatever expires by it does so at the same
/// place on every replica (Raft thesis, section 6.3). It is no time of day: while nobody
/// leads it stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GroupTime(pub u64);

/// Bytes that are no time of a group: whoever wrote them is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a group's time has 8 bytes, not {0}")]
pub struct GroupTimeLength(pub usize);

impl GroupTime {
    /// The time of a group that nobody has led.
    pub const ZERO: Self = Self(0);

    /// The time `duration` later, to the last whole millisecond; the end of time where
    /// that does not fit.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(ms))
    }

    /// How much later this is than `earlier`; zero where it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The payload of the entry that states this time: 8 bytes, little-endian.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(8);
        out.put_u64_le(self.0);
        out.freeze()
    }

    /// The time that a payload states.
    ///
    /// # Errors
    /// Where it has any other length than a time.
    pub fn decode(payload: &[u8]) -> Result<Self, GroupTimeLength> {
        let bytes = payload.try_into().map_err(|_| GroupTimeLength(payload.len()))?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_what_was_encoded_and_nothing_else_is_one() {
        let time = GroupTime(0x0102);
        assert_eq!(time.encode().as_ref(), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(GroupTime::decode(&time.encode()), Ok(time));
        for length in [0, 7, 9] {
            assert_eq!(GroupTime::decode(&[0; 9][..length]), Err(GroupTimeLength(length)));
        }
    }

    #[test]
    fn it_counts_whole_milliseconds_and_never_wraps() {
        let time = GroupTime(5).after(Duration::from_micros(2999));
        assert_eq!(time, GroupTime(7));
        assert_eq!(time.since(GroupTime(5)), Duration::from_millis(2));
        assert_eq!(GroupTime(5).since(time), Duration::ZERO);
        assert_eq!(time.after(Duration::MAX), GroupTime(u64::MAX));
    }
}
