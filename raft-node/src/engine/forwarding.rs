//! Requests of this node's clients for groups that another node leads.
//!
//! They travel in batches between the nodes, like everything else: a write that
//! reaches a follower costs one more message per batch and no connection of its own.
//! Reads send one question per batch; the answer says what must be applied *here*, and
//! the follower reads its own state (Raft thesis, section 6.4).
//!
//! A request is never sent twice. Where its answer does not come, a command counts as
//! unknown, and a read is refused and may be asked again.

use raft_core::{
    Boot, Envelope, Forward, ForwardOutcome, ForwardReply, GroupId, Index, Instant, NodeId, Term,
};
use raft_state::{Proposal, ProposalId, ReadId, Refusal};

use super::effect::Answer;
use super::engine::Engine;
use super::under_way::{Asked, Asker, REQUEST_BYTES, To, pieces};

impl Engine {
    /// Passes proposals on to the leader of their group, where that is another node;
    /// gives them back where it is not.
    pub(crate) fn forward_proposals(
        &mut self,
        now: Instant,
        group: GroupId,
        proposals: Vec<Proposal>,
    ) -> Result<(), Vec<Proposal>> {
        let Some((leader, term, to_boot)) = self.other_leader(group) else {
            return Err(proposals);
        };
        let (limit, room) = (self.config.replica.max_append_bytes, self.config.max_forwarded_bytes);
        let mut taken = Vec::new();
        for proposal in proposals {
            let weight = proposal.payload.len();
            if self.forwarding.bytes > 0 && self.forwarding.bytes + weight > room {
                let (id, why) = (proposal.id, Refusal::Overloaded);
                self.count(group, |figures| figures.refused(why, 1));
                self.answers.push(Answer::ProposalRefused { id, why });
                continue;
            }
            self.forwarding.bytes += weight;
            taken.push(proposal);
        }
        for piece in pieces(taken, limit, |proposal| proposal.payload.len() + REQUEST_BYTES) {
            let forwarding = &mut self.forwarding;
            let number = forwarding.number;
            forwarding.number += piece.len() as u64;
            let mut commands = Vec::with_capacity(piece.len());
            for (place, Proposal { id, payload }) in piece.into_iter().enumerate() {
                let what = (id, payload.len());
                let asked = Asked { to: To { group, leader, term, since: now }, what };
                forwarding.commands.insert(number + place as u64, asked);
                commands.push(payload);
            }
            let forward = Forward { to_boot, group, term, number, commands, read: false };
            self.outgoing.push(leader, Envelope::Forward(forward));
        }
        Ok(())
    }

    /// Asks the leader of a group, where that is another node, on behalf of reads;
    /// gives them back where it is not.
    pub(crate) fn forward_reads(
        &mut self,
        now: Instant,
        group: GroupId,
        ids: Vec<ReadId>,
    ) -> Result<(), Vec<ReadId>> {
        let Some((leader, term, to_boot)) = self.other_leader(group) else { return Err(ids) };
        let number = self.forwarding.number;
        self.forwarding.number += 1;
        let asked = Asked { to: To { group, leader, term, since: now }, what: ids };
        self.forwarding.reads.insert(number, asked);
        let forward = Forward { to_boot, group, term, number, commands: Vec::new(), read: true };
        self.outgoing.push(leader, Envelope::Forward(forward));
        Ok(())
    }

    /// Carries out what another node passes on, as far as this one leads.
    pub(crate) fn on_forward(&mut self, now: Instant, from: NodeId, boot: Boot, forward: Forward) {
        if forward.to_boot != self.boot || self.forwarding.take(from, boot, &forward).is_none() {
            return;
        }
        let Forward { group, term, number, commands, read, .. } = forward;
        let replica = self.groups.get(&group).map(|state| &state.replica);
        let leads = replica.is_some_and(|replica| replica.is_leader() && replica.term() == term);
        let mut name = |place: usize| {
            self.forwarding.name(Asker { node: from, boot, number: number + place as u64 })
        };
        let read = read.then(|| ReadId(name(commands.len())));
        let proposals: Vec<Proposal> = commands
            .into_iter()
            .enumerate()
            .map(|(place, payload)| Proposal { id: ProposalId(name(place)), payload })
            .collect();
        if !leads {
            // A leader of another term is not asked either: what the sender believes to
            // be the order of terms may be out of date, and it decides anew.
            let leader = replica_leader(self, group);
            let why = Refusal::NotLeader { leader };
            let refused = |Proposal { id, .. }| Answer::ProposalRefused { id, why };
            self.answers.extend(proposals.into_iter().map(refused));
            self.answers.extend(read.map(|id| Answer::ReadRefused { id, why }));
            return;
        }
        if !proposals.is_empty() {
            self.propose(now, group, proposals);
        }
        if let Some(id) = read {
            self.read(now, group, vec![id]);
        }
    }

    /// Takes in what became of requests that this node passed on.
    pub(crate) fn on_forward_reply(&mut self, now: Instant, from: NodeId, reply: ForwardReply) {
        if reply.to_boot != self.boot {
            return;
        }
        for (number, outcome) in reply.outcomes {
            match outcome {
                ForwardOutcome::Readable { index } => self.readable(now, from, number, index),
                outcome => self.told(from, number, outcome),
            }
        }
    }

    fn readable(&mut self, now: Instant, from: NodeId, number: u64, index: Index) {
        let forwarding = &mut self.forwarding;
        if forwarding.reads.get(&number).is_none_or(|asked| asked.to.leader != from) {
            return;
        }
        let Some(Asked { to: To { group, .. }, what }) = forwarding.reads.remove(&number) else {
            return;
        };
        let Some(state) = self.groups.get_mut(&group) else { return };
        let waited = state.pending.reads_at(index);
        let applied = state.applying.applied;
        state.pending.reading(what, index, applied, &mut self.answers);
        if !waited && index > applied {
            forwarding.wait(now, group, index);
        }
    }

    /// Gives up reads that wait for what is not applied here. That it ever will be is not sure:
    /// nobody may send this node the log any more.
    pub(crate) fn give_up_unapplied(&mut self, now: Instant) {
        let Self { forwarding, groups, answers, .. } = self;
        loop {
            let waits = |group, index| {
                groups.get(&group).is_some_and(|state| state.pending.reads_at(index))
            };
            let Some((group, index)) = forwarding.waited_too_long(now, waits) else { return };
            if let Some(state) = groups.get_mut(&group) {
                state.pending.give_up_reads(index, answers);
            }
        }
    }

    fn told(&mut self, from: NodeId, number: u64, outcome: ForwardOutcome) {
        let forwarding = &mut self.forwarding;
        let why = match outcome {
            ForwardOutcome::Overloaded => Refusal::Overloaded,
            ForwardOutcome::NoRoom => Refusal::NoRoom,
            ForwardOutcome::NotLeader { leader } => Refusal::NotLeader { leader },
            _ => Refusal::NotLeader { leader: None },
        };
        if forwarding.reads.get(&number).is_some_and(|asked| asked.to.leader == from) {
            let reads = forwarding.reads.remove(&number).map(|asked| asked.what);
            let refused = reads.into_iter().flatten().map(|id| Answer::ReadRefused { id, why });
            self.answers.extend(refused);
        }
        if forwarding.commands.get(&number).is_none_or(|asked| asked.to.leader != from) {
            return;
        }
        let Some(Asked { what: (id, weight), .. }) = forwarding.commands.remove(&number) else {
            return;
        };
        forwarding.bytes -= weight;
        self.answers.push(match outcome {
            ForwardOutcome::Applied { index, answer } => Answer::Applied { id, index, answer },
            ForwardOutcome::NotLeader { .. }
            | ForwardOutcome::Overloaded
            | ForwardOutcome::NoRoom => Answer::ProposalRefused { id, why },
            ForwardOutcome::Lost | ForwardOutcome::Readable { .. } => Answer::ProposalLost { id },
        });
    }

    /// The leader of a group where that is another node whose run is known.
    fn other_leader(&self, group: GroupId) -> Option<(NodeId, Term, Boot)> {
        let elsewhere = |leader: &NodeId| *leader != self.me && self.config.forward;
        let leader = replica_leader(self, group).filter(elsewhere)?;
        let term = self.groups.get(&group)?.replica.term();
        self.forwarding.boots.get(&leader).map(|boot| (leader, term, *boot))
    }
}

fn replica_leader(engine: &Engine, group: GroupId) -> Option<NodeId> {
    engine.groups.get(&group)?.replica.leader()
}
