//! The protocol core beside that of raft-rs: `benches/peers`, and a table of its results.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::program;
use super::stats::{Spread, ratio};
use super::table::{table, times};
use super::{at_least, list};
use crate::arguments::Arguments;

/// Where all numbers go, below the root of the workspace.
const RESULT: &str = "target/bench/core.json";

/// Our name in the results; all others are peers.
const OURS: &str = "raft-state";

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    runs: u64,
    seconds: u64,
    outstanding: Vec<u64>,
}

/// One measurement, in commands per second.
#[derive(Clone, Debug, PartialEq)]
struct Measured {
    system: String,
    outstanding: u64,
    per_second: f64,
}

impl Options {
    pub(crate) fn of(arguments: &mut Arguments) -> Result<Self> {
        let outstanding = arguments.value::<String>("--outstanding")?;
        let outstanding: Vec<u64> =
            list("--outstanding", outstanding.as_deref().unwrap_or("1,64,1024"))?;
        if outstanding.contains(&0) {
            bail!("--outstanding: with nothing outstanding there is nothing to measure");
        }
        Ok(Self {
            runs: at_least(arguments, "--runs", 5, 1)?,
            seconds: at_least(arguments, "--seconds", 1, 1)?,
            outstanding,
        })
    }
}

/// Builds the program, runs it, prints the table, and writes everything down.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut words = vec![options.runs.to_string(), options.seconds.to_string()];
    words.extend(options.outstanding.iter().map(ToString::to_string));
    let mut measured = Vec::new();
    program::run("peers", &words, |line, value| {
        let one = Measured::of(line, value)?;
        eprintln!("{}, {} outstanding: {:.0}/s", one.system, one.outstanding, one.per_second);
        measured.push(one);
        Ok(())
    })?;
    write(options, &measured)?;
    println!("{}\n\nAll numbers: {RESULT}", text(&measured));
    Ok(())
}

/// The medians, how far the runs were apart, and how we compare with the best peer.
fn text(measured: &[Measured]) -> String {
    let mut results: BTreeMap<u64, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for one in measured {
        let systems = results.entry(one.outstanding).or_default();
        systems.entry(&one.system).or_default().push(one.per_second);
    }
    let heading = ["outstanding", "system", "commands/s", "min", "max", "ours / best peer"];
    let mut rows = Vec::new();
    for (outstanding, systems) in results {
        let spread = |runs: &Vec<f64>| Spread::of(runs.iter().copied());
        let peers = systems.iter().filter(|(system, _)| **system != OURS);
        let best = peers.map(|(_, runs)| spread(runs).median).fold(0.0, f64::max);
        for (system, runs) in &systems {
            let Spread { median, min, max } = spread(runs);
            let ours = (*system == OURS).then(|| times(ratio(median, best)));
            rows.push(vec![
                outstanding.to_string(),
                (*system).to_owned(),
                format!("{median:.0}"),
                format!("{min:.0}"),
                format!("{max:.0}"),
                ours.unwrap_or_default(),
            ]);
        }
    }
    table(&heading, rows)
}

fn write(options: &Options, measured: &[Measured]) -> Result<()> {
    let runs: Vec<Value> = measured
        .iter()
        .map(|one| {
            let Measured { system, outstanding, per_second } = one;
            json!({"system": system, "outstanding": outstanding, "per_second": per_second})
        })
        .collect();
    let all = json!({"seconds": options.seconds, "runs": runs});
    program::write(RESULT, &all)
}

impl Measured {
    fn of(line: &str, value: &Value) -> Result<Self> {
        let lacks = |name| format!("a result has no {name}: {line}");
        Ok(Self {
            system: value["system"].as_str().with_context(|| lacks("system"))?.to_owned(),
            outstanding: value["outstanding"].as_u64().with_context(|| lacks("outstanding"))?,
            per_second: value["per_second"].as_f64().with_context(|| lacks("per_second"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(line: &str) -> Result<Measured> {
        Measured::of(line, &program::json(line)?)
    }

    #[test]
    fn the_ratio_is_that_to_the_better_peer() {
        let lines = [("raft-state", 300), ("raft-rs", 100), ("raft-rs batch_append", 200)];
        let line = |(system, rate): (&str, u64)| {
            format!(r#"{{"system": "{system}", "outstanding": 64, "per_second": {rate}}}"#)
        };
        let measured: Result<Vec<_>> = lines.into_iter().map(|one| measured(&line(one))).collect();
        let text = text(&measured.unwrap());
        let ours = text.lines().find(|line| line.contains("raft-state")).unwrap();
        assert!(ours.trim_end().ends_with("1.50"), "{text}");
        assert_eq!(text.matches("1.50").count(), 1, "{text}");
    }

    #[test]
    fn a_line_that_says_too_little_is_named() {
        for (line, named) in [("ready", "no JSON"), (r#"{"system": "x"}"#, "no outstanding")] {
            let why = measured(line).unwrap_err().to_string();
            assert!(why.contains(named) && why.contains(line), "{why}");
        }
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        let options = |line: &str| {
            let words = line.split_whitespace().map(ToOwned::to_owned).collect();
            Options::of(&mut Arguments::new(words))
        };
        assert_eq!(options("").unwrap().outstanding, [1, 64, 1024]);
        for line in ["--outstanding 0", "--outstanding x", "--runs 0", "--seconds 0"] {
            let why = options(line).unwrap_err().to_string();
            assert!(why.contains(line.split(' ').next().unwrap()), "{why}");
        }
    }
}
