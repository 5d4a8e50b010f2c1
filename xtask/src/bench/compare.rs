//! Our cluster and etcd's by turns, under the same load.

mod summary;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::generator::{Load, Row};
use super::sampler::{Sampler, unix_ms};
use super::servers::{Make, Servers, etcd_version};
use super::{Stop, at_least, clients, list};
use crate::arguments::Arguments;
use crate::cargo;

/// Where all numbers go, below the root of the workspace.
const RESULT: &str = "target/bench/etcd.json";

/// What is to be compared.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    runs: u64,
    clients: Vec<usize>,
    seconds: u64,
    operations: Vec<String>,
    keys: u64,
    value_bytes: u64,
    leader_only: bool,
}

/// One measurement.
#[derive(Clone, Debug)]
struct Measured {
    make: Make,
    run: u64,
    operation: String,
    row: Row,
    /// Cores used by the leader, by each follower, and by the generator.
    leader_cores: f64,
    follower_cores: [f64; 2],
    generator_cores: f64,
    /// Memory at the peak, in MiB.
    leader_rss_mib: f64,
    follower_rss_mib: [f64; 2],
    /// Another node led in the end: the cores are told apart by who led before.
    leader_changed: bool,
}

impl Options {
    pub(crate) fn of(arguments: &mut Arguments) -> Result<Self> {
        let operations = arguments.value::<String>("--operations")?;
        let operations: Vec<String> =
            list("--operations", operations.as_deref().unwrap_or("put,get"))?;
        if let Some(other) = operations.iter().find(|name| *name != "put" && *name != "get") {
            bail!("--operations: {other:?} is neither put nor get");
        }
        Ok(Self {
            runs: at_least(arguments, "--runs", 5, 1)?,
            clients: clients(arguments, "1,64,256,1000")?,
            seconds: at_least(arguments, "--seconds", 10, 1)?,
            operations,
            keys: at_least(arguments, "--keys", 100_000, 1)?,
            value_bytes: at_least(arguments, "--value-size", 256, 1)?,
            leader_only: arguments.flag("--leader-only"),
        })
    }
}

/// Compares, prints, and writes it all down.
pub(crate) fn run(options: &Options, stop: &Stop) -> Result<()> {
    let version = etcd_version()?;
    eprintln!("building raft-node ...");
    let binary = cargo::build_node()?;
    let mut measured = Vec::new();
    for run in 1..=options.runs {
        // By turns, so that what drifts hits both alike.
        let makes = if run % 2 == 1 { [Make::Raft, Make::Etcd] } else { [Make::Etcd, Make::Raft] };
        for make in makes {
            measure(make, run, options, &binary, stop, &mut measured)?;
            // What is there so far is kept, should the rest not come about.
            write(options, &version, &measured)?;
        }
    }
    println!("{}", summary::text(options, &version, &measured));
    println!("\nAll numbers: {RESULT}");
    Ok(())
}

/// One cluster from its start to its end.
fn measure(
    make: Make,
    run: u64,
    options: &Options,
    binary: &Path,
    stop: &Stop,
    measured: &mut Vec<Measured>,
) -> Result<()> {
    let mut servers = Servers::start(make, binary, stop)?;
    let mut endpoints = servers.endpoints()?;
    endpoints.truncate(if options.leader_only { 1 } else { endpoints.len() });
    for operation in &options.operations {
        let pids = servers.pids()?;
        let sampler = Sampler::start(&pids);
        let load = Load {
            binary,
            target: make.name(),
            operation,
            endpoints: &endpoints,
            clients: &options.clients,
            seconds: options.seconds,
            warm_up_seconds: 1,
            keys: options.keys,
            value_bytes: options.value_bytes,
            connections: None,
            prefill: operation == "get",
        };
        load.run(&sampler, stop, |row| {
            servers.check()?;
            let samples = sampler.samples();
            let (from, to) = (row.began_unix_ms, row.ended_unix_ms);
            let cores = |pid| samples.cores(pid, from, to);
            let rss = |pid| samples.peak_rss_mib(pid, from, to);
            let leader_changed = servers.pids().is_ok_and(|now| now[0] != pids[0]);
            eprintln!(
                "run {run} of {}, {}: {operation}, {} clients: {:.0} ops/s, p99 {:.1} ms{}",
                options.runs,
                make.name(),
                row.clients,
                row.ops_per_second,
                row.p99_ms,
                if leader_changed { " (the leader changed)" } else { "" }
            );
            measured.push(Measured {
                make,
                run,
                operation: operation.clone(),
                leader_cores: cores(pids[0]),
                follower_cores: [cores(pids[1]), cores(pids[2])],
                generator_cores: cores(row.pid),
                leader_rss_mib: rss(pids[0]),
                follower_rss_mib: [rss(pids[1]), rss(pids[2])],
                leader_changed,
                row,
            });
            Ok(())
        })?;
    }
    Ok(())
}

fn write(options: &Options, version: &str, measured: &[Measured]) -> Result<()> {
    let runs: Vec<_> = measured.iter().map(Measured::json).collect();
    let summary: Vec<_> =
        summary::lines(options, measured).iter().map(summary::Line::json).collect();
    let all = json!({
        "written_unix_ms": unix_ms(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "etcd_version": version,
        "seconds": options.seconds,
        "keys": options.keys,
        "value_bytes": options.value_bytes,
        "leader_only": options.leader_only,
        "runs": runs,
        "summary": summary,
    });
    let path = cargo::root().join(RESULT);
    fs::write(&path, format!("{all:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

impl Measured {
    fn json(&self) -> serde_json::Value {
        let row = &self.row;
        json!({
            "target": self.make.name(),
            "run": self.run,
            "operation": self.operation,
            "clients": row.clients,
            "ops_per_second": row.ops_per_second,
            "p50_ms": row.p50_ms,
            "p99_ms": row.p99_ms,
            "refused": row.refused,
            "unknown": row.unknown,
            "failed": row.failed,
            "leader_cores": self.leader_cores,
            "follower_cores": self.follower_cores,
            "generator_cores": self.generator_cores,
            "leader_rss_mib": self.leader_rss_mib,
            "follower_rss_mib": self.follower_rss_mib,
            "leader_changed": self.leader_changed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options> {
        let mut arguments =
            Arguments::new(line.split_whitespace().map(ToOwned::to_owned).collect());
        let options = Options::of(&mut arguments)?;
        arguments.finish()?;
        Ok(options)
    }

    #[test]
    fn without_options_all_is_compared() {
        let options = options("").unwrap();
        assert_eq!((options.runs, options.seconds, options.keys), (5, 10, 100_000));
        assert_eq!(options.clients, [1, 64, 256, 1000]);
        assert_eq!(options.operations, ["put", "get"]);
        assert!(!options.leader_only);
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        for (line, named) in [
            ("--runs 0", "--runs"),
            ("--operations put,delete", "\"delete\""),
            ("--clients 1,x", "--clients"),
            ("--leader", "--leader"),
        ] {
            let why = format!("{:#}", options(line).unwrap_err());
            assert!(why.contains(named), "{line}: {why}");
        }
        assert!(options("--leader-only --runs=2 --operations get").unwrap().leader_only);
    }
}
