//! Measurements on this machine: of clusters of real processes, of the protocol alone, and
//! of the log alone.
//!
//! The load on processes is put on by `raft-node bench`, as a process of its own; what is found out
//! here is what the servers use meanwhile, and how one run compares with another.

mod compare;
mod core;
mod log;
mod overload;
mod soak;

mod generator;
mod program;
mod servers;

mod proc;
mod sampler;

mod stats;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::arguments::Arguments;

const HELP: &str = "\
Usage: cargo xtask bench etcd|overload|soak|core|log [OPTIONS]

The first three start three nodes from scratch on loopback, with their data below
target/bench, and stop them in the end. One client uses the leader, more of them are
spread evenly over all three nodes. Latencies are in milliseconds, CPU in cores.

  etcd       Our cluster and etcd's by turns, under the same load: who does how much,
             how fast, for how much CPU. Writes target/bench/etcd.json as well. Needs
             etcd: `apt-get install etcd-server`
    --runs N                 How often each is started and measured (5)
    --clients N,N,...        (1,64,256,1000)
    --seconds N              for each measurement (10)
    --operations put,get     (put,get)
    --keys N                 (100000)
    --value-size BYTES       (256)
    --leader-only            All clients use the leader
  overload   Our cluster under more and more clients: what is refused, how fast, and
             what that costs
    --operation put|get      (put)
    --clients N,N,...        (1,4,16,64,256,1024,4096)
    --seconds N              for each measurement (10)
  soak       Our cluster at full speed for long. Fails where memory, log or data folder
             go on growing, or latency does
    --minutes N              (10; at least 4)
    --clients N              (256)
  core       The protocol core and that of raft-rs by turns, three replicas in one thread
             without disk or network: commands of 256 bytes applied per second. Builds
             benches/peers, below target/peers. Writes target/bench/core.json as well
    --runs N                 How often each is measured (5)
    --seconds N              for each measurement (1)
    --outstanding N,N,...    (1,64,1024)
  log        The write-ahead log, raft-engine and a bare group commit by turns, on this
             disk: entries of 256 bytes made durable per second, and bytes written per
             byte of payload. Then what it takes to open a large log. Builds benches/logs,
             below target/logs. Writes target/bench/log.json as well
    --runs N                 How often each is measured (25)
    --milliseconds N         for each measurement (100)
    --loads NxN,NxN,...      Appends outstanding x entries in each
                             (1x1,64x1,256x1,1x64,1000x1)
    --mebibytes N            The payload of the log that is opened (1024); 0 for none
";

/// How often whoever waits looks whether to stop.
const GLANCE_EVERY: Duration = Duration::from_millis(50);

/// Runs the measurement that `words` name.
pub(crate) fn run(mut words: Vec<String>) -> Result<()> {
    if words.is_empty() {
        print!("{HELP}");
        bail!("which measurement?");
    }
    let which = words.remove(0);
    let mut arguments = Arguments::new(words);
    match which.as_str() {
        "etcd" => {
            let options = compare::Options::of(&mut arguments)?;
            arguments.finish()?;
            compare::run(&options, &Stop::on_signals()?)
        }
        "overload" => {
            let options = overload::Options::of(&mut arguments)?;
            arguments.finish()?;
            overload::run(&options, &Stop::on_signals()?)
        }
        "soak" => {
            let options = soak::Options::of(&mut arguments)?;
            arguments.finish()?;
            soak::run(&options, &Stop::on_signals()?)
        }
        "core" => {
            let options = core::Options::of(&mut arguments)?;
            arguments.finish()?;
            core::run(&options)
        }
        "log" => {
            let options = log::Options::of(&mut arguments)?;
            arguments.finish()?;
            log::run(&options)
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("no measurement is called {which:?}; `cargo xtask bench help` lists them"),
    }
}

/// Whether to stop early. Whatever was started is stopped by the values that stand for
/// it, once the error has led out of their scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&stop.0)).context("cannot wait for signals")?;
        }
        Ok(stop)
    }

    /// An error if it is time to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("stopped before the end");
        }
        Ok(())
    }

    /// Waits, unless it is time to stop.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.check()?;
            thread::sleep(GLANCE_EVERY.min(end.saturating_duration_since(Instant::now())));
        }
        self.check()
    }
}

/// A list such as `1,64,256`.
fn list<T: std::str::FromStr>(name: &str, text: &str) -> Result<Vec<T>> {
    let items = text.split(',').map(|item| item.parse::<T>().ok());
    let items: Option<Vec<T>> = items.collect();
    items.with_context(|| format!("{name} {text:?} is no list of such values with commas"))
}

/// The numbers of clients that an option names.
fn clients(arguments: &mut Arguments, default: &str) -> Result<Vec<usize>> {
    let text = arguments.value::<String>("--clients")?.unwrap_or_else(|| default.to_owned());
    let clients = list("--clients", &text)?;
    if clients.contains(&0) {
        bail!("--clients {text:?}: no clients cannot be measured");
    }
    Ok(clients)
}

/// The value of an option of at least `least`.
fn at_least(arguments: &mut Arguments, name: &str, default: u64, least: u64) -> Result<u64> {
    let value = arguments.value(name)?.unwrap_or(default);
    if value < least {
        bail!("{name} {value}: it takes at least {least}");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::new(line.split(' ').map(ToOwned::to_owned).collect())
    }

    #[test]
    fn numbers_of_clients_are_a_list() {
        assert_eq!(clients(&mut arguments("--fresh"), "1,64").unwrap(), [1, 64]);
        assert_eq!(clients(&mut arguments("--clients 5"), "1,64").unwrap(), [5]);
        for wrong in ["1,,2", "many", "", "0", "1 2"] {
            let mut arguments = Arguments::new(vec!["--clients".to_owned(), wrong.to_owned()]);
            let why = clients(&mut arguments, "1").unwrap_err().to_string();
            assert!(why.contains("--clients"), "{why}");
        }
    }

    #[test]
    fn an_option_that_is_too_small_is_named() {
        assert_eq!(at_least(&mut arguments("--runs 2"), "--runs", 5, 1).unwrap(), 2);
        let why = at_least(&mut arguments("--minutes 3"), "--minutes", 10, 4).unwrap_err();
        assert_eq!(why.to_string(), "--minutes 3: it takes at least 4");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let why = run(vec!["etcd".to_owned(), "--run".to_owned()]).unwrap_err().to_string();
        assert!(why.contains("--run"), "{why}");
        let why = run(vec!["zookeeper".to_owned()]).unwrap_err().to_string();
        assert!(why.contains("zookeeper"), "{why}");
    }

    #[test]
    fn nobody_waits_who_was_told_to_stop() {
        let stop = Stop::default();
        stop.sleep(Duration::from_millis(1)).unwrap();
        stop.0.store(true, Ordering::Relaxed);
        let why = stop.sleep(Duration::from_secs(3600)).unwrap_err();
        assert_eq!(why.to_string(), "stopped before the end");
    }
}
