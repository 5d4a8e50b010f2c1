//! Flushes, snapshots, and letting go of what they make superfluous.

use std::time::Duration;

use raft_core::{GroupId, Index, Instant};
use raft_log::gc::{self, GroupFacts};
use raft_log::{CollectDone, LogError, PrepareDone, PrepareError, RelocateDone};
use raft_state::Input;

use super::config::EngineConfig;
use super::effect::Effect;
use super::engine::Engine;
use super::group::Collection;
use super::job::Job;
use super::machine::MachineTask;

/// After this long without a write the log is sealed: what was written last is then
/// vouched for as well, and damage to it is told from a torn tail.
pub(crate) const SEAL_AFTER: Duration = Duration::from_secs(1);

impl Engine {
    /// Does for a group what has become due.
    pub(crate) fn keep_house(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get(&group).filter(|state| state.halted.is_none()) else {
            return;
        };
        let applying = &state.applying;
        let EngineConfig { flush_every_entries, flush_every_bytes, .. } = *self.config;
        let flush_due = applying.flush_is_due(flush_every_entries, flush_every_bytes);
        // One that was received and never installed covers nothing of this state.
        let newest = self.snapshots.newest_up_to(group, applying.applied);
        // Who is being sent a snapshot will want what follows it.
        let members = state.replica.log().membership().members();
        let on_its_way = state.sent.iter().filter(|(to, _)| members.contains_key(to));
        let on_its_way = on_its_way.map(|(_, at)| at.index);
        let facts = GroupFacts {
            floor: state.replica.log().floor().index,
            last: state.replica.log().last().index,
            applied_flushed: applying.flushed,
            newest_snapshot: newest.map(|meta| meta.position.index),
            slowest_follower: state.replica.slowest_match().into_iter().chain(on_its_way).min(),
            applied: applying.applied,
            bytes_since_snapshot: applying.bytes_since_snapshot,
            bytes_above_floor: applying.bytes_above_floor,
            since_snapshot: now.since(state.snapshot_at),
        };
        // Until the log is again what is applied, what is left of it may be the truth of
        // nobody, and nothing in it is certain enough to be a floor.
        let certain = state.replica.applied() >= applying.applied;
        let plan = gc::plan(facts, &self.config.gc);
        if let Some(state) = self.groups.get_mut(&group) {
            // One may have come from a leader, or the log begins behind one that is gone.
            let covered = facts.newest_snapshot.unwrap_or(Index::ZERO).max(facts.floor);
            state.snapshotted = state.snapshotted.max(covered);
        }
        if flush_due {
            self.flush_machine(group);
        }
        self.drop_overtaken(group);
        if self.collection == Collection::Paused || !certain {
            return;
        }
        if plan.take_snapshot {
            self.take_snapshot(now, group);
        }
        if let Some(to) = plan.trim_to {
            if let Some(state) = self.groups.get_mut(&group) {
                state.applying.trimmed(to);
            }
            self.log.trim(group, to);
            self.step(now, group, Input::Trimmed(to));
            self.collect();
        }
    }

    /// Takes a snapshot where it is time for one, though nothing happens in the group.
    pub(crate) fn take_snapshot_in_time(&mut self, now: Instant, group: GroupId) {
        let due = self.groups.get(&group).and_then(|state| self.snapshot_due(state));
        if due.is_some_and(|due| due <= now) {
            self.keep_house(now, group);
            self.set_timer(group);
        }
    }

    /// Keeps everything from now on, or lets go of what is not needed, at once.
    pub(crate) fn set_collection(&mut self, now: Instant, collection: Collection) {
        self.collection = collection;
        for group in self.groups().collect::<Vec<_>>() {
            self.keep_house(now, group);
            self.set_timer(group);
        }
        // A pause may have kept some that could have gone.
        self.collected_at = 0;
        self.collect_behind_segment();
        self.drop_old_snapshots();
    }

    /// Has what is applied made durable, unless that is under way.
    pub(crate) fn flush_machine(&mut self, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        if !state.applying.flushing {
            state.applying.begin_flush(60 + self.random.below(41));
            self.effects.push_back(Effect::Machine(MachineTask::Flush { group }));
        }
    }

    /// Looks for segments that can go where a segment was begun: those of what was trimmed, or
    /// relocated, go only when two more are there, and by then perhaps nobody trims any more.
    pub(crate) fn collect_behind_segment(&mut self) {
        let newest = self.log.newest_epoch();
        if self.collection == Collection::Running && newest != self.collected_at {
            self.collected_at = newest;
            self.collect();
        }
    }

    fn collect(&mut self) {
        if !self.collecting
            && let Some(job) = self.log.collect()
        {
            self.collecting = true;
            self.effects.push_back(Effect::Run(Box::new(Job::Collect(job))));
        }
        if let Some(job) = self.log.relocate() {
            self.effects.push_back(Effect::Run(Box::new(Job::Relocate(job))));
        }
    }

    /// What was read is staged, to be written with the next write. Entries that cannot be read
    /// are damaged, and whoever wants them is told so; here they only keep their segments.
    pub(crate) fn on_relocated(&mut self, done: RelocateDone) {
        if let Err(why) = self.log.relocated(done) {
            let why = format!("old segments stay, as what they are needed for was lost: {why}");
            self.effects.push_back(Effect::Trouble { why });
        }
    }

    /// Has the file of the log's next segment made and named, once it is time, so that the
    /// write that begins the segment waits neither for its zeros nor for the folder.
    pub(crate) fn prepare_segment(&mut self) {
        let job = self.log.prepare().map(|job| Effect::Run(Box::new(Job::Prepare(job))));
        self.effects.extend(job);
    }

    /// The log goes on without it, but a disk that is full will soon stop it.
    pub(crate) fn on_prepared(&mut self, done: PrepareDone) -> Result<(), LogError> {
        let why = match self.log.prepared(done) {
            // More than one may be wanted.
            Ok(()) => {
                self.prepare_segment();
                return Ok(());
            }
            Err(PrepareError::Final(why)) => return Err(why),
            Err(PrepareError::NotMade(why)) => format!(
                "the file of the log's next segment could not be made, and it is tried again; no \
                 writes are taken once the current one is full: {why}"
            ),
            Err(PrepareError::NotNamed(why)) => format!(
                "the file of the log's next segment could not be given its name, and it is tried \
                 again; until then the write which begins the segment takes longer: {why}"
            ),
        };
        self.effects.push_back(Effect::Trouble { why });
        Ok(())
    }

    /// A segment that could not be removed costs room and nothing else.
    pub(crate) fn on_collected(&mut self, outcome: Result<CollectDone, LogError>) {
        self.collecting = false;
        match outcome {
            Ok(done) => self.log.collected(done),
            Err(why) => {
                let why = format!("a segment that nobody needs could not be removed: {why}");
                self.effects.push_back(Effect::Trouble { why });
            }
        }
    }
}
