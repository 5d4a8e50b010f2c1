//! raft-engine: a thread for each append that is outstanding, which is how it forms groups.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use raft_proto::eraftpb::Entry;

use crate::SEGMENT_BYTES;
use crate::load::{Load, Measured, Meter, Opened, PAYLOAD, Payloads, fresh, resident_bytes};

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

pub(crate) fn measure(
    dir: &Path,
    load: Load,
    time: Duration,
) -> Result<Measured, Box<dyn Error + Send + Sync>> {
    fresh(dir)?;
    let engine = Arc::new(Engine::open(config(dir, 8))?);
    rustix::fs::sync();
    let stop = Arc::new(AtomicBool::new(false));
    let (durable, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (1..=load.outstanding as u64)
        .map(|region| {
            let (engine, stop) = (Arc::clone(&engine), Arc::clone(&stop));
            let (durable, written) = (Arc::clone(&durable), Arc::clone(&written));
            thread::spawn(move || -> Result<(), raft_engine::Error> {
                let mut payloads = Payloads::new(region);
                let mut first = 1;
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = batch(region, first, load.batch, &mut payloads);
                    let bytes = engine.write(&mut batch, true)?;
                    written.fetch_add(bytes as u64, Ordering::Relaxed);
                    first += load.batch as u64;
                    durable.fetch_add(load.batch as u64, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    let mut meter = Meter::new(time);
    let measured = loop {
        thread::sleep(Duration::from_millis(5));
        let entries = durable.swap(0, Ordering::Relaxed);
        let failed = writers.iter().any(thread::JoinHandle::is_finished);
        match meter.durable(entries, written.load(Ordering::Relaxed)) {
            None if failed => break None,
            None => {}
            measured => break measured,
        }
    };
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer does not panic")?;
    }
    Ok(measured.expect("writers end early only where one fails"))
}

/// Writes a log of so many bytes of payload, in batches of 64 by turns to 16 regions.
pub(crate) fn fill(dir: &Path, bytes: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
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
pub(crate) fn open(dir: &Path) -> Result<Opened, Box<dyn Error + Send + Sync>> {
    let begun = Instant::now();
    let engine = Engine::open(config(dir, 0))?;
    let took = begun.elapsed();
    assert_eq!(engine.raft_groups().len(), 16);
    // It does not say, but whatever it holds is its index.
    Ok(Opened { took, index_bytes: resident_bytes() as usize, held: Box::new(engine) })
}
