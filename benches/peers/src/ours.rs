//! Nodes of `raft-state`.

use bytes::Bytes;
use raft_core::{
    Boot, Entry, EntryKind, GroupId, Index, Instant, LogChange, LogShape, Membership, Message,
    NodeId, Position,
};
use raft_state::{Config, Input, Output, Proposal, ProposalId, Replica, SendEntries, Start};

use crate::cluster::{NODES, Node, Post, TICK};
use crate::trim::{KEEP, TRIM_EVERY};

const GROUP: GroupId = GroupId(1);

/// A replica, its log, and a state machine that adds up lengths.
pub(crate) struct Ours {
    me: NodeId,
    replica: Replica,
    log: Log,
    now: Instant,
    proposals: u64,
    applied: Index,
    bytes_applied: usize,
}

/// Three of them that have never run.
pub(crate) fn nodes() -> [Ours; NODES] {
    let ids = [1, 2, 3].map(|id| NodeId::new(id).expect("not zero"));
    let shape = LogShape::new(Position::ZERO, Membership::of_voters(ids));
    ids.map(|me| {
        let config = Config { own_heartbeats: true, ..Config::default() };
        let start = Start::fresh(GROUP, me, Boot(me.get()), shape.clone());
        let replica = Replica::new(config, start, Instant(0));
        let (log, now, applied) = (Log::default(), Instant(0), Index::ZERO);
        Ours { me, replica, log, now, proposals: 0, applied, bytes_applied: 0 }
    })
}

impl Node for Ours {
    type Message = Message;

    fn campaign(&mut self) {
        self.now = self.replica.deadline();
        self.replica.handle(self.now, Input::Timeout);
    }

    fn leads(&self) -> bool {
        self.replica.is_leader() && self.replica.applied() > Index::ZERO
    }

    fn propose(&mut self, payload: Vec<u8>) {
        self.proposals += 1;
        let (id, payload) = (ProposalId(self.proposals), Bytes::from(payload));
        self.replica.handle(self.now, Input::Propose(vec![Proposal { id, payload }]));
    }

    fn receive(&mut self, message: Message) {
        self.replica.handle(self.now, Input::Message(message));
    }

    fn tick(&mut self) {
        self.now = self.now.after(TICK);
        if self.now >= self.replica.deadline() {
            self.replica.handle(self.now, Input::Timeout);
        }
    }

    fn work(&mut self, post: &mut Post<Message>) -> usize {
        let mut applied = 0;
        loop {
            let mut written = None;
            while let Some(output) = self.replica.poll_output() {
                match output {
                    Output::Persist(write) => {
                        written = Some(write.number);
                        if let Some(LogChange::Append(entries)) = write.change {
                            self.log.append(entries);
                        }
                    }
                    Output::Send(message) => post.send(message.to.get(), message),
                    Output::SendEntries(request) => {
                        let entries = self.log.read(&request);
                        let (message, sent) = request.append(GROUP, self.me, entries);
                        post.send(message.to.get(), message);
                        self.replica.handle(self.now, sent);
                    }
                    Output::Apply { up_to } => applied += self.apply(up_to),
                    // Answers to clients, which wait for what is applied; a change of role.
                    Output::Proposed { .. } | Output::RoleChanged(_) => {}
                    other => panic!("nothing here leads to {other:?}"),
                }
            }
            // All of it in one go, as a disk would.
            let Some(number) = written else { return applied };
            self.replica.handle(self.now, Input::Persisted(number));
        }
    }
}

impl Ours {
    fn apply(&mut self, up_to: Index) -> usize {
        let mut commands = 0;
        for entry in self.log.range(self.applied.next(), up_to) {
            if entry.kind == EntryKind::Command {
                commands += 1;
                self.bytes_applied += entry.payload.len();
            }
        }
        self.applied = up_to;
        if up_to.0 - self.log.floor > TRIM_EVERY + KEEP {
            self.log.trim_to(up_to.0 - KEEP);
            self.replica.handle(self.now, Input::Trimmed(Index(up_to.0 - KEEP)));
        }
        commands
    }
}

/// The entries above a floor.
#[derive(Default)]
struct Log {
    floor: u64,
    entries: Vec<Entry>,
}

impl Log {
    fn append(&mut self, entries: Vec<Entry>) {
        self.entries.truncate((entries[0].index.0 - self.floor) as usize - 1);
        self.entries.extend(entries);
    }

    fn range(&self, from: Index, up_to: Index) -> &[Entry] {
        &self.entries[(from.0 - self.floor) as usize - 1..(up_to.0 - self.floor) as usize]
    }

    fn read(&self, request: &SendEntries) -> Vec<Entry> {
        let asked = self.range(request.from, request.up_to);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.weight();
            bytes <= request.max_bytes
        };
        let count = asked.iter().take_while(fits).count().max(1);
        asked[..count].to_vec()
    }

    fn trim_to(&mut self, index: u64) {
        self.entries.drain(..(index - self.floor) as usize);
        self.floor = index;
    }
}
