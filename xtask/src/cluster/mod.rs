//! A cluster of real processes on this machine, until Ctrl-C.

pub(crate) mod layout;
pub(crate) mod process;
pub(crate) mod status;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use layout::Place;
use process::Node;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cargo;

/// How long the nodes may take to agree on a leader before this says so.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nodes may take to stop before they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const GLANCE_EVERY: Duration = Duration::from_millis(100);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Builds the node, starts `count` of them, and stops them all when told to.
pub(crate) fn run(count: usize, fresh: bool) -> Result<()> {
    let places = layout::places(count)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&stop)).context("cannot wait for signals")?;
    }
    println!("building raft-node ...");
    let binary = cargo::build_node()?;
    // First the ports: data must not be removed under a cluster that runs.
    layout::check_ports(&places)?;
    let folder = cargo::root().join(layout::FOLDER);
    if fresh && folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let found = layout::write_configs(&cargo::root(), &places)?;
    if found {
        println!("data of an earlier run found, the cluster goes on with it (--fresh removes it)");
    }
    let mut cluster = Cluster::start(&binary, &places)?;
    let outcome = cluster.run_until(&stop);
    cluster.stop();
    outcome
}

/// The running nodes.
struct Cluster {
    nodes: Vec<Node>,
    binary: PathBuf,
    leader: Option<u64>,
    began: Instant,
    impatient: bool,
}

impl Cluster {
    fn start(binary: &Path, places: &[Place]) -> Result<Self> {
        let mut cluster = Self {
            nodes: Vec::new(),
            binary: binary.to_owned(),
            leader: None,
            began: Instant::now(),
            impatient: false,
        };
        for place in places {
            match Node::start(binary, place) {
                Ok(node) => cluster.nodes.push(node),
                Err(error) => {
                    cluster.stop();
                    return Err(error);
                }
            }
        }
        println!("{} nodes started, waiting for a leader ...", cluster.nodes.len());
        Ok(cluster)
    }

    /// Watches over the nodes until told to stop, or until none is left.
    fn run_until(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut asked = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            for node in &mut self.nodes {
                if let Some(end) = node.ended() {
                    report_end(&self.binary, node, &end);
                }
            }
            if self.nodes.iter().all(|node| !node.is_running()) {
                bail!("no node is running any more");
            }
            if asked.elapsed() >= ASK_EVERY || self.leader.is_none() {
                self.ask_who_leads();
                asked = Instant::now();
            }
            thread::sleep(GLANCE_EVERY);
        }
        println!("\nstopping ...");
        Ok(())
    }

    fn ask_who_leads(&mut self) {
        let running = self.nodes.iter().filter(|node| node.is_running());
        let clients: Vec<_> = running.map(|node| node.place.client()).collect();
        let Some(leader) = status::leader(&clients) else {
            if self.leader.is_none() && !self.impatient && self.began.elapsed() > PATIENCE {
                self.impatient = true;
                println!("still no leader after {} s; the logs may tell why", PATIENCE.as_secs());
                self.nodes.iter().for_each(|node| println!("  {}", node.place.log()));
            }
            return;
        };
        match self.leader.replace(leader) {
            None => self.introduce(leader),
            Some(before) if before != leader => println!("node {leader} leads now"),
            Some(_) => {}
        }
    }

    /// Tells what runs where and how to use it.
    fn introduce(&self, leader: u64) {
        println!("\nThe cluster is up.\n");
        for node in &self.nodes {
            let Place { id, .. } = node.place;
            let role = if id == leader { "leader  " } else { "follower" };
            let (client, peer) = (node.place.client(), node.place.peer());
            println!("  node {id}  {role}  clients {client}  peers {peer}  pid {}", node.pid());
            println!("          data {}  log {}", node.place.data(), node.place.log());
        }
        let through = |wanted: bool| {
            let mut nodes = self.nodes.iter().map(|node| &node.place);
            nodes.find(|place| (place.id == leader) == wanted).map(Place::client)
        };
        println!("\nTry, through the leader and through a follower:\n");
        for client in [through(true), through(false)].into_iter().flatten() {
            println!(
                "  curl -X POST http://{client}/v1/data -d '{{\"k\": \"colour\", \"v\": \"red\"}}' \\"
            );
            println!("       -H 'content-type: application/json'");
            println!("  curl http://{client}/v1/data/colour");
        }
        println!("\nCtrl-C stops the cluster.\n");
    }

    /// Asks every node to stop, waits, and kills what does not.
    fn stop(&mut self) {
        for node in &self.nodes {
            node.ask_to_stop();
        }
        let limit = Instant::now() + STOP_LIMIT;
        for node in &mut self.nodes {
            while node.is_running() && Instant::now() < limit {
                if let Some(end) = node.ended() {
                    println!("node {} stopped ({end})", node.place.id);
                } else {
                    thread::sleep(GLANCE_EVERY);
                }
            }
            if node.is_running() {
                let id = node.place.id;
                println!("node {id} did not stop in {} s and is killed", STOP_LIMIT.as_secs());
                node.kill();
            }
        }
    }
}

fn report_end(binary: &Path, node: &Node, end: &str) {
    let place = &node.place;
    println!("\nnode {} ended ({end}); the last lines of {}:", place.id, place.log());
    for line in node.last_log_lines(10) {
        println!("  | {line}");
    }
    println!("to start it again, in {}:", cargo::root().display());
    println!("  {} serve --config {}\n", process::shown(binary), place.config());
}
