//! Crashes of a node in the middle of everything: what was acknowledged survives, what
//! was not may survive, and nothing else is ever there.

#[allow(dead_code)]
mod world;

use raft_core::Random;
use raft_log::LogError;
use world::World;

const STEPS: usize = 120;

/// Works until the disk stops or the steps are over; true where they are over.
fn work(world: &mut World, steps: usize) -> bool {
    (0..steps).all(|_| world.step().is_ok())
}

/// The same, keeping no more of the log than is needed.
fn work_tidily(world: &mut World, steps: usize) -> bool {
    (0..steps).all(|_| world.step().and_then(|()| world.keep_house()).is_ok())
}

fn crash(world: &World, random: &mut Random) {
    if random.chance(700) {
        world.disk.crash_power();
    } else {
        world.disk.crash_process();
    }
}

/// Crashes at the given change of the disk, then up to twice more during recovery,
/// then works on and crashes again. False when the work was over before the crash; and what
/// the world has come to.
fn story(seed: u64, change: u64) -> Result<(bool, World), String> {
    let mut random = Random::new(seed.wrapping_mul(31) ^ change);
    let mut world = World::new(seed);
    world.disk.stop_at(change);
    // In half of the stories files are used again and again.
    let work = if seed % 4 < 2 { work_tidily } else { work };
    let over = work(&mut world, STEPS);
    crash(&world, &mut random);
    for _ in 0..random.below(3) {
        world.disk.stop_at(1 + random.below(12));
        match world::open(&world.disk) {
            Err(why) if !world.disk.is_stopped() => return Err(format!("recovery fails: {why}")),
            _ => {}
        }
        crash(&world, &mut random);
    }
    world.recover()?;
    for _ in 0..2 {
        work(&mut world, 15);
        crash(&world, &mut random);
        world.recover()?;
    }
    Ok((!over, world))
}

#[test]
fn a_crash_at_every_change_of_the_disk_loses_nothing_acknowledged() {
    let (mut prepared_segments, mut recycled_segments, mut points) = (0, 0, 0);
    let (mut named_segments, mut relocated) = (0, 0);
    for seed in 0..4 {
        for change in 1.. {
            let story = story(seed, change);
            let (crashed, world) =
                story.unwrap_or_else(|why| panic!("seed {seed}, change {change}: {why}"));
            prepared_segments += world.prepared;
            named_segments += world.named;
            recycled_segments += world.recycled;
            relocated += u64::from(world.relocated > 0);
            points += 1;
            if !crashed {
                break;
            }
        }
    }
    assert!(prepared_segments > 80, "{prepared_segments} segments were prepared");
    assert!(named_segments > 80, "{named_segments} segments had their names before the switch");
    assert!(recycled_segments > 80, "{recycled_segments} segments were recycled");
    assert!(relocated > 80, "in {relocated} of them entries were relocated");
    assert!(points > 400, "{points} points");
}

/// A disk that was closed cleanly, and whatever single place of it is damaged afterwards:
/// every group is whole, or an earlier state of itself that knows how it has voted and where
/// it had ended, and is that again at the next opening.
#[test]
fn damage_after_a_seal_is_reported_and_no_promise_is_forgotten() {
    let (mut refused, mut harmed, mut reported, mut harmless) = (0, 0, 0, 0);
    for seed in 0..6 {
        let mut world = World::new(seed);
        work(&mut world, 40);
        // Recovery leaves copies behind, of which one may be damaged.
        world.disk.crash_process();
        world.recover().unwrap();
        work(&mut world, 30);
        world.close();
        let mut random = Random::new(seed);
        for _ in 0..400 {
            let mut world = world.copy();
            let place = world.damage(&mut random);
            if let Err(error) = world::open(&world.disk.copy()) {
                let text = error.to_string();
                assert!(!matches!(error, LogError::Io { .. }), "seed {seed}, {place}: {text}");
                refused += 1;
                continue;
            }
            world.recover().unwrap_or_else(|why| panic!("seed {seed}, {place}: {why}"));
            let lost = world.lost();
            match lost {
                (0, 0) => harmless += 1,
                (0, _) => reported += 1,
                _ => harmed += 1,
            }
            world.recover().unwrap_or_else(|why| panic!("seed {seed}, {place}, again: {why}"));
            assert_eq!(world.lost().0, lost.0, "seed {seed}, {place}");
        }
    }
    let counts = format!("{refused} refused, {harmed} harmed, {reported} reported, {harmless} not");
    println!("{counts}");
    assert!(harmed > 100 && reported > 50 && harmless > 50 && refused < 100, "{counts}");
}

#[test]
fn many_crashes_in_a_row_lose_nothing_acknowledged() {
    let mut relocated = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut world = World::new(seed);
        for crashes in 0..25 {
            world.disk.stop_at(1 + random.below(60));
            let work = if seed % 2 == 0 { work_tidily } else { work };
            work(&mut world, 60);
            crash(&world, &mut random);
            world.recover().unwrap_or_else(|why| panic!("seed {seed}, crash {crashes}: {why}"));
        }
        relocated += u32::from(world.relocated > 0);
    }
    assert!(relocated > 10, "in {relocated} of 60 entries were relocated");
}

/// Shows that the check can fail: a disk whose sync is a lie loses what was
/// acknowledged, and that is noticed.
#[test]
fn a_sync_that_does_nothing_is_noticed() {
    let mut noticed = 0;
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.disk.set_sync_does_nothing(true);
        work(&mut world, 40);
        world.disk.crash_power();
        noticed += u32::from(world.recover().is_err());
    }
    assert!(noticed > 40, "noticed {noticed} of 50");
}

#[test]
fn after_a_failed_sync_or_write_nothing_is_promised_and_nothing_acknowledged_is_lost() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        work(&mut world, 60);
        // Until one strikes a write: a file that cannot be prepared stops nothing.
        while (0..50).all(|_| {
            if seed % 2 == 0 {
                world.disk.fail_next_syncs(1);
            } else {
                world.disk.fail_next_writes(1, std::io::ErrorKind::Other);
            }
            world.step().is_ok()
        }) {}
        assert!(world.refuses(), "seed {seed}");
        world.disk.fail_next_writes(0, std::io::ErrorKind::Other);
        world.disk.crash_power();
        world.recover().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
