//! Processes that are killed or paused under load.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::calm::read_everything;
use super::http::Client;
use super::node::wait_for;
use super::{ELECTION_TIMEOUT, Load, Recorder, Stage};
use crate::linearizability::{Action, Outcome};

/// From the end of a leader to the first write that is acknowledged again.
pub(super) const FAILOVER_LIMIT: Duration = ELECTION_TIMEOUT.saturating_mul(3);
/// When to give up waiting for it, so that the time can still be told.
const PATIENCE: Duration = Duration::from_secs(20);
const BETWEEN_KILLS: Duration = Duration::from_millis(500);
/// So many kills, on all nodes together, within this time.
const KILLS: u32 = 24;
const KILLS_LIMIT: Duration = Duration::from_secs(120);
/// Long enough for the others to elect a leader and to go on.
const PAUSE: Duration = Duration::from_secs(4);
const AFTERWARDS: Duration = Duration::from_secs(2);
const READERS_PER_KEY: u64 = 2;

/// Kills the leader again and again.
pub(super) fn leader_killed(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    let mut times = Vec::new();
    for round in 1..=stage.rounds {
        thread::sleep(stage.some_time(BETWEEN_KILLS));
        let leader = stage.cluster.leader()?;
        stage.cluster.nodes[leader].kill();
        let killed_at = recorder.now();
        let time = time_to_first_write(&recorder, killed_at)?;
        times.push(time);
        let began = Instant::now();
        stage.cluster.nodes[leader].start()?;
        let applied = stage.cluster.wait_until_caught_up(leader)?;
        println!(
            "   round {round}: node {} killed, first write after {:.2} s; \
             back with {applied} entries applied after {:.2} s",
            leader + 1,
            time.as_secs_f64(),
            began.elapsed().as_secs_f64(),
        );
    }
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    if !times.is_empty() {
        times.sort_unstable();
        let [least, median, most] = [times[0], times[times.len() / 2], times[times.len() - 1]];
        let shown = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let (least, median, shown) = (shown(least), shown(median), shown(most));
        println!("   from kill to first write: min {least}, median {median}, max {shown}");
        ensure!(
            most <= FAILOVER_LIMIT,
            "a write had to wait {shown}; {FAILOVER_LIMIT:?} are allowed"
        );
    }
    Ok(())
}

/// Kills one node after the other, in any order, and starts it again at once: the next one
/// is killed while the last may still read its log.
pub(super) fn killed_in_turn(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    let began = Instant::now();
    let nodes = stage.cluster.nodes.len();
    let mut kills = vec![0; nodes];
    while kills.iter().sum::<u32>() < KILLS || kills.contains(&0) {
        ensure!(began.elapsed() < KILLS_LIMIT, "{kills:?} kills took {KILLS_LIMIT:?}");
        // With two of three away at once nothing is lost, and nothing goes on either.
        stage.cluster.leader()?;
        thread::sleep(stage.some_time(BETWEEN_KILLS / 4));
        let at = usize::try_from(stage.random.below(nodes as u64)).expect("there are few nodes");
        stage.cluster.nodes[at].kill();
        stage.cluster.nodes[at].start()?;
        kills[at] += 1;
    }
    let killed_at = recorder.now();
    let time = time_to_first_write(&recorder, killed_at)?;
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!(
        "   {kills:?} kills of the nodes in {:.1} s, first write after the last {:.2} s later",
        began.elapsed().as_secs_f64(),
        time.as_secs_f64()
    );
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// Kills every node at once, starts them again: nothing acknowledged is lost.
pub(super) fn all_killed(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    thread::sleep(stage.some_time(AFTERWARDS / 2));
    for node in &mut stage.cluster.nodes {
        node.kill();
    }
    let killed_at = recorder.now();
    ensure!(recorder.first_write_after(killed_at).is_none(), "a write went to a dead cluster");
    for node in &mut stage.cluster.nodes {
        node.start()?;
    }
    let time = time_to_first_write(&recorder, killed_at)?;
    println!("   all killed and started again, first write after {:.2} s", time.as_secs_f64());
    thread::sleep(AFTERWARDS / 2);
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// Pauses the leader until the others have gone on without it, lets it go on, and
/// reads through it at that very moment: it must not answer from the past.
pub(super) fn leader_paused(stage: &mut Stage) -> Result<()> {
    let leader = stage.cluster.leader()?;
    let load = stage.load();
    let recorder = load.recorder();
    thread::sleep(AFTERWARDS / 2);
    stage.cluster.nodes[leader].pause()?;
    let paused_at = recorder.now();
    let outcome = while_paused(stage, leader, &load, paused_at);
    // Whatever happened, a paused process must not stay behind.
    stage.cluster.nodes[leader].resume()?;
    let readers = outcome?;
    let resumed = Instant::now();
    let (mut answered, sent) = (0, readers.len());
    for reader in readers {
        let outcome = reader.join().ok().context("a reader does not panic")?;
        answered += u32::from(matches!(outcome, Outcome::Read(_)));
    }
    println!(
        "   {answered} of {sent} reads sent to the paused node were answered, the last {:.2} s \
         after it went on",
        resumed.elapsed().as_secs_f64()
    );
    stage.cluster.wait_until_caught_up(leader)?;
    thread::sleep(AFTERWARDS);
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

type Reader = thread::JoinHandle<Outcome<u64>>;

fn while_paused(
    stage: &mut Stage,
    leader: usize,
    load: &Load,
    paused_at: u64,
) -> Result<Vec<Reader>> {
    let time = time_to_first_write(&load.recorder(), paused_at)?;
    println!("   node {} paused, first write after {:.2} s", leader + 1, time.as_secs_f64());
    ensure!(time <= FAILOVER_LIMIT, "a write had to wait {time:?}");
    thread::sleep(PAUSE.saturating_sub(time));
    let address = stage.cluster.nodes[leader].client;
    let mut readers = Vec::new();
    for key in load.contested_keys() {
        for turn in 0..READERS_PER_KEY {
            let recorder = load.recorder();
            readers.push(thread::spawn(move || {
                let mut http = Client::new(address, PATIENCE);
                recorder.perform(u64::MAX - turn, &mut http, key, Action::Get)
            }));
        }
    }
    // The requests wait in the sockets of the paused process.
    thread::sleep(ELECTION_TIMEOUT / 4);
    Ok(readers)
}

/// How long after `moment` a write that was called later was acknowledged.
pub(super) fn time_to_first_write(recorder: &Recorder, moment: u64) -> Result<Duration> {
    let found =
        wait_for("a write to be acknowledged", PATIENCE, || Ok(recorder.first_write_after(moment)));
    match found {
        Ok(at) => Ok(Duration::from_nanos(at - moment)),
        Err(error) => bail!("{error}; {FAILOVER_LIMIT:?} are allowed"),
    }
}
