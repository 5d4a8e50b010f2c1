//! Known bugs, each a patch that puts it back in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::direct::DirectTest;

/// Where they lie, from the root of the workspace.
pub(crate) const FOLDER: &str = "tests/bugs";

/// How long the search for a bug may take on two cores, unless its patch says otherwise.
const LIMIT_SECONDS: u64 = 60;

/// A known bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    /// The file, without its extension.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// What it is, in one line.
    pub(crate) bug: String,
    /// Who had it.
    pub(crate) shipped_by: String,
    pub(crate) limit_seconds: u64,
    /// The direct test that fails with it.
    pub(crate) test: DirectTest,
    pub(crate) text: String,
}

impl Patch {
    /// Reads what stands above the change: `Bug`, `Shipped by`, `Effect`, `Test` and perhaps
    /// `Limit`, each a line.
    fn parse(path: &Path, text: String) -> Result<Self> {
        let name = path.file_stem().context("a file without a name")?.to_string_lossy();
        let field = |name: &str| {
            let lines = text.lines().take_while(|line| !line.starts_with("diff "));
            lines.into_iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let needed = |field_name: &str| {
            field(field_name).with_context(|| format!("{name} has no line `{field_name}: ...`"))
        };
        needed("Effect")?;
        let limit_seconds = match field("Limit") {
            Some(limit) => {
                let seconds = limit.strip_suffix(" s").and_then(|seconds| seconds.parse().ok());
                seconds.with_context(|| format!("{name}: `Limit: {limit}` is not like `600 s`"))?
            }
            None => LIMIT_SECONDS,
        };
        let test = needed("Test")?;
        let test = DirectTest::parse(test).with_context(|| {
            format!("{name}: `Test: {test}` is not like `raft-state stories::reads::a_read`")
        })?;
        Ok(Self {
            bug: needed("Bug")?.to_owned(),
            shipped_by: needed("Shipped by")?.to_owned(),
            name: name.into_owned(),
            path: path.to_owned(),
            limit_seconds,
            test,
            text,
        })
    }

    /// Applies it to the tree in `root`, or only tries to. The folders above `root` are not
    /// looked at: `git` would take the patch for one of theirs.
    pub(crate) fn apply(&self, root: &Path, how: How) -> Result<()> {
        let mut command = Command::new("git");
        command.current_dir(root).env("GIT_CEILING_DIRECTORIES", root.parent().unwrap_or(root));
        command.arg("apply");
        if how == How::Try {
            command.arg("--check");
        }
        let output = command.arg(&self.path).output().context("cannot run git")?;
        if output.status.success() {
            return Ok(());
        }
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
}

/// Whether a patch is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is.
    Apply,
    /// It is only found out whether it can be.
    Try,
}

/// All patches of the tree in `root`, by name.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Patch>> {
    let folder = root.join(FOLDER);
    let files = fs::read_dir(&folder).with_context(|| format!("cannot list {folder:?}"))?;
    let mut patches = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
            patches.push(Patch::parse(&path, text)?);
        }
    }
    patches.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(patches)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Bug: 1. Something.\nShipped by: somebody\nEffect: bad.\nTest: a b::c\n";

    #[test]
    fn what_stands_above_the_change_is_read() -> Result<()> {
        let parse = |text: String| Patch::parse(Path::new("x/01-some.patch"), text);
        let patch = parse(format!("{HEAD}Limit: 600 s\ndiff --git a/b b/b\n"))?;
        assert_eq!((patch.name.as_str(), patch.limit_seconds), ("01-some", 600));
        assert_eq!((patch.bug.as_str(), patch.shipped_by.as_str()), ("1. Something.", "somebody"));
        assert_eq!(parse(HEAD.to_owned())?.limit_seconds, LIMIT_SECONDS);
        assert!(parse(format!("{HEAD}Limit: long\n")).is_err());
        assert_eq!(Some(patch.test), DirectTest::parse("a b::c"));
        assert!(parse(HEAD.replace("a b::c", "a_test")).is_err());
        let below = parse("diff --git a/b b/b\nBug: no\n".to_owned()).unwrap_err().to_string();
        assert_eq!(below, "01-some has no line `Effect: ...`");
        Ok(())
    }

    #[test]
    fn a_patch_that_does_not_fit_is_not_applied() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (file, path) = (folder.path().join("a.txt"), folder.path().join("a.patch"));
        let text = format!(
            "{HEAD}diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
        );
        fs::write(&path, &text)?;
        let patch = Patch::parse(&path, text)?;
        fs::write(&file, "three\n")?;
        assert!(patch.apply(folder.path(), How::Try).is_err());
        fs::write(&file, "one\n")?;
        patch.apply(folder.path(), How::Try)?;
        assert_eq!(fs::read_to_string(&file)?, "one\n");
        patch.apply(folder.path(), How::Apply)?;
        assert_eq!(fs::read_to_string(&file)?, "two\n");
        Ok(())
    }
}
