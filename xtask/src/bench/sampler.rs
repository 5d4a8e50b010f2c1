//! What processes use, over time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::proc::{self, Usage};

const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Samples processes until it is dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    samples: Samples,
    over: bool,
}

/// What each process had used at what time, in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(BTreeMap<u32, Vec<(u64, Usage)>>);

impl Sampler {
    pub(crate) fn start(pids: &[u32]) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        lock(&state).samples.0.extend(pids.iter().map(|pid| (*pid, Vec::new())));
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            loop {
                {
                    let mut state = lock(&shared);
                    if state.over {
                        return;
                    }
                    state.samples.take();
                }
                thread::sleep(SAMPLE_EVERY);
            }
        });
        Self { state, thread: Some(thread) }
    }

    /// Samples one more process from now on.
    pub(crate) fn add(&self, pid: u32) {
        lock(&self.state).samples.0.entry(pid).or_default();
    }

    /// What was sampled so far.
    pub(crate) fn samples(&self) -> Samples {
        lock(&self.state).samples.clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        lock(&self.state).over = true;
        if let Some(thread) = self.thread.take() {
            // A sampler that broke has nothing to say any more.
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Samples {
    fn take(&mut self) {
        for (pid, samples) in &mut self.0 {
            // A process that has ended has no more samples.
            if let Ok(usage) = proc::usage(*pid) {
                samples.push((unix_ms(), usage));
            }
        }
    }

    /// The cores that a process used on average between two times.
    pub(crate) fn cores(&self, pid: u32, from: u64, to: u64) -> f64 {
        let samples = self.0.get(&pid).map_or(&[][..], Vec::as_slice);
        let Some((first, last)) = nearest(samples, from).zip(nearest(samples, to)) else {
            return 0.0;
        };
        let seconds = last.0.saturating_sub(first.0) as f64 / 1000.0;
        let used = last.1.cpu_ticks.saturating_sub(first.1.cpu_ticks) as f64;
        if seconds > 0.0 { used / proc::ticks_per_second() / seconds } else { 0.0 }
    }

    /// The most memory a process had resident between two times, in MiB.
    pub(crate) fn peak_rss_mib(&self, pid: u32, from: u64, to: u64) -> f64 {
        let samples = self.0.get(&pid).map_or(&[][..], Vec::as_slice);
        let within = samples.iter().filter(|(at, _)| (from..=to).contains(at));
        within.map(|(_, usage)| usage.rss_kib).max().unwrap_or(0) as f64 / 1024.0
    }
}

fn nearest(samples: &[(u64, Usage)], at: u64) -> Option<&(u64, Usage)> {
    samples.iter().min_by_key(|(sampled, _)| sampled.abs_diff(at))
}

/// Now, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_what_lies_between_two_times() {
        let of = |cpu_ticks, rss_kib| Usage { cpu_ticks, rss_kib };
        let ticks = |seconds: f64| (seconds * proc::ticks_per_second()) as u64;
        let all = vec![
            (1000, of(ticks(5.0), 1024)),
            (2000, of(ticks(6.0), 4096)),
            (3000, of(ticks(6.5), 2048)),
            (4000, of(ticks(9.0), 9216)),
        ];
        let samples = Samples(BTreeMap::from([(7, all)]));
        assert!((samples.cores(7, 1040, 3010) - 0.75).abs() < 1e-9);
        assert!((samples.peak_rss_mib(7, 1500, 3500) - 4.0).abs() < 1e-9);
        assert!(samples.cores(8, 1000, 3000).abs() < 1e-9, "an unknown process uses nothing");
        assert!(samples.cores(7, 1000, 1010).abs() < 1e-9, "one sample says nothing");
    }

    #[test]
    fn a_sampler_watches_until_it_is_dropped() {
        let me = std::process::id();
        let from = unix_ms();
        let sampler = Sampler::start(&[]);
        sampler.add(me);
        while sampler.samples().peak_rss_mib(me, from, u64::MAX) <= 0.0 {
            thread::sleep(SAMPLE_EVERY);
        }
        drop(sampler);
    }
}
