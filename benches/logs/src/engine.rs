//! raft-engine: a thread for each append that is outstanding, which is how it forms groups.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use raft_proto::eraftpb::Entry;

use crate::load::{Load, Opened, PAYLOAD, Payloads, Slice, Writer, fresh, resident_bytes};
use crate::{Outcome, SEGMENT_BYTES};

#[derive(Clone, Debug)]
struct Typed;

impl MessageExt for Typed {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// With what serves it best here: no compression of what cannot be compressed, and files
/// that are filled beforehand, where an append changes no metadata.
fn config(dir: &Path, prefilled_files: u64) -> Config {
    Config {
        dir: dir.display().to_string(),
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(SEGMENT_BYTES),
        purge_threshold: ReadableSize(SEGMENT_BYTES * prefilled_files.max(32)),
        enable_log_recycle: true,
        prefill_for_recycle: prefilled_files > 0,
        prefill_limit: Some(ReadableSize(SEGMENT_BYTES * prefilled_files)),
        ..Config::default()
    }
}

fn batch(region: u64, first: u64, entries: usize, payloads: &mut Payloads) -> LogBatch {
    let entries: Vec<Entry> = (0..entries as u64)
        .map(|place| {
            let mut entry = Entry::new();
            entry.set_term(1);
            entry.set_index(first + place);
            entry.set_data(payloads.next().to_vec().into());
            entry
        })
        .collect();
    let mut batch = LogBatch::with_capacity(1);
    batch.add_entries::<Typed>(region, &entries).expect("entries fit a batch");
    batch
}

/// What the threads share with whoever measures them.
struct Shared {
    engine: Engine,
    state: Mutex<State>,
    changed: Condvar,
    entries: AtomicU64,
    written: AtomicU64,
}

#[derive(Default)]
struct State {
    is_open: bool,
    stops: bool,
    /// Threads that are at work.
    at_work: usize,
}

pub(crate) struct Threads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn open(dir: &Path, load: Load) -> Outcome<Self> {
        fresh(dir)?;
        let engine = Engine::open(config(dir, 4))?;
        rustix::fs::sync();
        let shared = Arc::new(Shared {
            engine,
            state: Mutex::default(),
            changed: Condvar::new(),
            entries: AtomicU64::new(0),
            written: AtomicU64::new(0),
        });
        let start = |region: u64| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.write(region, load.batch))
        };
        let threads = (1..=load.outstanding as u64).map(start).collect();
        Ok(Self { shared, threads })
    }
}

impl Shared {
    /// Appends whenever it is allowed to.
    fn write(&self, region: u64, entries: usize) {
        let mut payloads = Payloads::new(region);
        let mut first = 1;
        loop {
            let state = self.state.lock().expect("no thread panics");
            let wait = self.changed.wait_while(state, |state| !state.is_open && !state.stops);
            let mut state = wait.expect("no thread panics");
            if state.stops {
                return;
            }
            state.at_work += 1;
            drop(state);
            while self.state.lock().expect("no thread panics").is_open {
                let mut batch = batch(region, first, entries, &mut payloads);
                let bytes = self.engine.write(&mut batch, true).expect("the disk takes it");
                first += entries as u64;
                self.entries.fetch_add(entries as u64, Ordering::Relaxed);
                self.written.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            self.state.lock().expect("no thread panics").at_work -= 1;
            self.changed.notify_all();
        }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no thread panics"));
        self.changed.notify_all();
    }
}

impl Writer for Threads {
    fn run(&mut self, time: Duration) -> Outcome<Slice> {
        let shared = &self.shared;
        let (entries, written) = (&shared.entries, &shared.written);
        entries.store(0, Ordering::Relaxed);
        written.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        shared.set(|state| state.is_open = true);
        thread::sleep(time);
        let slice = Slice {
            elapsed: begun.elapsed(),
            entries: entries.load(Ordering::Relaxed),
            written: written.load(Ordering::Relaxed),
        };
        shared.set(|state| state.is_open = false);
        let state = shared.state.lock().expect("no thread panics");
        drop(shared.changed.wait_while(state, |state| state.at_work > 0));
        if self.threads.iter().any(JoinHandle::is_finished) {
            return Err("a thread of raft-engine has ended".into());
        }
        Ok(slice)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.set(|state| state.stops = true);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

/// Writes a log of so many bytes of payload, in batches of 64 by turns to 16 regions.
pub(crate) fn fill(dir: &Path, bytes: u64) -> Outcome<()> {
    fresh(dir)?;
    let engine = Engine::open(config(dir, 0))?;
    let mut payloads = Payloads::new(1);
    let batches = bytes / (64 * PAYLOAD as u64);
    for number in 0..batches {
        let (region, round) = (1 + number % 16, number / 16);
        engine.write(&mut batch(region, 1 + round * 64, 64, &mut payloads), false)?;
    }
    engine.sync()?;
    Ok(())
}

/// Opens that log; how long it took, and what is held from then on.
pub(crate) fn open(dir: &Path) -> Outcome<Opened> {
    let begun = Instant::now();
    let engine = Engine::open(config(dir, 0))?;
    let took = begun.elapsed();
    assert_eq!(engine.raft_groups().len(), 16);
    // It does not say, but whatever it holds is its index.
    Ok(Opened { took, index_bytes: resident_bytes() as usize, held: Box::new(engine) })
}
