//! The fuzz targets of `raft-log`, run with libFuzzer by way of `cargo-fuzz`.
//!
//! No sanitizer is used: the code has no `unsafe`, and so the stable toolchain does. What a
//! run has learnt stays in `target/fuzz/corpus`, and the next one goes on from there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, read, root, run as run_command};

/// What is installed where `cargo fuzz` is missing.
const VERSION: &str = "0.13.2";

/// What each target gets if nobody says otherwise.
const SECONDS: u64 = 600;

/// An input that takes longer is a finding. Machines stall, so it is much.
const LONGEST_SECONDS: u64 = 120;

/// What libFuzzer says at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Outcome {
    executions: u64,
    /// Edges of the control flow that were reached.
    coverage: u64,
    inputs: u64,
}

/// Runs one target, or all of them one after the other.
pub(crate) fn run(target: Option<&str>, seconds: Option<u64>) -> Result<()> {
    let known = targets(&root().join("raft-log/fuzz"))?;
    let chosen: Vec<&String> =
        known.iter().filter(|name| target.is_none_or(|target| target == **name)).collect();
    if chosen.is_empty() {
        bail!("no target is called {:?}; there are {}", target.unwrap_or(""), known.join(", "));
    }
    install()?;
    let mut findings = Vec::new();
    for name in chosen {
        println!("== {name}");
        let place = Place { name, folder: root().join("target/fuzz") };
        place.build()?;
        let outcome = place.fuzz(seconds.unwrap_or(SECONDS))?;
        let Outcome { executions, coverage, inputs } = outcome;
        println!("{name}: {executions} executions, {coverage} edges, {inputs} inputs kept");
        findings.extend(place.findings()?);
    }
    for finding in &findings {
        println!("found: {}", finding.display());
    }
    match findings.len() {
        0 => Ok(()),
        found => bail!("{found} inputs break a promise, see above and the logs in target/fuzz"),
    }
}

/// The targets are the files in `fuzz_targets`.
fn targets(package: &Path) -> Result<Vec<String>> {
    let folder = package.join("fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot list {folder:?}"))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn install() -> Result<()> {
    if read(&mut cargo(&["fuzz", "--version"])).is_ok() {
        return Ok(());
    }
    println!("cargo-fuzz is missing: installing version {VERSION} ...");
    run_command(&mut cargo(&["install", "cargo-fuzz", "--locked", "--version", VERSION]))
}

/// Where a target is built and its corpus grows.
struct Place<'n> {
    name: &'n str,
    folder: PathBuf,
}

impl Place<'_> {
    fn cargo_fuzz(&self, verb: &str) -> Command {
        let mut command = cargo(&["fuzz", verb, "--sanitizer", "none", "--fuzz-dir"]);
        command.arg(root().join("raft-log/fuzz")).arg("--target-dir").arg(&self.folder);
        command.arg(self.name);
        command
    }

    fn build(&self) -> Result<()> {
        run_command(&mut self.cargo_fuzz("build"))
    }

    /// A finding ends the run, and is no error of it.
    fn fuzz(&self, seconds: u64) -> Result<Outcome> {
        let corpus = self.folder.join("corpus").join(self.name);
        for folder in [&corpus, &self.artifacts()] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
        }
        let log = self.folder.join(self.name).with_extension("log");
        let file = File::create(&log).with_context(|| format!("cannot make {log:?}"))?;
        let mut command = self.cargo_fuzz("run");
        // What is new goes into the first folder.
        command.arg(&corpus).arg(root().join("raft-log/fuzz/corpus").join(self.name));
        command.arg("--").arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-timeout={LONGEST_SECONDS}")).arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/", self.artifacts().display()));
        command.stdout(file.try_clone()?).stderr(file);
        let status = command.status().context("cannot run cargo fuzz")?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        match outcome(&text) {
            Some(outcome) => Ok(outcome),
            None => bail!("{} said nothing of what it did ({status}); see {log:?}", self.name),
        }
    }

    fn artifacts(&self) -> PathBuf {
        self.folder.join("artifacts").join(self.name)
    }

    fn findings(&self) -> Result<Vec<PathBuf>> {
        let files = fs::read_dir(self.artifacts())?;
        Ok(files.map(|file| Ok(file?.path())).collect::<Result<_, std::io::Error>>()?)
    }
}

/// Reads libFuzzer's own words: the last line of progress, and the closing figures.
fn outcome(log: &str) -> Option<Outcome> {
    let executions = log.lines().find_map(|line| {
        line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok()
    })?;
    let word_after = |line: &str, key: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != key);
        words.nth(1).map(|word| word.split('/').next().unwrap_or(word).to_owned())
    };
    let progress = log.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: "));
    let figure = |key| progress.and_then(|line| word_after(line, key)?.parse().ok()).unwrap_or(0);
    Some(Outcome { executions, coverage: figure("cov:"), inputs: figure("corp:") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let log = "#8\tNEW    cov: 9 ft: 2 corp: 1/5b lim: 8\n\
                   #76145\tDONE   cov: 923 ft: 1706 corp: 188/5295b lim: 198 exec/s: 3625\n\
                   stat::number_of_executed_units: 76145\nstat::peak_rss_mb: 30\n";
        let expected = Outcome { executions: 76145, coverage: 923, inputs: 188 };
        assert_eq!(outcome(log), Some(expected));
        assert_eq!(outcome("error: could not compile"), None);
    }

    #[test]
    fn every_target_has_inputs_to_begin_with() -> Result<()> {
        let package = root().join("raft-log/fuzz");
        let targets = targets(&package)?;
        assert!(targets.len() > 5, "{targets:?}");
        for target in targets {
            let seeds = fs::read_dir(package.join("corpus").join(&target))?;
            assert!(seeds.count() > 3, "{target}");
        }
        Ok(())
    }
}
