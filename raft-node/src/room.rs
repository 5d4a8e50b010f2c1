//! Bounds on what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that may be in use at a time. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// A part of a [`Room`] that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Takes a place of so many bytes; `None` where there is no room. Where everything
    /// is free even something larger than the room has a place, or it never would.
    pub(crate) fn take(&self, bytes: usize) -> Option<Place> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let place = Place { used: Arc::clone(&self.used), bytes };
        (before == 0 || before.saturating_add(bytes) <= self.limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_refused_and_takes_none() {
        let room = Room::new(10);
        let first = room.take(6);
        assert!(first.is_some());
        assert!(room.take(5).is_none());
        let second = room.take(4);
        assert!(second.is_some());
        drop((first, second));
        assert!(room.take(11).is_some(), "something large has its turn when all is free");
        assert!(room.take(10).is_some(), "and leaves nothing behind");
    }
}
