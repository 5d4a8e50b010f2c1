//! The one clock of a node.

use std::time::Duration;

use raft_core::Instant;

/// The clock of a node, as the numbers that the engine understands: it never goes back, and
/// nobody can set it.
///
/// On Linux it goes on while the machine is suspended (`CLOCK_BOOTTIME`), which the standard
/// library's clock does not. Safety needs that where reads are answered under a lease (Raft
/// thesis, section 6.4.1): a leader counts by its clock for how long no other can have been
/// elected, and one that has slept through an election must not take its lease for fresh.
/// Nothing else rests on the clock's pace. Where the system is another one, the clock is the
/// standard library's, and there must be no leases on machines that may be suspended; a
/// virtual machine that is stopped from outside may not see it by any clock at all.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Reading,
}

/// What the system's clock shows.
#[cfg(target_os = "linux")]
type Reading = Duration;
/// What the system's clock shows.
#[cfg(not(target_os = "linux"))]
type Reading = std::time::Instant;

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: read() }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        let since = since(self.origin);
        Instant(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// When `at` is, to sleep until then; far away where it lies beyond all reach.
    ///
    /// The runtime's timers stand still while the machine is suspended, so that whoever
    /// sleeps may wake late by as much. That costs time and nothing else: whatever is
    /// decided is decided by what [`Clock::now`] says then.
    pub(crate) fn until(&self, at: Instant) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(3600);
        let away = at.since(self.now()).min(FAR);
        tokio::time::Instant::now() + away
    }
}

#[cfg(target_os = "linux")]
fn read() -> Reading {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).expect("a machine has been up for no negative time")
}

#[cfg(target_os = "linux")]
fn since(origin: Reading) -> Duration {
    read().saturating_sub(origin)
}

#[cfg(not(target_os = "linux"))]
fn read() -> Reading {
    Reading::now()
}

#[cfg(not(target_os = "linux"))]
fn since(origin: Reading) -> Duration {
    origin.elapsed()
}
