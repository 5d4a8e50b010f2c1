//! Nodes that are asked to end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Stage;
use super::calm::read_everything;

const LOAD_FOR: Duration = Duration::from_millis(500);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Asks every node to end, under load at first; each ends with success and soon,
/// and goes on later where it was.
pub(super) fn stopped_and_started_again(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    thread::sleep(stage.some_time(LOAD_FOR));
    let leader = stage.cluster.leader()?;
    let count = stage.cluster.nodes.len();
    for turn in 0..count {
        let at = (leader + turn) % count;
        let began = Instant::now();
        let status = stage.cluster.nodes[at].terminate(STOP_LIMIT)?;
        let role = if turn == 0 { "the leader, node" } else { "node" };
        println!("   {role} {}: {status} after {:.2?}", at + 1, began.elapsed());
        ensure!(status.success(), "node {} ended with {status}", at + 1);
    }
    load.stop();
    for node in &mut stage.cluster.nodes {
        node.start()?;
    }
    stage.cluster.leader()?;
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}
