//! Three servers under measurement, ours or etcd's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{GLANCE_EVERY, Stop};
use crate::cargo;
use crate::cluster::layout::{self, Place};
use crate::cluster::process::Node;
use crate::cluster::status;

/// How long servers may take to agree on a leader.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long they may take to stop before they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a leader must have led before a measurement begins.
const SETTLING: Duration = Duration::from_secs(1);

/// Whose servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Raft,
    Etcd,
}

impl Make {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Etcd => "etcd",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Raft => "target/bench/raft",
            Self::Etcd => "target/bench/etcd",
        }
    }

    /// Ports of their own: neither those of `cargo xtask cluster` nor those that the
    /// system gives to clients.
    const fn first_port(self) -> u16 {
        match self {
            Self::Raft => 21_790,
            Self::Etcd => 21_890,
        }
    }

    fn places(self) -> [Place; 3] {
        [1, 2, 3].map(|id: u16| Place {
            folder: self.folder(),
            id: id.into(),
            client_port: self.first_port() + 2 * id,
            peer_port: self.first_port() + 2 * id + 1,
        })
    }
}

/// The servers, which are stopped when this is dropped.
pub(crate) struct Servers {
    make: Make,
    nodes: Vec<Node>,
}

impl Servers {
    /// Starts three servers without any data, and waits until one of them leads.
    pub(crate) fn start(make: Make, raft_node: &Path, stop: &Stop) -> Result<Self> {
        let places = make.places();
        layout::check_ports(&places)?;
        let folder = cargo::root().join(make.folder());
        if folder.exists() {
            let removed = fs::remove_dir_all(&folder);
            removed.with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        match make {
            Make::Raft => drop(layout::write_configs(&cargo::root(), &places)?),
            Make::Etcd => fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?,
        }
        // What was written and removed before must not be paid for by these.
        rustix::fs::sync();
        let mut servers = Self { make, nodes: Vec::new() };
        for place in &places {
            servers.nodes.push(match make {
                Make::Raft => Node::start(raft_node, place)?,
                Make::Etcd => Node::spawn(etcd(place, &places), place)?,
            });
        }
        servers.wait_for_leader(stop)?;
        stop.sleep(SETTLING)?;
        Ok(servers)
    }

    /// The process of the leader, and then those of the others.
    pub(crate) fn pids(&self) -> Result<[u32; 3]> {
        let leader = self.leader().context("there is no leader")?;
        let mut pids: Vec<_> = self.nodes.iter().map(|node| (node.place.id, node.pid())).collect();
        pids.sort_by_key(|(id, _)| *id != leader);
        let pids: Vec<_> = pids.into_iter().map(|(_, pid)| pid).collect();
        Ok(pids.try_into().expect("three servers were started"))
    }

    /// The clients' addresses, that of the leader first.
    pub(crate) fn endpoints(&self) -> Result<Vec<String>> {
        let leader = self.leader().context("there is no leader")?;
        let mut places: Vec<_> = self.nodes.iter().map(|node| node.place).collect();
        places.sort_by_key(|place| place.id != leader);
        Ok(places.iter().map(Place::client).collect())
    }

    /// The highest term that a node of ours knows; waits for an answer, as there may be
    /// a lot to do.
    pub(crate) fn term(&self, stop: &Stop) -> Result<u64> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let answers = self.nodes.iter().map(|node| status::ask(&node.place.client()));
            let terms: Result<Vec<_>> = answers
                .map(|answer| answer?["term"].as_u64().context("a status without a term"))
                .collect();
            match terms {
                Ok(terms) => return Ok(terms.into_iter().max().unwrap_or(0)),
                Err(why) if Instant::now() > limit => return Err(why),
                Err(_) => stop.sleep(GLANCE_EVERY)?,
            }
        }
    }

    /// The data folders.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.nodes.iter().map(|node| cargo::root().join(node.place.data())).collect()
    }

    /// The processes, node by node.
    pub(crate) fn pids_by_node(&self) -> Vec<u32> {
        self.nodes.iter().map(Node::pid).collect()
    }

    /// An error if one of the servers has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Some(end) = node.ended() {
                let log = node.last_log_lines(10).join("\n  | ");
                let (id, path) = (node.place.id, node.place.log());
                bail!("node {id} ended ({end}); the last lines of {path}:\n  | {log}");
            }
        }
        Ok(())
    }

    fn leader(&self) -> Option<u64> {
        let places = self.nodes.iter().map(|node| node.place);
        match self.make {
            Make::Raft => status::leader(&places.map(|place| place.client()).collect::<Vec<_>>()),
            Make::Etcd => places
                .filter(|place| {
                    status::get(&place.client(), "/metrics").is_ok_and(|text| leads(&text))
                })
                .map(|place| place.id)
                .next(),
        }
    }

    fn wait_for_leader(&mut self, stop: &Stop) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        loop {
            self.check()?;
            let health = |node: &Node| status::get(&node.place.client(), "/health").is_ok();
            if self.leader().is_some() && self.nodes.iter().all(health) {
                return Ok(());
            }
            if Instant::now() > limit {
                bail!("no leader after {} s; see {}", PATIENCE.as_secs(), self.make.folder());
            }
            stop.sleep(GLANCE_EVERY)?;
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.ask_to_stop();
        }
        let limit = Instant::now() + STOP_LIMIT;
        for node in &mut self.nodes {
            while node.is_running() && Instant::now() < limit {
                if node.ended().is_none() {
                    thread::sleep(GLANCE_EVERY);
                }
            }
            // One that runs still is killed when it is dropped.
        }
    }
}

/// The version of the etcd that is installed, or how to install one.
pub(crate) fn etcd_version() -> Result<String> {
    let version = cargo::read(Command::new("etcd").arg("--version"))
        .context("etcd is needed to measure it: apt-get install etcd-server")?;
    Ok(version.lines().next().unwrap_or_default().replace("etcd Version: ", ""))
}

fn etcd(place: &Place, places: &[Place]) -> Command {
    let url = |address: String| format!("http://{address}");
    let members: Vec<_> =
        places.iter().map(|place| format!("node-{}={}", place.id, url(place.peer()))).collect();
    let mut command = Command::new("etcd");
    for (option, value) in [
        ("--name", format!("node-{}", place.id)),
        ("--data-dir", place.data()),
        ("--listen-client-urls", url(place.client())),
        ("--advertise-client-urls", url(place.client())),
        ("--listen-peer-urls", url(place.peer())),
        ("--initial-advertise-peer-urls", url(place.peer())),
        ("--initial-cluster", members.join(",")),
        ("--logger", "zap".to_owned()),
        // The default of 2 GiB might end a long comparison early.
        ("--quota-backend-bytes", (8_u64 << 30).to_string()),
    ] {
        command.args([option, &value]);
    }
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(name);
        }
    }
    command
}

/// Whether the metrics of an etcd say that it leads.
fn leads(metrics: &str) -> bool {
    metrics.lines().any(|line| line.trim_end() == "etcd_server_is_leader 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_servers_share_a_port() {
        let places = [Make::Raft, Make::Etcd].map(Make::places).concat();
        let mut ports: Vec<_> =
            places.iter().flat_map(|place| [place.client_port, place.peer_port]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 12);
    }

    #[test]
    fn the_leader_of_etcd_is_told_by_its_metrics() {
        let metrics = "# TYPE etcd_server_is_leader gauge\netcd_server_is_leader";
        assert!(leads(&format!("{metrics} 1\n")));
        assert!(!leads(&format!("{metrics} 0\n")));
        assert!(!leads("# HELP etcd_server_is_leader 1 if is, 0 otherwise.\n"));
    }

    #[test]
    fn every_etcd_knows_all_members() {
        let places = Make::Etcd.places();
        let command = etcd(&places[1], &places);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let all = words.iter().filter(|word| word.contains("node-1=http://127.0.0.1:21893"));
        assert_eq!(all.count(), 1, "{words:?}");
        assert!(words.contains(&"target/bench/etcd/node-2".into()), "{words:?}");
    }
}
