//! Real processes, and everything they say.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::page::{matches, shown};

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(60);
const GLANCE_EVERY: Duration = Duration::from_millis(10);

/// Where a mistake is made: a folder, and all that was said there.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

/// A node as it is configured: its id, and the addresses for clients and for peers.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) client: String,
    pub(crate) peer: String,
}

/// A process that is killed when nobody needs it any more.
pub(crate) struct Running(Child);

impl Stage {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), said: Arc::default() }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a node whose data is in the folder `data` of this stage.
    pub(crate) fn start(&self, place: &Place, data: &str, members: &str) -> Running {
        self.start_with(place, data, members, &[])
    }

    pub(crate) fn start_with(
        &self,
        place: &Place,
        data: &str,
        members: &str,
        more: &[&str],
    ) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raft-node"));
        command.args(serve(place, &self.path(data), members)).args(more);
        self.run(command)
    }

    /// Starts a program, and listens to it.
    pub(crate) fn run(&self, mut command: Command) -> Running {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RAFT_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        self.listen(child.stdout.take().unwrap());
        self.listen(child.stderr.take().unwrap());
        Running(child)
    }

    fn listen(&self, pipe: impl Read + Send + 'static) {
        let said = Arc::clone(&self.said);
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                said.lock().unwrap().push(shown(&line));
            }
        });
    }

    /// Waits until somebody has said `message`.
    pub(crate) fn wait_for(&self, message: &str) {
        self.wait_for_times(1, message);
    }

    /// Waits until `message` was said so often.
    pub(crate) fn wait_for_times(&self, times: usize, message: &str) {
        let said = || self.said.lock().unwrap().iter().filter(|l| matches(message, l)).count();
        wait(&format!("nobody says:\n  {message}"), || (said() >= times).then_some(()));
    }

    /// Whether somebody says `message` soon, or has said it.
    pub(crate) fn hears(&self, message: &str, soon: Duration) -> bool {
        let began = Instant::now();
        loop {
            let heard = self.said.lock().unwrap().iter().any(|line| matches(message, line));
            if heard || began.elapsed() > soon {
                return heard;
            }
            thread::sleep(GLANCE_EVERY);
        }
    }

    /// The node that was said last to lead.
    pub(crate) fn leader(&self) -> u64 {
        let said = self.said.lock().unwrap();
        let leads = |line: &String| line.strip_suffix(" leads")?.rsplit(' ').next()?.parse().ok();
        said.iter().rev().find_map(leads).unwrap()
    }

    /// Notes something that was said.
    pub(crate) fn say(&self, line: String) {
        self.said.lock().unwrap().push(line);
    }

    /// All that was said, for people.
    pub(crate) fn everything(&self) -> String {
        self.said.lock().unwrap().iter().fold(String::new(), |mut all, line| {
            writeln!(all, "  | {line}").unwrap();
            all
        })
    }

    /// Notes what a client of `place` is told when it reads, as `<status> <error>`.
    pub(crate) fn read(&self, place: &Place) {
        let mut stream = TcpStream::connect(&place.client).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "GET /v1/data/k HTTP/1.1\r\nhost: n\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let status = head.split(' ').nth(1).unwrap();
        let line = format!("{status} {}", body["error"].as_str().unwrap_or("ok"));
        self.say(line);
    }
}

impl Place {
    /// At ports that are free.
    pub(crate) fn new(id: u64) -> Self {
        Self { id, client: free_address(), peer: free_address() }
    }

    /// How others list it.
    pub(crate) fn listed(&self) -> String {
        format!("{}={}/{}", self.id, self.peer, self.client)
    }
}

/// The members at these places.
pub(crate) fn members(places: &[&Place]) -> String {
    places.iter().map(|place| place.listed()).collect::<Vec<_>>().join(",")
}

/// The command line of a node that is quick to elect.
pub(crate) fn serve(place: &Place, data: &Path, members: &str) -> Vec<String> {
    let id = place.id.to_string();
    let mut line = vec!["serve".to_owned()];
    for (flag, value) in [
        ("--node-id", &id[..]),
        ("--data-dir", data.to_str().unwrap()),
        ("--listen-client", &place.client),
        ("--listen-peer", &place.peer),
        ("--members", members),
        ("--election-timeout-ms", "300"),
        ("--heartbeat-ms", "50"),
        ("--request-timeout-ms", "1000"),
    ] {
        line.extend([flag.to_owned(), value.to_owned()]);
    }
    line
}

/// An address that nobody listens on, below the ports that the system hands out to
/// outgoing connections, and that no other mistake of this run is given.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = u16::try_from(std::process::id() % 9_000).unwrap();
        let address = format!("127.0.0.1:{}", 20_000 + (start + step) % 9_000);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// Looks until there is something.
pub(crate) fn wait<T>(or: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "{or}");
        thread::sleep(GLANCE_EVERY);
    }
}

impl Running {
    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < LIMIT, "it does not end");
            thread::sleep(GLANCE_EVERY);
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
