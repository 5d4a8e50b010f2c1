//! Everything that happens in one run, for whoever wants to see it.
//!
//! A world records only where it was asked to; its hash and its course are the same.

use std::collections::BTreeSet;

use raft_core::{Envelope, GroupId, Index, Instant, NodeId, Term};
use raft_state::{Replica, RoleName};

use super::clients::Told;
use super::faults::Fault;
use super::node::GROUPS;
use super::said::Said;
use super::world::World;

/// Everything that happened in one run.
#[derive(Debug, Default)]
pub struct Recording {
    /// In the order in which it happened.
    pub(super) moments: Vec<(Instant, Moment)>,
    /// How each replica stood last.
    states: Vec<((NodeId, GroupId), State)>,
    messages: u32,
}

/// The number of a message within a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Message(pub(super) u32);

/// One thing that happened.
#[derive(Debug)]
pub(super) enum Moment {
    /// In words; where it is about one node, they begin with `node` and its id.
    Note(String),
    Fault {
        fault: Fault,
        node: Option<NodeId>,
        text: String,
    },
    /// All pairs between which nothing is carried from now on.
    Cuts(BTreeSet<(NodeId, NodeId)>),
    Sent {
        message: Message,
        from: NodeId,
        to: NodeId,
        said: Vec<Said>,
        /// Whether the network takes it.
        taken: Taken,
    },
    Arrives(Message, Arrival),
    /// The log begins to write and to sync, and is told that it has.
    Writes(NodeId),
    Written(NodeId),
    Up(NodeId),
    Down(NodeId, Power),
    /// Nothing of this node is left.
    Gone(NodeId),
    State(NodeId, GroupId, State),
    Asked {
        id: u64,
        client: usize,
        node: NodeId,
        group: GroupId,
        what: String,
    },
    Told {
        id: u64,
        told: Told,
    },
    /// The run is over, and what did not hold.
    End(Option<String>),
}

/// Whether the network takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    Lost,
    /// Nothing is carried between these two.
    Cut,
}

/// What becomes of a message that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Received,
    /// The receiver is down, or there is another in its place.
    Nobody,
    /// The two were parted while it was on its way.
    Cut,
    /// It is not what was sent.
    Damaged,
}

/// What goes with a process that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    StaysOn,
    Lost,
}

/// How a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) role: RoleName,
    pub(super) term: Term,
    pub(super) leader: Option<NodeId>,
    pub(super) last: Index,
    pub(super) commit: Index,
    pub(super) applied: Index,
    pub(super) part: Part,
    /// Whether its disk has lost something that has not come back yet.
    pub(super) damaged: bool,
}

/// What a replica is in the membership that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Voter,
    Learner,
    /// No member, or not yet as far as it knows.
    None,
}

impl World {
    /// Writes something down where there is a recording.
    pub(super) fn record(&mut self, moment: impl FnOnce(&Self) -> Moment) {
        if self.recording.is_some() {
            let moment = moment(self);
            let now = self.now;
            if let Some(recording) = &mut self.recording {
                recording.moments.push((now, moment));
            }
        }
    }

    pub(super) fn record_fault(&mut self, fault: Fault, text: &str) {
        let text = text.to_owned();
        self.record(|world| {
            let node = fault.place().map(|place| world.nodes[place].id);
            Moment::Fault { fault, node, text }
        });
    }

    /// Writes down a message that a node sends.
    pub(super) fn record_sent(
        &mut self,
        (from, to): (NodeId, NodeId),
        envelopes: &[Envelope],
        copies: usize,
    ) -> Message {
        let Some(recording) = &mut self.recording else { return Message::default() };
        recording.messages += 1;
        let message = Message(recording.messages);
        let cut = self.network.cut.contains(&(from, to));
        let taken = match copies {
            _ if cut => Taken::Cut,
            0 => Taken::Lost,
            _ => Taken::Yes,
        };
        let said = envelopes.iter().map(Said::of).collect();
        recording.moments.push((self.now, Moment::Sent { message, from, to, said, taken }));
        message
    }

    /// Writes down how the replicas of a node stand, where that is new.
    pub(super) fn record_state(&mut self, node: usize) {
        let Some(recording) = &mut self.recording else { return };
        let Some(running) = &self.nodes[node].running else { return };
        let id = self.nodes[node].id;
        for group in GROUPS {
            let Some(replica) = running.engine.replica(group) else { continue };
            let applied = running.engine.view(group).map_or(Index::ZERO, |view| view.applied);
            let now = State::of(replica, id, applied);
            let known = recording.states.iter_mut().find(|(name, _)| *name == (id, group));
            match known {
                Some((_, state)) if *state == now => continue,
                Some((_, state)) => *state = now,
                None => recording.states.push(((id, group), now)),
            }
            recording.moments.push((self.now, Moment::State(id, group, now)));
        }
    }

    pub(super) fn record_asked(&mut self, id: u64, client: usize, node: usize, group: GroupId) {
        self.record(|world| Moment::Asked {
            id,
            client,
            node: world.nodes[node].id,
            group,
            what: world.clients.words(id),
        });
    }
}

impl State {
    fn of(replica: &Replica, id: NodeId, applied: Index) -> Self {
        let status = replica.status();
        let members = replica.membership();
        let part = match members.is_voter(id) {
            true => Part::Voter,
            false if members.is_member(id) => Part::Learner,
            false => Part::None,
        };
        Self {
            role: status.role,
            term: status.term,
            leader: status.leader,
            last: status.last,
            commit: status.commit,
            applied,
            part,
            damaged: status.damaged_up_to.is_some(),
        }
    }
}

impl Recording {
    /// Forgets how the replicas of a node stood: its process is gone.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.states.retain(|((node, _), _)| *node != id);
    }
}
