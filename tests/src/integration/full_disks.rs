//! Disks that are full, of one node after the other and of all.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::calm::read_everything;
use super::crashes::time_to_first_write;
use super::http::Client;
use super::node::wait_for;
use super::small_disk::SmallDisk;
use super::{Cluster, Recorder, Stage};
use crate::linearizability::{Action, Outcome};

/// The size of each node's disk, and of the segments of its log.
const DISK_MEBIBYTES: u32 = 192;
const SEGMENT: &str = "segment_bytes: 16777216\n";
/// Long enough for flushes, snapshots and switches of the log to find no room.
const WHILE_FULL: Duration = Duration::from_secs(4);
/// How long it may take until a full disk is noticed, or that there is room again.
const NOTICE_LIMIT: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(5);

/// A cluster of its own, whose disks are filled under load: that of a follower, that of the
/// leader, and all. No process ends by itself, nothing acknowledged is lost, and everything
/// goes on when there is room.
pub(super) fn full(stage: &mut Stage) -> Result<()> {
    let folder = stage.cluster.folder.join("full-disks");
    let mut disks = Vec::new();
    for id in 1..=3 {
        match SmallDisk::mount(&folder.join(format!("data-{id}")), DISK_MEBIBYTES) {
            Ok(disk) => disks.push(disk),
            Err(why) => return stage.skip(&format!("{why:#}")),
        }
    }
    let binary = stage.cluster.binary.clone();
    let cluster = Cluster::start_with(&binary, &folder, stage.seed ^ 7, SEGMENT)?;
    // The load and the checks are those of every other scenario, on this cluster.
    let main = std::mem::replace(&mut stage.cluster, cluster);
    let outcome = with_disks(stage, &disks);
    if outcome.is_err() {
        super::show_logs(&stage.cluster);
    }
    drop(std::mem::replace(&mut stage.cluster, main));
    outcome
}

type Step = fn(&mut Stage, &[SmallDisk], &Recorder) -> Result<()>;

fn with_disks(stage: &mut Stage, disks: &[SmallDisk]) -> Result<()> {
    stage.cluster.leader()?;
    let load = stage.load();
    let recorder = load.recorder();
    let steps: [(&str, Step); 3] = [("a follower", follower), ("the leader", leader), ("all", all)];
    for (who, step) in steps {
        step(stage, disks, &recorder).with_context(|| format!("the disk of {who} was full"))?;
    }
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// Writes go on with a majority, and another leader can be elected meanwhile. A node without
/// room counts for that, though no longer for writes once its reserve is used up.
fn follower(stage: &mut Stage, disks: &[SmallDisk], recorder: &Recorder) -> Result<()> {
    let leader = stage.cluster.leader()?;
    let full = (leader + 1) % 3;
    disks[full].fill()?;
    noticed(stage, disks, full)?;
    let before = recorder.now();
    let time = time_to_first_write(recorder, before)?;
    println!("   the disk of a follower is full: a write takes {:.2} s", time.as_secs_f64());
    thread::sleep(WHILE_FULL);
    stage.cluster.nodes[leader].kill();
    let began = Instant::now();
    let next = stage.cluster.leader()?;
    let took = began.elapsed().as_secs_f64();
    println!("   the leader killed besides: node {} leads after {took:.2} s", next + 1);
    let started_at = recorder.now();
    stage.cluster.nodes[leader].start()?;
    let time = time_to_first_write(recorder, started_at)?;
    println!("   and started again: first write after {:.2} s", time.as_secs_f64());
    stage.cluster.wait_until_caught_up(leader)?;
    goes_on(stage, disks, full)
}

/// Leadership goes to a node that has room.
fn leader(stage: &mut Stage, disks: &[SmallDisk], recorder: &Recorder) -> Result<()> {
    let full = stage.cluster.leader()?;
    disks[full].fill()?;
    let filled_at = recorder.now();
    let began = Instant::now();
    noticed(stage, disks, full)?;
    let other = wait_for("another leader", NOTICE_LIMIT, || {
        Ok(Some(stage.cluster.leader()?).filter(|leader| *leader != full))
    })?;
    let time = time_to_first_write(recorder, filled_at)?;
    println!(
        "   the disk of the leader is full: node {} leads after {:.2} s, first write after {:.2} s",
        other + 1,
        began.elapsed().as_secs_f64(),
        time.as_secs_f64()
    );
    thread::sleep(WHILE_FULL);
    goes_on(stage, disks, full)
}

/// Writes are refused, with the cause; reads and elections go on.
fn all(stage: &mut Stage, disks: &[SmallDisk], recorder: &Recorder) -> Result<()> {
    for disk in disks {
        disk.fill()?;
    }
    for at in 0..disks.len() {
        noticed(stage, disks, at)?;
    }
    let why = wait_for("a write to be refused for want of room", NOTICE_LIMIT, || {
        let leader = stage.cluster.leader()?;
        let mut node = Client::new(stage.cluster.nodes[leader].client, TIMEOUT);
        let answer = node.request("POST", "/v1/data", Some(br#"{"k": "full", "v": "1"}"#))?;
        Ok((answer.status == 507).then(|| answer.json()))
    })?;
    let text = why["error"].as_str().unwrap_or_default();
    ensure!(why["outcome"] == "refused" && text.contains("make room there"), "{why}");
    println!("   all disks are full: {text}");
    reads(stage, recorder)?;
    let killed = stage.cluster.leader()?;
    stage.cluster.nodes[killed].kill();
    let began = Instant::now();
    let next = stage.cluster.leader()?;
    let took = began.elapsed().as_secs_f64();
    println!("   the leader killed: node {} leads after {took:.2} s", next + 1);
    thread::sleep(WHILE_FULL);
    reads(stage, recorder)?;
    for disk in disks {
        disk.make_room()?;
    }
    let freed_at = recorder.now();
    stage.cluster.nodes[killed].start()?;
    let time = time_to_first_write(recorder, freed_at)?;
    println!("   room on all of them: first write after {:.2} s", time.as_secs_f64());
    stage.cluster.wait_until_caught_up(killed).map(drop)
}

/// A linearizable read is answered.
fn reads(stage: &mut Stage, recorder: &Recorder) -> Result<()> {
    let leader = stage.cluster.leader()?;
    let mut node = Client::new(stage.cluster.nodes[leader].client, TIMEOUT);
    let key = recorder.keys().first().copied().context("nothing was written")?;
    let outcome = recorder.perform(u64::MAX, &mut node, key, Action::Get);
    ensure!(matches!(outcome, Outcome::Read(_)), "a read is answered with {outcome:?}");
    Ok(())
}

/// Waits until the node `at` says that it has no room. What it removes itself meanwhile, old
/// segments and snapshots, is taken as well.
fn noticed(stage: &mut Stage, disks: &[SmallDisk], at: usize) -> Result<()> {
    says(stage, at, |no_room| {
        disks[at].fill()?;
        Ok(no_room.is_string())
    })
}

fn says(stage: &mut Stage, at: usize, what: impl Fn(&Value) -> Result<bool>) -> Result<()> {
    let mut client = Client::new(stage.cluster.nodes[at].client, TIMEOUT);
    let node = &mut stage.cluster.nodes[at];
    wait_for(&format!("node {} to know its disk", node.id), NOTICE_LIMIT, || {
        node.check_running()?;
        let status = client.request("GET", "/status", None)?.json();
        Ok(what(&status["no_room"])?.then_some(()))
    })
}

/// Makes room on the disk of the node `at`, which then goes on by itself.
fn goes_on(stage: &mut Stage, disks: &[SmallDisk], at: usize) -> Result<()> {
    disks[at].make_room()?;
    let began = Instant::now();
    says(stage, at, |no_room| Ok(no_room.is_null()))?;
    let applied = stage.cluster.wait_until_caught_up(at)?;
    println!(
        "   room on the disk of node {}: {applied} entries applied after {:.2} s",
        at + 1,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
