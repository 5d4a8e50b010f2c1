//! One node: its files, its process, and what it says of itself.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::children;
use super::http::Client;

/// How often something is looked at that is being waited for.
const GLANCE_EVERY: Duration = Duration::from_millis(20);
const STATUS_LIMIT: Duration = Duration::from_millis(500);

/// A node that can be started, killed, paused and started again.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// What `GET /status` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the node leads.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// Whom it takes for the leader.
    pub leader: Option<u64>,
    /// Up to where its log is committed.
    pub commit: u64,
    /// Up to where its store has applied the log.
    pub applied: u64,
}

impl Node {
    /// A node that does not run yet, configured by the file `config`.
    pub(super) fn new(
        id: u64,
        [client, peer]: [SocketAddr; 2],
        binary: &Path,
        config: PathBuf,
    ) -> Self {
        let log = config.with_extension("log");
        Self { id, client, peer, binary: binary.to_owned(), config, log, child: None }
    }

    /// Where it listens: for clients, and for peers.
    pub(super) const fn listens(&self) -> [SocketAddr; 2] {
        [self.client, self.peer]
    }

    /// Starts the process; its output goes to the end of its log.
    pub(super) fn start(&mut self) -> Result<()> {
        assert!(self.child.is_none(), "node {} runs already", self.id);
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(&self.config);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("RAFT_") {
                command.env_remove(name); // It would override the written configuration.
            }
        }
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot start {}", self.binary.display()))?;
        children::add(&child);
        self.child = Some(child);
        Ok(())
    }

    /// Ends the process with SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which its own log then tells.
            let _ = child.kill();
            let _ = child.wait();
            children::remove(&child);
        }
    }

    /// Asks the process to end with SIGTERM and waits for it.
    pub(super) fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_for_end(limit)
    }

    /// Waits until the process has ended by itself.
    pub(super) fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let id = self.id;
        let status = wait_for(&format!("node {id} to end"), limit, || {
            let child = self.child.as_mut().context("the node does not run")?;
            child.try_wait().context("cannot ask for the end of a process")
        })?;
        if let Some(child) = self.child.take() {
            children::remove(&child);
        }
        Ok(status)
    }

    /// Stops the process in its tracks, with SIGSTOP.
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    pub(super) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the node does not run")?;
        kill_process(Pid::from_child(child), signal)
            .with_context(|| format!("cannot send {signal:?} to node {}", self.id))
    }

    /// The id of the process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// An error if the process ended although nobody told it to.
    pub(super) fn check_running(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            children::remove(child);
            self.child = None;
            bail!("node {} ended by itself ({status})", self.id);
        }
        Ok(())
    }

    /// What the node says of itself, if it answers.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let response = Client::new(self.client, STATUS_LIMIT).request("GET", "/status", None);
        let status = response.ok().filter(|response| response.status == 200)?.json();
        Some(Status {
            leads: status["role"] == "leader",
            term: status["term"].as_u64()?,
            leader: status["leader"].as_u64(),
            commit: status["commit"].as_u64()?,
            applied: status["applied"].as_u64()?,
        })
    }

    /// The end of the log.
    #[must_use]
    pub fn last_log_lines(&self, count: usize) -> Vec<String> {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].iter().map(ToString::to_string).collect()
    }

    /// The processor time the process has used so far.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let pid = self.pid().context("the node does not run")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("no /proc here")?;
        let ticks = ticks_in(&stat).with_context(|| format!("what is {stat:?}?"))?;
        Ok(Duration::from_secs(1) * ticks / u32::try_from(rustix::param::clock_ticks_per_second())?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// User and system time in a line of `/proc/PID/stat`, in ticks. The second field is
/// the name in parentheses, which may itself contain some.
fn ticks_in(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

/// Looks again and again until there is an answer.
///
/// # Errors
/// That of `look`, or that the limit is over.
pub(super) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > limit {
            bail!("waited {limit:?} for {what}, in vain");
        }
        thread::sleep(GLANCE_EVERY);
    }
}

/// Ports on 127.0.0.1 that nobody listens on, below those the system hands out to
/// outgoing connections: such a connection could take the port of a node that is
/// down for a moment.
pub(super) fn free_ports(count: usize, seed: u64) -> io::Result<Vec<u16>> {
    let mut random = raft_core::Random::new(seed);
    let mut ports = Vec::new();
    for _ in 0..1000 {
        let port = 12_000 + u16::try_from(random.below(18_000)).expect("it is below 18,000");
        if !ports.contains(&port) && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free ports on 127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_the_strangest_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 9 0 1 2 3";
        assert_eq!(ticks_in(stat), Some(42));
        assert_eq!(ticks_in("7 (a) S 1"), None);
    }

    #[test]
    fn waiting_ends() {
        let never = wait_for("rain", Duration::from_millis(1), || Ok(None::<()>));
        assert_eq!(never.unwrap_err().to_string(), "waited 1ms for rain, in vain");
        let mut looks = 0;
        let found = wait_for("sun", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 2).then_some(looks))
        });
        assert_eq!(found.unwrap(), 2);
    }

    #[test]
    fn free_ports_are_free_and_differ() {
        let ports = free_ports(6, 1).unwrap();
        let listeners: Vec<_> =
            ports.iter().map(|&port| std::net::TcpListener::bind(("127.0.0.1", port))).collect();
        assert!(listeners.iter().all(Result::is_ok), "{ports:?}");
    }
}
