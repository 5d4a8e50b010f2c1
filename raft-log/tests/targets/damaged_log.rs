//! A log that was written as it should be, and a disk that has lost or changed some of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use raft_core::{
    Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId, Position, Random,
    Term, Write, WriteNumber,
};
use raft_log::{Disk as _, SimDisk, WriteAheadLog};

use super::input::Input;
use super::recovery::{self, Contents};
use super::segments::DIR;

const SECTOR: usize = 512;

/// A log that was closed with a seal.
struct Written {
    files: BTreeMap<PathBuf, Vec<u8>>,
    contents: Contents,
    /// Everything that ever stood in it.
    entries: BTreeMap<(GroupId, Index), Vec<Entry>>,
}

/// Damages one of some logs. A single damaged place is reported or harmless; whatever is
/// done to the disk, no entry is there that was never written, and what opens once opens
/// again.
pub(crate) fn run(data: &[u8]) {
    let mut program = Input::new(data);
    let written = &logs()[program.below(LOGS)];
    let mut files = written.files.clone();
    let mut places = 0;
    let mut is_small = true;
    while !program.is_empty() && places < 8 {
        is_small &= damage(&mut files, &mut program);
        places += 1;
    }
    let Some(found) = recovery::open_and_go_on(&disk_of(&files)) else { return };
    if places <= 1 && is_small {
        assert!(found.keys().eq(written.contents.keys()), "{:?}", found.keys());
        for (group, (expected, entries)) in &written.contents {
            let (recovered, found) = &found[group];
            assert_eq!(recovered.hard_state, expected.hard_state, "group {group}");
            if let Some(ended) = recovered.damaged_up_to {
                // An earlier state of the group, and where it had ended.
                assert_eq!(ended, expected.shape.last(), "group {group}");
                assert!(recovered.shape.last() < ended, "group {group}: {recovered:?}");
                continue;
            }
            assert_eq!(recovered.shape.last(), expected.shape.last(), "group {group}");
            // With the seal of a segment that has nothing else, its head is passed over: then
            // entries are back that it has let go of.
            assert!(recovered.shape.floor() <= expected.shape.floor(), "group {group}");
            assert!(found.ends_with(entries), "damage to group {group} that nobody has noticed");
        }
    }
    for (group, (_, entries)) in &found {
        for entry in entries {
            let known = written.entries.get(&(*group, entry.index));
            assert!(known.is_some_and(|known| known.contains(entry)), "{group}: {entry:?}");
        }
    }
}

/// Damages one place; whether that is a bit or a sector.
fn damage(files: &mut BTreeMap<PathBuf, Vec<u8>>, program: &mut Input<'_>) -> bool {
    let how = program.byte() % 6;
    let nth = program.below(files.len().max(1));
    let Some(path) = files.keys().nth(nth).cloned() else { return false };
    let content = files.get_mut(&path).expect("it was just listed");
    let at = program.below(content.len().max(1));
    let sector = |at: usize, length: usize| {
        let begin = at - at % SECTOR;
        begin.min(length)..(begin + SECTOR).min(length)
    };
    match how {
        0 => {
            let bit = program.byte() % 8;
            content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
        }
        1 => {
            let range = sector(at, content.len());
            content[range].fill(0);
        }
        // A sector that was written to the wrong place.
        2 => {
            let from = sector(program.below(content.len().max(1)), content.len());
            let to = sector(at, content.len());
            let bytes = content[from].to_vec();
            content[to].iter_mut().zip(bytes).for_each(|(byte, other)| *byte = other);
        }
        3 => content.truncate(at),
        4 => drop(files.remove(&path)),
        // A file that has the content of another one.
        _ => {
            let other = files.keys().nth(program.below(files.len())).cloned();
            let other = other.and_then(|other| files.get(&other).cloned()).unwrap_or_default();
            files.insert(path, other);
        }
    }
    how <= 1
}

fn disk_of(files: &BTreeMap<PathBuf, Vec<u8>>) -> SimDisk {
    let disk = SimDisk::new(0);
    disk.create_dir_all(Path::new(DIR)).expect("a simulated folder");
    for (path, content) in files {
        let file = disk.create(path).expect("a simulated file");
        file.write_at(0, content).and_then(|()| file.sync()).expect("a simulated disk");
    }
    disk.sync_dir(Path::new(DIR)).expect("a simulated disk");
    disk
}

const LOGS: usize = MIXED_LOGS + RELOCATED_LOGS;
const MIXED_LOGS: usize = 6;
/// In which a group is idle, while old segments go.
const RELOCATED_LOGS: usize = 4;

fn logs() -> &'static [Written] {
    static WRITTEN: OnceLock<Vec<Written>> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let mixed = (0..MIXED_LOGS as u64).map(|seed| Story::new(seed).run());
        mixed.chain((0..RELOCATED_LOGS as u64).map(|seed| Story::new(seed).relocate())).collect()
    })
}

/// Writes a log of a few segments; some were opened in between.
struct Story {
    random: Random,
    disk: SimDisk,
    log: WriteAheadLog,
    entries: BTreeMap<(GroupId, Index), Vec<Entry>>,
    number: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let (mut log, _) = recovery::open(&disk).expect("an empty disk");
        for group in [1, 2] {
            log.create_group(GroupId(group), Membership::of_voters(NodeId::new(1)));
        }
        Self { random: Random::new(seed), disk, log, entries: BTreeMap::new(), number: 0 }
    }

    fn run(mut self) -> Written {
        for step in 0..14 {
            let group = GroupId(1 + self.random.below(2));
            match self.random.below(8) {
                0 => self.reset(group),
                1 => {
                    let last = self.log.shape(group).expect("made above").last().index;
                    let floor = self.log.shape(group).expect("made above").floor().index;
                    self.flush();
                    self.log.trim(group, Index(floor.0.midpoint(last.0)));
                }
                _ => self.append(group),
            }
            if step % 5 == 4 {
                self.flush();
            }
            if step == 9 {
                self.disk.crash_process();
                self.log = recovery::open(&self.disk).expect("a log of our own").0;
            }
        }
        self.end()
    }

    /// One group has little and keeps it, the other one goes on and on.
    fn relocate(mut self) -> Written {
        self.append(GroupId(1));
        self.flush();
        // In some logs the old segments are still there, and then new ones are as well.
        let mut more = self.random.below(24);
        while self.log.stats().relocated_bytes == 0 || more > 0 {
            more = more.saturating_sub(1);
            self.append(GroupId(2));
            self.flush();
            let last = self.log.shape(GroupId(2)).expect("made above").last().index;
            self.log.trim(GroupId(2), Index(last.0.saturating_sub(3)));
            if let Some(job) = self.log.relocate() {
                self.log.relocated(job.run()).expect("a simulated disk");
            }
            if self.random.chance(500)
                && let Some(job) = self.log.collect()
            {
                self.log.collected(job.run().expect("a simulated disk"));
            }
        }
        // In some of them the idle group has done something since.
        if self.random.chance(500) {
            self.append(GroupId(1));
        }
        self.end()
    }

    /// Closes the log with a seal.
    fn end(mut self) -> Written {
        self.flush();
        self.log.seal();
        self.flush();
        let names = self.disk.list(Path::new(DIR)).expect("a simulated folder");
        let paths = names.iter().map(|name| Path::new(DIR).join(name));
        let files = paths.map(|path| (path.clone(), self.disk.content(&path))).collect();
        let (log, groups) = recovery::open(&disk_of(&files)).expect("a log of our own");
        let contents = recovery::contents(&log, &groups).expect("a log of our own");
        Written { files, contents, entries: self.entries }
    }

    fn flush(&mut self) {
        while let Some(job) = self.log.next_job() {
            self.log.complete(job.run()).expect("a simulated disk");
        }
    }

    fn stage(&mut self, group: GroupId, term: Term, change: LogChange) {
        self.number += 1;
        let hard_state = HardState { term, vote: NodeId::new(self.random.below(3)) };
        let write = Write { number: WriteNumber(self.number), hard_state, change: Some(change) };
        self.log.stage(group, write);
    }

    fn append(&mut self, group: GroupId) {
        let shape = self.log.shape(group).expect("made above");
        let (floor, last) = (shape.floor().index, shape.last());
        let term = self.log.hard_state(group).expect("made above").term.max(Term(1));
        // Now and then entries take the place of others.
        let overwrites = self.random.chance(250) && last.index > floor;
        let (first, term) =
            if overwrites { (last.index, term.next()) } else { (last.index.next(), term) };
        let entries: Vec<Entry> = (0..1 + self.random.below(3))
            .map(|place| Entry {
                term,
                index: first.plus(place),
                kind: EntryKind::Command,
                payload: Bytes::from(format!("{:0>1$}", self.number, self.payload_bytes())),
            })
            .collect();
        for entry in &entries {
            self.entries.entry((group, entry.index)).or_default().push(entry.clone());
        }
        self.stage(group, term, LogChange::Append(entries));
    }

    fn payload_bytes(&self) -> usize {
        8 + (self.number as usize * 131) % 500
    }

    fn reset(&mut self, group: GroupId) {
        let last = self.log.shape(group).expect("made above").last();
        let term = self.log.hard_state(group).expect("made above").term.next();
        let floor = Position { term, index: last.index.plus(3) };
        let membership = Box::new(Membership::of_voters(NodeId::new(2)));
        self.stage(group, term, LogChange::Reset { floor, membership });
    }
}

/// The disks with these logs.
pub(crate) fn disks() -> impl Iterator<Item = SimDisk> {
    logs().iter().map(|written| disk_of(&written.files))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..LOGS as u8).map(|log| vec![log]).collect();
    for how in 0..6 {
        seeds.push(vec![how, how, 1, 0x10, 0x10, 0, 0, 3, 0, 0, 0]);
        seeds.push(vec![how, 0, 0, 0x20, 0, 0, 0, 1, how, 1, 8, 0, 0, 0, 2]);
        let relocated = (MIXED_LOGS + usize::from(how) % RELOCATED_LOGS) as u8;
        seeds.push(vec![relocated, how, how, 0x30, 0x10, 0, 0, 3, 0, 0, 0]);
    }
    seeds
}
