//! What compressing large payloads saves and costs:
//! `cargo run --release -p raft-log --example payload_compression [DIR]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId, Random,
    Term, Write, WriteNumber,
};
use raft_log::{LogIdentity, LogOptions, Read, RealDisk, WriteAheadLog};

const G: GroupId = GroupId(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1) {
        Some(dir) => measure_all(&PathBuf::from(dir), 16 << 20),
        None => measure_all(tempfile::tempdir()?.path(), 16 << 20),
    }
}

/// What was measured, of so many payloads.
struct Measured {
    stored_share: f64,
    /// The time in which writes are put together: what compression adds to the work.
    assembled: Duration,
    /// The wait for the disk.
    written: Duration,
    read: Duration,
}

fn measure_all(dir: &Path, bytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    println!("writes of 256 KiB of payloads, and reads of as much, in the middle:");
    for size in [512, 1024, 4 << 10, 64 << 10] {
        for (name, payload) in [("JSON", json(size)), ("random", noise(size))] {
            for above in [usize::MAX, 0] {
                let dir = dir.join(format!("{name}-{size}-{above}"));
                let measured = measure(&dir, &payload, bytes / size, above)?;
                println!(
                    "{name} {size}, {}: stored {:.1} %, put together in {} us, disk {} us, \
                     read and checked in {} us",
                    if above == 0 { "compressed" } else { "as it is" },
                    measured.stored_share * 100.0,
                    measured.assembled.as_micros(),
                    measured.written.as_micros(),
                    measured.read.as_micros()
                );
                let smaller = measured.stored_share < 0.9;
                assert_eq!(smaller, name == "JSON" && above == 0, "{name} of {size}");
            }
        }
    }
    Ok(())
}

/// Writes this payload so often, and reads it all back.
fn measure(
    dir: &Path,
    payload: &Bytes,
    count: usize,
    compress_above_bytes: usize,
) -> Result<Measured, Box<dyn std::error::Error>> {
    let node = NodeId::new(1).ok_or("zero")?;
    let identity = LogIdentity { cluster: ClusterId(1), node };
    let options = LogOptions { cache_bytes: 0, compress_above_bytes, ..LogOptions::default() };
    let (mut log, _) = WriteAheadLog::open(Arc::new(RealDisk), dir, identity, options)?;
    log.create_group(G, Membership::of_voters([node]));
    let (mut assembled, mut written, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for index in 1..=count as u64 {
        let (term, kind) = (Term(1), EntryKind::Command);
        let entry = Entry { term, index: Index(index), kind, payload: payload.clone() };
        let change = Some(LogChange::Append(vec![entry]));
        let hard_state = HardState { term, vote: Some(node) };
        log.stage(G, Write { number: WriteNumber(index), hard_state, change });
        if index < count as u64 && log.stats().staged_bytes < 256 << 10 {
            continue;
        }
        while let Some(job) = log.next_job() {
            let began = Instant::now();
            let job = job.write();
            let at = Instant::now();
            log.complete(job.sync())?;
            assembled.push(at - began);
            written.push(at.elapsed());
            // The file of the next segment: as a node has it made on another thread.
            if let Some(job) = log.prepare() {
                log.prepared(job.run())?;
            }
        }
    }
    let bytes = (payload.len() * count) as f64;
    let stored_share = (bytes - log.stats().saved_bytes as f64) / bytes;
    let (mut from, last) = (Index(1), Index(count as u64));
    while from <= last {
        let Read::Later(job) = log.read(G, from, last, 256 << 10) else {
            return Err("an entry is in memory".into());
        };
        let began = Instant::now();
        let entries = job.run()?;
        read.push(began.elapsed());
        assert!(entries.iter().all(|entry| entry.payload == *payload));
        from = entries.last().ok_or("no entry")?.index.next();
    }
    let (assembled, written, read) = (middle(assembled), middle(written), middle(read));
    Ok(Measured { stored_share, assembled, written, read })
}

/// Others use the processor and the disk as well.
fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Records as an API answers with them.
fn json(bytes: usize) -> Bytes {
    let mut random = Random::new(7);
    let mut record = |n: u32| {
        let (id, at) = (random.next_u64(), random.below(1_000_000));
        format!("{{\"id\":\"{id:016x}\",\"number\":{n},\"state\":\"active\",\"updated\":{at}}},")
    };
    (0..).flat_map(|n| record(n).into_bytes()).take(bytes).collect()
}

fn noise(bytes: usize) -> Bytes {
    let mut random = Random::new(8);
    (0..bytes).map(|_| random.next_u64() as u8).collect()
}

#[test]
fn json_gets_smaller_and_noise_does_not() {
    let dir = tempfile::tempdir().expect("a folder");
    measure_all(dir.path(), 256 << 10).expect("it can be written");
}
