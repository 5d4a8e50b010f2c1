//! The write-ahead log beside that of others: `benches/logs`, and tables of its results.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::program;
use super::stats::{Spread, ratio};
use super::table::{mib, number, table, times};
use super::{at_least, list};
use crate::arguments::Arguments;
use crate::cargo::root;

/// Where all numbers go, below the root of the workspace.
const RESULT: &str = "target/bench/log.json";

/// The names in the results of the logs that the others are compared with.
const PEER: &str = "raft-engine";
const BARE: &str = "bare group commit";

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    runs: u64,
    milliseconds: u64,
    loads: Vec<Load>,
    mebibytes: u64,
}

/// So many appends outstanding, with so many entries in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    outstanding: u64,
    batch: u64,
}

/// How one log did under one load, once.
#[derive(Clone, Debug, PartialEq)]
struct Written {
    system: String,
    load: Load,
    per_second: f64,
    written_per_payload: f64,
}

/// What it took to open one log, once.
#[derive(Clone, Debug, PartialEq)]
struct Opened {
    system: String,
    seconds: f64,
    resident_bytes: u64,
    peak_bytes: u64,
    /// What tells where the entries stand, and how long each of them is.
    index_bytes: u64,
    payload: u64,
}

impl std::str::FromStr for Load {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (outstanding, batch) = text.split_once('x').context("two numbers with an x between")?;
        let load = Self { outstanding: outstanding.parse()?, batch: batch.parse()? };
        if load.outstanding == 0 || load.batch == 0 {
            bail!("with nothing outstanding there is nothing to measure");
        }
        Ok(load)
    }
}

impl Options {
    pub(crate) fn of(arguments: &mut Arguments) -> Result<Self> {
        let loads = arguments.value::<String>("--loads")?;
        let loads = loads.as_deref().unwrap_or("1x1,64x1,256x1,1x64,1000x1");
        Ok(Self {
            runs: at_least(arguments, "--runs", 25, 1)?,
            milliseconds: at_least(arguments, "--milliseconds", 100, 1)?,
            loads: list("--loads", loads)?,
            mebibytes: at_least(arguments, "--mebibytes", 1024, 0)?,
        })
    }
}

/// Builds the program, runs it, prints the tables, and writes everything down.
pub(crate) fn run(options: &Options) -> Result<()> {
    let dir = root().join("target/bench/logs");
    let dir = dir.to_str().context("the workspace lies in a folder whose name is no text")?;
    let mut words = vec!["write".to_owned(), dir.to_owned(), options.runs.to_string()];
    words.push(options.milliseconds.to_string());
    words.extend(options.loads.iter().map(|load| format!("{}x{}", load.outstanding, load.batch)));
    let (mut written, mut opened, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    program::run("logs", &words, |line, value| {
        eprintln!("{line}");
        lines.push(value.clone());
        written.push(Written::of(line, value)?);
        Ok(())
    })?;
    if options.mebibytes > 0 {
        let words = ["recover", dir, &options.mebibytes.to_string()].map(ToOwned::to_owned);
        program::run("logs", &words, |line, value| {
            eprintln!("{line}");
            lines.push(value.clone());
            opened.push(Opened::of(line, value)?);
            Ok(())
        })?;
    }
    program::write(RESULT, &json!({"milliseconds": options.milliseconds, "runs": lines}))?;
    println!("{}", written_text(&written));
    if !opened.is_empty() {
        println!("\n{}", opened_text(&opened, options.mebibytes << 20));
    }
    println!("\nAll numbers: {RESULT}");
    Ok(())
}

/// The medians, how far the runs were apart, and how each compares with the others.
fn written_text(written: &[Written]) -> String {
    let mut results: BTreeMap<Load, BTreeMap<&str, Vec<&Written>>> = BTreeMap::new();
    for one in written {
        let systems = results.entry(one.load).or_default();
        systems.entry(&one.system).or_default().push(one);
    }
    let heading = [
        "outstanding",
        "batch",
        "log",
        "entries/s",
        "min",
        "max",
        "x raft-engine",
        "x bare",
        "written/payload",
    ];
    let mut rows = Vec::new();
    for (load, systems) in results {
        let median = |name: &str| systems.get(name).map_or(0.0, |runs| rates(runs).median);
        let (peer, bare) = (median(PEER), median(BARE));
        for (system, runs) in &systems {
            let Spread { median, min, max } = rates(runs);
            let bytes = Spread::of(runs.iter().map(|run| run.written_per_payload)).median;
            rows.push(vec![
                load.outstanding.to_string(),
                load.batch.to_string(),
                (*system).to_owned(),
                number(median),
                number(min),
                number(max),
                times(ratio(median, peer)),
                times(ratio(median, bare)),
                number(bytes),
            ]);
        }
    }
    table(&heading, rows)
}

fn rates(runs: &[&Written]) -> Spread {
    Spread::of(runs.iter().map(|run| run.per_second))
}

/// The medians of what it took to open each log again.
fn opened_text(opened: &[Opened], payload_bytes: u64) -> String {
    let mut systems: BTreeMap<&str, Vec<&Opened>> = BTreeMap::new();
    for one in opened {
        systems.entry(&one.system).or_default().push(one);
    }
    let what = format!("log of {} MiB", payload_bytes >> 20);
    let heading = [&what, "seconds", "max", "held MiB", "peak MiB", "index MiB / 1M entries"];
    let rows = systems.into_iter().map(|(system, runs)| {
        let seconds = Spread::of(runs.iter().map(|run| run.seconds));
        let most = |bytes: fn(&Opened) -> u64| runs.iter().map(|run| bytes(run)).max();
        vec![
            system.to_owned(),
            number(seconds.median),
            number(seconds.max),
            mib(most(|run| run.resident_bytes).unwrap_or(0)),
            mib(most(|run| run.peak_bytes).unwrap_or(0)),
            mib(most(|run| run.index_bytes * run.payload).unwrap_or(0) * 1_000_000 / payload_bytes),
        ]
    });
    table(&heading, rows)
}

/// The value of a name in a result, as whatever it should be.
fn field<'v, T>(
    line: &str,
    value: &'v Value,
    name: &str,
    read: impl FnOnce(&'v Value) -> Option<T>,
) -> Result<T> {
    read(&value[name]).with_context(|| format!("a result has no {name}: {line}"))
}

impl Written {
    fn of(line: &str, value: &Value) -> Result<Self> {
        Ok(Self {
            system: field(line, value, "system", Value::as_str)?.to_owned(),
            load: Load {
                outstanding: field(line, value, "outstanding", Value::as_u64)?,
                batch: field(line, value, "batch", Value::as_u64)?,
            },
            per_second: field(line, value, "per_second", Value::as_f64)?,
            written_per_payload: field(line, value, "written_per_payload", Value::as_f64)?,
        })
    }
}

impl Opened {
    fn of(line: &str, value: &Value) -> Result<Self> {
        Ok(Self {
            system: field(line, value, "system", Value::as_str)?.to_owned(),
            seconds: field(line, value, "seconds", Value::as_f64)?,
            resident_bytes: field(line, value, "resident_bytes", Value::as_u64)?,
            peak_bytes: field(line, value, "peak_bytes", Value::as_u64)?,
            index_bytes: field(line, value, "index_bytes", Value::as_u64)?,
            payload: field(line, value, "payload", Value::as_u64)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(system: &str, per_second: f64) -> Written {
        let line = json!({
            "system": system, "outstanding": 64, "batch": 1, "per_second": per_second,
            "written_per_payload": 1.25,
        });
        Written::of(&line.to_string(), &line).unwrap()
    }

    #[test]
    fn each_log_is_compared_with_raft_engine_and_with_the_bare_group_commit() {
        let runs = [("raft-log", 150.0), (PEER, 50.0), (BARE, 300.0), ("raft-log", 250.0)];
        let text = written_text(&runs.map(|(system, rate)| written(system, rate)));
        let ours = text.lines().find(|line| line.contains("raft-log")).unwrap();
        let ours: Vec<&str> = ours.split_whitespace().collect();
        assert_eq!(ours, ["64", "1", "raft-log", "200", "150", "250", "4.00", "0.67", "1.25"]);
    }

    #[test]
    fn what_it_takes_to_open_a_log_is_the_middle_of_the_times_and_the_most_of_the_memory() {
        let opened = |seconds: f64, mebibytes: u64| Opened {
            system: "raft-log".to_owned(),
            seconds,
            resident_bytes: mebibytes << 20,
            peak_bytes: mebibytes << 21,
            index_bytes: 25 << 20,
            payload: 200_000,
        };
        let text =
            opened_text(&[opened(3.0, 1), opened(1.0, 9), opened(2.0, 2)], 5_000_000_000_000);
        assert!(text.contains("log of 4768371 MiB"), "{text}");
        let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["raft-log", "2.00", "3.00", "9.0", "18.0", "1.0"]);
    }

    #[test]
    fn a_line_that_says_too_little_is_named() {
        let value = json!({"system": "raft-log", "outstanding": 1, "batch": 1});
        let why = Written::of("{...}", &value).unwrap_err().to_string();
        assert_eq!(why, "a result has no per_second: {...}");
        let why = Opened::of("{...}", &value).unwrap_err().to_string();
        assert_eq!(why, "a result has no seconds: {...}");
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        let options = |line: &str| {
            let words = line.split_whitespace().map(ToOwned::to_owned).collect();
            Options::of(&mut Arguments::new(words))
        };
        assert_eq!(options("").unwrap().loads.len(), 5);
        assert_eq!(options("--mebibytes 0").unwrap().mebibytes, 0);
        for line in ["--loads 0x1", "--loads 64", "--loads 1x0", "--runs 0", "--milliseconds 0"] {
            let why = options(line).unwrap_err().to_string();
            assert!(why.contains(line.split(' ').next().unwrap()), "{why}");
        }
    }
}
