//! Members that come and go under load, as operators do it: with the commands of the
//! program itself.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::calm::read_everything;
use super::crashes::{FAILOVER_LIMIT, time_to_first_write};
use super::{ELECTION_TIMEOUT, Recorder, Stage};

const LOAD_FOR: Duration = Duration::from_millis(500);
/// How long a node may take to hear that it was removed, and to end.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);
/// How long a node that must not start may take to say so.
const REFUSAL_LIMIT: Duration = Duration::from_secs(10);

/// From three members to five and back to three; the leader is among those who go.
pub(super) fn three_five_three(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    thread::sleep(stage.some_time(LOAD_FOR));
    for id in [4, 5] {
        add(stage, id)?;
    }
    let first = stage.cluster.leader()?;
    remove(stage, &recorder, first)?;
    let next = stage.cluster.leader()?;
    let other = (next + 1) % stage.cluster.nodes.len();
    remove(stage, &recorder, other)?;
    ensure!(stage.cluster.nodes.len() == 3, "three members are left");
    load.stop();
    stage.cluster.operate(&["member", "list"])?;
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// A node loses its disk: it is refused as it is, and another one takes its place.
pub(super) fn wiped_disk_replaced(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    thread::sleep(stage.some_time(LOAD_FOR));
    let leader = stage.cluster.leader()?;
    let wiped = (leader + 1) % stage.cluster.nodes.len();
    let id = stage.cluster.nodes[wiped].id;
    stage.cluster.nodes[wiped].kill();
    fs::remove_dir_all(stage.cluster.data(wiped))?;
    stage.cluster.nodes[wiped].start()?;
    let status = stage.cluster.nodes[wiped].wait_for_end(REFUSAL_LIMIT)?;
    ensure!(!status.success(), "node {id} came back with an empty disk and was not refused");
    let said = stage.cluster.nodes[wiped].last_log_lines(1).join(" ");
    println!("   node {id} with an empty folder: {said}");
    ensure!(said.contains("empty") && said.contains(&format!("node {id}")), "it says {said:?}");

    // Before the operator's hand it is a cluster of three with one missing.
    let mut gone = stage.cluster.nodes.remove(wiped);
    gone.kill();
    let new = stage.cluster.start_joining(6)?;
    let node = node_argument(stage, new);
    let began = Instant::now();
    stage.cluster.operate(&["member", "replace", &id.to_string(), &node])?;
    println!("   replaced after {:.2} s", began.elapsed().as_secs_f64());
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// Two of three are lost for good: the third begins a new cluster, to which others come.
pub(super) fn majority_lost(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    thread::sleep(stage.some_time(LOAD_FOR));
    let recorder = load.stop();
    stage.cluster.wait_until_equal()?;
    while stage.cluster.nodes.len() > 1 {
        let mut lost = stage.cluster.nodes.remove(0);
        lost.kill();
    }
    let survivor = &mut stage.cluster.nodes[0];
    survivor.terminate(REMOVAL_LIMIT)?;
    let id = survivor.id;
    let (folder, new) = (stage.cluster.data(0), stage.cluster.folder.join("recovered"));
    let [from, to] = [&folder, &new].map(|path| path.display().to_string());
    let flag = "--dangerously-forget-the-others";
    stage.cluster.run(&["recover", "--from", &from, "--to", &to, flag])?;
    fs::rename(&folder, stage.cluster.folder.join("lost"))?;
    fs::rename(&new, &folder)?;
    stage.cluster.nodes[0].start()?;
    stage.cluster.leader()?;
    println!("   node {id} leads a cluster of its own");
    for id in [7, 8] {
        add(stage, id)?;
    }
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// Leadership goes round under load.
pub(super) fn transfers(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    for _ in 0..stage.cluster.nodes.len() {
        thread::sleep(stage.some_time(LOAD_FOR));
        let leader = stage.cluster.leader()?;
        let to = (leader + 1) % stage.cluster.nodes.len();
        stage.cluster.wait_until_caught_up(to)?;
        let id = stage.cluster.nodes[to].id;
        let asked_at = recorder.now();
        stage.cluster.operate(&["transfer", &id.to_string()])?;
        let time = time_to_first_write(&recorder, asked_at)?;
        println!("      first write after {:.2} s", time.as_secs_f64());
        ensure!(time < ELECTION_TIMEOUT, "a write waited {time:?} for a transfer");
        ensure!(stage.cluster.leader()? == to, "node {id} does not lead");
    }
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// Starts a node and makes it a member.
fn add(stage: &mut Stage, id: u64) -> Result<()> {
    let at = stage.cluster.start_joining(id)?;
    let began = Instant::now();
    let node = node_argument(stage, at);
    stage.cluster.operate(&["member", "add", &node])?;
    let applied = stage.cluster.wait_until_caught_up(at)?;
    let took = began.elapsed().as_secs_f64();
    println!("   node {id} votes and holds {applied} entries after {took:.2} s");
    Ok(())
}

/// Removes a member, which then ends by itself and is not to be started again.
fn remove(stage: &mut Stage, recorder: &Recorder, at: usize) -> Result<()> {
    let id = stage.cluster.nodes[at].id;
    let asked_at = recorder.now();
    stage.cluster.operate(&["member", "remove", &id.to_string()])?;
    let time = time_to_first_write(recorder, asked_at)?;
    let mut gone = stage.cluster.nodes.remove(at);
    let began = Instant::now();
    let status = gone.wait_for_end(REMOVAL_LIMIT)?;
    println!(
        "   node {id} removed, first write after {:.2} s; it ended {:.2} s later: {status}",
        time.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    ensure!(time <= FAILOVER_LIMIT, "a write had to wait {time:?} for a removal");
    ensure!(status.success(), "node {id} was removed and ended with {status}");
    let said = gone.last_log_lines(1).join(" ");
    ensure!(said.contains("was removed from its cluster"), "node {id} says {said:?}");

    gone.start()?;
    let status = gone.wait_for_end(REFUSAL_LIMIT)?;
    let said = gone.last_log_lines(1).join(" ");
    ensure!(!status.success(), "node {id} was started again after it was removed");
    ensure!(said.contains("removed"), "node {id} says {said:?}");
    Ok(())
}

/// A node as the command line wants it.
fn node_argument(stage: &Stage, at: usize) -> String {
    let node = &stage.cluster.nodes[at];
    format!("{}={}/{}", node.id, node.peer, node.client)
}
