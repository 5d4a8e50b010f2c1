//! Nodes of raft-rs.

use raft::eraftpb::{Entry, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};
use slog::{Discard, Logger, o};

use crate::cluster::{NODES, Node, Post, TICK};
use crate::trim::{KEEP, TRIM_EVERY};

/// How entries are put into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appends {
    /// As by default: a message per proposal, while as many may be under way.
    Single,
    /// Entries join the message that waits to be sent.
    Batched,
}

/// A node, and a state machine that adds up lengths.
pub(crate) struct Theirs {
    node: RawNode<MemStorage>,
    applied: u64,
    floor: u64,
    bytes_applied: usize,
}

/// Three of them that have never run.
pub(crate) fn nodes(appends: Appends) -> [Theirs; NODES] {
    [1, 2, 3].map(|id| {
        let ticks = |milliseconds: u128| (milliseconds / TICK.as_millis()) as usize;
        let config = Config {
            id,
            election_tick: ticks(1000),
            heartbeat_tick: ticks(100),
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: appends == Appends::Batched,
            ..Config::default()
        };
        let store = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
        let logger = Logger::root(Discard, o!());
        let node = RawNode::new(&config, store, &logger).expect("the configuration is sound");
        Theirs { node, applied: 0, floor: 0, bytes_applied: 0 }
    })
}

impl Node for Theirs {
    type Message = Message;

    fn campaign(&mut self) {
        self.node.campaign().expect("a member may stand");
    }

    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader && self.applied > 0
    }

    fn propose(&mut self, payload: Vec<u8>) {
        self.node.propose(Vec::new(), payload).expect("a leader takes proposals");
    }

    fn receive(&mut self, message: Message) {
        self.node.step(message).expect("a member is listened to");
    }

    fn tick(&mut self) {
        self.node.tick();
    }

    fn work(&mut self, post: &mut Post<Message>) -> usize {
        let mut applied = 0;
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            send(post, ready.take_messages());
            applied += self.apply(ready.take_committed_entries());
            let store = self.node.store().clone();
            if !ready.entries().is_empty() {
                store.wl().append(ready.entries()).expect("entries follow one another");
            }
            if let Some(state) = ready.hs() {
                store.wl().set_hardstate(state.clone());
            }
            send(post, ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                store.wl().mut_hard_state().set_commit(commit);
            }
            send(post, light.take_messages());
            applied += self.apply(light.take_committed_entries());
            self.node.advance_apply();
        }
        applied
    }
}

fn send(post: &mut Post<Message>, messages: Vec<Message>) {
    for message in messages {
        post.send(message.to, message);
    }
}

impl Theirs {
    fn apply(&mut self, entries: Vec<Entry>) -> usize {
        let Some(last) = entries.last().map(|entry| entry.index) else { return 0 };
        let mut commands = 0;
        for entry in &entries {
            // An empty one is that with which a leader begins.
            if !entry.data.is_empty() {
                commands += 1;
                self.bytes_applied += entry.data.len();
            }
        }
        self.applied = last;
        if last - self.floor > TRIM_EVERY + KEEP {
            self.floor = last - KEEP;
            self.node.store().wl().compact(self.floor).expect("it is applied");
        }
        commands
    }
}
