//! The requests under way between nodes: what was passed on, and what was taken.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use raft_core::{
    Boot, Envelope, Forward, ForwardOutcome, ForwardReply, GroupId, Index, Instant, NodeId, Term,
};
use raft_state::{ProposalId, ReadId, Refusal, RoleChange};

use super::effect::Answer;
use super::outgoing::Outgoing;

/// Names of requests with this bit are the engine's own, for those of other nodes.
const FOREIGN: u64 = 1 << 63;

/// What so many runs of a peer have passed on is remembered, so that a message of an
/// earlier run that comes late is known.
const REMEMBERED_RUNS: usize = 8;

/// What a request takes up beside its payload, in bytes.
pub(crate) const REQUEST_BYTES: usize = 48;

/// Whoever drives the engine names requests below [`FOREIGN`]: the answers to the others
/// go to other nodes.
pub(crate) fn assert_own_name(names: impl Iterator<Item = u64>) {
    for name in names {
        assert!(name < FOREIGN, "request {name} is named as those of other nodes, {FOREIGN}..");
    }
}

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
    reads_patience: Duration,
    // As the one who passes on.
    pub(crate) boots: BTreeMap<NodeId, Boot>,
    pub(crate) number: u64,
    pub(crate) commands: BTreeMap<u64, Asked<(ProposalId, usize)>>,
    pub(crate) reads: BTreeMap<u64, Asked<Vec<ReadId>>>,
    pub(crate) bytes: usize,
    /// Where reads that the leader has confirmed wait for something to be applied here, and
    /// since when, in the order of that. They may wait no more.
    unapplied: VecDeque<(Instant, GroupId, Index)>,
    // As the one who leads.
    /// The last runs of each peer, the newest at the end, with the least number that each
    /// may still use.
    taken: BTreeMap<NodeId, Vec<(Boot, u64)>>,
    foreign: BTreeMap<u64, Asker>,
    last_foreign: u64,
    replies: BTreeMap<(NodeId, Boot), Vec<(u64, ForwardOutcome)>>,
}

/// A request under way to another node.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    pub(crate) to: To,
    pub(crate) what: T,
}

/// Whom a request went to, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To {
    pub(crate) group: GroupId,
    pub(crate) leader: NodeId,
    pub(crate) term: Term,
    pub(crate) since: Instant,
}

/// Who waits for the outcome of a request that was passed to this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    pub(crate) number: u64,
}

impl Forwarding {
    /// `patience` bounds how long the answer to a command is waited for, and how long a read
    /// waits here for what its answer names; `reads_patience` the answer to a question: it may
    /// be asked again.
    pub(crate) const fn new(patience: Duration, reads_patience: Duration) -> Self {
        Self {
            patience,
            reads_patience,
            boots: BTreeMap::new(),
            number: 0,
            commands: BTreeMap::new(),
            reads: BTreeMap::new(),
            bytes: 0,
            unapplied: VecDeque::new(),
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
        let command =
            self.commands.values().next().map(|asked| asked.to.since.after(self.patience));
        let read =
            self.reads.values().next().map(|asked| asked.to.since.after(self.reads_patience));
        let unapplied = self.unapplied.front().map(|(since, ..)| since.after(self.patience));
        command.into_iter().chain(read).chain(unapplied).min()
    }

    /// Notes that reads wait for this index of a group to be applied.
    pub(crate) fn wait(&mut self, now: Instant, group: GroupId, index: Index) {
        self.unapplied.push_back((now, group, index));
    }

    /// Where reads have waited for too long, one after the other. Whatever `waits` says waits no
    /// more is forgotten once it is the oldest.
    pub(crate) fn waited_too_long(
        &mut self,
        now: Instant,
        waits: impl Fn(GroupId, Index) -> bool,
    ) -> Option<(GroupId, Index)> {
        while let Some((since, group, index)) = self.unapplied.front().copied() {
            let over = now >= since.after(self.patience);
            let waits = waits(group, index);
            if waits && !over {
                return None;
            }
            self.unapplied.pop_front();
            if waits {
                return Some((group, index));
            }
        }
        None
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        let (patience, reads_patience) = (self.patience, self.reads_patience);
        self.give_up_commands(answers, |to| now >= to.since.after(patience));
        self.give_up_reads(answers, |to| now >= to.since.after(reads_patience));
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
        let over = |to: &To| to.group == group && (Some(to.leader), to.term) != now;
        self.give_up_commands(answers, over);
        self.give_up_reads(answers, over);
    }

    /// Gives up everything of a group, which stops here.
    pub(crate) fn stopped(&mut self, group: GroupId, answers: &mut Vec<Answer>) {
        self.give_up_commands(answers, |to| to.group == group);
        self.give_up_reads(answers, |to| to.group == group);
    }

    fn give_up_commands(&mut self, answers: &mut Vec<Answer>, over: impl Fn(&To) -> bool) {
        let bytes = &mut self.bytes;
        self.commands.retain(|_, Asked { to, what: (id, weight) }| {
            let over = over(to);
            if over {
                *bytes -= *weight;
                answers.push(Answer::ProposalLost { id: *id });
            }
            !over
        });
    }

    fn give_up_reads(&mut self, answers: &mut Vec<Answer>, over: impl Fn(&To) -> bool) {
        self.reads.retain(|_, Asked { to, what }| {
            let over = over(to);
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
                ForwardOutcome::Applied { answer, .. } => answer.len() + REQUEST_BYTES,
                _ => REQUEST_BYTES,
            };
            for outcomes in pieces(outcomes, max_bytes, weight) {
                let reply = ForwardReply { to_boot, outcomes };
                outgoing.push(node, Envelope::ForwardReply(reply));
            }
        }
    }

    /// Takes in what a peer's run passes on; `None` where it was taken before.
    pub(crate) fn take(&mut self, node: NodeId, boot: Boot, forward: &Forward) -> Option<()> {
        let runs = self.taken.entry(node).or_default();
        let next = match runs.iter_mut().find(|(known, _)| *known == boot) {
            Some((_, next)) => next,
            None => {
                if runs.len() == REMEMBERED_RUNS {
                    runs.remove(0);
                }
                runs.push((boot, 0));
                &mut runs.last_mut()?.1
            }
        };
        if forward.number < *next {
            return None;
        }
        *next = forward.number + forward.requests();
        Some(())
    }

    pub(crate) fn name(&mut self, asker: Asker) -> u64 {
        self.last_foreign += 1;
        let name = FOREIGN | self.last_foreign;
        self.foreign.insert(name, asker);
        name
    }
}

/// Splits into runs that weigh at most `limit` each, or hold one thing.
pub(crate) fn pieces<T>(of: Vec<T>, limit: usize, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
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
        | Answer::ProposalLost { id }
        | Answer::Changed { id, .. }
        | Answer::ChangeRefused { id, .. }
        | Answer::TransferEnded { id, .. } => id.0,
        Answer::ReadReady { id, .. } | Answer::ReadRefused { id, .. } => id.0,
    }
}

fn outcome(answer: Answer) -> ForwardOutcome {
    match answer {
        Answer::Applied { index, answer, .. } => ForwardOutcome::Applied { index, answer },
        Answer::ReadReady { index, .. } => ForwardOutcome::Readable { index },
        Answer::ProposalLost { .. } => ForwardOutcome::Lost,
        Answer::Changed { .. } | Answer::ChangeRefused { .. } | Answer::TransferEnded { .. } => {
            unreachable!("{answer:?} goes to another node, which never asks for it")
        }
        Answer::ProposalRefused { why, .. } | Answer::ReadRefused { why, .. } => match why {
            Refusal::Overloaded => ForwardOutcome::Overloaded,
            Refusal::NoRoom => ForwardOutcome::NoRoom,
            Refusal::NotLeader { leader } => ForwardOutcome::NotLeader { leader },
            // Soon another node leads; whoever asked tries again.
            Refusal::Transferring => ForwardOutcome::NotLeader { leader: None },
        },
    }
}
