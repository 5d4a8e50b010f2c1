//! What was found out about each bug, kept in a file.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What became of the search from one base seed on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hunted {
    /// The check that failed; `None` where nothing was found.
    pub(crate) check: Option<String>,
    /// Seeds that were run, the one that failed included.
    pub(crate) seeds: u64,
    pub(crate) seconds: f64,
    /// The seed that failed, and what it said.
    pub(crate) seed: u64,
    pub(crate) what: String,
}

impl Hunted {
    pub(crate) fn of(told: &Value) -> Result<Self> {
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            check: told["check"].as_str().map(str::to_owned),
            seeds: told["seeds"].as_u64().context("no number of seeds")?,
            seconds: told["seconds"].as_f64().context("no seconds")?,
            seed: told["seed"].as_u64().unwrap_or_default(),
            what: text("what"),
        })
    }

    /// The process did not live to tell.
    pub(crate) fn died(status: ExitStatus) -> Self {
        let what = format!("the simulator ended with {status}");
        Self { check: Some("returns".to_owned()), seeds: 1, seconds: 0.0, seed: 0, what }
    }

    fn json(&self) -> Value {
        let Self { check, seeds, seconds, seed, what } = self;
        json!({ "check": check, "seeds": seeds, "seconds": seconds, "seed": seed, "what": what })
    }
}

/// What was found out about one bug: one entry for each base seed so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    /// Tells this patch from others of its name.
    pub(crate) patch: u64,
    pub(crate) hunted: Vec<Hunted>,
}

/// The median of several base seeds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) seeds: u64,
    pub(crate) seconds: f64,
    /// The checks that found it, the most frequent first.
    pub(crate) checks: Vec<String>,
}

impl Record {
    pub(crate) const fn new(patch: u64) -> Self {
        Self { patch, hunted: Vec::new() }
    }

    /// True where more base seeds would not change whether the median is found.
    pub(crate) fn is_decided(&self, bases: usize) -> bool {
        let missed = self.hunted.iter().filter(|hunted| hunted.check.is_none()).count();
        self.hunted.len() >= bases || 2 * missed > bases
    }

    /// The median over `bases` base seeds, of which those without a finding, or not tried
    /// since they could not change it, are above all others. `None` where that is among them.
    pub(crate) fn median(&self, bases: usize) -> Option<Median> {
        let mut found: Vec<&Hunted> =
            self.hunted.iter().filter(|hunted| hunted.check.is_some()).collect();
        found.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let seconds = found.get(bases / 2)?.seconds;
        found.sort_by_key(|hunted| hunted.seeds);
        let seeds = found.get(bases / 2)?.seeds;
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for check in found.iter().filter_map(|hunted| hunted.check.as_deref()) {
            *times.entry(check).or_default() += 1;
        }
        let mut checks: Vec<(&str, usize)> = times.into_iter().collect();
        checks.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        let checks = checks.into_iter().map(|(check, _)| check.to_owned()).collect();
        Some(Median { seeds, seconds, checks })
    }
}

/// Tells texts apart.
pub(crate) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The records of all bugs, and the first of the base seeds that they share.
#[derive(Debug, PartialEq)]
pub(crate) struct Records {
    path: PathBuf,
    pub(crate) base: u64,
    pub(crate) by_name: BTreeMap<String, Record>,
}

impl Records {
    pub(crate) const fn new(path: PathBuf, base: u64) -> Self {
        Self { path, base, by_name: BTreeMap::new() }
    }

    /// Those of an earlier run.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"))?;
        let all: Value = serde_json::from_str(&text).context("no JSON")?;
        let mut records = Self::new(path.to_owned(), all["base"].as_u64().context("no base")?);
        for (name, record) in all["bugs"].as_object().context("no bugs")? {
            let patch = record["patch"].as_u64().context("no patch")?;
            let hunted = record["hunted"].as_array().context("nothing hunted")?;
            let hunted = hunted.iter().map(Hunted::of).collect::<Result<_>>()?;
            records.by_name.insert(name.clone(), Record { patch, hunted });
        }
        Ok(records)
    }

    pub(crate) fn write(&self) -> Result<()> {
        let bugs: BTreeMap<&str, Value> = self
            .by_name
            .iter()
            .map(|(name, record)| {
                let hunted: Vec<Value> = record.hunted.iter().map(Hunted::json).collect();
                (name.as_str(), json!({ "patch": record.patch, "hunted": hunted }))
            })
            .collect();
        let text = serde_json::to_string_pretty(&json!({ "base": self.base, "bugs": bugs }))?;
        fs::write(&self.path, text).with_context(|| format!("cannot write {:?}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunted(seconds: f64, check: Option<&str>) -> Hunted {
        let (seeds, what) = (seconds as u64 * 10, "it broke".to_owned());
        Hunted { check: check.map(str::to_owned), seeds, seconds, seed: 7, what }
    }

    #[test]
    fn what_was_not_found_is_above_everything_that_was() {
        let found = |seconds| hunted(seconds, Some("progress"));
        let mut record = Record::new(1);
        record.hunted = vec![found(9.0), hunted(60.0, None), found(2.0)];
        assert!(!record.is_decided(5) && record.median(5).is_none());
        record.hunted.extend([hunted(60.0, None), hunted(3.0, Some("linearizable"))]);
        assert!(record.is_decided(5));
        let checks = ["progress", "linearizable"].map(str::to_owned).to_vec();
        assert_eq!(record.median(5), Some(Median { seeds: 90, seconds: 9.0, checks }));
        record.hunted[0].check = None;
        assert_eq!(record.median(5), None);
    }

    #[test]
    fn three_of_five_that_find_nothing_decide() {
        let mut record = Record::new(1);
        record.hunted = vec![hunted(60.0, None); 2];
        assert!(!record.is_decided(5));
        record.hunted.push(hunted(60.0, None));
        assert!(record.is_decided(5));
    }

    #[test]
    fn records_outlive_the_process() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("records.json");
        let mut records = Records::new(path.clone(), 1_700_000_000_000_000);
        let found = vec![hunted(1.5, Some("one-vote")), hunted(60.0, None)];
        records.by_name.insert("01-some".to_owned(), Record { patch: u64::MAX, hunted: found });
        records.write()?;
        assert_eq!(Records::read(&path)?, records);
        Ok(())
    }
}
