//! A scripted workload, and everything that a disk may do to it: it stops at every single
//! operation, in the middle of every write at every byte, and every operation fails. What
//! was acknowledged is there afterwards, what was not may be, and nothing else ever is.

// Shared with `crash.rs`, which uses more of it.
#[allow(dead_code)]
mod world;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use raft_log::{Disk as _, SimDisk, Torn};
use world::World;
use world::script::{Fault, Stop};

/// Everything is tried where the build is optimized. Elsewhere it would take minutes: there
/// it is a part, for each seed another one.
const OPTIMIZED: bool = !cfg!(debug_assertions);

/// Even seeds tear writes at any byte, odd ones at sectors; what else is left is drawn.
const SEEDS: u64 = 8;

/// Each so many-th operation.
const OPERATION_STEP: u64 = if OPTIMIZED { 1 } else { 17 };

/// Of a write, each so many-th byte; and each of the first and last few in any case.
const BYTE_STEP: usize = if OPTIMIZED { 1 } else { 499 };

fn crash(world: &World, seed: u64) {
    if seed % 4 == 3 {
        world.disk.crash_process();
    } else {
        world.disk.crash_power();
    }
}

/// Goes on after a crash: what was found can be written to, and is found again.
fn goes_on(world: &mut World, at: &str) {
    world.recover().unwrap_or_else(|why| panic!("{at}: {why}"));
    for _ in 0..6 {
        world.step().unwrap_or_else(|why| panic!("{at}: {why}"));
    }
    world.disk.crash_power();
    world.recover().unwrap_or_else(|why| panic!("{at}, at the end: {why}"));
}

/// How many operations the script has, which are the same whatever the seed.
fn operations() -> u64 {
    let before = World::new(0).disk.counts().changes;
    let (world, outcome) = World::play(0, Fault::None);
    assert_eq!(outcome, Ok(()));
    assert!(world.prepared > 3 && world.recycled > 1, "{} {}", world.prepared, world.recycled);
    let (named, at_switch) = (world.named, world.prepared - world.named);
    assert!(named > 2 && at_switch > 1, "{named} named before the switch, {at_switch} at it");
    assert!(world.relocated > 0, "nothing was relocated");
    world.disk.counts().changes - before
}

/// Calls `each` with every seed and operation, or a part of them; answers how often.
fn for_all(seeds: u64, operations: u64, each: impl Fn(u64, u64) + Sync) -> usize {
    let points = AtomicUsize::new(0);
    let run = |half: u64| {
        for point in (half..seeds * operations).step_by(2) {
            if (point / 2).is_multiple_of(OPERATION_STEP) {
                each(point % seeds, 1 + point / seeds);
                points.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || run(half));
        }
    });
    points.into_inner()
}

#[test]
fn the_disk_stops_at_every_operation_and_nothing_acknowledged_is_lost() {
    let operations = operations();
    let points = for_all(SEEDS, operations, |seed, change| {
        let at = format!("seed {seed}, operation {change}");
        let (mut world, outcome) = World::play(seed, Fault::StopAt(change));
        assert!(matches!(outcome, Err(Stop::Failed(_))), "{at}: {outcome:?}");
        crash(&world, seed);
        // Once more, while the log is being opened.
        world.disk.stop_at(1 + change % 7);
        let opened = world::open(&world.disk);
        assert!(opened.is_ok() || world.disk.is_stopped(), "{at}: {opened:?}");
        crash(&world, seed + 1);
        goes_on(&mut world, &at);
    });
    println!("{points} crashes at one of {operations} operations, and at one of opening");
    assert!(points as u64 >= operations * SEEDS / OPERATION_STEP && operations > 250);
    assert!(!OPTIMIZED || points > 2000, "{points} points");
}

/// Opens the log, and the snapshots, that a crash in the middle of the last write leaves.
fn torn(world: &World, torn: Torn, at: &str) {
    let disk: SimDisk = world.disk.torn_copy(torn);
    world.check(&disk).map(drop).unwrap_or_else(|why| panic!("{at}, {torn:?}: {why}"));
}

#[test]
fn every_write_is_torn_at_every_byte_and_nothing_acknowledged_is_lost() {
    let (points, tried) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    // A stop leaves a write that it strikes, or the one before; the seeds draw which.
    for_all(4, operations(), |seed, change| {
        let at = format!("seed {seed}, operation {change}");
        let (world, _) = World::play(seed, Fault::StopAt(change));
        let Some(write) = world.disk.last_write() else { return };
        let number = world.disk.counts().writes;
        if !tried.lock().expect("nobody has panicked").insert(number) {
            return;
        }
        // Of the zeros that fill a file, or the last block, only their number matters.
        let end = write.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let step = |zeros: bool| if zeros { BYTE_STEP.max(64) } else { BYTE_STEP };
        let near = |left: usize| left < 20 || left + 8 > write.len();
        for left in 0..=write.len() {
            if left % step(left > end) == 0 || near(left) {
                torn(&world, Torn::First(left), &at);
                points.fetch_add(1, Ordering::Relaxed);
            }
            if left % step(left < write.len() - end) == 0 || near(left) {
                torn(&world, Torn::Last(left), &at);
                points.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (points, writes) = (points.into_inner(), tried.into_inner().map_or(0, |all| all.len()));
    println!("{points} crashes within {writes} writes");
    let (least, least_writes) = if OPTIMIZED { (500_000, 100) } else { (1000, 10) };
    assert!(points > least && writes > least_writes, "{points} points in {writes} writes");
}

#[test]
fn every_operation_fails_and_nothing_acknowledged_is_lost() {
    let operations = operations();
    let (died, lived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for error in [ErrorKind::Other, ErrorKind::StorageFull] {
        for_all(SEEDS, operations, |seed, change| {
            let at = format!("seed {seed}, operation {change} fails with {error}");
            let (mut world, outcome) = World::play(seed, Fault::FailAt(change, error));
            match &outcome {
                Ok(()) => lived.fetch_add(1, Ordering::Relaxed),
                Err(Stop::Failed(_)) => died.fetch_add(1, Ordering::Relaxed),
                Err(Stop::Wrong(why)) => panic!("{at}: {why}"),
            };
            assert!(!world.disk.is_to_fail(), "{at}: it never came");
            // After a folder could not be synced, its names are seen and never durable, and
            // no later sync of it mends that: here nobody goes on before the power has failed.
            let of_folder = |why: &str| {
                why.starts_with("cannot sync log:") || why.starts_with("cannot sync snapshots:")
            };
            match outcome {
                Err(Stop::Failed(why)) if of_folder(&why) => world.disk.crash_power(),
                _ => crash(&world, seed),
            }
            goes_on(&mut world, &at);
        });
    }
    let (died, lived) = (died.into_inner(), lived.into_inner());
    println!("{died} failures ended the process, {lived} did not");
    let all = died + lived;
    assert!(died > all / 4 && lived > all / 20, "{died} and {lived}");
    assert!(!OPTIMIZED || all > 4000, "{all} points");
}

/// Two faults at once: the first segment is gone, and of the copies that recovery has made
/// of it the first is torn. Then only the head says what the log held; it must not pass for
/// empty.
#[test]
fn a_log_without_its_beginning_is_damaged_and_not_opened_as_if_it_were_empty() {
    // In the middle of its second write; nothing covers what was written before.
    let (mut world, _) = World::play(0, Fault::StopAt(4));
    world.disk.crash_process();
    world.recover().expect("nothing is lost");
    let (first, second) = ("log/0000000000000001.log", Path::new("log/0000000000000002.log"));
    let (_, whole) = world::open(&world.disk.copy()).expect("nothing is lost");
    world.disk.remove(Path::new(first)).expect("it is there");
    let copies = 4096;
    assert_eq!(&world.disk.content(second)[copies + 4..][..2], b"RL");
    world.disk.flip_bit(second, copies as u64 + 50, 0);
    let (log, groups) = world::open(&world.disk).expect("the head says how the groups stood");
    assert_eq!(log.damage().first().map(|damage| &*damage.file), Some(second));
    assert!(groups.keys().eq(whole.keys()));
    let mut lost = 0;
    for (group, was) in &whole {
        let (is, last) = (&groups[group], was.shape.last());
        assert_eq!(is.hard_state, was.hard_state, "group {group}");
        assert_eq!(is.damaged_up_to.unwrap_or(is.shape.last()), last, "group {group}");
        lost += usize::from(is.damaged_up_to.is_some());
    }
    assert!(lost > 0, "some group had entries");
}
