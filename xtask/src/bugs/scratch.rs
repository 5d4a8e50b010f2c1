//! A copy of the workspace that bugs are put into.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::patch::{How, Patch};
use super::record::Hunted;
use crate::cargo::{cargo, read};

/// How it is built: `Cargo.toml` says why.
const PROFILE: &str = "bugs";

/// The copy, with a target folder of its own, which stays from run to run.
#[derive(Debug)]
pub(crate) struct Scratch {
    from: PathBuf,
    tree: PathBuf,
    target: PathBuf,
}

impl Scratch {
    /// A copy of the workspace at `from`, in `folder`.
    pub(crate) fn new(from: &Path, folder: &Path) -> Self {
        let (tree, target) = (folder.join("tree"), folder.join("target"));
        Self { from: from.to_owned(), tree, target }
    }

    /// Where the copy is.
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Where it is built.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the copy equal to the workspace. Files that are equal stay as they are, so that
    /// only what depends on a change is built anew.
    pub(crate) fn copy(&self) -> Result<()> {
        let mut command = Command::new("git");
        let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        command.current_dir(&self.from).args(words);
        let listed = read(&mut command)?;
        let wanted: BTreeSet<PathBuf> =
            listed.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
        for name in &wanted {
            let (from, to) = (self.from.join(name), self.tree.join(name));
            // One that is removed and not committed yet is listed as well.
            let Ok(content) = fs::read(&from) else { continue };
            if fs::read(&to).is_ok_and(|there| there == content) {
                continue;
            }
            let folder = to.parent().context("a file at the root of everything")?;
            fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
            fs::write(&to, content).with_context(|| format!("cannot write {to:?}"))?;
        }
        for name in files(&self.tree, Path::new(""))? {
            if !wanted.contains(&name) || !self.from.join(&name).is_file() {
                fs::remove_file(self.tree.join(&name))?;
            }
        }
        Ok(())
    }

    /// Builds the simulator, with a bug or without one. Incrementally: a bug is small.
    pub(crate) fn build(&self, bug: Option<&Patch>) -> Result<()> {
        self.copy()?;
        if let Some(bug) = bug {
            bug.apply(&self.tree, How::Apply)?;
        }
        let words =
            ["build", "--quiet", "--profile", PROFILE, "--package", "tests", "--bin", "hunt"];
        let mut command = cargo(&words);
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // A bug leaves things unused, which is no matter here.
        command.env("RUSTFLAGS", "-Awarnings");
        read(&mut command).map(drop)
    }

    /// Runs seeds from `base` on until one fails.
    pub(crate) fn hunt(&self, base: u64, limit_seconds: u64, seeds: Option<u64>) -> Result<Hunted> {
        let mut command = Command::new(self.target.join(PROFILE).join("hunt"));
        command.arg("--base").arg(base.to_string());
        command.arg("--limit").arg(limit_seconds.to_string());
        if let Some(seeds) = seeds {
            command.arg("--seeds").arg(seeds.to_string());
        }
        let output = command.output().context("cannot run the simulator")?;
        let text = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str::<Value>(text.trim()) {
            Ok(told) => Hunted::of(&told),
            // The bug took the whole process with it, and with it what it has counted.
            Err(_) if output.status.code() != Some(1) => Ok(Hunted::died(output.status)),
            Err(_) => bail!("{}", String::from_utf8_lossy(&output.stderr).trim()),
        }
    }
}

/// The files below `root/under`, named from `root` on.
fn files(root: &Path, under: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(under))? {
        let entry = entry?;
        let name = under.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(files(root, &name)?);
        } else {
            found.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_what_it_was_made_from() -> Result<()> {
        let place = tempfile::tempdir()?;
        let from = place.path().join("from");
        fs::create_dir_all(from.join("a"))?;
        read(Command::new("git").arg("init").arg("--quiet").arg(&from))?;
        fs::write(from.join(".gitignore"), "/target\n")?;
        fs::write(from.join("a/b.txt"), "one")?;
        fs::write(from.join("c.txt"), "same")?;
        let scratch = Scratch::new(&from, &place.path().join("scratch"));
        scratch.copy()?;
        let copied = |name: &str| fs::read_to_string(scratch.tree.join(name));
        assert_eq!((copied("a/b.txt")?.as_str(), copied("c.txt")?.as_str()), ("one", "same"));

        let untouched = fs::metadata(scratch.tree.join("c.txt"))?.modified()?;
        fs::write(scratch.tree.join("a/b.txt"), "with a bug")?;
        fs::write(scratch.tree.join("new.txt"), "of the bug")?;
        scratch.copy()?;
        assert_eq!(copied("a/b.txt")?, "one");
        assert!(copied("new.txt").is_err());
        assert_eq!(fs::metadata(scratch.tree.join("c.txt"))?.modified()?, untouched);
        Ok(())
    }
}
