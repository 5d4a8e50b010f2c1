//! `raft-node serve`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use raft_node::config::NodeConfig;
use raft_node::server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Exit, say, told};

/// How to serve. Flags come before the environment (RAFT_ and the flag's name in
/// capitals), before the file, before the defaults.
#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    /// The configuration file, .yaml, .yml or .json
    #[arg(long, env = "RAFT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// This node's number, not zero [default: 1]
    #[arg(long, value_name = "N")]
    node_id: Option<String>,
    /// The cluster's name [default: raft]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The folder for everything the node must remember [default: ./raft-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Where clients connect [default: 127.0.0.1:2379]
    #[arg(long, value_name = "IP:PORT")]
    listen_client: Option<String>,
    /// Where other nodes connect [default: 127.0.0.1:2380]
    #[arg(long, value_name = "IP:PORT")]
    listen_peer: Option<String>,
    /// All initial members, this node included, as ID=PEER/CLIENT,... such as
    /// 1=10.0.0.1:2380/10.0.0.1:2379,2=10.0.0.2:2380/10.0.0.2:2379 [default: this node alone]
    #[arg(long, value_name = "LIST")]
    members: Option<String>,
    /// Join a cluster that exists: peer addresses of some of its members, HOST:PORT,...; in
    /// place of --members. Then make this node a member: raft-node member add
    #[arg(long, value_name = "LIST")]
    join: Option<String>,
    /// How long a follower waits for its leader [default: 1000]
    #[arg(long, value_name = "MS")]
    election_timeout_ms: Option<String>,
    /// How often a leader makes itself heard [default: 100]
    #[arg(long, value_name = "MS")]
    heartbeat_ms: Option<String>,
    /// How far clocks may run apart within an election timeout; with it reads rely on the
    /// leader's lease, without it on no clock. The same on all nodes [default: 0, no lease]
    #[arg(long, value_name = "MS")]
    lease_drift_ms: Option<String>,
    /// How many election timeouts longer this node waits before it stands for election
    /// [default: 0]
    #[arg(long, value_name = "N")]
    priority: Option<String>,
    /// Whether a node that does not lead passes requests on to the leader, or refuses them
    /// and names it: true or false [default: true]
    #[arg(long, value_name = "BOOL")]
    forward: Option<String>,
    /// How long a client's request may take [default: 5000]
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<String>,
    /// The largest request body [default: 1572864]
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<String>,
    /// How many entries are applied between snapshots [default: 400000]
    #[arg(long, value_name = "N")]
    snapshot_every_entries: Option<String>,
    /// How many bytes of entries are applied between snapshots [default: 134217728]
    #[arg(long, value_name = "BYTES")]
    snapshot_every_bytes: Option<String>,
    /// How old the last snapshot becomes before another is taken of what is new; 0: any age
    /// [default: 86400000]
    #[arg(long, value_name = "MS")]
    snapshot_every_ms: Option<String>,
    /// What is sent of snapshots in a second; 0: no limit [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    snapshot_send_bytes_per_s: Option<String>,
    /// What is written of this node's own snapshots in a second; 0: no limit [default: 0]
    #[arg(long, value_name = "BYTES")]
    snapshot_write_bytes_per_s: Option<String>,
    /// How many snapshots are kept [default: 2]
    #[arg(long, value_name = "N")]
    keep_snapshots: Option<String>,
    /// How many entries below a snapshot stay in the log [default: 10000]
    #[arg(long, value_name = "N")]
    keep_entries: Option<String>,
    /// The size of a segment of the log [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    segment_bytes: Option<String>,
    /// Writes are taken while so much is free where the data folder is
    /// [default: 268435456, and no more than a tenth of the file system]
    #[arg(long, value_name = "BYTES")]
    min_free_bytes: Option<String>,
    /// The memory that caches the store [default: 33554432]
    #[arg(long, value_name = "BYTES")]
    cache_bytes: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or directives [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

impl Serve {
    /// What `raft-node` without a command does: no flags, and the environment as ever.
    pub(super) fn from_environment() -> Self {
        let file = std::env::var_os("RAFT_CONFIG").filter(|file| !file.is_empty());
        Self { config: file.map(PathBuf::from), ..Self::default() }
    }

    pub(super) fn run(self) -> Exit {
        let loaded = NodeConfig::load(self.config.as_deref(), environment(), self.flags());
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                say(format_args!("raft-node: {why}"));
                return Exit::Wrong;
            }
        };
        start_logging(&loaded.config.log);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        match serve(loaded.config) {
            Ok(()) => Exit::Done,
            Err(why) => {
                say(format_args!("raft-node: {}", told(&why)));
                Exit::Failed
            }
        }
    }

    /// The fields that flags set, by their names.
    fn flags(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("node_id", &self.node_id),
            ("cluster", &self.cluster),
            ("data_dir", &self.data_dir),
            ("listen_client", &self.listen_client),
            ("listen_peer", &self.listen_peer),
            ("members", &self.members),
            ("join", &self.join),
            ("election_timeout_ms", &self.election_timeout_ms),
            ("heartbeat_ms", &self.heartbeat_ms),
            ("lease_drift_ms", &self.lease_drift_ms),
            ("priority", &self.priority),
            ("forward", &self.forward),
            ("request_timeout_ms", &self.request_timeout_ms),
            ("max_body_bytes", &self.max_body_bytes),
            ("snapshot_every_entries", &self.snapshot_every_entries),
            ("snapshot_every_bytes", &self.snapshot_every_bytes),
            ("snapshot_every_ms", &self.snapshot_every_ms),
            ("snapshot_send_bytes_per_s", &self.snapshot_send_bytes_per_s),
            ("snapshot_write_bytes_per_s", &self.snapshot_write_bytes_per_s),
            ("keep_snapshots", &self.keep_snapshots),
            ("keep_entries", &self.keep_entries),
            ("segment_bytes", &self.segment_bytes),
            ("min_free_bytes", &self.min_free_bytes),
            ("cache_bytes", &self.cache_bytes),
            ("log", &self.log),
        ]
        .map(|(name, value)| (name, value.clone()))
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The environment, as far as it is text. What is no text is no value of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    })
}

fn start_logging(filter: &str) {
    // The configuration has checked the filter.
    let filter = EnvFilter::try_new(filter).unwrap_or_default();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // A log that cannot be written must not end a node that serves.
        .log_internal_errors(false)
        .init();
}

/// What a person needs who starts a node for the first time.
fn introduction(config: &NodeConfig) -> String {
    let folder = std::path::absolute(&config.data_dir);
    let folder = folder.as_deref().unwrap_or(Path::new(&config.data_dir));
    format!(
        "node {} of cluster {}\n  data folder  {}\n  clients      http://{}\n  peers        {}\n",
        config.node_id,
        config.cluster,
        folder.display(),
        config.listen_client,
        config.listen_peer
    )
}

fn serve(config: NodeConfig) -> Result<()> {
    // A core is left to the threads of the log and of the store; and a hand-over between
    // threads costs more than most of what a worker does.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.saturating_sub(1).max(1))
        .enable_all()
        .build()
        .context("the runtime did not start")?;
    let mut folder = None;
    let outcome = runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let mut interrupt =
            signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        };
        let introduction = introduction(&config);
        let taken = |lock| {
            folder = Some(lock);
            // Where nobody reads it, the node serves all the same.
            let _ = std::io::stdout().write_all(introduction.as_bytes());
        };
        server::run(config, shutdown, taken).await?;
        Ok(())
    });
    // Threads that wait for the disk are not waited for, since that could take for ever.
    // They end with the process, so until then the folder is this process's.
    runtime.shutdown_background();
    std::mem::forget(folder);
    outcome
}
