//! A cluster of three nodes in one process, with a state machine of one's own: a bank
//! account. Each node has a real log in its own folder.
//!
//! `cargo run -p raft-node --no-default-features --features shell --example embedded_cluster`

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{ClusterId, GroupId, Index, Membership, NodeId};
use raft_node::shell::{LocalNetwork, Node};
use raft_node::{Command, StateMachine};

const BANK: GroupId = GroupId(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// A balance. A command is an amount to add, the answer the new balance. Clones share it.
#[derive(Clone, Default)]
struct Account {
    applied: Index,
    balance: Arc<Mutex<i64>>,
}

impl StateMachine for Account {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        let mut balance = self.balance.lock().unwrap();
        let answer = |command: &Command| {
            let text = String::from_utf8_lossy(&command.payload);
            *balance = balance.saturating_add(text.parse().unwrap_or(0));
            Bytes::from(balance.to_string())
        };
        self.applied = up_to;
        Ok(commands.iter().map(answer).collect())
    }

    /// Nothing is kept on disk: after a restart the log is applied again.
    fn flush(&mut self) -> io::Result<Index> {
        Ok(self.applied)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.balance.lock().unwrap().to_be_bytes())))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        let mut balance = [0; 8];
        image.read_exact(&mut balance)?;
        (self.applied, *self.balance.lock().unwrap()) = (index, i64::from_be_bytes(balance));
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (network, folder) = (LocalNetwork::new(), tempfile::tempdir()?);
    let ids = [1, 2, 3].map(|n| NodeId::new(n).expect("not zero"));
    let (mut nodes, accounts) = (BTreeMap::new(), ids.map(|_| Account::default()));
    for (id, account) in ids.into_iter().zip(accounts.clone()) {
        let node = Node::builder(ClusterId(1), id, folder.path().join(id.to_string()))
            .group(BANK, Membership::of_voters(ids), account)
            .heartbeat(Duration::from_millis(50))
            .start(&network)
            .await?;
        nodes.insert(id, node);
    }

    // Any node takes a command, once a leader is elected.
    nodes[&ids[0]].handle().propose_within(BANK, "70".into(), PATIENCE).await?;

    // Another node reads its own state, which reflects all that was acknowledged before.
    nodes[&ids[1]].handle().read_index_within(BANK, PATIENCE).await?;
    assert_eq!(*accounts[1].balance.lock().unwrap(), 70);

    // The others go on without the leader; a read waits until somebody else leads.
    let leader = nodes[&ids[1]].handle().status(BANK).and_then(|status| status.leader);
    leader.and_then(|id| nodes.remove(&id)).ok_or("nobody leads")?.stop().await?;
    let left = nodes.values().next().ok_or("two are left")?.handle();
    left.read_index_within(BANK, PATIENCE).await?;
    let applied = left.propose_within(BANK, "-20".into(), PATIENCE).await?;
    println!("balance {:?} at index {}", applied.answer, applied.index);
    assert_eq!(applied.answer, "50");

    for node in nodes.into_values() {
        node.stop().await?;
    }
    Ok(())
}

#[test]
fn it_runs() {
    main().expect("the cluster serves");
}
