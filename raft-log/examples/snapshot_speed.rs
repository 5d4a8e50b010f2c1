//! How fast a snapshot is written, read back and checked, and how large its file becomes:
//! `cargo run --release -p raft-log --example snapshot_speed [DIR]`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use raft_core::{GroupId, Index, Membership, NodeId, Position, Random};
use raft_log::{RealDisk, SnapshotStore};

const MIB: usize = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1) {
        Some(dir) => measure(&PathBuf::from(dir), 256),
        None => measure(tempfile::tempdir()?.path(), 256),
    }
}

/// Writes and reads content of this many MiB, in pieces of one.
fn measure(dir: &Path, mebibytes: u32) -> Result<(), Box<dyn std::error::Error>> {
    let voters = Membership::of_voters([NodeId::new(1).expect("not zero")]);
    let mut random = Random::new(7);
    let noise: Vec<u8> = (0..MIB).map(|_| random.next_u64() as u8).collect();
    let text: Vec<u8> = (0..).flat_map(|n: u32| record(n, &noise)).take(MIB).collect();
    for (index, (name, piece)) in [("records", text), ("random bytes", noise)].iter().enumerate() {
        let index = index as u64 + 1;
        let mut store = SnapshotStore::open(Arc::new(RealDisk), dir, 2)?;
        let began = Instant::now();
        let mut writer = store.writer(GroupId(1), Position::new(1, index), voters.clone())?;
        for _ in 0..mebibytes {
            writer.write_all(piece)?;
        }
        let meta = writer.finish()?;
        let written = began.elapsed();
        store.add(GroupId(1), meta);
        let began = Instant::now();
        let mut reader = store.reader(GroupId(1), Index(index))?;
        reader.verify()?;
        assert_eq!(reader.meta().bytes, u64::from(mebibytes) * MIB as u64);
        let read = began.elapsed();
        let per_second = |took: std::time::Duration| f64::from(mebibytes) / took.as_secs_f64();
        let share = reader.file_bytes()? as f64 * 100.0 / (f64::from(mebibytes) * MIB as f64);
        println!(
            "{name}: {mebibytes} MiB, file {share:.1} % of that, written and synced with {:.0} \
             MiB/s, read and checked with {:.0} MiB/s",
            per_second(written),
            per_second(read)
        );
    }
    Ok(())
}

/// A pair as a key-value store may hold it: a key that counts, and a value of 256 bytes of
/// which half is text that repeats itself.
fn record(n: u32, noise: &[u8]) -> Vec<u8> {
    let at = (n as usize * 128) % (noise.len() - 128);
    let text = format!("{{\"id\":{n},\"state\":\"active\",\"owner\":\"user-{:05}\"}}", n % 1000);
    let mut record = format!("bench-{n:010}{text:128}").into_bytes();
    record.extend_from_slice(&noise[at..at + 128]);
    record
}

#[test]
fn what_is_measured_is_whole() {
    measure(tempfile::tempdir().unwrap().path(), 2).unwrap();
}
