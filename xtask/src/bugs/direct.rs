//! Does a direct test fail with every known bug? The one that its patch names must.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::patch::{How, Patch};
use super::scratch::Scratch;
use crate::cargo::{cargo, read};

/// After this long a test is ended: a bug may make it wait for ever.
const MOST: Duration = Duration::from_secs(120);

/// A test, as a patch names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectTest {
    pub(crate) package: String,
    /// With its modules, as the test runner prints it.
    pub(crate) name: String,
}

impl DirectTest {
    /// Reads `package name`.
    pub(crate) fn parse(words: &str) -> Option<Self> {
        let (package, name) = words.split_once(' ')?;
        Some(Self { package: package.to_owned(), name: name.to_owned() })
    }
}

/// Puts each bug into the copy, and runs the test that its patch names.
///
/// # Errors
/// Where a test passes all the same, or there is none.
pub(crate) fn run(scratch: &Scratch, bugs: &[Patch]) -> Result<()> {
    let mut missed = Vec::new();
    for bug in bugs {
        scratch.copy()?;
        bug.apply(scratch.tree(), How::Apply)?;
        let DirectTest { package, name } = &bug.test;
        let outcome = run_test(scratch, &bug.test).with_context(|| bug.name.clone())?;
        let words = match outcome {
            Outcome::Fails => "fails",
            Outcome::Endless => "does not end",
            Outcome::Passes => "PASSES",
        };
        println!("{:<44} {words}: {package} {name}", bug.name);
        if outcome == Outcome::Passes {
            missed.push(bug.name.as_str());
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    bail!("the direct tests of {} bugs pass: {}", missed.len(), missed.join(", "))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It may have taken its process with it.
    Fails,
    /// It was ended.
    Endless,
    Passes,
}

/// Runs a test in the copy.
fn run_test(scratch: &Scratch, DirectTest { package, name }: &DirectTest) -> Result<Outcome> {
    let mut command = Command::new(build_tests(scratch, package)?);
    command.current_dir(scratch.tree().join(package)).args(["--exact", name]);
    let Some(printed) = within(command, MOST)? else { return Ok(Outcome::Endless) };
    match ended(&printed) {
        Ended { running: 0, .. } => bail!("{package} has no test {name}"),
        Ended { ignored: 1.., .. } => bail!("{package} ignores the test {name}"),
        Ended { passed: 0, .. } => Ok(Outcome::Fails),
        Ended { .. } => Ok(Outcome::Passes),
    }
}

/// What running some tests came to.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    running: usize,
    passed: usize,
    ignored: usize,
}

/// Builds the tests of a package's library, and says where they are.
fn build_tests(scratch: &Scratch, package: &str) -> Result<PathBuf> {
    let words = ["test", "--quiet", "--package", package, "--lib", "--no-run"];
    let mut command = cargo(&[&words[..], &["--message-format", "json"]].concat());
    command.current_dir(scratch.tree()).env("CARGO_TARGET_DIR", scratch.target());
    // A bug leaves things unused, which is no matter here.
    let told = read(command.env("RUSTFLAGS", "-Awarnings"))?;
    let messages = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut built = messages.filter_map(|message| Some(message["executable"].as_str()?.to_owned()));
    built.next_back().map(PathBuf::from).with_context(|| format!("{package} has no tests"))
}

/// Runs a command; answers what it has printed, unless it had to be ended after so long.
fn within(mut command: Command, most: Duration) -> Result<Option<String>> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().context("the output is piped")?;
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).map(|_| all)
    });
    let mut in_time = true;
    while child.try_wait()?.is_none() {
        if begun.elapsed() > most {
            in_time = false;
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let printed = reader.join().map_err(|_| anyhow!("the reader of a test panicked"))??;
    Ok(in_time.then(|| String::from_utf8_lossy(&printed).into_owned()))
}

/// What the test runner has printed.
fn ended(printed: &str) -> Ended {
    let running = printed.lines().find_map(|line| line.strip_prefix("running ")?.split(' ').next());
    let running = running.and_then(|number| number.parse().ok()).unwrap_or(0);
    let tests =
        || printed.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    // A reason may follow.
    let ignored = tests().filter(|(_, outcome)| outcome.starts_with("ignored")).count();
    let passed = tests().filter(|(_, outcome)| *outcome == "ok").count();
    Ended { running, passed, ignored }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_prints_is_told_apart() {
        let printed = "\nrunning 5 tests\ntest a::ends ... ok\n\
                       test a::fails - should panic ... FAILED\n\
                       test a::later ... ignored, it takes hours\n\
                       test b::long has been running for over 60 seconds\ntest b::long ... ok\n";
        assert_eq!(ended(printed), Ended { running: 5, passed: 2, ignored: 1 });
        let died = ended("running 1 test\n");
        assert_eq!(died, Ended { running: 1, passed: 0, ignored: 0 }, "with its process");
    }

    #[test]
    fn a_test_is_named_with_its_package() {
        let test = DirectTest::parse("raft-state stories::reads::a").unwrap();
        assert_eq!(
            (test.package.as_str(), test.name.as_str()),
            ("raft-state", "stories::reads::a")
        );
        assert_eq!(DirectTest::parse("raft-state"), None);
    }
}
