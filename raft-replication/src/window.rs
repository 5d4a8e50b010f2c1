//! What is under way to one follower.

use alloc::collections::VecDeque;
use core::time::Duration;

use raft_core::{Index, Instant};

/// What bounds the traffic to one follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Appends under way at once.
    pub max_flights: usize,
    /// Bytes of entries under way at once; one append may exceed it.
    pub max_flight_bytes: usize,
    /// After this long without an answer an append counts as lost.
    pub resend_after: Duration,
}

/// One append that has left and is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The number in its token.
    pub number: u64,
    /// The last entry it carries.
    pub last: Index,
    /// What its entries weigh, in bytes.
    pub bytes: usize,
    /// When it left.
    pub sent_at: Instant,
    /// What the follower had acknowledged by then.
    pub acknowledged: Index,
    /// The commit index it states.
    pub commit: Index,
}

/// The appends under way to one follower, oldest first.
///
/// Invariants, asserted on every change:
/// - Numbers and last indexes rise from one flight to the next.
/// - `bytes` is the sum over the flights, so it is zero when nothing flies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    flights: VecDeque<Flight>,
    bytes: usize,
}

impl Window {
    /// Notes an append that leaves.
    ///
    /// # Panics
    /// Where its number or last index does not rise.
    pub fn push(&mut self, flight: Flight) {
        if let Some(newest) = self.flights.back() {
            let rises = flight.number > newest.number && flight.last > newest.last;
            assert!(rises, "{flight:?} after {newest:?}");
        }
        self.bytes += flight.bytes;
        self.flights.push_back(flight);
    }

    /// Ends the flight with this number and all before it: the lane keeps order, so
    /// whoever has the later append has the earlier ones. `None` where it is not
    /// under way.
    pub fn land(&mut self, number: u64) -> Option<Flight> {
        let place = self.flights.iter().position(|flight| flight.number == number)?;
        let mut landed = None;
        for flight in self.flights.drain(..=place) {
            self.bytes -= flight.bytes;
            landed = Some(flight);
        }
        assert!(!self.flights.is_empty() || self.bytes == 0, "{} bytes leaked", self.bytes);
        landed
    }

    /// The flight with this number, where it is under way.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.number == number)
    }

    /// The oldest flight.
    #[must_use]
    pub fn oldest(&self) -> Option<&Flight> {
        self.flights.front()
    }

    /// How many appends are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.flights.len()
    }

    /// What they weigh together.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(number: u64) -> Flight {
        Flight {
            number,
            last: Index(number * 10),
            bytes: 100,
            sent_at: Instant(number),
            acknowledged: Index(1),
            commit: Index(0),
        }
    }

    #[test]
    fn landing_ends_everything_before_it() {
        let mut window = Window::default();
        for number in [3, 5, 6] {
            window.push(flight(number));
        }
        assert_eq!(window.land(4), None, "never sent");
        assert_eq!(window.land(5), Some(flight(5)));
        assert_eq!(window.land(3), None, "landed with the later one");
        assert_eq!((window.count(), window.bytes()), (1, 100));
        assert_eq!(window.land(6), Some(flight(6)));
        assert_eq!((window.count(), window.bytes()), (0, 0));
    }

    /// Pushes the second flight after the first.
    fn follow(first: Flight, second: Flight) {
        let mut window = Window::default();
        window.push(first);
        window.push(second);
    }

    #[test]
    #[should_panic(expected = "after Flight")]
    fn a_number_that_does_not_rise_is_a_broken_invariant() {
        follow(flight(2), Flight { number: 2, ..flight(3) });
    }

    #[test]
    #[should_panic(expected = "after Flight")]
    fn a_flight_that_carries_nothing_new_is_a_broken_invariant() {
        follow(flight(2), Flight { last: Index(20), ..flight(3) });
    }

    #[test]
    #[should_panic(expected = "5 bytes leaked")]
    fn bytes_of_no_flight_are_a_broken_invariant() {
        let mut window = Window { bytes: 5, ..Window::default() };
        window.push(flight(1));
        window.land(1);
    }
}
