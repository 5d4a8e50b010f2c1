//! Clusters of real processes, and what they must survive.
//!
//! Three nodes run as users would run them, and later others that join and replace them.
//! Clients write, read and delete through all of them while nodes are killed, paused,
//! started again, added and removed; the checker judges what the clients were told. Each scenario prints what it measured.

mod bad_input;
mod bad_starts;
mod calm;
mod crashes;
mod damaged_log;
mod full_disks;
mod members;
mod terminations;

mod load;

mod children;
mod cluster;
mod http;
mod node;
mod small_disk;

pub use cluster::{Cluster, ELECTION_TIMEOUT};
pub use http::{Client, Failure, Response};
pub use load::{Load, Record, Recorder, name, target};
pub use node::{Node, Status};
pub use small_disk::enter_own_mounts;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use raft_core::Random;

/// How many lines of each node's log are shown when something failed.
const LOG_LINES: usize = 25;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `raft-node`.
    pub node_binary: PathBuf,
    /// How often the leader is killed.
    pub rounds: u32,
    /// Decides the order of requests and kills.
    pub seed: u64,
    /// Only scenarios whose names hold this.
    pub only: String,
}

/// Everything a scenario may use.
struct Stage {
    cluster: Cluster,
    random: Random,
    rounds: u32,
    seed: u64,
    /// How many loads there were: each has keys and values of its own.
    loads: u64,
    /// Why the scenario under way could not be played here.
    skipped: Option<String>,
}

type Scenario = fn(&mut Stage) -> Result<()>;

const SCENARIOS: [(&str, Scenario); 18] = [
    ("every node takes writes and reads", calm::every_node_serves),
    ("load without faults", calm::load),
    ("the leader is killed under load", crashes::leader_killed),
    ("all nodes are killed under load", crashes::all_killed),
    ("the leader is paused under load", crashes::leader_paused),
    ("one node after the other is killed under load", crashes::killed_in_turn),
    ("disks are full under load", full_disks::full),
    ("a part of the log is lost under load", damaged_log::lost_and_fetched),
    ("what is not wanted on the wire", bad_input::refused_on_the_wire),
    ("an idle cluster", calm::idle),
    ("a node that must not start", bad_starts::refused_while_running),
    ("one node after the other is restarted under load", terminations::rolling_restart),
    ("all nodes are stopped under load", terminations::all_stopped),
    ("a folder of another node", bad_starts::refused_folder),
    ("leadership is handed round under load", members::transfers),
    ("a member whose disk was wiped is replaced under load", members::wiped_disk_replaced),
    ("from three members to five and back under load", members::three_five_three),
    ("two of three are lost for good", members::majority_lost),
];

/// Runs every scenario on one cluster.
///
/// # Errors
/// The first scenario that failed, after showing the ends of the logs; the folder
/// with data and logs is then kept.
pub fn run(options: &Options) -> Result<()> {
    if !options.node_binary.is_file() {
        bail!("there is no program {}", options.node_binary.display());
    }
    children::end_with_this_process()?;
    let binary = fs::canonicalize(&options.node_binary).context("the path of the node")?;
    let folder = tempfile::Builder::new().prefix("integration-").tempdir_in(place_for(&binary))?;
    println!(
        "seed {}, {} rounds, data in {}",
        options.seed,
        options.rounds,
        folder.path().display()
    );
    let began = Instant::now();
    let mut stage = Stage {
        cluster: Cluster::start(&binary, folder.path(), options.seed)?,
        random: Random::new(options.seed),
        rounds: options.rounds,
        seed: options.seed,
        loads: 0,
        skipped: None,
    };
    let mut skipped = Vec::new();
    let chosen = SCENARIOS.iter().filter(|(name, _)| name.contains(&options.only));
    let chosen: Vec<_> = chosen.collect();
    ensure!(!chosen.is_empty(), "no scenario is called {:?}", options.only);
    for &&(name, scenario) in &chosen {
        println!("\n-- {name}");
        let began = Instant::now();
        if let Err(error) = scenario(&mut stage) {
            show_logs(&stage.cluster);
            println!("\ndata and logs are kept in {}", folder.keep().display());
            return Err(error.context(format!("the scenario `{name}` failed")));
        }
        match stage.skipped.take() {
            Some(why) => {
                println!("   SKIPPED, nothing is proved: {why}");
                skipped.push(name);
            }
            None => println!("   ok, {:.1} s", began.elapsed().as_secs_f64()),
        }
    }
    let passed = chosen.len() - skipped.len();
    println!("\n{passed} scenarios passed, {:.1} s", began.elapsed().as_secs_f64());
    if !skipped.is_empty() {
        println!("{} SKIPPED, as this machine does not allow them: {skipped:?}", skipped.len());
    }
    Ok(())
}

impl Stage {
    /// Sets clients to work, with a record of their own.
    fn load(&mut self) -> Load {
        self.loads += 1;
        let nodes: Vec<_> = self.cluster.nodes.iter().map(|node| node.client).collect();
        Load::start(&Recorder::new(), &nodes, self.loads, self.seed)
    }

    /// Ends a scenario that this machine does not allow, and says so.
    fn skip(&mut self, why: &str) -> Result<()> {
        self.skipped = Some(why.to_owned());
        Ok(())
    }

    /// A time between `from` and twice that.
    fn some_time(&mut self, from: Duration) -> Duration {
        self.random.up_to_twice(from)
    }
}

/// Beside the build, where there is room and nobody else cleans up.
fn place_for(binary: &Path) -> PathBuf {
    let target = binary.ancestors().nth(2).filter(|target| target.join("CACHEDIR.TAG").is_file());
    target.map_or_else(std::env::temp_dir, Path::to_owned)
}

fn show_logs(cluster: &Cluster) {
    for node in &cluster.nodes {
        println!("\nthe last lines of the log of node {}:", node.id);
        for line in node.last_log_lines(LOG_LINES) {
            println!("  | {line}");
        }
    }
}
