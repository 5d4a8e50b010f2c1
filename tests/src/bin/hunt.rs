//! `hunt`: runs seeds until one fails, and says in one line of JSON how long that took.
//! `cargo xtask sim --bugs` runs it on builds that have a bug.
//!
//! Time is what the processors have spent on it, divided by the threads: on a machine that
//! has nothing else to do that is the time on the wall, and on another one it is what the wall
//! would have shown.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tests::sim::{Check, Options, run};

const USAGE: &str = "Usage: hunt --base SEED --limit SECONDS [--seeds N] [--threads N]";

/// A single seed takes less than a second; one that takes longer than this never ends.
const LONGEST_SEED: Duration = Duration::from_secs(120);

struct Hunt {
    base: u64,
    options: Options,
    most: u64,
    limit: Duration,
    next: AtomicU64,
    over: AtomicBool,
    found: Mutex<Option<Found>>,
    /// What each thread is running, and since when.
    running: Vec<Mutex<Option<(u64, Instant)>>>,
}

struct Found {
    /// How many seeds from the base on.
    nth: u64,
    after: Duration,
    what: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let (mut base, mut limit, mut most, mut threads) = (None, 60, u64::MAX, 2);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a number\n{USAGE}"))?;
        let number: u64 = value.parse().with_context(|| format!("{word} {value}"))?;
        match word.as_str() {
            "--base" => base = Some(number),
            "--limit" => limit = number,
            "--seeds" => most = number,
            "--threads" => threads = number,
            _ => bail!("unknown option {word}\n{USAGE}"),
        }
    }
    // A broken invariant is what is looked for; its backtrace is of no use here.
    std::panic::set_hook(Box::new(|_| {}));
    let hunt = Hunt {
        base: base.context(USAGE)?,
        options: Options::default(),
        most,
        limit: Duration::from_secs(limit),
        next: AtomicU64::new(0),
        over: AtomicBool::new(false),
        found: Mutex::new(None),
        running: (0..threads.max(1)).map(|_| Mutex::new(None)).collect(),
    };
    std::thread::scope(|scope| {
        for thread in 0..hunt.running.len() {
            let hunt = &hunt;
            scope.spawn(move || hunt.work(thread));
        }
        hunt.watch();
    });
    hunt.tell();
    Ok(ExitCode::SUCCESS)
}

impl Hunt {
    fn work(&self, thread: usize) {
        let note = |now| {
            if let Ok(mut running) = self.running[thread].lock() {
                *running = now;
            }
        };
        while !self.over.load(Ordering::Relaxed) && self.spent() < self.limit {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            if place >= self.most {
                break;
            }
            note(Some((place, Instant::now())));
            let outcome = run(self.base.wrapping_add(place), &self.options);
            if let Err(failure) = outcome {
                self.over.store(true, Ordering::Relaxed);
                self.note_found(place + 1, failure.what);
            }
        }
        note(None);
    }

    fn spent(&self) -> Duration {
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let (seconds, nanos) = (spent.tv_sec.unsigned_abs(), spent.tv_nsec as u32);
        Duration::new(seconds, nanos) / self.running.len() as u32
    }

    /// Of two threads that find something at once, the earlier seed counts.
    fn note_found(&self, nth: u64, what: String) {
        let Ok(mut found) = self.found.lock() else { return };
        let after = self.spent();
        if found.as_ref().is_none_or(|found| nth < found.nth) {
            *found = Some(Found { nth, after, what });
        }
    }

    /// Waits until all threads are done. A seed that never ends is a finding, and the
    /// process ends with it, for nothing else ends that thread.
    fn watch(&self) {
        loop {
            std::thread::sleep(Duration::from_millis(5));
            let running = self.running.iter().filter_map(|running| *running.lock().ok()?);
            let running: Vec<(u64, Instant)> = running.collect();
            let endless = running.iter().find(|(_, since)| since.elapsed() > LONGEST_SEED);
            if let Some((place, _)) = endless {
                self.note_found(place + 1, format!("a run does not return in {LONGEST_SEED:?}"));
                self.tell();
                std::process::exit(0);
            }
            let begun = self.next.load(Ordering::Relaxed) > 0;
            if begun && running.is_empty() {
                return;
            }
        }
    }

    fn tell(&self) {
        let seeds = self.next.load(Ordering::Relaxed).min(self.most);
        let seconds = self.spent().as_secs_f64();
        let found = self.found.lock().ok();
        let line = match found.as_ref().and_then(|found| found.as_ref()) {
            Some(Found { nth, after, what }) => json!({
                "found": true,
                "seed": self.base.wrapping_add(nth - 1),
                "seeds": nth,
                "seconds": after.as_secs_f64(),
                // Without a name of a check: a run that does not return.
                "check": Check::of(what).map_or("returns", Check::name),
                "what": what,
            }),
            None => json!({ "found": false, "seeds": seeds, "seconds": seconds }),
        };
        println!("{line}");
    }
}
