//! Many seeds, on every core.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault_counts::FaultKind;
use super::report::{Failure, Options, Report};
use super::running::run;

/// With so many seeds every kind of fault strikes.
const ENOUGH_SEEDS: u64 = 300;

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Seeds that were run.
    pub seeds: u64,
    /// Sums over all clean runs.
    pub total: Report,
    /// The runs in which something did not hold.
    pub failures: Vec<Failure>,
}

/// Runs the seeds from `first` on, `count` of them, on `threads` threads, and stops
/// early after `max_failures` failures. `progress` is shown what has come of them after each,
/// and says whether to begin another. Whichever were run, none before the last is left out.
pub fn run_campaign(
    first: u64,
    count: u64,
    threads: usize,
    max_failures: usize,
    options: &Options,
    progress: &(dyn Fn(&Campaign) -> ControlFlow<()> + Sync),
) -> Campaign {
    let next = AtomicU64::new(0);
    let campaign = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= count {
                        return;
                    }
                    let outcome = run(first.wrapping_add(place), options);
                    let mut campaign = campaign.lock().expect("no thread panics with it");
                    campaign.note(outcome);
                    let goes_on = progress(&campaign).is_continue();
                    if !goes_on || campaign.failures.len() >= max_failures {
                        next.store(count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    campaign.into_inner().expect("no thread panics with it")
}

impl Campaign {
    /// The kinds of faults that never struck, where there were enough seeds for all of them to
    /// be expected: a fault of the simulator.
    #[must_use]
    pub fn never_struck(&self) -> Vec<FaultKind> {
        if self.seeds < ENOUGH_SEEDS || !self.failures.is_empty() {
            return Vec::new();
        }
        self.total.faults.never().collect()
    }

    fn note(&mut self, outcome: Result<Report, Failure>) {
        self.seeds += 1;
        match outcome {
            Ok(report) => self.total.add(&report),
            Err(failure) => self.failures.push(failure),
        }
    }
}
