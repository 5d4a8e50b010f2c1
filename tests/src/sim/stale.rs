//! Reads of a node's own state, as old as it may be, and what snapshots make of states.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use raft_core::{GroupId, Index};
use raft_node::Command;
use raft_node::engine::{MachineDone, MachineTask};
use raft_node::kv::{KvAnswer, KvCommand};

use super::attempt::{KEYS, group_of, key_bytes, value_of};
use super::database::of_refusal;
use super::invariant::Check;
use super::node::GROUPS;
use super::world::World;

/// The value of every key at every index, as it was applied first.
#[derive(Debug, Default)]
pub(crate) struct Versions(BTreeMap<(GroupId, Bytes), BTreeMap<Index, Option<u64>>>);

impl Versions {
    fn applied(&mut self, group: GroupId, commands: &[Command], answers: &[Bytes]) {
        for (Command { index, payload }, answer) in commands.iter().zip(answers) {
            let changed = KvAnswer::decode(answer.clone());
            if !matches!(changed, Ok(KvAnswer::Stored | KvAnswer::Deleted { .. })) {
                continue;
            }
            let change = match KvCommand::decode(payload.clone()) {
                Ok(KvCommand::InSession { change, .. }) => *change,
                Ok(change) => change,
                Err(_) => continue,
            };
            let (key, value) = match change {
                KvCommand::Put { key, value } | KvCommand::CompareAndSwap { key, value, .. } => {
                    (key, Some(value_of(&value)))
                }
                KvCommand::Delete { key } => (key, None),
                _ => continue,
            };
            self.0.entry((group, key)).or_default().entry(*index).or_insert(value);
        }
    }

    fn at(&self, group: GroupId, key: &Bytes, index: Index) -> Option<u64> {
        let versions = self.0.get(&(group, key.clone()))?;
        versions.range(..=index).next_back().and_then(|(_, value)| *value)
    }
}

impl World {
    /// Looks at what a state machine is to do: it applies all that is committed and nothing
    /// else, and no snapshot takes its state back.
    pub(super) fn check_task(&mut self, node: usize, task: &MachineTask) -> Result<(), String> {
        let (id, group) = (self.nodes[node].id, task.group());
        let Some(store) = self.nodes[node].store(group).cloned() else { return Ok(()) };
        let applied = store.applied();
        if let Some(hash) = self.told_by_store(node, store.state_hash())? {
            self.checks.holds(group, id, applied, hash)?;
        }
        match task {
            MachineTask::Apply { commands, up_to, .. } => {
                let committed = self.ledger.committed(group);
                if *up_to > committed {
                    return Err(Check::BoundsInOrder.fails(format_args!(
                        "node {id} applies group {group} up to {up_to}, committed is {committed}"
                    )));
                }
                self.checks.applies(group, id, applied, commands, *up_to)
            }
            MachineTask::Restore { index, .. } if *index < applied => Err(Check::SnapshotIsReplay
                .fails(format_args!(
                    "node {id}, group {group}: {applied} is applied, and the snapshot at {index} \
                     takes it back"
                ))),
            _ => Ok(()),
        }
    }

    /// Looks at what a state machine has done.
    pub(super) fn check_done(
        &mut self,
        node: usize,
        commands: &[Command],
        done: &MachineDone,
    ) -> Result<(), String> {
        match done {
            MachineDone::Applied { group, answers, .. } => {
                self.checks.answers(*group, commands, answers)?;
                self.versions.applied(*group, commands, answers);
            }
            MachineDone::Restored { group, index, .. } => {
                let Some(store) = self.nodes[node].store(*group) else { return Ok(()) };
                let applied = store.applied();
                let Some(hash) = self.told_by_store(node, store.state_hash())? else {
                    return Ok(());
                };
                let as_replayed = self.checks.state(*group, *index);
                if applied != *index || as_replayed.is_some_and(|state| state != hash) {
                    let what = format_args!("group {group}: the one at {index} is another state");
                    return Err(Check::SnapshotIsReplay.fails(what));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What a store says; nothing where it can say nothing before the process starts again,
    /// as the disk has refused its database something.
    pub(super) fn told_by_store<T>(
        &self,
        node: usize,
        said: io::Result<T>,
    ) -> Result<Option<T>, String> {
        match said {
            Ok(said) => Ok(Some(said)),
            Err(why) if of_refusal(&why.to_string()) && self.nodes[node].database_is_refused() => {
                Ok(None)
            }
            Err(why) => {
                let id = self.nodes[node].id;
                Err(Check::Assertion.fails(format_args!("node {id} cannot read its store: {why}")))
            }
        }
    }

    /// Reads a node's own state. It is one that the group has had, and never an older one than
    /// the process has shown before.
    pub(super) fn read_stale(&mut self, node: usize) -> Result<(), String> {
        let key = self.random.below(KEYS);
        let (group, id) = (group_of(key), self.nodes[node].id);
        if self.nodes[node].is_stopped() {
            return Ok(());
        }
        let Some(store) = self.nodes[node].store(group) else { return Ok(()) };
        let (applied, found) = (store.applied(), store.get(&key_bytes(key)));
        let Some(found) = self.told_by_store(node, found)? else { return Ok(()) };
        let found = found.as_ref().map(value_of);
        let expected = self.versions.at(group, &key_bytes(key), applied);
        let place = GROUPS.iter().position(|known| *known == group).unwrap_or_default();
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let before = running.shown[place].max(applied);
        if found != expected || running.shown[place] > applied {
            let what = format_args!(
                "node {id} has {found:?} at key {key} with all applied up to {applied}, after \
                 {before}, where the group had {expected:?}"
            );
            return Err(Check::StaleReads.fails(what));
        }
        running.shown[place] = applied;
        self.stale_reads += 1;
        Ok(())
    }
}
