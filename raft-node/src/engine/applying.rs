//! Committed entries on their way into the state machine.

use std::io;

use bytes::Bytes;
use raft_core::{Entry, EntryKind, GroupId, GroupTime, Index, Instant, SnapshotMeta};
use raft_log::{LogError, Read};
use raft_state::Input;

use crate::state_machine::{Command, Flush};

use super::effect::Effect;
use super::engine::Engine;
use super::job::{Job, ReadFor};
use super::machine::{MachineDone, MachineTask};

impl Engine {
    /// Lets everything up to `up_to` be applied.
    pub(crate) fn apply_to(&mut self, now: Instant, group: GroupId, up_to: Index) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.applying.target = up_to;
            self.apply_next(now, group);
        }
    }

    /// Hands the next page of entries over, unless one is under way.
    fn apply_next(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let applying = &mut state.applying;
        if applying.busy || applying.handed >= applying.target || state.halted.is_some() {
            return;
        }
        // A store that keeps what it has applied in memory until it is flushed must not
        // be filled without end. The end of the flush goes on here.
        if applying.flushing && applying.bytes_unflushed() > self.config.max_unflushed_bytes {
            return;
        }
        let (from, up_to) = (applying.handed.next(), applying.target);
        if from <= state.replica.log().floor().index {
            // A snapshot has taken the place of these entries in the log; the state
            // machine is filled from it as soon as that is durable.
            return;
        }
        match self.log.read(group, from, up_to, self.config.apply_page_bytes) {
            Read::Entries(entries) => self.hand_over(now, group, entries),
            Read::Later(job) => {
                applying.busy = true;
                let purpose = ReadFor::Applying { from };
                self.effects.push_back(Effect::Run(Box::new(Job::ReadEntries {
                    group,
                    purpose,
                    job,
                })));
            }
            Read::Gone => {
                let why = format!("entry {from} is committed but gone from the log");
                self.halt(now, group, why);
            }
        }
    }

    /// Takes in a page that was read from the disk.
    pub(crate) fn on_page_read(
        &mut self,
        now: Instant,
        group: GroupId,
        from: Index,
        outcome: Result<Vec<Entry>, LogError>,
    ) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        state.applying.busy = false;
        let covered = from <= state.replica.log().floor().index;
        let entries = match outcome {
            Ok(entries) => entries,
            Err(_) if covered => Vec::new(),
            Err(LogError::Damaged(damage)) => {
                let why = format!(
                    "committed entries could not be read: {damage}; start this node again, and it \
                     fetches what is lost from the leader"
                );
                return self.halt(now, group, why);
            }
            Err(why) => {
                let why = format!("committed entries could not be read: {why}");
                return self.halt(now, group, why);
            }
        };
        // A snapshot may have taken the place of what was being read.
        let expected = state.applying.handed.next();
        if entries.first().is_some_and(|entry| entry.index == expected) {
            self.hand_over(now, group, entries);
        } else {
            self.apply_next(now, group);
        }
    }

    fn hand_over(&mut self, now: Instant, group: GroupId, entries: Vec<Entry>) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let Some(up_to) = entries.last().map(|entry| entry.index) else { return };
        let times = match times(&entries) {
            Ok(times) => times,
            Err(why) => return self.halt(now, group, why),
        };
        let applying = &mut state.applying;
        let is_command = |entry: &&Entry| entry.kind == EntryKind::Command;
        applying.page = entries.iter().filter(is_command).map(Entry::position).collect();
        applying.handed = up_to;
        applying.busy = true;
        applying.count(up_to, entries.iter().map(|entry| entry.weight() as u64).sum());
        let commands = entries
            .into_iter()
            .filter(|entry| entry.kind == EntryKind::Command)
            .map(|Entry { index, payload, .. }| Command { index, payload })
            .collect();
        self.effects.push_back(Effect::Machine(MachineTask::Apply {
            group,
            commands,
            times,
            up_to,
        }));
    }

    pub(crate) fn on_machine(&mut self, now: Instant, done: MachineDone) {
        let group = done.group();
        match done {
            MachineDone::Applied { up_to, answers, time, .. } => {
                if let Some(state) = self.groups.get_mut(&group) {
                    state.clock.told(time);
                }
                self.on_applied(now, group, up_to, answers);
            }
            MachineDone::Flushing { flush: Flush::Done(index), .. } => {
                self.on_flushed(now, group, index);
            }
            MachineDone::Flushing { flush: Flush::Job(work), .. } => {
                self.effects.push_back(Effect::Run(Box::new(Job::Flush { group, work })));
            }
            MachineDone::Image { index, image, .. } => self.on_image(now, group, index, image),
            MachineDone::Restored { index, time, .. } => {
                if let Some(state) = self.groups.get_mut(&group) {
                    state.clock.told(time);
                }
                self.on_restored(now, group, index);
            }
            MachineDone::Failed { why, .. } => self.halt(now, group, why),
        }
    }

    /// Notes that everything applied up to `index` is durable.
    pub(crate) fn on_flushed(&mut self, now: Instant, group: GroupId, index: Index) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.applying.end_flush(index);
        }
        self.apply_next(now, group);
        self.keep_house(now, group);
    }

    /// The store can be used no more until it is opened anew.
    pub(crate) fn on_flush_failed(&mut self, now: Instant, group: GroupId, why: &io::Error) {
        let why = format!(
            "what is applied could not be made durable: {why}: see what the system's log says of \
             this disk; when it works, start this node again, and it applies once more from its \
             log what is missing"
        );
        self.halt(now, group, why);
    }

    fn on_applied(&mut self, now: Instant, group: GroupId, up_to: Index, answers: Vec<Bytes>) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let applying = &mut state.applying;
        if answers.len() != applying.page.len() {
            let (given, asked) = (answers.len(), applying.page.len());
            return self.halt(
                now,
                group,
                format!("the state machine gave {given} answers to {asked} commands"),
            );
        }
        applying.busy = false;
        state.figures.applied += up_to.0.saturating_sub(applying.applied.0);
        applying.applied = applying.applied.max(up_to);
        state.under_way.applied_to(now, up_to, &mut self.timings);
        let commands = applying.page.drain(..).zip(answers);
        state.pending.applied(commands, up_to, &mut self.answers);
        self.wind_clock(now, group);
        self.apply_next(now, group);
        self.leave_group(now, group);
        self.keep_house(now, group);
    }

    /// Fills the state machine with a snapshot that is durable in the log.
    pub(crate) fn restore(&mut self, now: Instant, group: GroupId, meta: &SnapshotMeta) {
        let index = meta.position.index;
        // A store may be further than what a damaged log was left with. What is applied is
        // committed, and reads that were confirmed rest on it: nothing of it is taken back.
        if let Some(state) = self.groups.get_mut(&group).filter(|it| it.applying.applied >= index) {
            return state.replica.handle(now, Input::Restored(index));
        }
        match self.snapshots.reader(group, index) {
            Ok(image) => {
                if let Some(state) = self.groups.get_mut(&group) {
                    state.applying.target = index;
                    state.applying.handed = index;
                }
                let task = MachineTask::Restore { group, index, image };
                self.effects.push_back(Effect::Machine(task));
            }
            Err(why) => {
                self.halt(now, group, format!("the snapshot at {index} cannot be read: {why}"));
            }
        }
    }

    fn on_restored(&mut self, now: Instant, group: GroupId, index: Index) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let applying = &mut state.applying;
        state.figures.snapshots_installed += 1;
        applying.applied = index;
        // A flush that is under way still ends by itself.
        applying.flushed = index;
        state.pending.restored(index, &mut self.answers);
        state.has_snapshot(now, index);
        self.step(now, group, Input::Restored(index));
        self.leave_group(now, group);
        self.drop_old_snapshots();
        self.keep_house(now, group);
    }
}

/// The times that stand among `entries`, each with its place.
fn times(entries: &[Entry]) -> Result<Vec<(Index, GroupTime)>, String> {
    let clocks = entries.iter().filter(|entry| entry.kind == EntryKind::Clock);
    let time = |entry: &Entry| match GroupTime::decode(&entry.payload) {
        Ok(time) => Ok((entry.index, time)),
        Err(why) => Err(format!("the committed entry {} holds no time: {why}", entry.index)),
    };
    clocks.map(time).collect()
}
