//! The survivors that are known, each with its reason.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::outcomes::Survivor;

/// What `docs/mutants/CRATE.txt` says. A line names one survivor; where a change that is
/// named in the same words survives twice, there are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    entries: Vec<Entry>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    name: String,
    reason: String,
}

impl Known {
    /// Reads the file; without one nothing is known.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self { entries: Vec::new() });
        }
        let shown = || format!("cannot read {}", path.display());
        Self::of(&fs::read_to_string(path).with_context(shown)?).with_context(shown)
    }

    pub(crate) fn of(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(" -- ") {
                Some((name, reason)) if !reason.trim().is_empty() => {
                    entries.push(Entry { name: name.to_owned(), reason: reason.to_owned() });
                }
                _ => bail!("a line gives no reason after ` -- `: {line}"),
            }
        }
        Ok(Self { entries })
    }

    /// The survivors that are not in the file.
    pub(crate) fn lacks<'a>(&self, survivors: &'a [Survivor]) -> Vec<&'a Survivor> {
        let mut left: Vec<_> = self.entries.iter().map(|entry| &entry.name).collect();
        survivors.iter().filter(|survivor| !take(&mut left, &survivor.name)).collect()
    }

    /// The lines of the file for which there is no survivor.
    pub(crate) fn without(&self, survivors: &[Survivor]) -> Vec<&Entry> {
        let mut left: Vec<_> = survivors.iter().map(|survivor| &survivor.name).collect();
        self.entries.iter().filter(|entry| !take(&mut left, &entry.name)).collect()
    }
}

/// Takes `name` out once, and says whether it was there.
fn take(names: &mut Vec<&String>, name: &String) -> bool {
    let at = names.iter().position(|one| *one == name);
    at.map(|at| names.swap_remove(at)).is_some()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -- {}", self.name, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# A comment.\n\na.rs: f -> 1 -- the same\na.rs: < in g -- never equal\n";

    fn survivors(names: &[&str]) -> Vec<Survivor> {
        let survivor = |name: &&str| Survivor { name: (*name).to_owned(), place: String::new() };
        names.iter().map(survivor).collect()
    }

    #[test]
    fn who_is_named_is_known_and_nobody_else() {
        let known = Known::of(FILE).unwrap();
        let survivors = survivors(&["a.rs: f -> 1", "b.rs: h", "a.rs: < in g"]);
        assert_eq!(known.lacks(&survivors), [&survivors[1]]);
        assert!(known.without(&survivors).is_empty());
    }

    #[test]
    fn a_line_stands_for_one_survivor() {
        let known = Known::of(FILE).unwrap();
        let survivors = survivors(&["a.rs: f -> 1"; 2]);
        assert_eq!(known.lacks(&survivors), [&survivors[1]]);
        let twice = Known::of(&format!("{FILE}a.rs: f -> 1 -- there too\n")).unwrap();
        assert!(twice.lacks(&survivors).is_empty());
    }

    #[test]
    fn a_reason_for_what_is_caught_is_found() {
        let known = Known::of(FILE).unwrap();
        let gone = known.without(&survivors(&["a.rs: f -> 1"]));
        assert_eq!(gone[0].to_string(), "a.rs: < in g -- never equal");
        assert_eq!(gone.len(), 1);
    }

    #[test]
    fn a_line_without_a_reason_is_named() {
        for line in ["a.rs: f -> 1", "a.rs: f -> 1 -- "] {
            let why = Known::of(line).unwrap_err().to_string();
            assert!(why.contains("no reason") && why.contains("f -> 1"), "{why}");
        }
    }
}
