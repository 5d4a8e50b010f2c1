//! Nodes that are asked to end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::calm::read_everything;
use super::crashes::time_to_first_write;
use super::{ELECTION_TIMEOUT, Stage};

const LOAD_FOR: Duration = Duration::from_millis(500);
/// How long a node may take to end, with a majority or without.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Restarts one node after the other under load, the leader first. A leader hands over
/// before it ends, so that nobody has to wait until it is missed.
pub(super) fn rolling_restart(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    thread::sleep(stage.some_time(LOAD_FOR));
    let leader = stage.cluster.leader()?;
    for at in in_turn(leader, stage.cluster.nodes.len()) {
        let asked_at = recorder.now();
        terminate(stage, at, STOP_LIMIT)?;
        let time = time_to_first_write(&recorder, asked_at)?;
        stage.cluster.nodes[at].start()?;
        stage.cluster.wait_until_caught_up(at)?;
        println!("      first write after {:.2} s, started again", time.as_secs_f64());
        ensure!(time < ELECTION_TIMEOUT, "a write had to wait {time:?} for a polite end");
    }
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// Ends every node under load; each goes on later where it was.
pub(super) fn all_stopped(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    thread::sleep(stage.some_time(LOAD_FOR));
    let leader = stage.cluster.leader()?;
    for at in in_turn(leader, stage.cluster.nodes.len()) {
        terminate(stage, at, STOP_LIMIT)?;
    }
    load.stop();
    for node in &mut stage.cluster.nodes {
        node.start()?;
    }
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

fn in_turn(first: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (first + turn) % count)
}

/// Asks a node to end, which it must do soon and with success.
fn terminate(stage: &mut Stage, at: usize, limit: Duration) -> Result<()> {
    let began = Instant::now();
    let status = stage.cluster.nodes[at].terminate(limit)?;
    println!(
        "   node {}: {status} after {:.2} s",
        stage.cluster.nodes[at].id,
        began.elapsed().as_secs_f64()
    );
    ensure!(status.success(), "node {} ended with {status}", stage.cluster.nodes[at].id);
    Ok(())
}
