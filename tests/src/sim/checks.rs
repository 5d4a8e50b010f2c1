//! What must hold in every step, and at the end.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use raft_core::{GroupId, Index, NodeId, Term};
use raft_node::Command;
use raft_node::kv::{KvAnswer, KvCommand};
use raft_node::sessions::{Sequence, SessionId};

use super::asked::Asked;
use super::invariant::Check;

/// Facts about the whole history of a run.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    leaders: BTreeMap<(GroupId, Term), NodeId>,
    applied: BTreeMap<(GroupId, Index), Bytes>,
    /// Up to where anybody has applied everything.
    applied_to: BTreeMap<GroupId, Index>,
    hashes: BTreeMap<(GroupId, Index), u64>,
    /// Where each write of a session was applied.
    once: BTreeMap<(GroupId, SessionId, Sequence), Index>,
    stale: BTreeSet<(GroupId, Index)>,
    pub(crate) asked: Asked,
}

impl Checks {
    /// Election safety: at most one leader in a term, ever (thesis, figure 3.2).
    pub(crate) fn leads(&mut self, group: GroupId, term: Term, node: NodeId) -> Result<(), String> {
        let leader = *self.leaders.entry((group, term)).or_insert(node);
        if leader == node {
            Ok(())
        } else {
            let what = format_args!("group {group}: both {leader} and {node} lead term {term}");
            Err(Check::OneLeader.fails(what))
        }
    }

    /// Who leads a group in a term, or led it.
    pub(crate) fn leader(&self, group: GroupId, term: Term) -> Option<NodeId> {
        self.leaders.get(&(group, term)).copied()
    }

    /// State machine safety: one command per index, in order and without a gap.
    pub(crate) fn applies(
        &mut self,
        group: GroupId,
        node: NodeId,
        applied: Index,
        commands: &[Command],
        up_to: Index,
    ) -> Result<(), String> {
        let mut before = applied;
        let applied_to = self.applied_to.get(&group).copied().unwrap_or_default();
        for Command { index, payload } in commands {
            if *index <= before || *index > up_to {
                let what =
                    format_args!("node {node}, group {group}: {index} applied after {before}");
                return Err(Check::StateMachineSafety.fails(what));
            }
            before = *index;
            let is_new = *index > applied_to;
            let first = self.applied.entry((group, *index));
            if matches!(first, Entry::Vacant(_)) && !is_new {
                let what = format_args!("group {group}: {index} is applied at node {node} only");
                return Err(Check::StateMachineSafety.fails(what));
            }
            if first.or_insert_with(|| payload.clone()) != payload {
                let what = format_args!("node {node}, group {group}: another command at {index}");
                return Err(Check::StateMachineSafety.fails(what));
            }
        }
        let all = self.applied.range((group, applied.next())..=(group, up_to)).count();
        if up_to > applied && all != commands.len() {
            let (applied, given) = (applied.next(), commands.len());
            return Err(Check::StateMachineSafety.fails(format_args!(
                "node {node}, group {group}: {given} commands from {applied} to {up_to}, others \
                 have applied {all}"
            )));
        }
        self.applied_to.insert(group, applied_to.max(up_to));
        Ok(())
    }

    /// At most once: a write of a session is applied at one index only, and answered again
    /// with that one (thesis, section 6.3).
    pub(crate) fn answers(
        &mut self,
        group: GroupId,
        commands: &[Command],
        answers: &[Bytes],
    ) -> Result<(), String> {
        for (Command { index, payload }, answer) in commands.iter().zip(answers) {
            let Ok(KvCommand::InSession { call, .. }) = KvCommand::decode(payload.clone()) else {
                continue;
            };
            let name = (group, call.session, call.sequence);
            let applied = match KvAnswer::decode(answer.clone()) {
                Ok(KvAnswer::Stored | KvAnswer::Deleted { .. } | KvAnswer::Unequal { .. }) => {
                    *self.once.entry(name).or_insert(*index) == *index
                }
                Ok(KvAnswer::Repeated { index, .. }) => self.once.get(&name) == Some(&index),
                Ok(KvAnswer::Stale { .. }) => {
                    self.stale.insert((group, *index));
                    true
                }
                _ => true,
            };
            if !applied {
                let first = self.once.get(&name);
                return Err(Check::AppliedOnce.fails(format_args!(
                    "group {group}: {call:?} was applied at {first:?}, and at {index} {answer:?}"
                )));
            }
        }
        Ok(())
    }

    /// How many writes were not applied since their client had gone on.
    pub(crate) fn stale(&self) -> u64 {
        self.stale.len() as u64
    }

    /// The state at an index, where anybody has had it.
    pub(crate) fn state(&self, group: GroupId, index: Index) -> Option<u64> {
        self.hashes.get(&(group, index)).copied()
    }

    /// Equal state at equal applied index.
    pub(crate) fn holds(
        &mut self,
        group: GroupId,
        node: NodeId,
        applied: Index,
        hash: u64,
    ) -> Result<(), String> {
        let first = *self.hashes.entry((group, applied)).or_insert(hash);
        if first == hash {
            Ok(())
        } else {
            let what = format_args!("node {node}, group {group}: another state at {applied}");
            Err(Check::EqualStates.fails(what))
        }
    }

    /// A store that starts again is where it was durable last; or, where its log begins
    /// above that, at the snapshot that the log begins with.
    pub(crate) fn restarts(
        node: NodeId,
        group: GroupId,
        durable: Index,
        store: Index,
        (floor, applied): (Index, Index),
    ) -> Result<(), String> {
        let right = if durable < floor { store >= floor } else { store == durable };
        if right && applied == store {
            return Ok(());
        }
        Err(Check::RestartsWhereFlushed.fails(format_args!(
            "node {node}, group {group}: durable up to {durable}, the log begins at {floor}, and it \
             starts with the store at {store} and {applied} counted as applied"
        )))
    }

    /// No entry leaves the log that the store could lose; where a snapshot has replaced
    /// the log, the store is about to take it.
    pub(crate) fn lets_go(
        node: NodeId,
        group: GroupId,
        durable: Index,
        (floor, applied): (Index, Index),
    ) -> Result<(), String> {
        if floor <= durable {
            return Ok(());
        }
        Err(Check::BoundsInOrder.fails(format_args!(
            "node {node}, group {group}: the log begins at {floor}, the state is durable up to \
             {durable} and applied up to {applied}"
        )))
    }

    /// How many terms had a leader.
    pub(crate) fn elections(&self) -> u64 {
        self.leaders.len() as u64
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
