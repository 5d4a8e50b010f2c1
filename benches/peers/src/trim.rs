//! How much of a log is kept.

/// A log is trimmed once it is so many entries longer than it must be.
pub(crate) const TRIM_EVERY: u64 = 2048;

/// So many applied entries are kept for a follower that is behind.
pub(crate) const KEEP: u64 = 2048;
