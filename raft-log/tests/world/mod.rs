//! A log with a random workload on a simulated disk, and a model of what it must hold.

mod model;
mod saved;
pub(crate) mod script;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model::{Group, Groups};
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId,
    Position, Random, RecoveredGroup, Term, Write, WriteNumber,
};
use raft_log::{
    CollectJob, Disk as _, LogError, LogIdentity, LogOptions, PrepareError, PrepareJob, Read,
    RelocateJob, SimDisk, WriteAheadLog,
};
use saved::Saved;

/// The log, and the states that it has gone through.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    random: Random,
    log: WriteAheadLog,
    /// The file of the next segment is being prepared by this; it takes its time.
    preparing: Option<PrepareJob>,
    /// Segments are being collected by this; it takes its time as well.
    collecting: Option<CollectJob>,
    /// Entries of old segments are being read by this, to be written again.
    relocating: Option<RelocateJob>,
    /// Whether the disk has lost anything that it had confirmed.
    damaged: bool,
    /// Segments that were begun in a prepared file.
    pub(crate) prepared: u64,
    /// Segments that were begun in a file that had their name.
    pub(crate) named: u64,
    /// Those of them whose file had been a segment before.
    pub(crate) recycled: u64,
    /// Bytes that were written again so that old segments could go.
    pub(crate) relocated: u64,
    /// The groups after every staged change; a change that is lost takes all later
    /// ones with it, because they share a log.
    versions: Vec<Groups>,
    /// The version that has been acknowledged.
    acknowledged: usize,
    /// Up to here entries are committed: they change no more and may be trimmed.
    committed: BTreeMap<(GroupId, usize), Index>,
    trimmed: BTreeMap<(GroupId, usize), Index>,
    made: u64,
    /// The epoch of the latest opening.
    epoch: u64,
    saved: Saved,
}

/// A log that holds what it must, and what it was found to be.
pub(crate) struct Checked {
    log: WriteAheadLog,
    groups: BTreeMap<GroupId, RecoveredGroup>,
    version: usize,
}

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn open(
    disk: &SimDisk,
) -> Result<(WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>), LogError> {
    let identity = LogIdentity { cluster: ClusterId(7), node: node(1) };
    let options = LogOptions {
        segment_bytes: 24 << 10,
        cache_bytes: 2 << 10,
        relocate_above_segments: 3,
        compress_above_bytes: 720,
        ..LogOptions::default()
    };
    WriteAheadLog::open(Arc::new(disk.clone()), Path::new("log"), identity, options)
}

impl World {
    /// A log on a new disk, with nothing in it.
    pub(crate) fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let (log, _) = open(&disk).unwrap();
        let saved = Saved::new(&disk).unwrap();
        Self {
            epoch: log.epoch(),
            saved,
            disk,
            random: Random::new(seed ^ 0xabcd),
            log,
            preparing: None,
            collecting: None,
            relocating: None,
            damaged: false,
            prepared: 0,
            named: 0,
            recycled: 0,
            relocated: 0,
            versions: vec![Groups::new()],
            acknowledged: 0,
            committed: BTreeMap::new(),
            trimmed: BTreeMap::new(),
            made: 0,
        }
    }

    /// What an engine does when little of the log is needed any more: then files are soon
    /// used again.
    pub(crate) fn keep_house(&mut self) -> Result<(), LogError> {
        for group in (1..=4).map(GroupId) {
            if self.now().contains_key(&group) {
                self.trim(group);
            }
        }
        self.relocate()?;
        self.collect()?;
        self.run_job()
    }

    /// One random thing that an engine could do.
    pub(crate) fn step(&mut self) -> Result<(), LogError> {
        // The last one is nearly idle.
        let of = if self.random.chance(50) { 5 } else { 1 + self.random.below(4) };
        let group = GroupId(of);
        let exists = self.now().contains_key(&group);
        match self.random.below(24) {
            _ if !exists => self.create(group),
            0 => self.remove(group),
            1 | 2 => self.reset(group),
            3..=5 => self.trim(group),
            6 => self.collect()?,
            7 => self.log.seal(),
            8..=11 => self.run_job()?,
            12 => self.stage(group, None),
            20 | 21 => self.prepare()?,
            22 | 23 => self.relocate()?,
            13 | 14 => self.overwrite(group),
            _ => self.append(group),
        }
        Ok(())
    }

    /// Makes everything durable and covered, as a clean close does.
    pub(crate) fn close(&mut self) {
        while !self.is_acknowledged() {
            self.run_job().unwrap();
        }
        self.log.seal();
        self.run_job().unwrap();
    }

    fn is_acknowledged(&self) -> bool {
        self.log.stats().staged_bytes == 0
    }

    /// The same, with a disk of its own and a log that is yet to be recovered.
    pub(crate) fn copy(&self) -> Self {
        let empty = SimDisk::new(0);
        let (log, _) = open(&empty).unwrap();
        let versions = vec![self.now().clone()];
        let (committed, trimmed) = (self.committed.clone(), self.trimmed.clone());
        Self {
            epoch: 0,
            saved: Saved::new(&empty).unwrap(),
            disk: self.disk.copy(),
            random: self.random.clone(),
            log,
            preparing: None,
            collecting: None,
            relocating: None,
            damaged: false,
            prepared: 0,
            named: 0,
            recycled: 0,
            relocated: 0,
            versions,
            acknowledged: 0,
            committed,
            trimmed,
            made: self.made,
        }
    }

    /// Flips a bit or zeroes a block in one place that is not zero already.
    pub(crate) fn damage(&mut self, random: &mut Random) -> String {
        self.damaged = true;
        let dir = Path::new("log");
        loop {
            let names = self.disk.list(dir).unwrap();
            let path = dir.join(&names[random.below(names.len() as u64) as usize]);
            let content = self.disk.content(&path);
            let offset = random.below(content.len().max(1) as u64);
            if content.get(offset as usize).is_none_or(|byte| *byte == 0) {
                continue;
            }
            if random.chance(500) {
                self.disk.flip_bit(&path, offset, random.below(8) as u8);
            } else {
                let start = offset - offset % 512;
                self.disk.zero(&path, start, (content.len() as u64 - start).min(512));
            }
            return format!("{} at {offset}", path.display());
        }
    }

    /// True when the log hands out no job, whatever is staged.
    pub(crate) fn refuses(&mut self) -> bool {
        let group = *self.now().keys().next().unwrap();
        let hard_state = HardState::default();
        self.log.stage(group, Write { number: WriteNumber(u64::MAX), hard_state, change: None });
        self.log.create_group(GroupId(99), Membership::empty());
        self.log.remove_group(group);
        self.log.seal();
        self.log.next_job().is_none()
    }

    fn run_job(&mut self) -> Result<(), LogError> {
        // One that had no room is run again.
        self.log.try_again();
        if let Some(job) = self.log.next_job() {
            let before = self.log.stats();
            for (_, number) in self.log.complete(job.run())? {
                self.acknowledged = self.acknowledged.max(number.0 as usize);
            }
            let now = self.log.stats();
            self.prepared += now.prepared_segments - before.prepared_segments;
            self.named += now.named_segments - before.named_segments;
            self.relocated += now.relocated_bytes - before.relocated_bytes;
            self.recycled += now.recycled_segments - before.recycled_segments;
        }
        Ok(())
    }

    /// Begins to prepare the file of the next segment, or ends that: in between, the log
    /// may switch. A failure is none of the log, except where the whole disk has stopped, or
    /// the folder could not be synced.
    fn prepare(&mut self) -> Result<(), LogError> {
        let Some(job) = self.preparing.take() else {
            self.preparing = self.log.prepare();
            return Ok(());
        };
        match self.log.prepared(job.run()) {
            Err(PrepareError::Final(why)) => Err(why),
            Err(why) if self.disk.is_stopped() => Err(why.into()),
            _ => Ok(()),
        }
    }

    /// Begins to collect segments, or ends that: in between, the log may switch.
    fn collect(&mut self) -> Result<(), LogError> {
        match self.collecting.take() {
            Some(job) => self.log.collected(job.run()?),
            None => self.collecting = self.log.collect(),
        }
        Ok(())
    }

    /// Begins to relocate entries, or ends that: in between, they may be cut.
    fn relocate(&mut self) -> Result<(), LogError> {
        match self.relocating.take() {
            Some(job) => self.log.relocated(job.run())?,
            None => self.relocating = self.log.relocate(),
        }
        Ok(())
    }

    fn now(&self) -> &Groups {
        self.versions.last().unwrap()
    }

    fn create(&mut self, group: GroupId) {
        let membership = Membership::of_voters([node(1), node(2)]);
        self.log.create_group(group, membership.clone());
        let made = Group {
            hard_state: HardState::default(),
            born: self.versions.len(),
            floor: Position::ZERO,
            floor_membership: membership,
            entries: Vec::new(),
        };
        self.change(|groups| drop(groups.insert(group, made)));
    }

    fn remove(&mut self, group: GroupId) {
        self.log.remove_group(group);
        self.change(|groups| drop(groups.remove(&group)));
    }

    fn change(&mut self, how: impl FnOnce(&mut Groups)) {
        let mut groups = self.now().clone();
        how(&mut groups);
        self.versions.push(groups);
    }

    /// Stages a write whose number is the version it makes.
    fn stage(&mut self, group: GroupId, change: Option<LogChange>) {
        let number = WriteNumber(self.versions.len() as u64);
        let mut hard_state = self.now()[&group].hard_state;
        let term_of_change = match &change {
            Some(LogChange::Append(entries)) => entries.last().unwrap().term,
            Some(LogChange::Reset { floor, .. }) => floor.term,
            None => hard_state.term.next(),
        };
        if term_of_change > hard_state.term {
            let vote = NodeId::new(self.random.below(4));
            hard_state = HardState { term: term_of_change, vote };
        }
        self.log.stage(group, Write { number, hard_state, change: change.clone() });
        self.change(|groups| {
            let group = groups.get_mut(&group).unwrap();
            group.hard_state = hard_state;
            match change {
                Some(LogChange::Append(entries)) => {
                    let kept = entries[0].index.0 - group.floor.index.0 - 1;
                    group.entries.truncate(kept as usize);
                    group.entries.extend(entries);
                }
                Some(LogChange::Reset { floor, membership }) => {
                    let keeps = group.term_at(floor.index) == Some(floor.term);
                    group.entries.retain(|entry| keeps && entry.index > floor.index);
                    (group.floor, group.floor_membership) = (floor, *membership);
                }
                None => {}
            }
        });
    }

    fn entries(&mut self, from: Index, term: Term) -> Vec<Entry> {
        let count = 1 + self.random.below(4);
        (0..count).map(|place| self.entry(from.plus(place), term)).collect()
    }

    fn entry(&mut self, index: Index, term: Term) -> Entry {
        self.made += 1;
        if self.random.chance(100) {
            let membership = Membership::of_voters([node(1), node(1 + self.made)]);
            let kind = EntryKind::Membership;
            return Entry { term, index, kind, payload: membership.encode() };
        }
        let kind = EntryKind::Command;
        // Now and then one that is larger than a segment, and cannot be compressed.
        if self.random.chance(10) {
            let payload = (0..30_008).map(|_| self.random.below(256) as u8).collect();
            return Entry { term, index, kind, payload };
        }
        let payload = format!("{:0>1$}", self.made, 8 + self.random.below(800) as usize);
        Entry { term, index, kind, payload: Bytes::from(payload) }
    }

    fn append(&mut self, group: GroupId) {
        let now = &self.now()[&group];
        let (last, term) = (now.last(), now.hard_state.term.max(Term(1)));
        let term = Term(term.0 + self.random.below(8) / 7);
        let entries = self.entries(last.index.next(), term);
        self.stage(group, Some(LogChange::Append(entries)));
    }

    /// Entries of a new term in the place of some that are not committed.
    fn overwrite(&mut self, group: GroupId) {
        let now = &self.now()[&group];
        let fixed = self.committed(group).max(now.floor.index);
        let (last, term) = (now.last().index, now.hard_state.term.next());
        let first = fixed.next().plus(self.random.below(last.0.saturating_sub(fixed.0) + 1));
        let entries = self.entries(first, term);
        self.stage(group, Some(LogChange::Append(entries)));
    }

    /// A snapshot from elsewhere: within the log, beyond it, or contradicting it.
    fn reset(&mut self, group: GroupId) {
        let now = &self.now()[&group];
        let (last, term) = (now.last(), now.hard_state.term.next());
        let index = self.committed(group).max(now.floor.index).next();
        let index = index.plus(self.random.below(last.index.0.saturating_sub(index.0) + 6));
        let held = self.now()[&group].term_at(index).filter(|_| self.random.chance(700));
        let floor = Position { term: held.unwrap_or(term), index };
        let membership = Membership::of_voters([node(1), node(2), node(100 + floor.index.0)]);
        self.stage(group, Some(LogChange::Reset { floor, membership: Box::new(membership) }));
        self.committed.insert(self.key(group), index);
    }

    fn key(&self, group: GroupId) -> (GroupId, usize) {
        (group, self.now()[&group].born)
    }

    fn committed(&self, group: GroupId) -> Index {
        self.committed.get(&self.key(group)).copied().unwrap_or(Index::ZERO)
    }

    fn trim(&mut self, group: GroupId) {
        // What is acknowledged and still there could be committed.
        let acknowledged = self.versions[self.acknowledged].get(&group);
        let now = &self.now()[&group];
        let same = |entry: &&Entry| acknowledged.is_some_and(|group| group.entries.contains(entry));
        let Some(could) = now.entries.iter().rev().find(same).map(|entry| entry.index) else {
            return;
        };
        if could <= self.log.shape(group).unwrap().floor().index {
            return;
        }
        self.log.trim(group, could);
        let key = self.key(group);
        self.committed.insert(key, could.max(self.committed(group)));
        self.trimmed.insert(key, could);
    }

    /// Opens the log after a crash, compares it with the model, and goes on with it.
    ///
    /// # Errors
    /// Where the log does not open, or does not hold what it must.
    pub(crate) fn recover(&mut self) -> Result<(), String> {
        let Checked { log, groups, version } = self.check(&self.disk)?;
        (self.epoch, self.log) = (log.epoch(), log);
        (self.preparing, self.collecting, self.relocating) = (None, None, None);
        self.saved = Saved::new(&self.disk).map_err(|why| why.to_string())?;
        self.versions.truncate(version + 1);
        self.acknowledged = version;
        // What was made in a version that is lost never was.
        self.trimmed.retain(|(_, born), _| *born <= version);
        self.committed.retain(|(_, born), _| *born <= version);
        for (group, RecoveredGroup { shape, .. }) in &groups {
            let key = self.key(*group);
            let (floor, committed) = (shape.floor().index, self.committed(*group));
            self.trimmed.insert(key, floor);
            self.committed.insert(key, committed.min(shape.last().index).max(floor));
        }
        Ok(())
    }

    /// Opens the log that a crash has left on `disk` and compares it with the model.
    ///
    /// # Errors
    /// As those of [`World::recover`].
    pub(crate) fn check(&self, disk: &SimDisk) -> Result<Checked, String> {
        let (log, groups) = open(disk).map_err(|error| error.to_string())?;
        if log.epoch() <= self.epoch {
            return Err(format!("epoch {} after {}", log.epoch(), self.epoch));
        }
        if !self.damaged && !log.damage().is_empty() {
            return Err(format!("damage where nothing is: {:?}", log.damage()));
        }
        let agrees = |version: &usize| self.agrees(&self.versions[*version], &log, &groups);
        let version =
            (self.acknowledged..self.versions.len()).rev().find(|version| agrees(version).is_ok());
        let Some(version) = version else {
            let all = self.acknowledged..self.versions.len();
            let why: Vec<_> = all.map(|version| (version, agrees(&version))).collect();
            return Err(format!("of the versions acknowledged or later none is there: {why:#?}"));
        };
        self.saved.check(disk)?;
        Ok(Checked { log, groups, version })
    }

    /// How many groups have lost entries, in how many places.
    pub(crate) fn lost(&self) -> (usize, usize) {
        let damaged = |group: &&GroupId| self.log.damaged_up_to(**group).is_some();
        (self.versions[self.acknowledged].keys().filter(damaged).count(), self.log.damage().len())
    }

    fn agrees(
        &self,
        model: &Groups,
        log: &WriteAheadLog,
        recovered: &BTreeMap<GroupId, RecoveredGroup>,
    ) -> Result<(), String> {
        if !model.keys().eq(recovered.keys()) {
            return Err(format!("groups {:?} recovered", recovered.keys()));
        }
        for (id, model) in model {
            let (hard_state, shape) = (recovered[id].hard_state, &recovered[id].shape);
            if hard_state != model.hard_state {
                return Err(format!("group {id}: {hard_state:?}, not {:?}", model.hard_state));
            }
            if let Some(ended) = recovered[id].damaged_up_to {
                read(log, *id)?;
                if !self.damaged || ended != model.last() || shape.last() >= ended {
                    let left = shape.last();
                    return Err(format!("group {id}: {left} left of {ended}, {}", model.last()));
                }
                continue;
            }
            if shape.last() != model.last() {
                return Err(format!("group {id} ends at {}, not {}", shape.last(), model.last()));
            }
            let floor = shape.floor();
            let trimmed = self.trimmed.get(&(*id, model.born)).copied().unwrap_or(Index::ZERO);
            let highest = trimmed.max(model.floor.index);
            if floor.index < model.floor.index || floor.index > highest {
                return Err(format!("group {id}: floor {floor}, not {} to {highest}", model.floor));
            }
            for index in (floor.index.0..=model.last().index.0).map(Index) {
                if shape.term_at(index) != model.term_at(index) {
                    return Err(format!("group {id}: the term at {index}"));
                }
                if *shape.membership_at(index) != model.membership_at(index) {
                    return Err(format!("group {id}: the membership at {index}"));
                }
            }
            let expected = model.entries.iter().filter(|entry| entry.index > floor.index);
            if !read(log, *id)?.iter().eq(expected) {
                return Err(format!("group {id}: the entries"));
            }
        }
        Ok(())
    }
}

/// Everything that a group's log holds, read in small pieces.
pub(crate) fn read(log: &WriteAheadLog, group: GroupId) -> Result<Vec<Entry>, String> {
    let shape = log.shape(group).ok_or("no such group")?;
    let (mut from, last) = (shape.floor().index.next(), shape.last().index);
    let mut all = Vec::new();
    while from <= last {
        let some = match log.read(group, from, last, 1500) {
            Read::Entries(entries) => entries,
            Read::Later(job) => job.run().map_err(|error| error.to_string())?,
            Read::Gone => return Err(format!("{from} is gone")),
        };
        from = some.last().ok_or("a read without an entry")?.index.next();
        all.extend(some);
    }
    Ok(all)
}
