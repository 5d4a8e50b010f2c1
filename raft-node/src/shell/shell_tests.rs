use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{ClusterId, Envelope, GroupId, Index, Membership, NodeId};
use raft_log::{Disk, SimDisk};

use super::{Clock, Outbound, Queues, Shell, ShellError, ShellOptions};
use crate::engine::{Engine, EngineConfig, EngineSetup, Machines};
use crate::{Command, NodeHandle, RequestError, Role, StateMachine};

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
    let me = NodeId::new(1).unwrap();
    let setup = EngineSetup {
        cluster: ClusterId(1),
        node: me,
        dir: Path::new("data").to_owned(),
        seed: 7,
        config: EngineConfig::default(),
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut machines, clock) = (Machines::default(), Clock::start());
    machines.insert(GROUP, Box::new(Sum::default()));
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
    disk.fail_next_syncs(1);
    let answer = handle.propose(GROUP, Bytes::from_static(b"y")).await;
    assert_eq!(answer, Err(RequestError::Stopped), "nobody knows whether it is durable");
    let ended = shell.ended().await;
    assert!(matches!(ended, Err(ShellError::Log(_))), "{ended:?}");
}
