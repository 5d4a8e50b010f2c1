//! What is counted during a measurement.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Kind;
use super::client::Outcome;

/// What takes longer counts as this long; no request is waited for that long.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// When a measurement begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// The requests of one kind.
#[derive(Debug)]
pub(super) struct Tally {
    window: Window,
    /// Good answers that came within the window.
    answered: u64,
    /// In microseconds, of what was sent within the window.
    good: Histogram<u64>,
    refused: Histogram<u64>,
    unknown: u64,
    failed: u64,
    /// The first thing that went wrong.
    trouble: Option<String>,
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) target: &'static str,
    pub(super) operation: &'static str,
    pub(super) clients: usize,
    pub(super) connections: usize,
    pub(super) value_bytes: usize,
    pub(super) keys: u32,
    pub(super) seconds: f64,
    /// When the measurement began and ended, in milliseconds since 1970.
    pub(super) began_unix_ms: u64,
    pub(super) ended_unix_ms: u64,
    pub(super) ops: u64,
    pub(super) ops_per_second: f64,
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
    pub(super) refused: u64,
    pub(super) refused_p99_ms: f64,
    pub(super) unknown: u64,
    pub(super) failed: u64,
}

/// What a row says of the measurement as such.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) target: &'static str,
    pub(super) clients: usize,
    pub(super) connections: usize,
    pub(super) value_bytes: usize,
    pub(super) keys: u32,
}

impl Window {
    /// A window that begins after `warm_up`, from now.
    pub(super) fn after(warm_up: Duration, length: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Self { from, to: from + length }
    }

    fn unix_ms(instant: Instant) -> u64 {
        let past = Instant::now().saturating_duration_since(instant);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.saturating_sub(past).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Tally {
    pub(super) fn new(window: Window) -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_MICROS, 3);
        let histogram = || histogram().expect("three digits of up to an hour are allowed");
        Self {
            window,
            answered: 0,
            good: histogram(),
            refused: histogram(),
            unknown: 0,
            failed: 0,
            trouble: None,
        }
    }

    /// Counts a request that was sent and answered at these times.
    pub(super) fn count(&mut self, outcome: Outcome, sent: Instant, answered: Instant) {
        let Window { from, to } = self.window;
        if outcome == Outcome::Done && (from..to).contains(&answered) {
            self.answered += 1;
        }
        if !(from..to).contains(&sent) {
            return;
        }
        let micros = u64::try_from((answered - sent).as_micros()).unwrap_or(u64::MAX);
        match outcome {
            Outcome::Done => self.good.saturating_record(micros),
            Outcome::Refused(why) => {
                self.refused.saturating_record(micros);
                self.trouble.get_or_insert(why);
            }
            Outcome::Unknown(why) => {
                self.unknown += 1;
                self.trouble.get_or_insert(why);
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                self.trouble.get_or_insert(why);
            }
        }
    }

    /// The good answers so far.
    pub(super) const fn answered(&self) -> u64 {
        self.answered
    }

    /// What went wrong first, if something did.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The result, once the window is over.
    pub(super) fn row(&self, about: About, kind: Kind) -> Row {
        let seconds = (self.window.to - self.window.from).as_secs_f64();
        let at = |histogram: &Histogram<u64>, q| ms(histogram.value_at_quantile(q));
        Row {
            target: about.target,
            operation: kind.name(),
            clients: about.clients,
            connections: about.connections,
            value_bytes: about.value_bytes,
            keys: about.keys,
            seconds,
            began_unix_ms: Window::unix_ms(self.window.from),
            ended_unix_ms: Window::unix_ms(self.window.to),
            ops: self.answered,
            ops_per_second: (self.answered as f64 / seconds * 10.0).round() / 10.0,
            mean_ms: self.good.mean().round() / 1000.0,
            p50_ms: at(&self.good, 0.5),
            p99_ms: at(&self.good, 0.99),
            p999_ms: at(&self.good, 0.999),
            max_ms: ms(self.good.max()),
            refused: self.refused.len(),
            refused_p99_ms: at(&self.refused, 0.99),
            unknown: self.unknown,
            failed: self.failed,
        }
    }
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About =
        About { target: "raft", clients: 2, connections: 1, value_bytes: 256, keys: 10 };

    #[test]
    fn what_is_sent_before_the_window_is_answered_in_it_but_has_no_latency() {
        let window = Window::after(Duration::from_secs(1), Duration::from_secs(10));
        let at = |ms| window.from - Duration::from_secs(1) + Duration::from_millis(ms);
        let mut tally = Tally::new(window);
        tally.count(Outcome::Done, at(0), at(999)); // All of it before.
        tally.count(Outcome::Done, at(0), at(1000)); // Answered within.
        tally.count(Outcome::Done, at(2000), at(2040)); // All of it within.
        tally.count(Outcome::Done, at(10_999), at(14_999)); // Sent within.
        tally.count(Outcome::Done, at(11_000), at(11_001)); // All of it after.
        let row = tally.row(ABOUT, Kind::Put);
        assert_eq!((row.ops, row.ops_per_second), (2, 0.2));
        assert_eq!(tally.good.len(), 2);
        assert!((row.p50_ms - 40.0).abs() < 0.1, "{row:?}");
        assert!((row.max_ms - 4000.0).abs() < 4.0, "{row:?}");
    }

    #[test]
    fn what_goes_wrong_is_counted_by_what_it_means() {
        let window = Window::after(Duration::ZERO, Duration::from_secs(1));
        let (sent, answered) = (window.from, window.from + Duration::from_millis(3));
        let mut tally = Tally::new(window);
        for outcome in [
            Outcome::Refused("busy".to_owned()),
            Outcome::Unknown("late".to_owned()),
            Outcome::Failed("gone".to_owned()),
            Outcome::Failed("gone".to_owned()),
        ] {
            tally.count(outcome, sent, answered);
        }
        let row = tally.row(ABOUT, Kind::Get);
        assert_eq!((row.ops, row.refused, row.unknown, row.failed), (0, 1, 1, 2));
        assert!((row.refused_p99_ms - 3.0).abs() < 0.1, "{row:?}");
        assert_eq!((row.p99_ms, row.max_ms), (0.0, 0.0));
        assert_eq!(tally.trouble(), Some("busy"));
    }
}
