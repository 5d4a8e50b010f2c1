//! The load: `raft-node bench` as a process of its own.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::sampler::Sampler;
use super::{GLANCE_EVERY, Stop};

/// What to ask of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) target: &'static str,
    pub(crate) operation: &'a str,
    pub(crate) endpoints: &'a [String],
    pub(crate) clients: &'a [usize],
    pub(crate) seconds: u64,
    pub(crate) warm_up_seconds: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: u64,
    pub(crate) connections: Option<usize>,
    pub(crate) prefill: bool,
}

/// The result of one measurement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) clients: u64,
    pub(crate) seconds: f64,
    pub(crate) began_unix_ms: u64,
    pub(crate) ended_unix_ms: u64,
    pub(crate) ops_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) refused: u64,
    pub(crate) refused_p99_ms: f64,
    pub(crate) unknown: u64,
    pub(crate) failed: u64,
    /// The generator as a process, for what it used.
    pub(crate) pid: u32,
}

impl Load<'_> {
    /// Puts the load on, and gives each result to `take` as it comes.
    pub(crate) fn run(
        &self,
        sampler: &Sampler,
        stop: &Stop,
        mut take: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let mut running = Running::start(self.command())?;
        let pid = running.child.id();
        sampler.add(pid);
        let mut rows = 0;
        loop {
            stop.check()?;
            match running.lines.recv_timeout(GLANCE_EVERY) {
                Ok(line) => {
                    take(row(&line?, pid)?)?;
                    rows += 1;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = running.child.wait().context("the generator was lost")?;
        if rows != self.clients.len() {
            bail!("the generator ended ({status}) after {rows} of {} results", self.clients.len());
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.binary);
        let clients: Vec<_> = self.clients.iter().map(ToString::to_string).collect();
        command.args(["bench", self.operation, "--json", "--target", self.target]);
        command.args(["--endpoints", &self.endpoints.join(",")]);
        command.args(["--clients", &clients.join(",")]);
        command.args(["--seconds", &self.seconds.to_string()]);
        command.args(["--warm-up-seconds", &self.warm_up_seconds.to_string()]);
        command.args(["--keys", &self.keys.to_string()]);
        command.args(["--value-size", &self.value_bytes.to_string()]);
        if let Some(connections) = self.connections {
            command.args(["--connections", &connections.to_string()]);
        }
        if self.prefill {
            command.arg("--prefill");
        }
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("RAFT_") {
                command.env_remove(name);
            }
        }
        command
    }
}

/// The process, which is killed when this is dropped.
struct Running {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("cannot start the generator")?;
        let stdout = child.stdout.take().context("the generator has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and been waited for, before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn row(line: &str, pid: u32) -> Result<Row> {
    let value: Value = serde_json::from_str(line)
        .with_context(|| format!("the generator printed what is no JSON: {line}"))?;
    let float = |name: &str| {
        value[name].as_f64().with_context(|| format!("a result has no number {name}: {line}"))
    };
    let whole = |name: &str| {
        value[name].as_u64().with_context(|| format!("a result has no number {name}: {line}"))
    };
    Ok(Row {
        clients: whole("clients")?,
        seconds: float("seconds")?,
        began_unix_ms: whole("began_unix_ms")?,
        ended_unix_ms: whole("ended_unix_ms")?,
        ops_per_second: float("ops_per_second")?,
        p50_ms: float("p50_ms")?,
        p99_ms: float("p99_ms")?,
        refused: whole("refused")?,
        refused_p99_ms: float("refused_p99_ms")?,
        unknown: whole("unknown")?,
        failed: whole("failed")?,
        pid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"target":"raft","operation":"put","clients":64,"connections":12,
        "value_bytes":256,"keys":1000,"seconds":2.0,"began_unix_ms":1000,"ended_unix_ms":3000,
        "ops":5,"ops_per_second":2.5,"mean_ms":1.5,"p50_ms":1.25,"p99_ms":42.0,"p999_ms":123.4,
        "max_ms":200.0,"refused":3,"refused_p99_ms":0.5,"unknown":1,"failed":2}"#;

    #[test]
    fn a_result_is_read() -> Result<()> {
        let row = row(LINE, 7)?;
        assert_eq!((row.clients, row.began_unix_ms, row.ended_unix_ms), (64, 1000, 3000));
        assert_eq!((row.ops_per_second, row.p50_ms, row.p99_ms), (2.5, 1.25, 42.0));
        assert_eq!((row.refused, row.unknown, row.failed, row.pid), (3, 1, 2, 7));
        Ok(())
    }

    #[test]
    fn a_result_that_lacks_something_says_what() {
        let why = row(&LINE.replace("p99_ms", "p98_ms"), 7).unwrap_err().to_string();
        assert!(why.contains("p99_ms"), "{why}");
        assert!(row("clients 64", 7).unwrap_err().to_string().contains("clients 64"));
    }

    #[test]
    fn a_generator_that_ends_early_says_so() {
        let load = Load {
            binary: Path::new("false"),
            target: "raft",
            operation: "put",
            endpoints: &[],
            clients: &[1],
            seconds: 1,
            warm_up_seconds: 0,
            keys: 1,
            value_bytes: 1,
            connections: None,
            prefill: false,
        };
        let why = load.run(&Sampler::start(&[]), &Stop::default(), |_| Ok(())).unwrap_err();
        assert!(why.to_string().contains("after 0 of 1 results"), "{why}");
    }
}
