//! A cluster of nodes in a folder of its own.

use std::fmt::Write;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::node::{Node, Status, free_ports, wait_for};

/// The election timeout in the configuration, which is the default.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Snapshots come so often here that logs are trimmed within seconds, and a node that
/// was down for a while may need one.
const SNAPSHOT_EVERY: u32 = 3000;
const KEEP_ENTRIES: u32 = 300;
/// How long anything may take that needs a leader.
const LEADER_LIMIT: Duration = Duration::from_secs(20);
/// How long a node may take to catch up.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30);

/// The members of a cluster, three at first. Members may come and go: a place in `nodes`
/// is not an id.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes that are members, or about to be.
    pub nodes: Vec<Node>,
    /// Where they keep everything.
    pub folder: PathBuf,
    /// The program they run.
    pub binary: PathBuf,
    seed: u64,
    /// What every configuration says besides.
    more: &'static str,
}

/// How a node finds its cluster.
#[derive(Clone, Copy, Debug)]
pub(super) enum Finds {
    /// The nodes there are form it together.
    Forms,
    /// It exists, and the nodes there are belong to it.
    Joins,
}

impl Cluster {
    /// Starts a new cluster below `folder`.
    pub(super) fn start(binary: &Path, folder: &Path, seed: u64) -> Result<Self> {
        Self::start_with(binary, folder, seed, "")
    }

    /// As above, with lines for every node's configuration.
    pub(super) fn start_with(
        binary: &Path,
        folder: &Path,
        seed: u64,
        more: &'static str,
    ) -> Result<Self> {
        let ports = free_ports(6, seed)?;
        let (folder_too, binary_too) = (folder.to_owned(), binary.to_owned());
        let mut cluster =
            Self { nodes: Vec::new(), folder: folder_too, binary: binary_too, seed, more };
        for (id, ports) in (1..).zip(ports.chunks(2)) {
            let [client, peer] = [ports[0], ports[1]].map(on_loopback);
            let config = folder.join(format!("node-{id}.yaml"));
            cluster.nodes.push(Node::new(id, [client, peer], binary, config));
        }
        for at in 0..3 {
            cluster.configure(at, Finds::Forms)?;
            cluster.nodes[at].start()?;
        }
        Ok(cluster)
    }

    /// Starts a node with an empty folder that waits to be made a member; its place in
    /// `nodes`.
    pub(super) fn start_joining(&mut self, id: u64) -> Result<usize> {
        let ports = free_ports(2, self.seed ^ (id << 32))?;
        let listens = [ports[0], ports[1]].map(on_loopback);
        let config = self.folder.join(format!("node-{id}.yaml"));
        self.nodes.push(Node::new(id, listens, &self.binary, config));
        let at = self.nodes.len() - 1;
        self.configure(at, Finds::Joins)?;
        self.nodes[at].start()?;
        wait_for("a node to listen for others", LEADER_LIMIT, || {
            self.nodes[at].check_running()?;
            Ok(TcpStream::connect(self.nodes[at].peer).ok())
        })?;
        Ok(at)
    }

    fn configure(&self, at: usize, finds: Finds) -> Result<()> {
        let (data, listens) = (self.data(at), self.nodes[at].listens());
        self.write_config(&format!("node-{}", self.nodes[at].id), at, &data, listens, finds)?;
        Ok(())
    }

    /// Runs `raft-node` with these words, as an operator would, and expects it to do what
    /// it is told.
    pub(super) fn operate(&self, words: &[&str]) -> Result<()> {
        let endpoints = self.nodes.iter().map(|node| node.client.to_string());
        let endpoints = endpoints.collect::<Vec<_>>().join(",");
        self.run(&[words, &["--endpoints", &endpoints]].concat())
    }

    /// Runs `raft-node` with these words alone.
    pub(super) fn run(&self, words: &[&str]) -> Result<()> {
        let output = Command::new(&self.binary).args(words).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let words = words.join(" ");
        ensure!(output.status.success(), "raft-node {words}: {}: {said}", output.status);
        println!("   raft-node {words}: {}", said.trim().replace('\n', "; "));
        Ok(())
    }

    /// The folder of a node's data.
    pub(super) fn data(&self, at: usize) -> PathBuf {
        self.folder.join(format!("data-{}", self.nodes[at].id))
    }

    /// Writes a configuration for the node `at`, with its data and its listening
    /// addresses as given, and says where it is.
    pub(super) fn write_config(
        &self,
        name: &str,
        at: usize,
        data: &Path,
        [client, peer]: [SocketAddr; 2],
        finds: Finds,
    ) -> Result<PathBuf> {
        let id = self.nodes[at].id;
        let mut text = format!(
            "node_id: {id}\ncluster: integration\ndata_dir: {data:?}\nlisten_client: {client}\n\
             listen_peer: {peer}\nsnapshot_every_entries: {SNAPSHOT_EVERY}\n\
             keep_entries: {KEEP_ENTRIES}\n{}",
            self.more
        );
        match finds {
            Finds::Forms => {
                text.push_str("members:\n");
                for Node { id, client, peer, .. } in &self.nodes {
                    writeln!(text, "  - {{ id: {id}, peer: \"{peer}\", client: \"{client}\" }}")?;
                }
            }
            Finds::Joins => {
                text.push_str("join:\n");
                for node in self.nodes.iter().filter(|node| node.id != id) {
                    writeln!(text, "  - \"{}\"", node.peer)?;
                }
            }
        }
        let path = self.folder.join(format!("{name}.yaml"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Waits for a leader that is recognised by a majority; its place in `nodes`.
    pub(super) fn leader(&mut self) -> Result<usize> {
        wait_for("a leader", LEADER_LIMIT, || {
            for node in &mut self.nodes {
                node.check_running()?;
            }
            let statuses: Vec<_> = self.nodes.iter().map(Node::status).collect();
            Ok((0..statuses.len()).find(|&at| leads(at, self.nodes[at].id, &statuses)))
        })
    }

    /// Waits until the node `at` has applied all that its leader had committed when
    /// this was called; how far that was.
    pub(super) fn wait_until_caught_up(&mut self, at: usize) -> Result<u64> {
        let what = format!("node {} to catch up", self.nodes[at].id);
        let mut goal = None;
        wait_for(&what, CATCH_UP_LIMIT, || {
            if goal.is_none() {
                let leader = self.leader()?;
                goal = self.nodes[leader].status().map(|status| status.commit);
            }
            self.nodes[at].check_running()?;
            let applied = self.nodes[at].status().map_or(0, |status| status.applied);
            Ok(goal.filter(|&goal| applied >= goal))
        })
    }

    /// Waits until every node has applied the same, which is all that is committed.
    pub(super) fn wait_until_equal(&mut self) -> Result<u64> {
        wait_for("all nodes to have applied the same", CATCH_UP_LIMIT, || {
            for node in &mut self.nodes {
                node.check_running()?;
            }
            let statuses: Option<Vec<_>> = self.nodes.iter().map(Node::status).collect();
            Ok(statuses.and_then(|statuses| {
                let applied = statuses.first()?.applied;
                let same = |status: &Status| (status.applied, status.commit) == (applied, applied);
                statuses.iter().all(same).then_some(applied)
            }))
        })
    }
}

fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Whether the node `at`, whose id is `id`, leads and a majority says so in its term.
fn leads(at: usize, id: u64, statuses: &[Option<Status>]) -> bool {
    let Some(Status { leads: true, term, .. }) = statuses[at] else { return false };
    let agrees = |status: &Status| status.term == term && status.leader == Some(id);
    2 * statuses.iter().flatten().filter(|status| agrees(status)).count() > statuses.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_one_that_a_majority_recognises_in_its_term() {
        let status = |leads, term, leader| {
            Some(Status { leads, term, leader: Some(leader), commit: 0, applied: 0 })
        };
        let new = status(true, 3, 1);
        assert!(leads(0, 1, &[new.clone(), status(false, 3, 1), None]));
        assert!(!leads(0, 1, &[new.clone(), status(false, 2, 1), None]));
        assert!(!leads(0, 1, &[new.clone(), status(false, 3, 2), status(false, 4, 1)]));
        assert!(!leads(1, 2, &[new, status(false, 3, 1), status(false, 3, 1)]));
    }
}
