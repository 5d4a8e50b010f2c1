use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{ClusterId, Envelope, GroupId, Index, Membership, NodeId};
use raft_log::{Disk, SimDisk};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{Clock, Outbound, Queues, Shell, ShellError, ShellOptions};
use crate::engine::{Engine, EngineConfig, EngineSetup, Machines};
use crate::{Command, Flush, FlushWork, NodeHandle, RequestError, Role, StateMachine};

const GROUP: GroupId = GroupId(1);

/// Counts the bytes of all commands; answers with the sum so far.
#[derive(Default)]
struct Sum {
    applied: Index,
    sum: u64,
}

impl StateMachine for Sum {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> std::io::Result<Vec<Bytes>> {
        let mut answers = Vec::new();
        for command in commands {
            self.sum += command.payload.len() as u64;
            answers.push(Bytes::from(self.sum.to_string()));
        }
        self.applied = up_to;
        Ok(answers)
    }

    fn flush(&mut self) -> std::io::Result<Index> {
        Ok(self.applied)
    }

    fn snapshot(&mut self) -> std::io::Result<Box<dyn std::io::Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(self.sum.to_be_bytes())))
    }

    fn restore(&mut self, index: Index, image: &mut dyn std::io::Read) -> std::io::Result<()> {
        let mut sum = [0; 8];
        image.read_exact(&mut sum)?;
        (self.sum, self.applied) = (u64::from_be_bytes(sum), index);
        Ok(())
    }
}

struct Nobody;

impl Outbound for Nobody {
    fn send(&self, _: NodeId, _: Vec<Envelope>) {}
}

fn start(disk: &SimDisk, options: ShellOptions) -> (Shell, NodeHandle) {
    start_with(disk, options, EngineConfig::default(), Sum::default())
}

fn start_with(
    disk: &SimDisk,
    options: ShellOptions,
    config: EngineConfig,
    machine: impl StateMachine + 'static,
) -> (Shell, NodeHandle) {
    let me = NodeId::new(1).unwrap();
    let setup = EngineSetup {
        cluster: ClusterId(1),
        node: me,
        incarnation: raft_core::Incarnation(0),
        dir: Path::new("data").to_owned(),
        seed: 7,
        config,
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut machines, clock) = (Machines::default(), Clock::start());
    machines.insert(GROUP, Box::new(machine));
    let mut engine = Engine::open(setup, &disk, &mut machines, clock.now()).unwrap();
    if engine.replica(GROUP).is_none() {
        let alone = Membership::of_voters([me]);
        engine.create_group(GROUP, alone, &mut machines, clock.now()).unwrap();
    }
    let queues = Queues::new(options);
    let handle = queues.handle();
    (Shell::start(engine, machines, clock, queues, Arc::new(Nobody)).unwrap(), handle)
}

/// Proposes until the node has elected itself.
async fn propose(handle: &NodeHandle, payload: &'static [u8]) -> String {
    for _ in 0..500 {
        match handle.propose(GROUP, Bytes::from_static(payload)).await {
            Ok(applied) => return String::from_utf8(applied.answer.to_vec()).unwrap(),
            Err(RequestError::NotLeader { .. }) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(why) => panic!("{why}"),
        }
    }
    panic!("the only member was not elected");
}

#[tokio::test]
async fn what_was_applied_is_there_after_a_clean_stop_and_after_a_power_failure() {
    let disk = SimDisk::new(1);
    let (shell, handle) = start(&disk, ShellOptions::default());
    assert_eq!(propose(&handle, b"four").await, "4");
    assert_eq!(handle.read_index(GROUP).await, Ok(Index(2)));
    assert_eq!(handle.status(GROUP).unwrap().role, Role::Leader);
    shell.stop().await.unwrap();
    assert_eq!(handle.read_index(GROUP).await, Err(RequestError::Closed));

    let (shell, handle) = start(&disk, ShellOptions::default());
    assert_eq!(propose(&handle, b"more").await, "8");
    disk.crash_power();
    drop(shell);

    let (shell, handle) = start(&disk, ShellOptions::default());
    assert_eq!(propose(&handle, b"").await, "8");
    shell.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_at_once() {
    let options = ShellOptions { max_command_bytes: 10, ..ShellOptions::default() };
    let (shell, handle) = start(&SimDisk::new(1), options);
    let large = handle.propose(GROUP, Bytes::from_static(&[0; 11])).await;
    assert_eq!(large, Err(RequestError::TooLarge { bytes: 11, limit: 10 }));
    let other = GroupId(9);
    assert_eq!(handle.read_index(other).await, Err(RequestError::NoSuchGroup(other)));
    assert_eq!(handle.status(other), None);
    shell.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_stops_the_node_and_answers_those_who_wait() {
    let disk = SimDisk::new(1);
    let (mut shell, handle) = start(&disk, ShellOptions::default());
    propose(&handle, b"x").await;
    // One of a file that is prepared meanwhile would stop nothing.
    disk.fail_next_syncs(1000);
    let answer = handle.propose(GROUP, Bytes::from_static(b"y")).await;
    assert_eq!(answer, Err(RequestError::Stopped), "nobody knows whether it is durable");
    let ended = shell.ended().await;
    let Err(ShellError::Log(why)) = ended else { panic!("{ended:?}") };
    let text = why.to_string();
    assert!(text.contains("log/") && text.contains("input/output error"), "{text}");
}

/// Keeps nothing; its first flush, or its images, are as the test wants them.
#[derive(Default)]
struct Told {
    applied: Index,
    flush: Option<FlushWork>,
    image: Option<Box<dyn Read + Send>>,
    journal: Arc<Mutex<Vec<&'static str>>>,
}

impl StateMachine for Told {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        self.applied = up_to;
        Ok(commands.iter().map(|command| command.payload.clone()).collect())
    }

    fn flush(&mut self) -> io::Result<Index> {
        self.journal.lock().unwrap().push("last flush");
        Ok(self.applied)
    }

    fn begin_flush(&mut self) -> io::Result<Flush> {
        Ok(self.flush.take().map_or(Flush::Done(self.applied), Flush::Job))
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        self.image.take().ok_or_else(|| io::Error::other("one image is enough"))
    }

    fn restore(&mut self, _: Index, _: &mut dyn Read) -> io::Result<()> {
        Err(io::Error::other("nobody has a snapshot of it"))
    }
}

/// Starts a node that is told to flush at once, or to take a snapshot.
fn start_told(disk: &SimDisk, told: Told) -> (Shell, NodeHandle) {
    let mut config = EngineConfig { flush_every_entries: 1, ..EngineConfig::default() };
    if told.image.is_some() {
        config.gc.snapshot_every_entries = 1;
    }
    start_with(disk, ShellOptions::default(), config, told)
}

#[tokio::test]
async fn the_flush_under_way_ends_before_the_last_one_and_that_before_the_stop() {
    let (begin, mut begun) = unbounded_channel();
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let journal: Arc<Mutex<Vec<&str>>> = Arc::default();
    let lines = Arc::clone(&journal);
    let work = move || {
        begin.send(()).unwrap();
        let _ = gate.recv();
        lines.lock().unwrap().push("job");
        Ok(Index(1))
    };
    let told =
        Told { flush: Some(Box::new(work)), journal: Arc::clone(&journal), ..Told::default() };
    let (shell, handle) = start_told(&SimDisk::new(1), told);
    begun.recv().await.unwrap();
    let stop = tokio::spawn(shell.stop());
    // From here on it takes nothing in.
    while handle.read_index(GROUP).await != Err(RequestError::Closed) {
        tokio::task::yield_now().await;
    }
    // Time enough for a last flush that would not wait.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!stop.is_finished() && journal.lock().unwrap().is_empty(), "the job holds it up");
    }
    drop(open_gate);
    stop.await.unwrap().unwrap();
    assert_eq!(*journal.lock().unwrap(), ["job", "last flush"]);
}

#[tokio::test]
async fn a_job_that_panics_ends_the_node() {
    let flush: FlushWork = Box::new(|| panic!("as the test wants it"));
    let told = Told { flush: Some(flush), ..Told::default() };
    let journal = Arc::clone(&told.journal);
    let (mut shell, handle) = start_told(&SimDisk::new(1), told);
    let ended = shell.ended().await;
    assert!(matches!(ended, Err(ShellError::Panicked("job"))), "{ended:?}");
    assert_eq!(handle.read_index(GROUP).await, Err(RequestError::Closed));
    assert_eq!(*journal.lock().unwrap(), ["last flush"], "its threads have ended as well");
}

/// An image without an end.
struct Endless(Option<UnboundedSender<()>>);

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(begun) = self.0.take() {
            begun.send(()).unwrap();
        }
        into[0] = 7;
        Ok(1)
    }
}

#[tokio::test]
async fn a_stop_breaks_off_a_snapshot_that_is_being_taken() {
    let (begin, mut begun) = unbounded_channel();
    let image = Box::new(Endless(Some(begin)));
    let disk = SimDisk::new(1);
    let (shell, _handle) = start_told(&disk, Told { image: Some(image), ..Told::default() });
    begun.recv().await.unwrap();
    shell.stop().await.unwrap();
    let left = disk.list(Path::new("data/snapshots")).unwrap();
    assert_eq!(left, [""; 0], "no part of it stays");
}
