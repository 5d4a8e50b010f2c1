//! `raft-log` beside raft-engine 0.4 and a bare group commit, on one disk and in one run.
//!
//! What is measured: entries of 256 bytes per second, each durable before it counts, with
//! a fixed number of appends outstanding; the bytes written per byte of payload (of
//! `raft-log` all of them, zeros and heads of files too, rounded to blocks, of raft-engine
//! those that it says it has written); and what it takes to open a large log again.
//!
//! Who waits how: raft-engine has a thread per append that is outstanding, each with a
//! region of its own, for it forms groups of the threads that wait. A bare group commit
//! and `raft-log` have one thread that hands in everything outstanding and waits for the
//! disk, `raft-log` one more for preparing and collecting files. `raft-log, a group each`
//! has as many groups as appends outstanding; `raft-log, log thread` hands its writes to
//! another thread, as a node does, which leaves about half of the appends for each write;
//! `raft-log, direct writes` writes past the page cache.
//!
//! raft-engine has what serves it best here: files filled beforehand, and no compression,
//! for nothing could be gained with what is written.
//!
//! Deliberately absent: reading while it is written, several logs on one disk, and what a
//! protocol above costs. What a node is like is what `cargo xtask bench etcd` shows.
//!
//! `cargo xtask bench log` builds and runs this, and makes tables of the lines of JSON
//! that it prints, one per measurement.

mod bare;
mod counting;
mod engine;
mod load;
mod ours;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use raft_log::SyncMethod;

use crate::load::{Load, Measured, Opened, PAYLOAD, peak_bytes, resident_bytes};
use crate::ours::{Driven, Groups, Threads};

const USAGE: &str = "\
Usage: logs write DIR RUNS MILLISECONDS OUTSTANDINGxBATCH...
       logs recover DIR MEBIBYTES";

/// The size of a file, of all systems.
const SEGMENT_BYTES: u64 = 64 << 20;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Measure = fn(&Path, Load, Duration) -> Outcome<Measured>;
type Fill = fn(&Path, u64) -> Outcome<()>;
type Open = fn(&Path) -> Outcome<Opened>;

/// What is compared, by its name in the results.
const SYSTEMS: [(&str, Measure); 6] = [
    ("raft-log", |dir, load, time| ours::measure(dir, load, time, Driven::default())),
    ("raft-log, a group each", |dir, load, time| {
        let driven = Driven { groups: Groups::Each, ..Driven::default() };
        ours::measure(dir, load, time, driven)
    }),
    ("raft-log, log thread", |dir, load, time| {
        let driven = Driven { threads: Threads::Two, ..Driven::default() };
        ours::measure(dir, load, time, driven)
    }),
    ("raft-log, direct writes", |dir, load, time| {
        let driven = Driven { sync_method: SyncMethod::Direct, ..Driven::default() };
        ours::measure(dir, load, time, driven)
    }),
    ("raft-engine", engine::measure),
    ("bare group commit", |dir, load, time| Ok(bare::measure(dir, load, time)?)),
];

/// What is opened again: its name, how it is filled, how it is opened.
const LOGS: [(&str, Fill, Open); 3] = [
    ("raft-log, frames of 64", |dir, bytes| ours::fill(dir, bytes, 64), ours::open),
    ("raft-log, frames of 1", |dir, bytes| ours::fill(dir, bytes, 1), ours::open),
    ("raft-engine, batches of 64", engine::fill, engine::open),
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["write", dir, runs, milliseconds, loads @ ..] => write(dir, runs, milliseconds, loads),
        ["recover", dir, mebibytes] => recover(dir, mebibytes),
        ["open", system, dir] => open(system, Path::new(dir)),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &str, runs: &str, milliseconds: &str, loads: &[&str]) -> Outcome<()> {
    let time = Duration::from_millis(milliseconds.parse()?);
    let dir = PathBuf::from(dir).join("log");
    for run in 0..runs.parse()? {
        for load in loads {
            let (outstanding, batch) = load.split_once('x').ok_or(USAGE)?;
            let load = Load { outstanding: outstanding.parse()?, batch: batch.parse()? };
            // By turns, and each time another one first, so that what drifts hits all alike.
            for at in 0..SYSTEMS.len() {
                let (system, measure) = SYSTEMS[(run + at) % SYSTEMS.len()];
                let measured = measure(&dir, load, time)?;
                println!(
                    "{{\"system\": \"{system}\", \"outstanding\": {}, \"batch\": {}, \
                     \"per_second\": {:.0}, \"written_per_payload\": {:.3}}}",
                    load.outstanding,
                    load.batch,
                    measured.entries_per_second,
                    measured.written_per_payload
                );
            }
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Fills logs, and opens each three times, in a process of its own: what was written just
/// before is still in the page cache.
fn recover(dir: &str, mebibytes: &str) -> Outcome<()> {
    let dir = PathBuf::from(dir).join("log");
    let bytes: u64 = mebibytes.parse::<u64>()? << 20;
    for (system, fill, _) in LOGS {
        fill(&dir, bytes)?;
        for _ in 0..3 {
            let dir = dir.to_str().ok_or("a folder whose name is text")?;
            let status = Command::new(env::current_exe()?).args(["open", system, dir]).status()?;
            if !status.success() {
                return Err(format!("{system} could not be opened").into());
            }
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn open(system: &str, dir: &Path) -> Outcome<()> {
    let (.., open) =
        LOGS.iter().find(|(name, ..)| *name == system).ok_or("no system of this name")?;
    let before = resident_bytes();
    let Opened { took, index_bytes, held } = open(dir)?;
    println!(
        "{{\"system\": \"{system}\", \"seconds\": {:.3}, \"resident_bytes\": {}, \
         \"peak_bytes\": {}, \"index_bytes\": {index_bytes}, \"payload\": {PAYLOAD}}}",
        took.as_secs_f64(),
        resident_bytes() - before,
        peak_bytes()
    );
    drop(held);
    Ok(())
}
