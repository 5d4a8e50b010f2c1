//! The programs below `benches/`, which are built beside the workspace: what they print.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo::{cargo, root};

/// Builds `benches/<package>` and runs it with these words; hands on each line of JSON.
pub(crate) fn run(
    package: &str,
    words: &[String],
    mut each: impl FnMut(&str, &Value) -> Result<()>,
) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--release", "--manifest-path"]);
    command.arg(root().join("benches").join(package).join("Cargo.toml"));
    command.arg("--target-dir").arg(root().join("target").join(package));
    command.arg("--").args(words);
    eprintln!("building benches/{package}, which is slow the first time ...");
    let mut child =
        command.stdout(Stdio::piped()).spawn().context("cannot run `cargo run` for it")?;
    let stdout = child.stdout.take().context("the program has no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        each(&line, &json(&line)?)?;
    }
    let status = child.wait().context("the program was lost")?;
    if !status.success() {
        bail!("benches/{package} failed ({status})");
    }
    Ok(())
}

/// A line that a program has printed.
pub(crate) fn json(line: &str) -> Result<Value> {
    serde_json::from_str(line)
        .with_context(|| format!("the program printed what is no JSON: {line}"))
}

/// Writes all numbers to a file below the root of the workspace.
pub(crate) fn write(result: &str, all: &Value) -> Result<()> {
    let path = root().join(result);
    let shown = || format!("cannot write {}", path.display());
    fs::create_dir_all(path.with_file_name("")).with_context(shown)?;
    fs::write(&path, format!("{all:#}\n")).with_context(shown)
}
