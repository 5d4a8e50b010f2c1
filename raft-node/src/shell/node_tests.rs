use std::sync::{Arc, Mutex};

use bytes::Bytes;
use raft_core::Index;

use super::*;
use crate::shell::LocalNetwork;
use crate::{Command, RequestError};

const GROUP: GroupId = GroupId(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// All commands so far, where the test can see them.
#[derive(Clone, Default)]
struct Journal {
    applied: Index,
    lines: Arc<Mutex<Vec<Bytes>>>,
}

impl Journal {
    fn text(&self) -> String {
        self.lines.lock().unwrap().iter().map(|line| str::from_utf8(line).unwrap()).collect()
    }
}

impl StateMachine for Journal {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        self.applied = up_to;
        let mut lines = self.lines.lock().unwrap();
        lines.extend(commands.iter().map(|command| command.payload.clone()));
        Ok(commands.iter().map(|command| command.payload.clone()).collect())
    }

    fn flush(&mut self) -> io::Result<Index> {
        Ok(self.applied)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn io::Read + Send>> {
        Err(io::Error::other("the journal is too short for a snapshot"))
    }

    fn restore(&mut self, _: Index, _: &mut dyn io::Read) -> io::Result<()> {
        Err(io::Error::other("nobody has a snapshot of it"))
    }
}

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn builder(n: u64, dir: &Path) -> NodeBuilder {
    Node::builder(ClusterId(1), id(n), dir)
        .heartbeat(Duration::from_millis(30))
        .configure(|config| config.log.segment_bytes = 1 << 20)
}

fn three() -> Membership {
    Membership::of_voters([1, 2, 3].map(id))
}

#[tokio::test]
async fn a_node_that_was_away_comes_back_and_catches_up() {
    let (network, dir) = (LocalNetwork::new(), tempfile::tempdir().unwrap());
    let folder = |n: u64| dir.path().join(n.to_string());
    let mut nodes = BTreeMap::new();
    for n in 1..=3 {
        let node = builder(n, &folder(n)).group(GROUP, three(), Journal::default());
        nodes.insert(n, node.start(&network).await.unwrap());
    }
    nodes[&1].handle().propose_within(GROUP, "a".into(), PATIENCE).await.unwrap();
    nodes.remove(&3).unwrap().stop().await.unwrap();
    nodes[&2].handle().read_index_within(GROUP, PATIENCE).await.unwrap();
    nodes[&2].handle().propose_within(GROUP, "b".into(), PATIENCE).await.unwrap();

    let journal = Journal::default();
    let back = builder(3, &folder(3)).existing_group(GROUP, journal.clone());
    let back = back.start(&network).await.unwrap();
    back.handle().read_index_within(GROUP, PATIENCE).await.unwrap();
    assert_eq!(journal.text(), "ab");
    back.stop().await.unwrap();
    for node in nodes.into_values() {
        node.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_lost_its_group_or_is_in_use_is_refused() {
    let (network, dir) = (LocalNetwork::new(), tempfile::tempdir().unwrap());
    let lost = builder(1, dir.path()).existing_group(GROUP, Journal::default());
    let why = lost.start(&network).await.unwrap_err();
    assert!(matches!(why, StartError::GroupLost { group: GROUP, .. }), "{why}");

    let node = || builder(1, dir.path()).group(GROUP, three(), Journal::default());
    let first = node().start(&network).await.unwrap();
    let why = node().start(&network).await.unwrap_err();
    assert!(matches!(&why, StartError::InUse(folder) if folder == dir.path()), "{why}");
    first.stop().await.unwrap();
    node().start(&network).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_leader_that_never_comes_is_told_that_nothing_happened() {
    let (network, dir) = (LocalNetwork::new(), tempfile::tempdir().unwrap());
    let alone = builder(1, dir.path()).group(GROUP, three(), Journal::default());
    let alone = alone.start(&network).await.unwrap();
    let unled = RequestError::NotLeader { leader: None };
    let mut patience = Duration::from_millis(20);
    loop {
        let proposed = alone.handle().propose_within(GROUP, "a".into(), patience).await;
        if proposed == Err(unled.clone()) {
            break;
        }
        // On a busy machine patience may end while the answer is under way, which leaves
        // it open what came of the command.
        assert_eq!(proposed, Err(RequestError::LeadershipLost));
        assert!(patience < PATIENCE, "it is never told that nothing happened");
        patience *= 4;
    }
    assert_eq!(alone.handle().read_index_within(GROUP, patience).await, Err(unled));
    alone.stop().await.unwrap();
}
