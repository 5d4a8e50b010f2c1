//! The protocol alone, driven by hand: three replicas in one loop elect a leader, commit
//! a command, and all learn of it. Logs, wire and clock are a `Vec`, a queue and a number.
//!
//! `cargo run -p raft-state --example three_replicas`

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft_core::{
    Boot, Entry, EntryKind, GroupId, Instant, LogChange, LogShape, Membership, NodeId, Position,
};
use raft_state::{Config, Input, Output, Proposal, ProposalId, Replica, Start};

const GROUP: GroupId = GroupId(1);

struct Node {
    replica: Replica,
    log: Vec<Entry>,
    committed: Vec<Bytes>,
}

fn main() {
    let ids = [1, 2, 3].map(|n| NodeId::new(n).expect("not zero"));
    let shape = LogShape::new(Position::ZERO, Membership::of_voters(ids));
    let config = Config { own_heartbeats: true, ..Config::default() };
    let mut nodes = BTreeMap::from(ids.map(|id| {
        let start = Start::fresh(GROUP, id, Boot(id.get()), shape.clone());
        let replica = Replica::new(config.clone(), start, Instant(0));
        (id, Node { replica, log: Vec::new(), committed: Vec::new() })
    }));

    // Time passes until a replica's patience ends, it stands for election, and it leads.
    let leader = loop {
        pass_time(&mut nodes);
        if let Some((id, _)) = nodes.iter().find(|(_, node)| node.replica.is_leader()) {
            break *id;
        }
    };
    println!("node {leader} leads in term {}", nodes[&leader].replica.term());

    let proposal = Proposal { id: ProposalId(1), payload: "lights on".into() };
    let now = nodes[&leader].replica.deadline();
    run(&mut nodes, now, (leader, Input::Propose(vec![proposal])));

    // The leader has committed; the others hear of it with its next message.
    while nodes.values().any(|node| node.committed.is_empty()) {
        pass_time(&mut nodes);
    }
    for (id, node) in &nodes {
        println!("node {id} has committed {:?}", node.committed);
        assert_eq!(node.committed, ["lights on"]);
    }
}

/// Lets time pass up to the next timer.
fn pass_time(nodes: &mut BTreeMap<NodeId, Node>) {
    let timers = nodes.iter().map(|(id, node)| (node.replica.deadline(), *id));
    let (now, id) = timers.min().expect("there are nodes");
    run(nodes, now, (id, Input::Timeout));
}

/// Hands in one input, and all that follows from it.
fn run(nodes: &mut BTreeMap<NodeId, Node>, now: Instant, first: (NodeId, Input)) {
    let mut inputs = VecDeque::from([first]);
    while let Some((me, input)) = inputs.pop_front() {
        let node = nodes.get_mut(&me).expect("only nodes are spoken to");
        node.replica.handle(now, input);
        while let Some(output) = node.replica.poll_output() {
            match output {
                // A real log writes and syncs here.
                Output::Persist(write) => {
                    if let Some(LogChange::Append(entries)) = write.change {
                        node.log.truncate(entries[0].index.0 as usize - 1);
                        node.log.extend(entries);
                    }
                    inputs.push_back((me, Input::Persisted(write.number)));
                }
                Output::Send(message) => inputs.push_back((message.to, Input::Message(message))),
                Output::SendEntries(request) => {
                    let range = request.from.0 as usize - 1..request.up_to.0 as usize;
                    let (message, sent) = request.append(GROUP, me, node.log[range].to_vec());
                    inputs.push_back((message.to, Input::Message(message)));
                    inputs.push_back((me, sent));
                }
                Output::Apply { up_to } => {
                    let entries = node.log[..up_to.0 as usize].iter();
                    let commands = entries.filter(|entry| entry.kind == EntryKind::Command);
                    node.committed = commands.map(|entry| entry.payload.clone()).collect();
                }
                // Snapshots, reads, answers to clients, changes of role.
                _ => {}
            }
        }
    }
}

#[test]
fn it_runs() {
    main();
}
