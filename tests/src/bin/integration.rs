//! Tests a cluster of real `raft-node` processes; `cargo xtask integration` runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tests::integration::{self, Options};

const USAGE: &str = "Usage: integration --node-binary PATH [--rounds N] [--seed S] [--only NAME]";

fn main() -> ExitCode {
    integration::enter_own_mounts();
    let outcome = options(std::env::args().skip(1)).and_then(|options| integration::run(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let (mut node_binary, mut rounds, mut seed, mut only) = (None, 5, None, String::new());
    while let Some(name) = words.next() {
        let value = words.next().with_context(|| format!("{name} needs a value\n{USAGE}"))?;
        let wrong = || format!("{name} {value:?}");
        match name.as_str() {
            "--node-binary" => node_binary = Some(PathBuf::from(&value)),
            "--rounds" => rounds = value.parse().with_context(wrong)?,
            "--seed" => seed = Some(value.parse().with_context(wrong)?),
            "--only" => only = value,
            _ => bail!("{name:?} was not understood\n{USAGE}"),
        }
    }
    let node_binary = node_binary.context(USAGE)?;
    // Real processes repeat nothing exactly, but the order of kills and requests does.
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    Ok(Options { node_binary, rounds, seed, only })
}
