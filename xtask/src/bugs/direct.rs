//! Does a direct test fail with every known bug? The one that its patch names must.

use std::collections::BTreeSet;
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

/// After this long a test counts as failed: a bug may make it wait for ever.
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

/// Puts each bug into the copy and runs the test that its patch names; where it names none,
/// all of the crates that it changes, to find one.
///
/// # Errors
/// Where a test passes all the same, or there is none.
pub(crate) fn run(scratch: &Scratch, bugs: &[Patch]) -> Result<()> {
    let mut missed = Vec::new();
    for bug in bugs {
        scratch.copy()?;
        bug.apply(scratch.tree(), How::Apply)?;
        let found = match &bug.test {
            Some(test) => named(scratch, test).with_context(|| bug.name.clone())?,
            None => any(scratch, bug).with_context(|| bug.name.clone())?,
        };
        match found {
            Found::Fails(tests) => println!("{:<44} fails: {}", bug.name, tests.join(", ")),
            Found::Nothing => {
                println!("{:<44} NO TEST FAILS", bug.name);
                missed.push(bug.name.as_str());
            }
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    bail!("no direct test fails with {} bugs: {}", missed.len(), missed.join(", "))
}

enum Found {
    Fails(Vec<String>),
    Nothing,
}

fn named(scratch: &Scratch, test: &DirectTest) -> Result<Found> {
    let DirectTest { package, name } = test;
    match run_tests(scratch, package, &["--exact", name])? {
        Ended { running: 0, .. } => bail!("{package} has no test {name}"),
        Ended { ignored: 1.., .. } => bail!("{package} ignores the test {name}"),
        Ended { passed: 0, .. } => Ok(Found::Fails(vec![name.clone()])),
        Ended { .. } => Ok(Found::Nothing),
    }
}

fn any(scratch: &Scratch, bug: &Patch) -> Result<Found> {
    let mut failed = Vec::new();
    for package in packages(&bug.text) {
        let ended = run_tests(scratch, &package, &[])?;
        let untold = ended.untold();
        failed.extend(ended.failed.into_iter().map(|name| format!("{package} {name}")));
        if untold > 0 {
            failed.push(format!("{package}, and the end of {untold} tests is not told"));
        }
    }
    Ok(if failed.is_empty() { Found::Nothing } else { Found::Fails(failed) })
}

/// What running some tests came to.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    running: usize,
    passed: usize,
    ignored: usize,
    failed: Vec<String>,
}

impl Ended {
    /// How many tests ended in no way that was told: one may have taken the whole process with
    /// it, and the others too.
    const fn untold(&self) -> usize {
        self.running.saturating_sub(self.passed + self.ignored + self.failed.len())
    }
}

/// Runs tests of a package's library. Those that do not end are failed.
fn run_tests(scratch: &Scratch, package: &str, words: &[&str]) -> Result<Ended> {
    let mut command = Command::new(build_tests(scratch, package)?);
    command.current_dir(scratch.tree().join(package)).args(words);
    Ok(ended(&within(command, MOST)?))
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

/// Runs a command, and ends it after so long; answers what it has printed.
fn within(mut command: Command, most: Duration) -> Result<String> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().context("the output is piped")?;
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).map(|_| all)
    });
    while child.try_wait()?.is_none() {
        if begun.elapsed() > most {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let printed = reader.join().map_err(|_| anyhow!("the reader of a test panicked"))??;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

/// What the test runner has printed. It names a test that takes long, and its end later.
fn ended(printed: &str) -> Ended {
    let running = printed.lines().find_map(|line| line.strip_prefix("running ")?.split(' ').next());
    let running = running.and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut failed = BTreeSet::new();
    let (mut passed, mut ignored) = (0, 0);
    for line in printed.lines().filter_map(|line| line.strip_prefix("test ")) {
        if let Some((name, _)) = line.split_once(" has been running for over ") {
            failed.insert(name.to_owned());
        }
        match line.split_once(" ... ") {
            Some((name, "ok")) => {
                passed += 1;
                failed.remove(name);
            }
            // The reason may follow.
            Some((_, outcome)) if outcome.starts_with("ignored") => ignored += 1,
            Some((name, "FAILED")) => {
                let name = name.strip_suffix(" - should panic").unwrap_or(name);
                failed.insert(name.to_owned());
            }
            _ => {}
        }
    }
    Ended { running, passed, ignored, failed: failed.into_iter().collect() }
}

/// The packages that a patch changes.
fn packages(patch: &str) -> BTreeSet<String> {
    let files = patch.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    files.filter_map(|file| Some(file.split_once('/')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_prints_is_told_apart() {
        let printed = "\nrunning 6 tests\ntest a::ends ... ok\ntest a::fails - should panic ... FAILED\n\
                       test a::later ... ignored\n\
                       test b::waits has been running for over 60 seconds\n\
                       test b::long has been running for over 60 seconds\ntest b::long ... ok\n";
        let failed = vec!["a::fails".to_owned(), "b::waits".to_owned()];
        let ended = ended(printed);
        assert_eq!(ended.untold(), 1, "the process died with it");
        assert_eq!(ended, Ended { running: 6, passed: 2, ignored: 1, failed });
    }

    #[test]
    fn a_patch_says_which_packages_it_changes() {
        let patch = "+++ b/raft-log/src/wal.rs\n+text\n+++ b/raft-node/src/a.rs\n";
        assert_eq!(packages(patch).into_iter().collect::<Vec<_>>(), ["raft-log", "raft-node"]);
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
