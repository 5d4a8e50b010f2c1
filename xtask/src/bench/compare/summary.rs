//! What the runs of a comparison come to.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::servers::Make;
use super::super::stats::{Spread, ratio};
use super::super::table::{number, table, times};
use super::{Measured, Options};

/// An operation with a number of clients, over all runs.
pub(super) struct Line {
    operation: String,
    clients: u64,
    ours: Side,
    theirs: Side,
}

/// What one of the two did.
struct Side {
    ops_per_second: Spread,
    p50_ms: Spread,
    p99_ms: Spread,
    leader_cores: Spread,
    /// Of both followers, each counted.
    follower_cores: Spread,
    generator_cores: Spread,
    /// Requests of all runs that did not end well.
    troubles: u64,
    leader_changes: usize,
}

/// The lines, in the order in which they were measured.
pub(super) fn lines(options: &Options, measured: &[Measured]) -> Vec<Line> {
    let mut lines = Vec::new();
    for operation in &options.operations {
        for clients in &options.clients {
            let clients = *clients as u64;
            let of = |make| {
                let runs: Vec<_> = measured
                    .iter()
                    .filter(|m| m.make == make && m.operation == *operation)
                    .filter(|m| m.row.clients == clients)
                    .collect();
                Side::of(&runs)
            };
            let (ours, theirs) = (of(Make::Raft), of(Make::Etcd));
            lines.push(Line { operation: operation.clone(), clients, ours, theirs });
        }
    }
    lines
}

/// Tables for people.
pub(super) fn text(options: &Options, version: &str, measured: &[Measured]) -> String {
    let mut text = format!(
        "Medians of {} runs (lowest to highest) of {} s; raft against etcd {version}; values of \
         {} bytes, {} keys; clients on {}.",
        options.runs,
        options.seconds,
        options.value_bytes,
        options.keys,
        if options.leader_only {
            "the leader"
        } else {
            "all three nodes, a single one on the leader"
        }
    );
    let all = lines(options, measured);
    for operation in &options.operations {
        let lines: Vec<_> = all.iter().filter(|line| line.operation == *operation).collect();
        let heading = ["clients", "raft ops/s", "etcd ops/s", "ratio"];
        let rates = table(&heading, lines.iter().map(|line| line.rates()));
        let heading = ["clients", "raft p50", "etcd p50", "ratio", "raft p99", "etcd p99", "ratio"];
        let latencies = table(&heading, lines.iter().map(|line| line.latencies()));
        let heading =
            ["clients", "raft leader", "follower", "load", "etcd leader", "follower", "load"];
        let cores = table(&heading, lines.iter().map(|line| line.cores()));
        write!(
            text,
            "\n\n{operation}\n\n{rates}\n\nlatency in ms\n\n{latencies}\n\nCPU in cores\n\n{cores}"
        )
        .expect("writing to a string does not fail");
    }
    for line in &all {
        for (make, side) in [("raft", &line.ours), ("etcd", &line.theirs)] {
            if side.troubles > 0 || side.leader_changes > 0 {
                write!(
                    text,
                    "\n\n{make}, {}, {} clients: {} requests did not end well, the leader changed {} times",
                    line.operation, line.clients, side.troubles, side.leader_changes
                )
                .expect("writing to a string does not fail");
            }
        }
    }
    text
}

impl Side {
    fn of(runs: &[&Measured]) -> Self {
        let spread = |of: fn(&Measured) -> f64| Spread::of(runs.iter().map(|run| of(run)));
        Self {
            ops_per_second: spread(|run| run.row.ops_per_second),
            p50_ms: spread(|run| run.row.p50_ms),
            p99_ms: spread(|run| run.row.p99_ms),
            leader_cores: spread(|run| run.leader_cores),
            follower_cores: Spread::of(runs.iter().flat_map(|run| run.follower_cores)),
            generator_cores: spread(|run| run.generator_cores),
            troubles: runs.iter().map(|m| m.row.refused + m.row.unknown + m.row.failed).sum(),
            leader_changes: runs.iter().filter(|run| run.leader_changed).count(),
        }
    }

    fn json(&self) -> Value {
        let spread = |spread: Spread| json!({ "median": spread.median, "min": spread.min, "max": spread.max });
        json!({
            "ops_per_second": spread(self.ops_per_second),
            "p50_ms": spread(self.p50_ms),
            "p99_ms": spread(self.p99_ms),
            "leader_cores": spread(self.leader_cores),
            "follower_cores": spread(self.follower_cores),
            "generator_cores": spread(self.generator_cores),
            "troubles": self.troubles,
            "leader_changes": self.leader_changes,
        })
    }
}

impl Line {
    fn ratio(&self, of: fn(&Side) -> Spread) -> Option<f64> {
        ratio(of(&self.ours).median, of(&self.theirs).median)
    }

    fn rates(&self) -> Vec<String> {
        vec![
            self.clients.to_string(),
            spread(self.ours.ops_per_second),
            spread(self.theirs.ops_per_second),
            times(self.ratio(|side| side.ops_per_second)),
        ]
    }

    fn latencies(&self) -> Vec<String> {
        vec![
            self.clients.to_string(),
            spread(self.ours.p50_ms),
            spread(self.theirs.p50_ms),
            times(self.ratio(|side| side.p50_ms)),
            spread(self.ours.p99_ms),
            spread(self.theirs.p99_ms),
            times(self.ratio(|side| side.p99_ms)),
        ]
    }

    fn cores(&self) -> Vec<String> {
        let mut cells = vec![self.clients.to_string()];
        for side in [&self.ours, &self.theirs] {
            for cores in [side.leader_cores, side.follower_cores, side.generator_cores] {
                cells.push(format!("{:.2}", cores.median));
            }
        }
        cells
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "operation": self.operation,
            "clients": self.clients,
            "raft": self.ours.json(),
            "etcd": self.theirs.json(),
            "ratio": {
                "ops_per_second": self.ratio(|side| side.ops_per_second),
                "p50_ms": self.ratio(|side| side.p50_ms),
                "p99_ms": self.ratio(|side| side.p99_ms),
            },
        })
    }
}

fn spread(spread: Spread) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(number);
    format!("{median} ({min} to {max})")
}

#[cfg(test)]
mod tests {
    use super::super::super::generator::Row;
    use super::*;

    fn options() -> Options {
        Options {
            runs: 3,
            clients: vec![1, 64],
            seconds: 10,
            operations: vec!["put".to_owned()],
            keys: 100,
            value_bytes: 256,
            leader_only: false,
        }
    }

    fn measured(make: Make, run: u64, clients: u64, ops_per_second: f64) -> Measured {
        let row = Row {
            clients,
            seconds: 10.0,
            began_unix_ms: 0,
            ended_unix_ms: 10_000,
            ops_per_second,
            p50_ms: 1000.0 / ops_per_second,
            p99_ms: 5000.0 / ops_per_second,
            refused: 0,
            refused_p99_ms: 0.0,
            unknown: u64::from(make == Make::Etcd && run == 2),
            failed: 0,
            pid: 1,
        };
        Measured {
            make,
            run,
            operation: "put".to_owned(),
            row,
            leader_cores: 0.5,
            follower_cores: [0.2, 0.4],
            generator_cores: 0.1,
            leader_rss_mib: 50.0,
            follower_rss_mib: [40.0, 41.0],
            leader_changed: false,
        }
    }

    fn all() -> Vec<Measured> {
        let mut all = Vec::new();
        for (run, ours, theirs) in [(1, 2000.0, 900.0), (2, 1000.0, 1000.0), (3, 1500.0, 1100.0)] {
            for clients in [1, 64] {
                all.push(measured(Make::Raft, run, clients, ours * clients as f64));
                all.push(measured(Make::Etcd, run, clients, theirs * clients as f64));
            }
        }
        all
    }

    #[test]
    fn the_ratio_is_that_of_the_medians() {
        let lines = lines(&options(), &all());
        let json: Vec<_> = lines.iter().map(Line::json).collect();
        assert_eq!(json.len(), 2);
        assert_eq!(json[0]["ratio"]["ops_per_second"], 1.5);
        assert_eq!(json[1]["raft"]["ops_per_second"]["median"], 96_000.0);
        assert_eq!(json[1]["etcd"]["ops_per_second"]["min"], 57_600.0);
        assert_eq!(json[0]["etcd"]["troubles"], 1);
        let followers = json[0]["raft"]["follower_cores"]["median"].as_f64().unwrap();
        assert!((followers - 0.3).abs() < 1e-9, "{followers}");
    }

    #[test]
    fn people_see_both_sides_their_ratio_and_what_went_wrong() {
        let text = text(&options(), "3.4.23", &all());
        for part in ["1500 (1000 to 2000)", "1000 (900 to 1100)", "1.50", "etcd 3.4.23"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(text.contains("etcd, put, 64 clients: 1 requests did not end well"), "{text}");
        assert!(!text.contains("raft, put"), "{text}");
    }

    #[test]
    fn what_was_not_measured_yet_has_no_ratio() {
        let first = [measured(Make::Raft, 1, 1, 2000.0)];
        let lines = lines(&options(), &first);
        assert_eq!(lines[0].json()["ratio"]["ops_per_second"], Value::Null);
    }
}
