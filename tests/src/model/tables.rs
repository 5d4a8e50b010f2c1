//! Numbers for nodes, messages and ledgers, and what each step makes of them.
//!
//! What a node does depends on the node alone. So each state of one node is kept once, and
//! each step from it is made once, by the real replica; the states of the world are a few
//! numbers each, and most of their steps are looked up.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use raft_core::{Body, Message};
use raft_state::RoleName;

use super::facts::{Entries, Facts};
use super::ledger::Ledger;
use super::node::Timed;
use super::rules::Rules;
use super::spread::BuildSpread;
use super::stimulus::Stimulus;

/// A state of a node, with what the checks look at.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) timed: Timed,
    pub(crate) facts: Facts,
}

/// What a step leads to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The node afterwards.
    pub(crate) node: u32,
    /// The messages that leave.
    pub(crate) sent: Vec<u32>,
    /// Votes that are given by them: the term, who votes, for whom.
    pub(crate) votes: Vec<(u64, u8, u8)>,
    /// Reads that are answered, and at which index.
    pub(crate) reads: Vec<(u64, u64)>,
    pub(crate) refused: Vec<u64>,
    /// What should never be.
    pub(crate) broken: Option<String>,
    /// Whether there is anything to check.
    pub(crate) is_news: bool,
}

/// Everything that is kept once.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) rules: Rules,
    pub(crate) entries: Entries,
    nodes: Vec<Known>,
    node_ids: HashMap<u128, u32>,
    messages: Vec<Message>,
    message_ids: HashMap<u128, u32>,
    ledgers: Vec<Ledger>,
    ledger_ids: HashMap<Ledger, u32>,
    outcomes: Vec<Outcome>,
    /// By node, what happens, and whether the disk is late.
    steps: HashMap<u128, u32, BuildSpread>,
    /// By message and node.
    spent: HashMap<u128, bool, BuildSpread>,
}

impl Tables {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            entries: Entries::default(),
            nodes: Vec::new(),
            node_ids: HashMap::new(),
            messages: Vec::new(),
            message_ids: HashMap::new(),
            ledgers: Vec::new(),
            ledger_ids: HashMap::new(),
            outcomes: Vec::new(),
            steps: HashMap::default(),
            spent: HashMap::default(),
        }
    }

    pub(crate) fn node(&self, id: u32) -> &Known {
        &self.nodes[id as usize]
    }

    pub(crate) fn facts(&self, id: u32) -> &Facts {
        &self.nodes[id as usize].facts
    }

    pub(crate) fn message(&self, id: u32) -> &Message {
        &self.messages[id as usize]
    }

    pub(crate) fn ledger(&self, id: u32) -> &Ledger {
        &self.ledgers[id as usize]
    }

    pub(crate) fn outcome(&self, id: u32) -> &Outcome {
        &self.outcomes[id as usize]
    }

    /// How many states of single nodes, messages, and steps of single nodes there are.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.nodes.len(), self.messages.len(), self.outcomes.len())
    }

    pub(crate) fn name_node(&mut self, timed: Timed) -> u32 {
        let key = fingerprint(&timed.text());
        if let Some(id) = self.node_ids.get(&key) {
            return *id;
        }
        let id = self.nodes.len() as u32;
        let facts = Facts::of(&timed, &mut self.entries);
        self.nodes.push(Known { timed, facts });
        self.node_ids.insert(key, id);
        id
    }

    pub(crate) fn name_message(&mut self, message: &Message) -> u32 {
        let next = self.messages.len() as u32;
        let id = *self.message_ids.entry(fingerprint(&shown(message))).or_insert(next);
        if id == next {
            self.messages.push(message.clone());
        }
        id
    }

    pub(crate) fn name_ledger(&mut self, ledger: Ledger) -> u32 {
        if let Some(id) = self.ledger_ids.get(&ledger) {
            return *id;
        }
        let id = self.ledgers.len() as u32;
        self.ledgers.push(ledger.clone());
        self.ledger_ids.insert(ledger, id);
        id
    }

    /// What comes of a step of this node; `key` names it among the steps of all nodes.
    pub(crate) fn step(
        &mut self,
        node: u32,
        key: u64,
        late: bool,
        what: impl Fn(&Self) -> Stimulus,
    ) -> u32 {
        let place = u128::from(node) << 64 | u128::from(key << 1 | u64::from(late));
        if let Some(outcome) = self.steps.get(&place) {
            return *outcome;
        }
        let outcome = self.make(node, &what(self), late);
        let id = self.outcomes.len() as u32;
        self.outcomes.push(outcome);
        self.steps.insert(place, id);
        id
    }

    fn make(&mut self, node: u32, what: &Stimulus, late: bool) -> Outcome {
        let mut timed = self.node(node).timed.clone();
        let made = catch_unwind(AssertUnwindSafe(|| timed.step(what, late, &self.rules)));
        let sent = match made {
            Ok(sent) => sent,
            Err(panic) => {
                let n = self.facts(node).n;
                let broken = Some(format!("node {n} panics: {}", said(&*panic)));
                return Outcome { node, broken, is_news: true, ..Outcome::default() };
            }
        };
        let to = self.name_node(timed);
        let votes: Vec<_> = sent.messages.iter().filter_map(vote).collect();
        let answers = sent.reads.len() + sent.refused.len();
        let is_news = !self.facts(node).is_like(self.facts(to))
            || votes.len() + answers > 0
            || sent.broken.is_some()
            || matches!(what, Stimulus::Read(_));
        Outcome {
            node: to,
            sent: sent.messages.iter().map(|message| self.name_message(message)).collect(),
            votes,
            reads: sent.reads.iter().map(|(read, index)| (*read, index.0)).collect(),
            refused: sent.refused,
            broken: sent.broken,
            is_news,
        }
    }

    /// Whether an answer can never change anything again at the node it is for: it changes
    /// nothing now, is of no term that a crash could bring back, and is no ballot of a round
    /// that is still open. With a disk that may lose what it acknowledged, acknowledgements
    /// count again.
    pub(crate) fn is_spent(&mut self, message: u32, node: u32, damages: bool) -> bool {
        let place = u128::from(message) << 64 | u128::from(node);
        if let Some(spent) = self.spent.get(&place) {
            return *spent;
        }
        let spent = self.changes_nothing(message, node, damages);
        self.spent.insert(place, spent);
        spent
    }

    fn changes_nothing(&mut self, message: u32, node: u32, damages: bool) -> bool {
        let facts = self.facts(node);
        let Message { term, body, .. } = self.message(message);
        let settled = match body {
            Body::PreVoteReply { .. } | Body::VoteReply { .. } => {
                matches!(facts.role, RoleName::Follower | RoleName::Leader)
            }
            Body::AppendReply { .. } => term.0 < facts.disk_term || !damages,
            Body::HeartbeatReply { .. } | Body::SnapshotInstalled { .. } => true,
            _ => false,
        };
        if !settled || term.0 > facts.disk_term {
            return false;
        }
        let outcome = self.receive(node, message, false);
        let outcome = self.outcome(outcome);
        outcome.node == node && outcome.sent.is_empty() && outcome.broken.is_none()
    }

    pub(crate) fn receive(&mut self, node: u32, message: u32, late: bool) -> u32 {
        let key = u64::from(message) << 8;
        self.step(node, key, late, |tables| Stimulus::Receive(tables.message(message).clone()))
    }
}

/// A vote that a message gives, or tells that its sender gave itself.
fn vote(message: &Message) -> Option<(u64, u8, u8)> {
    let Message { from, to, term, body, .. } = message;
    let (from, to) = (from.get() as u8, to.get() as u8);
    match body {
        Body::Vote { .. } => Some((term.0, from, from)),
        Body::VoteReply { granted: true, .. } => Some((term.0, from, to)),
        _ => None,
    }
}

fn shown(what: &impl Debug) -> String {
    format!("{what:?}")
}

/// 128 bits of a text. Two texts that have the same would be taken for one; with a million of
/// them the odds are one in 10^26.
fn fingerprint(text: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(text.as_bytes());
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}
