//! What `cargo-mutants` found out.

use std::fmt;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How many mutants there were, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) caught: usize,
    pub(crate) timeouts: usize,
    pub(crate) unviable: usize,
    pub(crate) missed: Vec<Survivor>,
}

/// A mutant for which no test failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Survivor {
    /// What was changed: the file and the change, without the line, which moves.
    pub(crate) name: String,
    /// The line and column.
    pub(crate) place: String,
}

/// Whether the run that wrote this went to its end.
pub(crate) fn is_finished(text: &str) -> Result<bool> {
    let all: Value = serde_json::from_str(text).context("no JSON")?;
    Ok(all["end_time"].is_string())
}

impl Outcomes {
    /// Adds the outcomes of one run, as in `outcomes.json`.
    pub(crate) fn add(&mut self, text: &str) -> Result<()> {
        let all: Value = serde_json::from_str(text).context("no JSON")?;
        let outcomes = all["outcomes"].as_array().context("no list of outcomes")?;
        for outcome in outcomes {
            // The code as it is may be among them.
            let Some(name) = outcome["scenario"]["Mutant"]["name"].as_str() else { continue };
            match outcome["summary"].as_str() {
                Some("CaughtMutant") => self.caught += 1,
                Some("Timeout") => self.timeouts += 1,
                Some("Unviable") => self.unviable += 1,
                Some("MissedMutant") => self.missed.push(Survivor::of(name)),
                other => bail!("{name}: the outcome {other:?} is not known"),
            }
        }
        Ok(())
    }

    /// The share of the viable mutants that the tests caught, in percent. Tests that
    /// never end have caught a mutant too. Without viable mutants all are caught.
    pub(crate) fn caught_percent(&self) -> f64 {
        match self.viable() {
            0 => 100.0,
            viable => 100.0 * (self.caught + self.timeouts) as f64 / viable as f64,
        }
    }

    const fn viable(&self) -> usize {
        self.caught + self.timeouts + self.missed.len()
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} mutants: {} caught, {} unviable, {} timeouts, {} missed; {:.1} % of the {} viable \
             ones are caught",
            self.viable() + self.unviable,
            self.caught,
            self.unviable,
            self.timeouts,
            self.missed.len(),
            self.caught_percent(),
            self.viable()
        )
    }
}

impl Survivor {
    /// From a name such as `a/src/b.rs:12:5: replace + with -`.
    pub(crate) fn of(name: &str) -> Self {
        let (place, change) = name.split_once(": ").unwrap_or(("", name));
        let (file, at) = place.split_once(':').unwrap_or((place, ""));
        Self { name: format!("{file}: {change}"), place: at.to_owned() }
    }
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.name, self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{
        "outcomes": [
            {"scenario": "Baseline", "summary": "Success"},
            {"scenario": {"Mutant": {"name": "a/src/b.rs:12:5: replace f -> u8 with 0"}},
             "summary": "CaughtMutant"},
            {"scenario": {"Mutant": {"name": "a/src/b.rs:12:5: replace f -> u8 with 1"}},
             "summary": "MissedMutant"},
            {"scenario": {"Mutant": {"name": "a/src/b.rs:14:9: replace += with -= in g"}},
             "summary": "Timeout"},
            {"scenario": {"Mutant": {"name": "a/src/b.rs:20:9: replace h -> T with T::new()"}},
             "summary": "Unviable"}
        ],
        "total_mutants": 4,
        "end_time": "2026-01-01T00:00:00Z"
    }"#;

    #[test]
    fn outcomes_add_up() {
        let mut outcomes = Outcomes::default();
        outcomes.add(RUN).unwrap();
        outcomes.add(RUN).unwrap();
        assert_eq!(
            outcomes.to_string(),
            "8 mutants: 2 caught, 2 unviable, 2 timeouts, 2 missed; 66.7 % of the 6 viable ones \
             are caught"
        );
        assert_eq!(outcomes.missed[1].to_string(), "a/src/b.rs: replace f -> u8 with 1 (at 12:5)");
    }

    #[test]
    fn where_nothing_can_be_missed_all_is_caught() {
        assert!((Outcomes::default().caught_percent() - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let strange = RUN.replace("MissedMutant", "Escaped");
        let why = Outcomes::default().add(&strange).unwrap_err().to_string();
        assert!(why.contains("with 1") && why.contains("Escaped"), "{why}");
    }

    #[test]
    fn a_run_that_was_cut_off_has_no_end() {
        assert!(is_finished(RUN).unwrap());
        assert!(!is_finished(&RUN.replace("\"2026-01-01T00:00:00Z\"", "null")).unwrap());
        assert!(is_finished("{").is_err());
    }
}
