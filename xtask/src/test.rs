//! All checks in the order of their price, as continuous integration runs them.

use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cargo::{cargo, run as run_command};
use crate::{integration, tidy};

/// How many fresh seeds the simulator gets here, about a minute; the first is printed.
const SEEDS: &str = "4000";

/// All crates, with the features whose tests ask for them.
const EVERYTHING: [&str; 3] = ["--workspace", "--features", "raft-rpc/grpc"];

type Check = fn() -> Result<()>;

const STEPS: [(&str, Check); 9] = [
    ("format", || run_command(&mut cargo(&["fmt", "--all", "--check"]))),
    ("tidy", || tidy::run(false)),
    ("licences and advisories", licences),
    ("clippy", clippy),
    ("tests", tests),
    ("documentation", documentation),
    ("simulator", || integration::sim(&["--seeds".to_owned(), SEEDS.to_owned()])),
    ("model", || integration::model(&["--smoke".to_owned()])),
    ("integration", || integration::integration(None, None)),
];

/// Runs every step and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    let mut times = Vec::new();
    for (name, check) in STEPS {
        println!("== {name}");
        let began = Instant::now();
        check().with_context(|| format!("the step `{name}` failed"))?;
        let seconds = began.elapsed().as_secs_f64();
        println!("== {name}: ok, {seconds:.1} s\n");
        times.push((name, seconds));
    }
    println!("== all steps passed");
    for (name, seconds) in &times {
        println!("{seconds:8.1} s  {name}");
    }
    println!("{:8.1} s  together", times.iter().map(|(_, seconds)| seconds).sum::<f64>());
    Ok(())
}

fn licences() -> Result<()> {
    if !available(&["deny", "--version"]) {
        println!("cargo-deny is not installed here; deny.toml was not checked");
        return Ok(());
    }
    run_command(&mut cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))
}

fn clippy() -> Result<()> {
    let words =
        [&["clippy", "--quiet", "--all-targets"], &EVERYTHING[..], &["--", "-D", "warnings"]];
    run_command(&mut cargo(&words.concat()))
}

/// With `CI` set, or without nextest, cargo's own runner: its result lines are what
/// people look for in a log.
fn tests() -> Result<()> {
    if env::var_os("CI").is_some() || !available(&["nextest", "--version"]) {
        return run_command(&mut cargo(&[&["test", "--quiet"], &EVERYTHING[..]].concat()));
    }
    let nextest = ["nextest", "run", "--no-tests", "pass"];
    run_command(&mut cargo(&[&nextest[..], &EVERYTHING].concat()))?;
    run_command(&mut cargo(&[&["test", "--quiet", "--doc"], &EVERYTHING[..]].concat()))
}

fn documentation() -> Result<()> {
    let mut command = cargo(&[&["doc", "--quiet", "--no-deps"], &EVERYTHING[..]].concat());
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn available(words: &[&str]) -> bool {
    let mut command: Command = cargo(words);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
