//! `raft-node bench`: what a cluster does under load.
//!
//! A closed loop: every client has one request outstanding and sends the next one when
//! the answer has come. The generator is kept lean, since it may share its machine with
//! the cluster it measures.

mod plan;

mod load;

mod client;

mod etcd;
mod raft;

mod connect;

mod tally;

mod report;

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Exit, say, told};
use plan::Plan;
use report::Report;

/// The arguments of `raft-node bench`.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// What clients do
    operation: Operation,
    /// How many clients at once; one measurement for each number of the list
    #[arg(long, default_value = "1,64,256,1000", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: Vec<u32>,
    /// The size of a value, in bytes
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    value_size: u32,
    /// How many different keys there are; each request picks one at random
    #[arg(long, default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    keys: u32,
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How long clients run before each measurement begins, in seconds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up_seconds: u64,
    /// How many connections there are in all. The default is four for each endpoint, and
    /// never more than there are clients. A node of ours takes 200 requests at a time from
    /// each; more wait here, and count as slow
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: Option<u32>,
    /// Client addresses of nodes, host:port, separated by commas; connections are spread
    /// evenly over them, and clients over the connections
    #[arg(long, env = "RAFT_ENDPOINTS", default_value = "127.0.0.1:2379", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// What gets ask for: stale ones are answered by the node that is asked
    #[arg(long, default_value = "linearizable")]
    consistency: Consistency,
    /// How many of a hundred requests are gets, with `mixed`
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
    reads_percent: Option<u8>,
    /// Where the random choice of keys and values starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is measured: a cluster of this program by its HTTP API, or etcd by gRPC
    #[arg(long, default_value = "raft")]
    target: Target,
    /// Write every key once before the first measurement
    #[arg(long)]
    prefill: bool,
    /// How long a client waits for an answer, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
    /// Use HTTP/1.1, with a connection for every client, in place of HTTP/2
    #[arg(long, conflicts_with = "connections")]
    http1: bool,
    /// Try again at once after an error. Otherwise a client waits 5 ms after its first
    /// error, twice as long after each further one up to 100 ms, until it succeeds
    #[arg(long)]
    no_back_off: bool,
    /// How many threads of the generator send and receive
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print a line of JSON for each measurement in place of the table
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values in place of the table
    #[arg(long)]
    csv: bool,
}

/// What the columns mean, for the help.
pub(super) const MEANING: &str = "\
Columns:
  ops/s              good answers that came within the measurement, per second
  mean, p50 ... max  latency in milliseconds of the good answers to all requests sent
                     within the measurement; the last of them are waited for
  refused            the node said that nothing happened and to try again
  unknown            the write may have happened: no answer in time, or the node said so
  failed             no answer, or not the one there should have been
  refused p99        latency of the refusals, in milliseconds

Exit codes:
  0  measured
  2  the command line is wrong
  3  no endpoint answered, or a measurement had not one good answer";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Operation {
    /// Write
    Put,
    /// Read
    Get,
    /// Some of each, see --reads-percent
    Mixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Consistency {
    Linearizable,
    Stale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Raft,
    Etcd,
}

/// One of the two things a request can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Get,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
        }
    }
}

impl Bench {
    pub(super) fn run(self) -> Exit {
        let format = report::Format::of(self.json, self.csv);
        let plan = match Plan::of(&self) {
            Ok(plan) => plan,
            Err(why) => {
                say(format_args!("raft-node: {why}"));
                return Exit::Wrong;
            }
        };
        let runtime = if self.threads == 1 {
            tokio::runtime::Builder::new_current_thread().enable_all().build()
        } else {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(self.threads.into())
                .enable_all()
                .build()
        };
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(why) => {
                say(format_args!("raft-node: the runtime did not start: {why}"));
                return Exit::Refused;
            }
        };
        let exit = runtime.block_on(measured(plan, format));
        runtime.shutdown_timeout(Duration::from_secs(1));
        exit
    }
}

async fn measured(plan: Plan, format: report::Format) -> Exit {
    let plan = match load::reachable(plan).await {
        Ok(plan) => plan,
        Err(why) => {
            say(format_args!("raft-node: {}", told(&why)));
            return Exit::Refused;
        }
    };
    let mut report = Report::new(format);
    let outcome = load::run(&plan, &mut report).await;
    let printed = report.finish();
    match outcome {
        Ok(true) => printed,
        Ok(false) => Exit::Refused,
        Err(why) => {
            say(format_args!("raft-node: {}", told(&why)));
            Exit::Refused
        }
    }
}
