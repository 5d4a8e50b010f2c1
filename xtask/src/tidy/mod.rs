//! The rules of the house, checked.
//!
//! Each rule is a function from what the workspace says to a list of findings, and
//! each has tests that break it.

mod arrows;
mod bugs;
mod front_page;
mod lengths;
mod named_tests;
mod purity;
mod words;

mod builds;
mod source;

use std::fmt;

use anyhow::{Result, bail};
use source::Source;

use crate::cargo;

/// A place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, or the package where the rule is about packages.
    pub(crate) place: String,
    /// The line, counted from 1.
    pub(crate) line: Option<usize>,
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

impl Finding {
    fn in_file(source: &Source, line: usize, what: String) -> Self {
        Self { place: source.path.clone(), line: Some(line), what }
    }

    fn at(place: &str, what: String) -> Self {
        Self { place: place.to_owned(), line: None, what }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}

/// Checks every rule and prints what breaks it; with `sizes`, also the longest
/// files and functions.
pub(crate) fn run(sizes: bool) -> Result<()> {
    let sources = source::read_all(&cargo::root())?;
    let metadata = cargo::metadata()?;
    if sizes {
        lengths::print_longest(&sources);
    }
    let mut findings = arrows::check(&metadata);
    findings.extend(purity::check(&sources));
    findings.extend(lengths::check(&sources));
    findings.extend(words::check(&sources));
    findings.extend(front_page::check(&sources));
    findings.extend(named_tests::check(&sources));
    findings.extend(bugs::check(&cargo::root())?);
    findings.extend(builds::embeddable()?);
    findings.extend(builds::without_std()?);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, nothing to complain about", sources.len());
            Ok(())
        }
        1 => bail!("one rule of the house is broken, see above"),
        count => bail!("rules of the house are broken in {count} places, see above"),
    }
}
