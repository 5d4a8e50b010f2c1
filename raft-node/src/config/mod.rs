//! How a node is configured.
//!
//! A value comes from the first of these that has it: flags, environment
//! (`RAFT_` and the field's name in capitals), file (YAML or JSON, by its
//! extension), default. Everything that is wrong is reported at once, each with
//! the field's name and where the value came from.
//!
//! An unknown field in a file is refused: it is a typing error. An unknown
//! environment variable that starts with `RAFT_` is only warned about, since
//! others set such variables too (Kubernetes does for a service named `raft`).

mod settings;

mod resolve;

mod members;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft_core::NodeId;
use thiserror::Error;

use settings::Settings;

#[cfg(feature = "server")]
pub(crate) use members::{Listed, check as check_member};

/// The configuration of a node; [`load`](Self::load) makes only valid ones.
///
/// Invariants of a loaded one:
/// - `node_id` is one of `members`, or there are none and it is told whom to `join`.
/// - No address is used twice among `members`.
/// - Two heartbeats fit into less than an election timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// This node's number in the cluster. `node_id`, default 1.
    pub node_id: NodeId,
    /// The cluster's name, which keeps nodes of different clusters apart. `cluster`,
    /// default `raft`; letters, digits, `.`, `_` and `-`, 64 at most.
    pub cluster: String,
    /// The folder that holds everything the node must remember. `data_dir`, default
    /// `./raft-data`.
    pub data_dir: PathBuf,
    /// Where clients connect. `listen_client`, default `127.0.0.1:2379`.
    pub listen_client: SocketAddr,
    /// Where other nodes connect. `listen_peer`, default `127.0.0.1:2380`.
    pub listen_peer: SocketAddr,
    /// The initial members of a new cluster, this node among them. `members`, default
    /// this node alone at the addresses it listens on. Once the cluster is formed its own
    /// list counts, which is kept in the log.
    pub members: BTreeMap<NodeId, MemberAddress>,
    /// Peer addresses of members of a cluster that exists, which this node is to join; in
    /// place of `members`. `join`, default none. Not looked at once the node has found its
    /// cluster.
    pub join: Vec<String>,
    /// How long a follower waits for its leader; up to twice that, randomly.
    /// `election_timeout_ms`, default 1000.
    pub election_timeout: Duration,
    /// How often a leader makes itself heard. `heartbeat_ms`, default 100.
    pub heartbeat: Duration,
    /// Whether the leader answers reads at once, without asking the others, for as long as
    /// they cannot have elected another: then how far the clocks of two nodes may run apart
    /// while one of them measures an election timeout. All nodes must have the same; where a
    /// clock runs worse, a read may miss a write. `lease_drift_ms`, default 0, which
    /// is no lease: every round of reads asks a majority and relies on no clock.
    pub lease_drift: Option<Duration>,
    /// How late this node stands for election: it waits this many election timeouts longer
    /// than a node of priority 0, so that nodes of a lower number lead where they can.
    /// `priority`, default 0, 10 at most.
    pub priority: u8,
    /// Whether a node that does not lead passes requests on to the leader; where not, it
    /// refuses them at once and names the leader. `forward`, default true.
    pub forward: bool,
    /// How long a client's request may take. `request_timeout_ms`, default 5000.
    pub request_timeout: Duration,
    /// The largest request body, in bytes. `max_body_bytes`, default 1.5 MiB,
    /// 16 MiB at most.
    pub max_body_bytes: usize,
    /// How many entries are applied between snapshots. `snapshot_every_entries`,
    /// default 400000.
    pub snapshot_every_entries: u64,
    /// When snapshots are taken besides, how many are kept, and how fast they travel.
    pub snapshots: SnapshotConfig,
    /// How many entries below a snapshot stay in the log, for followers that are a
    /// little behind. `keep_entries`, default 10000.
    pub keep_entries: u64,
    /// The size of a segment of the log, in bytes. `segment_bytes`, default 64 MiB.
    pub segment_bytes: u64,
    /// Writes are taken while so much is free where the data folder is, in bytes.
    /// `min_free_bytes`, default 256 MiB, and no more than a tenth of the file system.
    pub min_free_bytes: Option<u64>,
    /// The memory that caches the store, in bytes. `cache_bytes`, default 32 MiB.
    pub cache_bytes: usize,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`) or
    /// directives such as `info,raft_node=debug`. `log`, default `info`.
    pub log: String,
}

/// How a node deals with snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// A snapshot is taken when the entries that were applied since the last one have so
    /// many bytes. `snapshot_every_bytes`, default 128 MiB.
    pub every_bytes: u64,
    /// A snapshot is taken when the last one is so old and anything was applied since; time
    /// in which the node did not run is not counted. `snapshot_every_ms`, default a day; 0
    /// for never because of the time, which is `None`.
    pub every: Option<Duration>,
    /// What is sent of snapshots to the other members in a second, in bytes.
    /// `snapshot_send_bytes_per_s`, default 64 MiB; 0 for as fast as it goes.
    pub send_bytes_per_s: Option<NonZeroU64>,
    /// What is written of this node's own snapshots in a second, in bytes before they are
    /// compressed. `snapshot_write_bytes_per_s`, default 0: as fast as it goes.
    pub write_bytes_per_s: Option<NonZeroU64>,
    /// How many snapshots are kept. `keep_snapshots`, default 2.
    pub keep: usize,
}

/// Where a member is reached. Addresses are `host:port`; the host is a name, an IPv4
/// address or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAddress {
    /// Where other nodes reach it.
    pub peer: String,
    /// Where clients reach it.
    pub client: String,
    /// What people call it.
    pub name: Option<String>,
}

/// A valid configuration, and what is strange about where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: NodeConfig,
    /// Sentences for the log.
    pub warnings: Vec<String>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name.
    Flag(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} ({from}): {why}")]
pub struct ConfigError {
    /// The field.
    pub field: String,
    /// Where its value came from.
    pub from: Source,
    /// What is wrong with it.
    pub why: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl NodeConfig {
    /// Makes the configuration from a file, the environment and flags. Flags are the
    /// names of fields with their values as text.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn load<'a>(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        let mut settings = Settings::default();
        if let Some(file) = file {
            settings.add_file(file);
        }
        settings.add_environment(environment);
        settings.add_flags(flags);
        resolve::resolve(settings)
    }
}

impl NodeConfig {
    /// Where this node is reached, as far as its configuration tells.
    #[must_use]
    pub fn own_address(&self) -> MemberAddress {
        let listed = self.members.get(&self.node_id).cloned();
        listed.unwrap_or_else(|| resolve::alone(self.listen_peer, self.listen_client))
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        let nothing = resolve::resolve(Settings::default());
        nothing.expect("the defaults are valid").config
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Environment(name) => write!(f, "from {name}"),
            Self::Flag(name) => write!(f, "from {name}"),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not usable:")?;
        if let [only] = &self.0[..] {
            return write!(f, " {only}");
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// Says what is wrong with an address `host:port`, where the host is a name, an IPv4
/// address or an IPv6 address in brackets.
///
/// # Errors
/// What is wrong, with the address.
pub fn check_address(address: &str) -> Result<(), String> {
    members::check_address(address)
}

/// One member as people write it, `id=peer-address/client-address`, such as
/// `4=127.0.0.1:2380/127.0.0.1:2379`.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_member(text: &str) -> Result<(NodeId, MemberAddress), String> {
    members::parse_one(text)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
