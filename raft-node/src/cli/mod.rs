//! The command line.

mod serve;

mod client;

mod members;

mod recover;

mod snapshot;

mod gc;

mod log;

mod bench;

mod http;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use raft_core::NodeId;
use raft_node::config::check_address;

/// A replicated key-value store on Raft.
///
/// Without a command, serves a single node with the defaults: its data in ./raft-data,
/// clients at 127.0.0.1:2379, other nodes at 127.0.0.1:2380.
#[derive(Debug, Parser)]
#[command(name = "raft-node", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  there is no such key
  2  the command line or the configuration is wrong
  3  refused: nothing happened
  4  unknown: the write may have happened; read before you write again
  5  the node failed, or its log cannot be opened, or a backup is damaged";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a node until it is told to stop (SIGINT or SIGTERM)
    ///
    /// Flags win over the environment (RAFT_ and the flag's name in capitals, such as
    /// RAFT_DATA_DIR), the environment over the file, the file over the defaults.
    Serve(Box<serve::Serve>),
    /// Store a value under a key
    Put {
        /// The key
        key: String,
        /// The value; - reads it from the standard input
        value: String,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Print the value of a key
    Get {
        /// The key
        key: String,
        /// Take what the first node that answers has, which may be old
        #[arg(long)]
        stale: bool,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Remove a key; it is no error if it is not there
    Delete {
        /// The key
        key: String,
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Measure a cluster under load
    ///
    /// Every client has one request outstanding, and sends the next one when the answer
    /// has come. It writes under keys of its own, bench-0000000000 and so on, and leaves
    /// them there.
    #[command(after_help = bench::MEANING)]
    Bench(Box<bench::Bench>),
    /// Print how each node stands
    Status {
        #[command(flatten)]
        cluster: Cluster,
    },
    /// See and change who takes part
    #[command(subcommand)]
    Member(members::MemberCommand),
    /// Make a new cluster of one member from a surviving data folder (dangerous)
    ///
    /// For the case that a majority of a cluster is lost for good. Works offline.
    Recover(recover::Recover),
    /// Save the state in a file, look into such a file, make a new cluster of it
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Keep nodes from letting go of log entries and snapshots for a while
    #[command(subcommand)]
    Gc(gc::GcCommand),
    /// See what the log of a data folder holds, and whether it is intact
    ///
    /// Works offline and changes nothing.
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Hand the leadership over, before a leader is stopped for maintenance, for example
    ///
    /// A node that is stopped with SIGTERM does so by itself.
    Transfer {
        /// To whom; by default to whoever is best placed
        #[arg(value_parser = members::node_id)]
        to: Option<NodeId>,
        #[command(flatten)]
        cluster: Cluster,
    },
}

/// Which nodes to talk to.
#[derive(Debug, Args)]
struct Cluster {
    /// Client addresses of nodes, host:port, separated by commas; tried in turn
    #[arg(long, env = "RAFT_ENDPOINTS", default_value = "127.0.0.1:2379", value_delimiter = ',', value_parser = endpoint)]
    endpoints: Vec<String>,
    /// How long to wait for each node, in milliseconds
    #[arg(long, default_value_t = 7000)]
    timeout_ms: u64,
}

/// What to type instead, where a flag of `serve` was given without the command.
fn misplaced_flag(why: &clap::Error) -> Option<String> {
    let typed: Vec<String> = std::env::args().skip(1).collect();
    let flag = typed.first()?.strip_prefix("--")?.split('=').next()?;
    let command = Cli::command();
    let serve = command.find_subcommand("serve")?;
    let known = serve.get_arguments().any(|argument| argument.get_long() == Some(flag));
    (why.kind() == ErrorKind::UnknownArgument && known).then(|| {
        format!("--{flag} is a flag of the command serve: raft-node serve {}", typed.join(" "))
    })
}

/// How a command ended, for scripts; see [`EXIT_CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    NotFound = 1,
    Wrong = 2,
    Refused = 3,
    Unknown = 4,
    Failed = 5,
}

impl Cli {
    /// What the person typed. Ends the process where that cannot be understood.
    pub(crate) fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|why| match misplaced_flag(&why) {
            Some(hint) => {
                say(format_args!("raft-node: {hint}"));
                std::process::exit(Exit::Wrong as i32)
            }
            None => why.exit(),
        })
    }

    pub(crate) fn run(self) -> ExitCode {
        let exit = match self.command {
            None => serve::Serve::from_environment().run(),
            Some(Command::Serve(serve)) => serve.run(),
            Some(Command::Put { key, value, cluster }) => client::put(&cluster, &key, &value),
            Some(Command::Get { key, stale, cluster }) => client::get(&cluster, &key, stale),
            Some(Command::Delete { key, cluster }) => client::delete(&cluster, &key),
            Some(Command::Bench(bench)) => bench.run(),
            Some(Command::Status { cluster }) => client::status(&cluster),
            Some(Command::Member(command)) => members::member(command),
            Some(Command::Recover(recover)) => recover.run(),
            Some(Command::Log(command)) => command.run(),
            Some(Command::Snapshot(command)) => command.run(),
            Some(Command::Gc(command)) => command.run(),
            Some(Command::Transfer { to, cluster }) => members::transfer(&cluster, to),
        };
        ExitCode::from(exit as u8)
    }
}

/// A node's address for clients, as people write it.
fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.starts_with("https://") {
        return Err("nodes speak http:// and no TLS in this version".to_owned());
    }
    let address = text.strip_prefix("http://").unwrap_or(text);
    let address = address.strip_suffix('/').unwrap_or(address);
    check_address(address)?;
    Ok(address.to_owned())
}

/// Says something to the person at the standard error. Where nobody can hear it any more,
/// a node goes on without being heard, and a command still ends with its exit code.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What became of printing a result: who went away, as `head` does, wants no more of it.
fn printed(result: io::Result<()>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(why) => {
            say(format_args!("raft-node: the result could not be written: {why}"));
            Exit::Refused
        }
    }
}

/// An error with its causes, each said once: many errors name their cause themselves.
fn told(why: &anyhow::Error) -> String {
    let mut text = why.to_string();
    for cause in why.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::other("no room");
        let why = anyhow::Error::new(cause).context("it cannot be written: no room");
        assert_eq!(told(&why), "it cannot be written: no room");
        let why = why.context("stopped");
        assert_eq!(told(&why), "stopped: it cannot be written: no room");
    }
}
