//! Our cluster under more and more clients.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::generator::{Load, Row};
use super::sampler::{Sampler, Samples, unix_ms};
use super::servers::{Make, Servers};
use super::table::{number, table};
use super::{Stop, at_least, clients};
use crate::arguments::Arguments;
use crate::cargo;

/// How long the cluster is left alone before each measurement.
const IDLE: Duration = Duration::from_secs(2);

/// A node takes 200 requests at a time from a connection; so that it is the node that
/// says what is too much, and not the generator that holds back, there are more.
const CLIENTS_PER_CONNECTION: usize = 50;
const LEAST_CONNECTIONS: usize = 12;

/// What to put on.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    operation: String,
    clients: Vec<usize>,
    seconds: u64,
}

impl Options {
    pub(crate) fn of(arguments: &mut Arguments) -> Result<Self> {
        let operation = arguments.value::<String>("--operation")?;
        let operation = operation.unwrap_or_else(|| "put".to_owned());
        if operation != "put" && operation != "get" {
            bail!("--operation {operation:?} is neither put nor get");
        }
        let clients = clients(arguments, "1,4,16,64,256,1024,4096")?;
        Ok(Self { operation, clients, seconds: at_least(arguments, "--seconds", 10, 1)? })
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options, stop: &Stop) -> Result<()> {
    eprintln!("building raft-node ...");
    let binary = cargo::build_node()?;
    let mut servers = Servers::start(Make::Raft, &binary, stop)?;
    let mut lines = Vec::new();
    for (number, clients) in options.clients.iter().enumerate() {
        lines.push(measure(options, *clients, number == 0, &binary, &mut servers, stop)?);
    }
    println!(
        "\n{}, measured for {} s each; memory is the peak over that of the idle node before, \
         leader / followers, in MiB; CPU is in cores, leader / followers / load\n",
        options.operation, options.seconds
    );
    println!("{}", table(&HEADING, lines));
    Ok(())
}

const HEADING: [&str; 12] = [
    "clients",
    "ops/s",
    "p50",
    "p99 ms",
    "refused/s",
    "p99 of it",
    "unknown",
    "failed",
    "memory",
    "elections",
    "CPU",
    "connections",
];

fn measure(
    options: &Options,
    clients: usize,
    first: bool,
    binary: &Path,
    servers: &mut Servers,
    stop: &Stop,
) -> Result<Vec<String>> {
    let endpoints = servers.endpoints()?;
    let pids = servers.pids()?;
    let sampler = Sampler::start(&pids);
    let idle_from = unix_ms();
    stop.sleep(IDLE)?;
    let idle_to = unix_ms();
    let term = servers.term(stop)?;
    let connections = connections(clients);
    let load = Load {
        binary,
        target: "raft",
        operation: &options.operation,
        endpoints: &endpoints,
        clients: &[clients],
        seconds: options.seconds,
        warm_up_seconds: 1,
        keys: 100_000,
        value_bytes: 256,
        connections: Some(connections),
        prefill: first && options.operation == "get",
    };
    let mut result = None;
    load.run(&sampler, stop, |row| {
        result = Some(row);
        Ok(())
    })?;
    servers.check()?;
    let row = result.context("the generator had no result")?;
    let elections = servers.term(stop)?.saturating_sub(term);
    eprintln!(
        "{clients} clients: {:.0} ops/s, p99 {:.1} ms, {} refused, {elections} elections",
        row.ops_per_second, row.p99_ms, row.refused
    );
    let idle = pids.map(|pid| sampler.samples().peak_rss_mib(pid, idle_from, idle_to));
    Ok(line(&row, connections, &sampler.samples(), pids, idle, elections))
}

fn connections(clients: usize) -> usize {
    clients.div_ceil(CLIENTS_PER_CONNECTION).max(LEAST_CONNECTIONS).min(clients)
}

fn line(
    row: &Row,
    connections: usize,
    samples: &Samples,
    pids: [u32; 3],
    idle_mib: [f64; 3],
    elections: u64,
) -> Vec<String> {
    let (from, to) = (row.began_unix_ms, row.ended_unix_ms);
    let grown = [0, 1, 2].map(|node| {
        let grown = samples.peak_rss_mib(pids[node], from, to) - idle_mib[node];
        format!("{grown:+.0}")
    });
    let cores = [pids[0], pids[1], pids[2], row.pid].map(|pid| samples.cores(pid, from, to));
    vec![
        row.clients.to_string(),
        format!("{:.0}", row.ops_per_second),
        number(row.p50_ms),
        number(row.p99_ms),
        format!("{:.0}", row.refused as f64 / row.seconds),
        if row.refused == 0 { "-".to_owned() } else { number(row.refused_p99_ms) },
        row.unknown.to_string(),
        row.failed.to_string(),
        grown.join(" "),
        elections.to_string(),
        cores.map(|cores| format!("{cores:.2}")).join(" "),
        connections.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_holds_back_at_no_number_of_clients() {
        assert_eq!([1, 12, 64, 1024, 4096].map(connections), [1, 12, 12, 21, 82]);
        for clients in 1..10_000_usize {
            assert!(clients.div_ceil(connections(clients)) <= CLIENTS_PER_CONNECTION);
        }
    }

    #[test]
    fn a_line_has_a_cell_for_each_heading() {
        let row = Row {
            clients: 4096,
            seconds: 10.0,
            began_unix_ms: 0,
            ended_unix_ms: 1,
            ops_per_second: 100.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            refused: 50,
            refused_p99_ms: 0.25,
            unknown: 1,
            failed: 2,
            pid: 4,
        };
        let line = line(&row, 82, &Samples::default(), [1, 2, 3], [0.0; 3], 3);
        assert_eq!(line.len(), HEADING.len());
        let of = |name| &line[HEADING.iter().position(|heading| *heading == name).unwrap()];
        assert_eq!(of("refused/s"), "5");
        assert_eq!(of("p99 of it"), "0.25");
        assert_eq!(of("elections"), "3");
        assert_eq!(of("memory"), "+0 +0 +0");
    }

    #[test]
    fn only_puts_and_gets_are_put_on() {
        let mut arguments = Arguments::new(vec!["--operation=mixed".to_owned()]);
        let why = Options::of(&mut arguments).unwrap_err().to_string();
        assert!(why.contains("\"mixed\""), "{why}");
    }
}
