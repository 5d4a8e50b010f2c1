//! A cluster to which nothing bad happens.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::http::Client;
use super::load::{Record, target};
use super::node::wait_for;
use super::{ELECTION_TIMEOUT, Stage};
use crate::linearizability::Outcome;

const TIMEOUT: Duration = Duration::from_secs(5);
const LOAD_FOR: Duration = Duration::from_secs(4);
/// A new cluster waits for all of its members, then elects: this is generous.
const START_LIMIT: Duration = Duration::from_secs(10);
const STALE_LIMIT: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_secs(2);
const WATCH_FOR: Duration = Duration::from_secs(5);
/// Of one processor, for each node.
const IDLE_GOAL_PERCENT: f64 = 1.0;
const IDLE_LIMIT_PERCENT: f64 = 3.0;

/// Writes through each node, reads through all of them, and deletes.
pub(super) fn every_node_serves(stage: &mut Stage) -> Result<()> {
    let began = Instant::now();
    let leader = stage.cluster.leader()?;
    let took = began.elapsed();
    println!("   node {} led {:.2} s after the start", leader + 1, took.as_secs_f64());
    ensure!(took < START_LIMIT, "a new cluster takes {took:?} to elect its leader");
    stage.cluster.wait_until_equal()?;
    let addresses: Vec<_> = stage.cluster.nodes.iter().map(|node| node.client).collect();
    let mut nodes: Vec<_> = addresses.iter().map(|&node| Client::new(node, TIMEOUT)).collect();
    for writer in 0..nodes.len() {
        for (at, key) in ["plain", "with space, / and ü", "%"].into_iter().enumerate() {
            let value = format!("written through {writer}, number {at}");
            let body = serde_json::json!({ "k": key, "v": value }).to_string();
            let path = format!("/v1/data/{}", escaped(key));
            expect(&mut nodes[writer], "POST", "/v1/data", Some(&body), 200)?;
            for reader in &mut nodes {
                let read = expect(reader, "GET", &path, None, 200)?;
                ensure!(read["k"] == key && read["v"] == value.as_str(), "{path}: {read}");
            }
            let stale = format!("{path}?consistency=stale");
            for reader in &mut nodes {
                wait_for("a stale read to show a write", STALE_LIMIT, || {
                    let read = reader.request("GET", &stale, None)?;
                    Ok((read.json()["v"] == value.as_str()).then_some(()))
                })?;
            }
            let deleter = (writer + 1) % nodes.len();
            for _already_gone in [false, true] {
                expect(&mut nodes[deleter], "DELETE", &path, None, 200)?;
            }
            for reader in &mut nodes {
                expect(reader, "GET", &path, None, 404)?;
            }
        }
    }
    ensure!(nodes.iter().all(|node| node.connections() == 1), "connections were not kept open");
    expect(&mut nodes[0], "GET", "/health", None, 200)?;
    nodes.iter_mut().try_for_each(shows_everybody)
}

/// The page is there, and what it shows of all members comes from them.
fn shows_everybody(node: &mut Client) -> Result<()> {
    let page = node.request("GET", "/", None)?;
    ensure!(page.status == 200 && page.body.starts_with(b"<!DOCTYPE html>"), "{page:?}");
    let told = expect(node, "GET", "/status/cluster", None, 200)?;
    let members = told["members"].as_array().map_or(&[][..], Vec::as_slice);
    let led = members.iter().filter(|member| member["status"]["role"] == "leader").count();
    let known = members.iter().filter(|member| member["status"]["node"] == member["id"]).count();
    ensure!((members.len(), known, led) == (3, 3, 1), "{told}");
    Ok(())
}

/// Clients at work; nothing may be refused for longer than it takes.
pub(super) fn load(stage: &mut Stage) -> Result<()> {
    stage.cluster.leader()?;
    let load = stage.load();
    thread::sleep(LOAD_FOR);
    let recorder = load.stop();
    println!("   {}", recorder.judge()?);
    let records = recorder.records();
    let failed = |record: &&Record| matches!(record.outcome, Outcome::Refused | Outcome::Unknown);
    let failures = records.iter().filter(failed).count();
    ensure!(failures * 100 <= records.len(), "{failures} of {} requests failed", records.len());
    for (what, wanted) in [("writes", Outcome::Done), ("reads", Outcome::Read(None))] {
        let same = |record: &&Record| {
            std::mem::discriminant(&record.outcome) == std::mem::discriminant(&wanted)
        };
        let mut times: Vec<_> = records
            .iter()
            .filter(same)
            .filter_map(|record| Some(record.returned_at? - record.called_at))
            .map(Duration::from_nanos)
            .collect();
        times.sort_unstable();
        let Some(&slowest) = times.last() else { bail!("there were no {what}") };
        let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let rate = times.len() as f64 / LOAD_FOR.as_secs_f64();
        println!("   {what}: {rate:.0}/s, median {median:.2?}, 99 % {p99:.2?}, max {slowest:.2?}");
    }
    Ok(())
}

/// A cluster with nothing to do uses hardly any processor time.
pub(super) fn idle(stage: &mut Stage) -> Result<()> {
    stage.cluster.wait_until_equal()?;
    thread::sleep(REST);
    let used = |stage: &Stage| {
        stage.cluster.nodes.iter().map(super::Node::processor_time).collect::<Result<Vec<_>>>()
    };
    let (before, began) = (used(stage)?, Instant::now());
    thread::sleep(WATCH_FOR.max(4 * ELECTION_TIMEOUT));
    let (after, watched) = (used(stage)?, began.elapsed());
    let mut most = 0.0_f64;
    for (node, (before, after)) in stage.cluster.nodes.iter().zip(before.iter().zip(&after)) {
        let percent = 100.0 * (*after - *before).as_secs_f64() / watched.as_secs_f64();
        println!("   node {}: {percent:.2} % of a processor", node.id);
        most = most.max(percent);
    }
    ensure!(most <= IDLE_LIMIT_PERCENT, "an idle node uses {most:.2} % of a processor");
    if most > IDLE_GOAL_PERCENT {
        println!("   more than the goal of {IDLE_GOAL_PERCENT} %");
    }
    Ok(())
}

/// Asks for something and checks the status; the answer's body.
fn expect(
    node: &mut Client,
    method: &str,
    target: &str,
    body: Option<&str>,
    status: u16,
) -> Result<serde_json::Value> {
    let response = node.request(method, target, body.map(str::as_bytes))?;
    let text = String::from_utf8_lossy(&response.body);
    ensure!(response.status == status, "{method} {target}: {} {text}", response.status);
    Ok(response.json())
}

/// A key as it stands in a path.
fn escaped(key: &str) -> String {
    let mut escaped = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'-' | b'0'..=b'9' => escaped.push(char::from(byte)),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

/// Reads every key that was ever touched: linearizably through one node after the
/// other, which goes into the record, and then stale through every node, which must
/// show the same. The cluster must be at rest.
pub(super) fn read_everything(stage: &mut Stage, recorder: &super::Recorder) -> Result<usize> {
    let applied = stage.cluster.wait_until_equal()?;
    let addresses = stage.cluster.nodes.iter().map(|node| node.client);
    let mut nodes: Vec<_> = addresses.map(|node| Client::new(node, TIMEOUT)).collect();
    let keys = recorder.keys();
    for (turn, &key) in keys.iter().enumerate() {
        let at = turn % nodes.len();
        let action = crate::linearizability::Action::Get;
        let outcome = recorder.perform(u64::MAX, &mut nodes[at], key, action);
        let Outcome::Read(value) = outcome else {
            let id = stage.cluster.nodes[at].id;
            bail!("node {id} at rest does not answer a read: {outcome:?}");
        };
        let stale = format!("{}?consistency=stale", target(key));
        for (at, node) in nodes.iter_mut().enumerate() {
            let read = node.request("GET", &stale, None)?.json();
            let read = read["v"].as_str().and_then(|value| value.parse::<u64>().ok());
            ensure!(
                read == value,
                "node {} has applied {applied} entries and holds {read:?} for {stale}, not {value:?}",
                stage.cluster.nodes[at].id
            );
        }
    }
    Ok(keys.len())
}
