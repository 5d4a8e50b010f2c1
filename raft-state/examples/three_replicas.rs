//! The protocol alone, driven by hand: three replicas in one loop elect a leader, commit
//! a command, and all learn of it. Logs, network and clock are `Vec`s, a queue, a number.
//!
//! `cargo run -p raft-state --example three_replicas`

use std::collections::VecDeque;

use raft_core::{Boot, Entry, EntryKind, GroupId, Instant, LogChange, LogShape};
use raft_core::{Membership, NodeId, Position};
use raft_state::{Config, Input, Output, Proposal, ProposalId, Replica, RoleName, Start};

fn main() {
    let (group, ids) = (GroupId(1), [1, 2, 3].map(|n| NodeId::new(n).expect("not zero")));
    let shape = LogShape::new(Position::ZERO, Membership::of_voters(ids));
    let config = Config { own_heartbeats: true, ..Config::default() };
    let start = |id: NodeId| Start::fresh(group, id, Boot(id.get()), shape.clone());
    let mut replicas = ids.map(|id| Replica::new(config.clone(), start(id), Instant(0)));
    let (mut logs, mut committed): ([Vec<Entry>; 3], [Vec<Entry>; 3]) = Default::default();
    let (mut now, mut inputs) = (Instant(0), VecDeque::new());
    while committed.iter().any(Vec::is_empty) {
        // Where nobody has anything to do, time passes up to the next timer.
        let (at, input) = inputs.pop_front().unwrap_or_else(|| {
            let next = (0..3).min_by_key(|at| replicas[*at].deadline()).expect("there are three");
            now = replicas[next].deadline();
            (next, Input::Timeout)
        });
        replicas[at].handle(now, input);
        while let Some(output) = replicas[at].poll_output() {
            match output {
                Output::Persist(write) => {
                    // A real log writes and syncs before it says so.
                    if let Some(LogChange::Append(entries)) = write.change {
                        logs[at].truncate(entries[0].index.0 as usize - 1);
                        logs[at].extend(entries);
                    }
                    inputs.push_back((at, Input::Persisted(write.number)));
                }
                Output::Send(message) => {
                    inputs.push_back((message.to.get() as usize - 1, Input::Message(message)));
                }
                Output::SendEntries(request) => {
                    let range = request.from.0 as usize - 1..request.up_to.0 as usize;
                    let (message, sent) = request.append(group, ids[at], logs[at][range].to_vec());
                    inputs.push_back((message.to.get() as usize - 1, Input::Message(message)));
                    inputs.push_back((at, sent));
                }
                Output::Apply { up_to } => {
                    let entries = logs[at][..up_to.0 as usize].iter();
                    let commands = entries.filter(|entry| entry.kind == EntryKind::Command);
                    committed[at] = commands.cloned().collect();
                }
                Output::RoleChanged(change) if change.role == RoleName::Leader => {
                    println!("node {} leads in term {}", ids[at], change.term);
                    let proposal = Proposal { id: ProposalId(1), payload: "lights on".into() };
                    inputs.push_back((at, Input::Propose(vec![proposal])));
                }
                _ => {} // Snapshots, reads, answers to clients.
            }
        }
    }
    for (id, entries) in ids.iter().zip(&committed) {
        println!("node {id} has committed {:?} at {}", entries[0].payload, entries[0].index);
        assert_eq!((&entries[0].payload[..], entries.len()), (&b"lights on"[..], 1));
    }
}

#[test]
fn it_runs() {
    main();
}
