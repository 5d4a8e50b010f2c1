//! Requests of this node's clients for groups that another node leads.
//!
//! They travel in batches between the nodes, like everything else: a write that
//! reaches a follower costs one more message per batch and no connection of its own.
//! Reads send one question per batch; the answer says what must be applied *here*, and
//! the follower reads its own state (Raft thesis, section 6.4).
//!
//! A request is never sent twice. Where its answer does not come, a command counts as
//! unknown, and a read is refused and may be asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use raft_core::{
    Boot, Envelope, Forward, ForwardOutcome, ForwardReply, GroupId, Index, Instant, NodeId, Term,
};
use raft_state::{Input, Proposal, ProposalId, ReadId, Refusal, RoleChange};

use super::effect::Answer;
use super::engine::Engine;
use super::outgoing::Outgoing;

/// Names of requests with this bit are the engine's own, for those of other nodes.
const FOREIGN: u64 = 1 << 63;

/// True for a read of another node.
pub(crate) const fn is_foreign(read: ReadId) -> bool {
    read.0 & FOREIGN != 0
}

/// The requests that this node has passed on, and those that it was passed.
///
/// Invariants:
/// - Every request of this node's clients that enters leaves as exactly one answer.
/// - `bytes` is what the commands under way weigh.
/// - A number of a peer's run is taken at most once, and never an older after a newer
///   one; that run is told exactly one outcome of what was taken.
#[derive(Debug)]
pub(crate) struct Forwarding {
    patience: Duration,
    // As the one who passes on.
    boots: BTreeMap<NodeId, Boot>,
    number: u64,
    commands: BTreeMap<u64, Asked<(ProposalId, usize)>>,
    reads: BTreeMap<u64, Asked<Vec<ReadId>>>,
    bytes: usize,
    // As the one who leads.
    taken: BTreeMap<NodeId, (Boot, u64)>,
    foreign: BTreeMap<u64, Asker>,
    last_foreign: u64,
    replies: BTreeMap<(NodeId, Boot), Vec<(u64, ForwardOutcome)>>,
}

/// A request under way to another node.
#[derive(Debug)]
struct Asked<T> {
    group: GroupId,
    leader: NodeId,
    term: Term,
    since: Instant,
    what: T,
}

/// Who waits for the outcome of a request that was passed to this node.
#[derive(Clone, Copy, Debug)]
struct Asker {
    node: NodeId,
    boot: Boot,
    number: u64,
}

impl Forwarding {
    /// `patience` bounds how long an answer is waited for.
    pub(crate) const fn new(patience: Duration) -> Self {
        Self {
            patience,
            boots: BTreeMap::new(),
            number: 0,
            commands: BTreeMap::new(),
            reads: BTreeMap::new(),
            bytes: 0,
            taken: BTreeMap::new(),
            foreign: BTreeMap::new(),
            last_foreign: 0,
            replies: BTreeMap::new(),
        }
    }

    /// Notes which run of a peer speaks.
    pub(crate) fn heard(&mut self, peer: NodeId, boot: Boot) {
        self.boots.insert(peer, boot);
    }

    /// When the oldest request has waited for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let command = self.commands.values().next().map(|asked| asked.since);
        let read = self.reads.values().next().map(|asked| asked.since);
        let oldest = command.into_iter().chain(read).min();
        oldest.map(|since| since.after(self.patience))
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        let patience = self.patience;
        self.give_up(answers, |_, _, _, since| now >= since.after(patience));
    }

    /// Gives up what went to another leader, or in another term, than a group has now:
    /// nobody is left who must answer it.
    pub(crate) fn leader_changed(
        &mut self,
        group: GroupId,
        change: RoleChange,
        answers: &mut Vec<Answer>,
    ) {
        let now = (change.leader, change.term);
        self.give_up(answers, |of, leader, term, _| of == group && (Some(leader), term) != now);
    }

    /// Gives up everything of a group, which stops here.
    pub(crate) fn stopped(&mut self, group: GroupId, answers: &mut Vec<Answer>) {
        self.give_up(answers, |of, _, _, _| of == group);
    }

    fn give_up(
        &mut self,
        answers: &mut Vec<Answer>,
        over: impl Fn(GroupId, NodeId, Term, Instant) -> bool,
    ) {
        let bytes = &mut self.bytes;
        self.commands.retain(|_, Asked { group, leader, term, since, what: (id, weight) }| {
            let over = over(*group, *leader, *term, *since);
            if over {
                *bytes -= *weight;
                answers.push(Answer::ProposalLost { id: *id });
            }
            !over
        });
        self.reads.retain(|_, Asked { group, leader, term, since, what }| {
            let over = over(*group, *leader, *term, *since);
            if over {
                let why = Refusal::NotLeader { leader: None };
                answers.extend(what.drain(..).map(|id| Answer::ReadRefused { id, why }));
            }
            !over
        });
    }

    /// Takes the answers for other nodes out of `answers`.
    pub(crate) fn sort_out(&mut self, answers: &mut Vec<Answer>) {
        if self.foreign.is_empty() {
            return;
        }
        for answer in std::mem::take(answers) {
            match self.foreign.remove(&name_of(&answer)) {
                Some(Asker { node, boot, number }) => {
                    self.replies.entry((node, boot)).or_default().push((number, outcome(answer)));
                }
                None => answers.push(answer),
            }
        }
    }

    /// Puts the answers for other nodes into the post.
    pub(crate) fn send(&mut self, max_bytes: usize, outgoing: &mut Outgoing) {
        for ((node, to_boot), outcomes) in std::mem::take(&mut self.replies) {
            let weight = |(_, outcome): &(u64, ForwardOutcome)| match outcome {
                ForwardOutcome::Applied { answer, .. } => answer.len(),
                _ => 0,
            };
            for outcomes in pieces(outcomes, max_bytes, weight) {
                let reply = ForwardReply { to_boot, outcomes };
                outgoing.push(node, Envelope::ForwardReply(reply));
            }
        }
    }

    /// Takes in what a peer's run passes on; `None` where it was taken before.
    fn take(&mut self, node: NodeId, boot: Boot, forward: &Forward) -> Option<()> {
        let next = match self.taken.get(&node) {
            Some((known, next)) if *known == boot => *next,
            _ => 0,
        };
        if forward.number < next {
            return None;
        }
        self.taken.insert(node, (boot, forward.number + forward.requests()));
        Some(())
    }

    fn name(&mut self, asker: Asker) -> u64 {
        self.last_foreign += 1;
        let name = FOREIGN | self.last_foreign;
        self.foreign.insert(name, asker);
        name
    }
}

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
                self.answers.push(Answer::ProposalRefused { id, why });
                continue;
            }
            self.forwarding.bytes += weight;
            taken.push(proposal);
        }
        for piece in pieces(taken, limit, |proposal| proposal.payload.len()) {
            let forwarding = &mut self.forwarding;
            let number = forwarding.number;
            forwarding.number += piece.len() as u64;
            let mut commands = Vec::with_capacity(piece.len());
            for (place, Proposal { id, payload }) in piece.into_iter().enumerate() {
                let what = (id, payload.len());
                let asked = Asked { group, leader, term, since: now, what };
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
        let asked = Asked { group, leader, term, since: now, what: ids };
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
            self.step(now, group, Input::Propose(proposals));
        }
        if let Some(id) = read {
            self.step(now, group, Input::Read(vec![id]));
        }
    }

    /// Takes in what became of requests that this node passed on.
    pub(crate) fn on_forward_reply(&mut self, from: NodeId, reply: ForwardReply) {
        if reply.to_boot != self.boot {
            return;
        }
        for (number, outcome) in reply.outcomes {
            match outcome {
                ForwardOutcome::Readable { index } => self.readable(from, number, index),
                outcome => self.told(from, number, outcome),
            }
        }
    }

    fn readable(&mut self, from: NodeId, number: u64, index: Index) {
        let forwarding = &mut self.forwarding;
        if forwarding.reads.get(&number).is_none_or(|asked| asked.leader != from) {
            return;
        }
        let Some(Asked { group, what, .. }) = forwarding.reads.remove(&number) else { return };
        if let Some(state) = self.groups.get_mut(&group) {
            let applied = state.applying.applied;
            state.pending.reading(what, index, applied, &mut self.answers);
        }
    }

    fn told(&mut self, from: NodeId, number: u64, outcome: ForwardOutcome) {
        let forwarding = &mut self.forwarding;
        let why = match outcome {
            ForwardOutcome::Overloaded => Refusal::Overloaded,
            ForwardOutcome::NotLeader { leader } => Refusal::NotLeader { leader },
            _ => Refusal::NotLeader { leader: None },
        };
        if forwarding.reads.get(&number).is_some_and(|asked| asked.leader == from) {
            let reads = forwarding.reads.remove(&number).map(|asked| asked.what);
            let refused = reads.into_iter().flatten().map(|id| Answer::ReadRefused { id, why });
            self.answers.extend(refused);
        }
        if forwarding.commands.get(&number).is_none_or(|asked| asked.leader != from) {
            return;
        }
        let Some(Asked { what: (id, weight), .. }) = forwarding.commands.remove(&number) else {
            return;
        };
        forwarding.bytes -= weight;
        self.answers.push(match outcome {
            ForwardOutcome::Applied { index, answer } => Answer::Applied { id, index, answer },
            ForwardOutcome::NotLeader { .. } | ForwardOutcome::Overloaded => {
                Answer::ProposalRefused { id, why }
            }
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

/// Splits into runs that weigh at most `limit` each, or hold one thing.
fn pieces<T>(of: Vec<T>, limit: usize, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut pieces = Vec::new();
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for one in of {
        let weight = weight(&one);
        if !piece.is_empty() && bytes + weight > limit {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
        bytes += weight;
        piece.push(one);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

const fn name_of(answer: &Answer) -> u64 {
    match answer {
        Answer::Applied { id, .. }
        | Answer::ProposalRefused { id, .. }
        | Answer::ProposalLost { id } => id.0,
        Answer::ReadReady { id, .. } | Answer::ReadRefused { id, .. } => id.0,
    }
}

fn outcome(answer: Answer) -> ForwardOutcome {
    match answer {
        Answer::Applied { index, answer, .. } => ForwardOutcome::Applied { index, answer },
        Answer::ReadReady { index, .. } => ForwardOutcome::Readable { index },
        Answer::ProposalLost { .. } => ForwardOutcome::Lost,
        Answer::ProposalRefused { why, .. } | Answer::ReadRefused { why, .. } => match why {
            Refusal::Overloaded => ForwardOutcome::Overloaded,
            Refusal::NotLeader { leader } => ForwardOutcome::NotLeader { leader },
        },
    }
}
