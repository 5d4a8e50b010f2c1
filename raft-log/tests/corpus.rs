//! The fuzz targets, run with what fuzzing has kept: so they compile, and what was once
//! found stays found. `cargo xtask fuzz` looks for more.

mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use raft_log::SimDisk;
use raft_log::inspect::{FrameKind, for_each_frame};
use targets::input::Input;
use targets::{TARGETS, Target, damaged_log, recovery, segments};

fn inputs(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let listed = fs::read_dir(&corpus).unwrap_or_else(|why| panic!("{}: {why}", corpus.display()));
    let paths = listed.map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn no_input_that_fuzzing_has_kept_breaks_a_promise() {
    for target in &TARGETS {
        for (path, data) in inputs(target) {
            let outcome = catch_unwind(|| (target.run)(&data));
            assert!(outcome.is_ok(), "the target panics with {}", path.display());
        }
    }
}

#[test]
fn the_seeds_are_those_that_the_command_makes() {
    for target in &TARGETS {
        let kept: BTreeSet<Vec<u8>> = inputs(target).into_iter().map(|(_, data)| data).collect();
        for seed in (target.seeds)() {
            assert!(kept.contains(&seed), "{}: {seed:?} is in no file", target.name);
        }
    }
}

/// A target that refuses everything would find nothing.
#[test]
fn some_programs_write_logs_that_can_be_opened_and_hold_entries() {
    let target = TARGETS.iter().find(|target| target.name == "recovery").unwrap();
    let seeds = (target.seeds)();
    let count = |contents: recovery::Contents| -> usize {
        contents.values().map(|(_, entries)| entries.len()).sum()
    };
    let opened = seeds.iter().filter_map(|seed| recovery::contents_of(seed));
    let entries: Vec<usize> = opened.map(count).collect();
    assert!(entries.len() > 5 && entries.iter().sum::<usize>() > 10, "{entries:?}");
    assert!(entries.len() < seeds.len(), "and some are refused");
}

/// How many frames hold entries that were relocated, and how many are smaller than what is in
/// them. A log that is refused counts as far as it can be shown.
fn relocated_and_compressed(disks: impl Iterator<Item = SimDisk>) -> (usize, usize) {
    let (mut relocated, mut compressed) = (0, 0);
    for disk in disks {
        for_each_frame(&disk, Path::new(segments::DIR), |frame| {
            let payloads: usize = frame.entries.iter().map(|entry| entry.payload.len()).sum();
            relocated += usize::from(frame.kind == FrameKind::Relocate);
            compressed += usize::from(payloads > frame.bytes as usize);
            ControlFlow::Continue(())
        })
        .ok();
    }
    (relocated, compressed)
}

#[test]
fn fuzzing_begins_with_relocated_and_with_compressed_entries() {
    let programs = segments::programs();
    let by_program = programs.iter().map(|seed| segments::disk(Input::new(seed)));
    for (relocated, compressed) in
        [relocated_and_compressed(by_program), relocated_and_compressed(damaged_log::disks())]
    {
        assert!(relocated > 3 && compressed > 2, "{relocated}, {compressed}");
    }
}
