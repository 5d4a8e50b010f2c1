//! Mutation testing of the pure crates: does a test fail for every small change of the code?
//!
//! `cargo-mutants` makes the changes and runs the tests of the crate against each of
//! them. Here its results are added up and compared with `docs/mutants/CRATE.txt`, which
//! names every survivor that is known, with the reason why no test catches it.

mod known;
mod outcomes;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::known::Known;
use self::outcomes::Outcomes;
use crate::arguments::Arguments;
use crate::cargo::{cargo, read, root, run as run_command};

/// The crates whose tests are held to it.
const CRATES: [&str; 4] = ["raft-core", "raft-election", "raft-replication", "raft-state"];

/// What is installed where `cargo mutants` is missing. Another version is used where it is
/// there, but it may make other mutants.
const VERSION: &str = "27.1.0";

/// The share of the viable mutants that must be caught, in percent.
const LEAST_CAUGHT_PERCENT: f64 = 90.0;

/// The work is done in so many parts; one that is finished need not be done again.
const PARTS: usize = 8;

/// Mutants that are built and tested at once.
const JOBS: usize = 2;

/// Tests that do not count: random schedules take long, and one that fails says little of
/// what is wrong. What they alone would catch needs a story of its own.
const NOT_COUNTED: [&str; 3] = ["--", "--skip", "stories::chaos"];

/// The least time that the tests of a mutant get, however fast they are by themselves.
const LEAST_PATIENCE: Duration = Duration::from_secs(20);

/// Tests the mutants of the crate that `words` name.
pub(crate) fn run(mut words: Vec<String>) -> Result<()> {
    if words.is_empty() {
        bail!("of which crate? {}", CRATES.join(", "));
    }
    let name = words.remove(0);
    let mut arguments = Arguments::new(words);
    let resume = arguments.flag("--resume");
    arguments.finish()?;
    test(&name, resume)
}

/// Tests the mutants of one crate. With `resume`, parts that an earlier run has finished
/// are kept, provided that the crate still has the same mutants.
fn test(name: &str, resume: bool) -> Result<()> {
    if !CRATES.contains(&name) {
        bail!("mutants are made of {}, not of {name:?}", CRATES.join(", "));
    }
    let known = Known::read(&root().join(format!("docs/mutants/{name}.txt")))?;
    install()?;
    let place = Place { name, folder: root().join("target/mutants").join(name) };
    place.prepare(resume)?;
    let patience = place.patience()?;
    for part in 0..PARTS {
        place.test(part, patience)?;
    }
    let mut outcomes = Outcomes::default();
    for part in 0..PARTS {
        outcomes.add(&place.outcomes(part)?.context("a part has no result")?)?;
    }
    outcomes.missed.sort();
    judge(name, &outcomes, &known)
}

fn install() -> Result<()> {
    match read(&mut cargo(&["mutants", "--version"])) {
        Ok(version) if version.trim().ends_with(VERSION) => Ok(()),
        Ok(version) => {
            println!("{} is used; {VERSION} may make other mutants", version.trim());
            Ok(())
        }
        Err(_) => {
            println!("cargo-mutants is missing: installing version {VERSION} ...");
            run_command(&mut cargo(&["install", "cargo-mutants", "--locked", "--version", VERSION]))
        }
    }
}

/// Prints what came of it; an error where too little is caught, or the file of the
/// survivors does not say what is so.
fn judge(name: &str, outcomes: &Outcomes, known: &Known) -> Result<()> {
    println!("\n{name}: {outcomes}");
    let news = known.lacks(&outcomes.missed);
    for survivor in &news {
        println!("not in docs/mutants/{name}.txt: {survivor}");
    }
    let gone = known.without(&outcomes.missed);
    for entry in &gone {
        println!("survives no more, remove it from docs/mutants/{name}.txt: {entry}");
    }
    let share = outcomes.caught_percent();
    if share < LEAST_CAUGHT_PERCENT {
        bail!("{share:.1} % of the viable mutants are caught; {LEAST_CAUGHT_PERCENT} % must be");
    }
    if !news.is_empty() {
        bail!("{} mutants survive for which no reason is given, see above", news.len());
    }
    if !gone.is_empty() {
        bail!("{} reasons are given for what does not survive, see above", gone.len());
    }
    Ok(())
}

/// Where the results of one crate lie.
struct Place<'a> {
    name: &'a str,
    folder: PathBuf,
}

impl Place<'_> {
    /// Keeps what may be kept, and removes everything else.
    fn prepare(&self, resume: bool) -> Result<()> {
        let list = read(self.mutants().args(["--list", "--json"]))?;
        let noted = self.folder.join("list.json");
        let same = fs::read_to_string(&noted).is_ok_and(|before| before == list);
        if resume && !same {
            println!("there is nothing to go on with: {} has other mutants now", self.name);
        }
        if !(resume && same) && self.folder.exists() {
            fs::remove_dir_all(&self.folder).with_context(|| self.shown("cannot remove"))?;
        }
        // What a run leaves behind that was killed.
        if self.copies().exists() {
            fs::remove_dir_all(self.copies()).with_context(|| self.shown("cannot clear"))?;
        }
        fs::create_dir_all(self.copies()).with_context(|| self.shown("cannot make"))?;
        fs::write(&noted, list).with_context(|| self.shown("cannot write to"))
    }

    /// How long the tests of a mutant may take: many times what they take on the code as
    /// it is, where they must pass.
    fn patience(&self) -> Result<Duration> {
        let target = self.folder.join("target");
        let package = ["--quiet", "--package", self.name, "--all-targets", "--target-dir"];
        let mut test = lean(cargo(&[&["test"], &package[..]].concat()));
        test.arg(target).args(NOT_COUNTED);
        // The first run builds.
        let mut took = Duration::ZERO;
        for _ in 0..2 {
            let began = Instant::now();
            read(&mut test).context("the tests must pass before mutants are made")?;
            took = began.elapsed();
        }
        Ok(LEAST_PATIENCE.max(took * 10))
    }

    /// Tests the mutants of one part, unless that is done.
    fn test(&self, part: usize, patience: Duration) -> Result<()> {
        if self.outcomes(part)?.is_some() {
            println!("part {} of {PARTS}: done before", part + 1);
            return Ok(());
        }
        println!("part {} of {PARTS}:", part + 1);
        let (jobs, seconds) = (JOBS.to_string(), patience.as_secs().to_string());
        let mut command = self.mutants();
        command.args(["--baseline", "skip", "--no-shuffle", "--jobs", &jobs]);
        command.args(["--timeout", &seconds, "--build-timeout", "300"]);
        command.args(["--shard", &format!("{part}/{PARTS}"), "--output"]).arg(self.part(part));
        command.env("TMPDIR", self.copies()).args(["--", "--all-targets"]).args(NOT_COUNTED);
        let status = command.status().context("cannot run `cargo mutants`")?;
        // 2 says that mutants were missed, 3 that tests were cut off: both are results.
        match status.code() {
            Some(0 | 2 | 3) => Ok(()),
            _ => bail!("`cargo mutants` failed ({status}); `--resume` goes on from here"),
        }
    }

    /// What a part came to, if it is finished.
    fn outcomes(&self, part: usize) -> Result<Option<String>> {
        let file = self.part(part).join("mutants.out/outcomes.json");
        let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
        let finished = outcomes::is_finished(&text);
        Ok(finished.with_context(|| format!("cannot read {}", file.display()))?.then_some(text))
    }

    fn part(&self, part: usize) -> PathBuf {
        self.folder.join(format!("part-{part}"))
    }

    /// Where the trees lie that are changed, each with a target of its own.
    fn copies(&self) -> PathBuf {
        self.folder.join("copies")
    }

    fn mutants(&self) -> Command {
        lean(cargo(&["mutants", "--package", self.name, "--gitignore=true"]))
    }

    fn shown(&self, what: &str) -> String {
        format!("{what} {}", self.folder.display())
    }
}

/// Without what a debugger needs, and in the targets that it is told to use.
fn lean(mut command: Command) -> Command {
    command.env("CARGO_PROFILE_DEV_DEBUG", "none").env("CARGO_PROFILE_TEST_DEBUG", "none");
    command.env_remove("CARGO_TARGET_DIR");
    command
}

#[cfg(test)]
mod tests {
    use super::outcomes::Survivor;
    use super::*;

    fn complaint(line: &str) -> String {
        run(line.split_whitespace().map(ToOwned::to_owned).collect()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(complaint("").contains("of which crate? raft-core"));
        assert!(complaint("raft-node").contains("not of \"raft-node\""));
        assert!(complaint("raft-core --again").contains("--again"));
    }

    fn outcomes(caught: usize, missed: &[&str]) -> Outcomes {
        let missed = missed.iter().map(|name| Survivor::of(&format!("a.rs:1:1: {name}")));
        Outcomes { caught, missed: missed.collect(), ..Outcomes::default() }
    }

    #[test]
    fn enough_must_be_caught_and_the_rest_explained() {
        let known = Known::of("a.rs: f -- the same\n").unwrap();
        let why = |outcomes| judge("a", &outcomes, &known).unwrap_err().to_string();
        judge("a", &outcomes(9, &["f"]), &known).unwrap();
        assert!(why(outcomes(8, &["f"])).starts_with("88.9 %"));
        assert!(why(outcomes(99, &["f", "g"])).starts_with("1 mutants survive"));
        assert!(why(outcomes(99, &[])).starts_with("1 reasons are given"));
    }
}
