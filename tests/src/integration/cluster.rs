//! A cluster of nodes in a folder of its own.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

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

/// Three nodes.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes; node `n` is at `n - 1`.
    pub nodes: Vec<Node>,
    /// Where they keep everything.
    pub folder: PathBuf,
    /// The program they run.
    pub binary: PathBuf,
    peers: Vec<SocketAddr>,
}

impl Cluster {
    /// Starts a new cluster below `folder`.
    pub(super) fn start(binary: &Path, folder: &Path, seed: u64) -> Result<Self> {
        let ports = free_ports(6, seed)?;
        let addresses: Vec<_> =
            ports.iter().map(|&p| SocketAddr::from(([127, 0, 0, 1], p))).collect();
        let (clients, peers) = addresses.split_at(3);
        let mut cluster = Self {
            nodes: Vec::new(),
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            peers: peers.to_vec(),
        };
        for (id, &client) in (1..).zip(clients) {
            let config = folder.join(format!("node-{id}.yaml"));
            cluster.nodes.push(Node::new(id, client, binary, config));
        }
        for at in 0..3 {
            let data = cluster.data(at);
            cluster.write_config(
                &format!("node-{}", at + 1),
                at,
                &data,
                [clients[at], peers[at]],
            )?;
            cluster.nodes[at].start()?;
        }
        Ok(cluster)
    }

    /// The folder of a node's data.
    pub(super) fn data(&self, at: usize) -> PathBuf {
        self.folder.join(format!("data-{}", at + 1))
    }

    /// Where a node listens: for clients, and for peers.
    pub(super) fn listens(&self, at: usize) -> [SocketAddr; 2] {
        [self.nodes[at].client, self.peers[at]]
    }

    /// Writes a configuration for the node `at`, with its data and its listening
    /// addresses as given, and says where it is.
    pub(super) fn write_config(
        &self,
        name: &str,
        at: usize,
        data: &Path,
        [client, peer]: [SocketAddr; 2],
    ) -> Result<PathBuf> {
        let mut text = format!(
            "node_id: {}\ncluster: integration\ndata_dir: {:?}\nlisten_client: {client}\n\
             listen_peer: {peer}\nsnapshot_every_entries: {SNAPSHOT_EVERY}\n\
             keep_entries: {KEEP_ENTRIES}\nmembers:\n",
            at + 1,
            data,
        );
        for (node, peer) in self.nodes.iter().zip(&self.peers) {
            let (id, client) = (node.id, node.client);
            writeln!(text, "  - {{ id: {id}, peer: \"{peer}\", client: \"{client}\" }}")?;
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
            Ok((0..statuses.len()).find(|&at| leads(at, &statuses)))
        })
    }

    /// Waits until the node `at` has applied all that its leader had committed when
    /// this was called; how far that was.
    pub(super) fn wait_until_caught_up(&mut self, at: usize) -> Result<u64> {
        let what = format!("node {} to catch up", at + 1);
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

/// Whether the node `at` leads and a majority says so in its term.
fn leads(at: usize, statuses: &[Option<Status>]) -> bool {
    let Some(Status { leads: true, term, .. }) = statuses[at] else { return false };
    let id = u64::try_from(at + 1).expect("there are few nodes");
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
        assert!(leads(0, &[new.clone(), status(false, 3, 1), None]));
        assert!(!leads(0, &[new.clone(), status(false, 2, 1), None]));
        assert!(!leads(0, &[new.clone(), status(false, 3, 2), status(false, 4, 1)]));
        assert!(!leads(1, &[new, status(false, 3, 1), status(false, 3, 1)]));
    }
}
