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
//! `raft-log, fdatasync` writes through the page cache, the others past it.
//!
//! raft-engine has what serves it best here: files filled beforehand, and no compression,
//! for nothing could be gained with what is written.
//!
//! Deliberately absent: reading while it is written, several logs on one disk, and what a
//! protocol above costs. What a node is like is what `cargo xtask bench etcd` shows.
//!
//! `cargo xtask bench log` builds and runs this, and makes tables of the lines of JSON
//! that it prints, one per measurement.
//!
//! All logs are open at once, and work by turns in slices of a fraction of a second, which
//! are the measurements: a disk that others use as well is seldom the same for long.

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

use crate::bare::Bare;
use crate::load::{Load, Opened, PAYLOAD, Slice, Writer, peak_bytes, resident_bytes};
use crate::ours::{Driven, Groups, Ours, Threads};

const USAGE: &str = "\
Usage: logs write DIR RUNS MILLISECONDS OUTSTANDINGxBATCH...
       logs recover DIR MEBIBYTES";

/// The size of a file, of all systems.
const SEGMENT_BYTES: u64 = 64 << 20;

/// What it takes to get something from other people's code.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Start = fn(&Path, Load) -> Outcome<Box<dyn Writer>>;
type Fill = fn(&Path, u64) -> Outcome<()>;
type Open = fn(&Path) -> Outcome<Opened>;

/// What is compared, by its name in the results.
const SYSTEMS: [(&str, Start); 6] = [
    ("raft-log", |dir, load| ours(dir, load, Driven::default())),
    ("raft-log, a group each", |dir, load| {
        ours(dir, load, Driven { groups: Groups::Each, ..Driven::default() })
    }),
    ("raft-log, log thread", |dir, load| {
        ours(dir, load, Driven { threads: Threads::Two, ..Driven::default() })
    }),
    ("raft-log, fdatasync", |dir, load| {
        ours(dir, load, Driven { sync_method: SyncMethod::Fdatasync, ..Driven::default() })
    }),
    ("raft-engine", |dir, load| Ok(Box::new(engine::Threads::open(dir, load)?))),
    ("bare group commit", |dir, load| Ok(Box::new(Bare::open(dir, load)?))),
];

fn ours(dir: &Path, load: Load, driven: Driven) -> Outcome<Box<dyn Writer>> {
    Ok(Box::new(Ours::open(dir, load, driven)?))
}

/// So many slices of each log do not count: it takes a while until files are used again.
const WARM_UP: usize = 5;

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
    let runs: usize = runs.parse()?;
    for load in loads {
        let (outstanding, batch) = load.split_once('x').ok_or(USAGE)?;
        let load = Load { outstanding: outstanding.parse()?, batch: batch.parse()? };
        let dir = PathBuf::from(dir).join("log");
        let open = |(at, (system, start)): (usize, &(&'static str, Start))| {
            Ok((*system, start(&dir.join(at.to_string()), load)?))
        };
        let mut systems: Vec<_> = SYSTEMS.iter().enumerate().map(open).collect::<Outcome<_>>()?;
        for run in 0..WARM_UP + runs {
            // By turns, and each time another one first, so that what drifts hits all alike.
            for at in 0..systems.len() {
                let at = (run + at) % systems.len();
                let (system, writer) = &mut systems[at];
                let slice = writer.run(time)?;
                if run >= WARM_UP {
                    print(system, load, slice);
                }
            }
        }
        drop(systems);
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

fn print(system: &str, Load { outstanding, batch }: Load, slice: Slice) {
    let per_second = slice.entries as f64 / slice.elapsed.as_secs_f64();
    let payload = slice.entries.max(1) as f64 * PAYLOAD as f64;
    println!(
        "{{\"system\": \"{system}\", \"outstanding\": {outstanding}, \"batch\": {batch}, \
         \"per_second\": {per_second:.0}, \"written_per_payload\": {:.3}}}",
        slice.written as f64 / payload
    );
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
