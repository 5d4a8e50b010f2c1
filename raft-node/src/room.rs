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
    room: Room,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Takes a place of so many bytes; `None` where there is no room. Where everything
    /// is free even something larger than the room has a place, or it never would.
    pub(crate) fn take(&self, bytes: usize) -> Option<Place> {
        let mut place = Place { room: self.clone(), bytes: 0 };
        place.grow(bytes).then_some(place)
    }
}

impl Place {
    /// Takes so many bytes more; false where there is no room for them.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let fits = |used: usize| {
            let after = used.checked_add(bytes)?;
            (used == 0 || bytes == 0 || after <= self.room.limit).then_some(after)
        };
        let grown = self.room.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.bytes += if grown { bytes } else { 0 };
        grown
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
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
        assert!(room.take(0).is_some(), "nothing needs no room");
        let mut second = room.take(3).unwrap();
        assert!(!second.grow(2) && second.grow(1));
        drop((first, second));
        assert!(room.take(11).is_some(), "something large has its turn when all is free");
        assert!(room.take(10).is_some(), "and leaves nothing behind");
    }
}
