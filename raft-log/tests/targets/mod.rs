//! What is fuzzed: each target is a function from bytes to nothing that panics where the
//! crate breaks a promise. `raft-log/fuzz` runs them with libFuzzer, `tests/corpus.rs` with
//! what that has kept.

// Whoever includes this runs some of it.
#![allow(dead_code)]

pub(crate) mod damaged_log;
mod frames;
pub(crate) mod input;
mod membership;
pub(crate) mod recovery;
pub(crate) mod segments;
mod snapshot_chunks;
mod snapshot_file;

/// A target, and inputs to begin with.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them, in the order of their names.
pub(crate) const TARGETS: [Target; 6] = [
    Target { name: "damaged_log", run: damaged_log::run, seeds: damaged_log::seeds },
    Target { name: "frames", run: frames::run, seeds: frames::seeds },
    Target { name: "membership", run: membership::run, seeds: membership::seeds },
    Target { name: "recovery", run: recovery::run, seeds: recovery::seeds },
    Target { name: "snapshot_chunks", run: snapshot_chunks::run, seeds: snapshot_chunks::seeds },
    Target { name: "snapshot_file", run: snapshot_file::run, seeds: snapshot_file::seeds },
];

/// Runs the target of this name.
pub(crate) fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target is called {name}")).run)(data);
}
