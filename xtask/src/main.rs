//! The workspace's own commands, run as `cargo xtask COMMAND`.
//!
//! `test` is what continuous integration runs, `tidy` checks the rules of the
//! house, `mutants` the tests of the pure crates, `fuzz` fuzzes the log, `sim` runs the simulator,
//! `model` looks at every state of small worlds, `integration` tests real processes,
//! `cluster` runs a cluster on this machine until Ctrl-C, and `bench` measures one.
//!
//! Deliberately absent: any crate of the workspace. These commands build and run
//! the others from outside, so a workspace that does not compile can still be
//! checked, and a fresh clone compiles only a handful of small packages first.

mod arguments;
mod cargo;

mod bench;
mod bugs;
mod cluster;
mod fuzz;
mod integration;
mod mutants;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};
use arguments::Arguments;

const HELP: &str = "\
Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  test                     All checks, as continuous integration runs them
  tidy [--sizes]           The rules of the house; --sizes shows the longest files and functions
  mutants CRATE [--resume] Whether a test fails for every small change of a pure crate;
                           --resume goes on where an earlier run was cut off
  fuzz [TARGET] [--seconds N]
                           Fuzzes what reads files and pieces of snapshots, each target for
                           600 s; goes on where an earlier run has ended
  sim [ARGS]               The simulator; `cargo xtask sim --help` tells its arguments
  sim --bugs [NAME...]     Whether the simulator finds the bugs of tests/bugs, each put back in;
                           `cargo xtask sim --bugs --help` tells its arguments
  model [ARGS]             Every state of small worlds; `cargo xtask model --help` tells its
                           arguments
  integration [--rounds N] [--seed S]
                           Real processes: crashes, restarts, hostile input
  cluster [--nodes N] [--fresh]
                           A cluster of real processes on this machine, until Ctrl-C;
                           --fresh removes the data of the one before
  bench etcd|overload|soak|core|log [OPTIONS]
                           Measurements; `cargo xtask bench help` tells their options
  help                     This text
";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut words: Vec<String>) -> Result<()> {
    if words.is_empty() {
        print!("{HELP}");
        bail!("which command?");
    }
    let command = words.remove(0);
    if command == "sim" {
        if let Some(at) = words.iter().position(|word| word == "--bugs") {
            words.remove(at);
            return bugs::run(words);
        }
        return integration::sim(&words);
    }
    if command == "model" {
        return integration::model(&words);
    }
    if command == "bench" {
        return bench::run(words);
    }
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    if command == "mutants" {
        return mutants::run(words);
    }
    let mut arguments = Arguments::new(words);
    match command.as_str() {
        "test" => {
            arguments.finish()?;
            test::run()
        }
        "tidy" => {
            let sizes = arguments.flag("--sizes");
            arguments.finish()?;
            tidy::run(sizes)
        }
        "integration" => {
            let rounds = arguments.value("--rounds")?;
            let seed = arguments.value("--seed")?;
            arguments.finish()?;
            integration::integration(rounds, seed)
        }
        "fuzz" => {
            let seconds = arguments.value("--seconds")?;
            let target = arguments.word();
            arguments.finish()?;
            fuzz::run(target.as_deref(), seconds)
        }
        "cluster" => {
            let nodes = arguments.value("--nodes")?.unwrap_or(3);
            let fresh = arguments.flag("--fresh");
            arguments.finish()?;
            cluster::run(nodes, fresh)
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("no command is called {command:?}; `cargo xtask help` lists them"),
    }
}
