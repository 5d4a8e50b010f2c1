//! Installing a snapshot and letting go of what it covers, with a crash at every change of the
//! disk in between: the log begins at a snapshot that is there as a whole, always.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId,
    Position, Random, SnapshotMeta, Term, Write, WriteNumber,
};
use raft_log::{
    Disk, LogIdentity, LogOptions, Read, SimDisk, SnapshotError, SnapshotStore, WriteAheadLog,
};

const G: GroupId = GroupId(1);
/// What the node takes itself.
const TAKEN: Position = Position::new(1, 20);
/// What its leader sends it.
const SENT: Position = Position::new(2, 50);
/// The last entry it has before it takes its snapshot, and before it is sent one.
const EARLY: u64 = 30;
const LATE: u64 = 45;

/// A node's log and snapshots.
struct Node {
    log: WriteAheadLog,
    snapshots: SnapshotStore,
    number: u64,
    /// The last entry that is durable.
    acknowledged: u64,
    /// How much of the leader's snapshot was there when receiving it began.
    found: u64,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn node() -> NodeId {
    NodeId::new(1).unwrap()
}

fn voters() -> Membership {
    Membership::of_voters([node()])
}

fn content(at: Position) -> Vec<u8> {
    let mut random = Random::new(at.index.0);
    (0..200_000).map(|_| random.next_u64() as u8).collect()
}

fn entry(index: u64) -> Entry {
    let payload = Bytes::from(vec![index as u8; 700]);
    Entry { term: Term(1), index: Index(index), kind: EntryKind::Command, payload }
}

impl Node {
    fn open(disk: &SimDisk) -> Outcome<Self> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let identity = LogIdentity { cluster: ClusterId(7), node: node() };
        // Segments so small that many are collected.
        let options =
            LogOptions { segment_bytes: 16 << 10, cache_bytes: 0, ..LogOptions::default() };
        let snapshots = SnapshotStore::open(Arc::clone(&shared), Path::new("snapshots"), 1)?;
        let (log, _) = WriteAheadLog::open(shared, Path::new("log"), identity, options)?;
        Ok(Self { log, snapshots, number: 1_000_000, acknowledged: EARLY, found: 0 })
    }

    fn write(&mut self, change: LogChange, term: u64) -> Outcome<()> {
        self.number += 1;
        let hard_state = HardState { term: Term(term), vote: None };
        let number = WriteNumber(self.number);
        self.log.stage(G, Write { number, hard_state, change: Some(change) });
        self.run()
    }

    fn run(&mut self) -> Outcome<()> {
        while let Some(job) = self.log.next_job() {
            self.log.complete(job.run())?;
        }
        Ok(())
    }

    fn let_go(&mut self, to: Index) -> Outcome<()> {
        self.log.trim(G, to);
        if let Some(job) = self.log.collect() {
            self.log.collected(job.run()?);
        }
        if let Some(excess) = self.snapshots.excess() {
            excess.run()?;
        }
        Ok(())
    }

    /// A group with entries.
    fn prepare(&mut self) -> Outcome<()> {
        self.log.create_group(G, voters());
        for index in 1..=EARLY {
            self.write(LogChange::Append(vec![entry(index)]), 1)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Outcome<()> {
        let mut writer = self.snapshots.writer(G, TAKEN, voters())?;
        writer.write_all(&content(TAKEN))?;
        let meta = writer.finish()?;
        self.snapshots.add(G, meta);
        // Where the log begins is durable with the head of a later segment.
        for index in EARLY + 1..=LATE {
            self.let_go(TAKEN.index)?;
            self.write(LogChange::Append(vec![entry(index)]), 1)?;
            self.acknowledged = index;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<SnapshotMeta, SnapshotError> {
        let content = content(SENT);
        let (bytes, checksum) = (content.len() as u64, crc32c::crc32c(&content));
        let meta = SnapshotMeta { position: SENT, membership: voters(), bytes, checksum };
        let mut receiver = self.snapshots.receiver(G, meta)?;
        let mut next = receiver.chunk(0, &content[..1], crc32c::crc32c(&content[..1]))?;
        self.found = next;
        while next < bytes {
            let piece = &content[next as usize..bytes.min(next + 30_000) as usize];
            next = receiver.chunk(next, piece, crc32c::crc32c(piece))?;
        }
        receiver.finish()
    }

    /// The file, durable; the reset in the log, which is where it counts; then what is
    /// covered goes.
    fn install(&mut self) -> Outcome<()> {
        let meta = self.receive()?;
        self.snapshots.add(G, meta);
        let membership = Box::new(voters());
        self.write(LogChange::Reset { floor: SENT, membership }, 2)?;
        self.let_go(SENT.index)
    }

    /// Where the log begins. What it begins at is there, and so is all that follows.
    fn check(&self, disk: &SimDisk, acknowledged: u64) -> Position {
        let identity = LogIdentity { cluster: ClusterId(7), node: node() };
        let options = LogOptions { segment_bytes: 16 << 10, ..LogOptions::default() };
        let shared: Arc<dyn Disk> = Arc::new(disk.copy());
        let (log, groups) =
            WriteAheadLog::open(shared, Path::new("log"), identity, options).unwrap();
        let shape = &groups[&G].shape;
        let floor = shape.floor();
        assert!(self.snapshots.damaged().is_empty());
        if floor != Position::ZERO {
            let newest = self.snapshots.newest_up_to(G, shape.last().index);
            let newest = newest.expect("the log begins at a snapshot").position;
            assert!(newest >= floor, "the log begins at {floor}, the snapshot is at {newest}");
            let mut found = Vec::new();
            self.snapshots.reader(G, newest.index).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == content(newest), "the snapshot at {newest}");
        }
        if floor != SENT {
            let last = shape.last().index;
            assert!((acknowledged..=LATE).contains(&last.0), "{last}, not {acknowledged}");
            let from = floor.index.next();
            let entries = match log.read(G, from, last, usize::MAX) {
                Read::Entries(entries) => entries,
                Read::Later(job) => job.run().unwrap(),
                Read::Gone => panic!("entries from {from} on are gone"),
            };
            let expected: Vec<Entry> = (from.0..=last.0).map(entry).collect();
            assert_eq!(entries, expected);
        }
        floor
    }
}

#[test]
fn a_crash_at_any_change_of_the_disk_leaves_the_old_state_or_the_new_one() {
    let (mut points, mut gone_on) = (0, 0);
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..4 {
        let before = SimDisk::new(seed);
        Node::open(&before).unwrap().prepare().unwrap();
        for change in 1.. {
            let disk = before.copy();
            disk.stop_at(change);
            let (mut done, mut acknowledged) = (false, EARLY);
            if let Ok(mut node) = Node::open(&disk) {
                done = node.take().and_then(|()| node.install()).is_ok();
                acknowledged = node.acknowledged;
            }
            if (seed + change) % 3 == 0 {
                disk.crash_process();
            } else {
                disk.crash_power();
            };
            points += 1;

            let context = || format!("seed {seed}, change {change}");
            let mut node = Node::open(&disk).unwrap_or_else(|why| panic!("{}: {why}", context()));
            let floor = node.check(&disk, acknowledged);
            assert!(!done || floor == SENT, "{}: what was installed is gone", context());
            *seen.entry(floor).or_insert(0) += 1;
            // Whatever was left: the snapshot can be installed, or is.
            if floor != SENT {
                node.install().unwrap_or_else(|why| panic!("{}: {why}", context()));
                gone_on += u32::from(node.found > 1);
                assert_eq!(Node::open(&disk).unwrap().check(&disk, LATE), SENT, "{}", context());
            }
            node.let_go(SENT.index).unwrap_or_else(|why| panic!("{}: {why}", context()));
            let left = disk.list(Path::new("snapshots")).unwrap();
            assert_eq!(left.len(), 1, "{}: {left:?}", context());
            if done {
                break;
            }
        }
    }
    assert!(points > 300 && gone_on > 5, "{points} points, {gone_on} gone on with");
    assert_eq!(seen.len(), 3, "the log began at {seen:?}");
    println!("{points} points, {gone_on} gone on with; the log began at {seen:?}");
}
