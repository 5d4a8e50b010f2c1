//! What was there in the place of what a client expected.

use bytes::Bytes;

/// What a key has in the place of what a client expects. Answers are kept for as long as a
/// session may ask for them again, on every replica, so that a long value is not part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actual {
    /// No value.
    Nothing,
    /// This one.
    Value(Bytes),
    /// One of so many bytes, more than [`Actual::MAX_BYTES`].
    Long(u64),
}

impl Actual {
    /// The longest value that an answer shows.
    pub const MAX_BYTES: usize = 1024;

    pub(super) fn of(value: Option<Bytes>) -> Self {
        match value {
            None => Self::Nothing,
            Some(value) if value.len() > Self::MAX_BYTES => Self::Long(value.len() as u64),
            Some(value) => Self::Value(value),
        }
    }
}
