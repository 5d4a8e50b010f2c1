//! A small log that says everything format 1 can say, and what it must hold afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, LogShape, Membership,
    NodeId, Position, RecoveredGroup, Term, Write, WriteNumber,
};
use raft_log::{Damage, Disk, LogError, LogIdentity, LogOptions, Read, SyncMethod, WriteAheadLog};

/// Heads, and what a job writes, take whole blocks of this size.
pub(crate) const BLOCK: u64 = 4096;

/// Entries of every kind, and a tail that is written anew in a later term.
const MIXED: GroupId = GroupId(1);
/// A snapshot takes the place of all it held, and it goes on behind that.
const REPLACED: GroupId = GroupId(2);
/// Votes, and holds no entry.
const VOTING: GroupId = GroupId(3);
/// Is removed in the end.
const REMOVED: GroupId = GroupId(4);
/// A snapshot takes the place of its beginning only.
const SHORTENED: GroupId = GroupId(5);

/// What a log holds: what opening answers, and every entry.
pub(crate) type Contents = BTreeMap<GroupId, (RecoveredGroup, Vec<Entry>)>;

/// Writes the log into `dir` of an empty disk and closes it with a seal. It has two
/// segments of three blocks: the first holds its head and two jobs, the second its head,
/// a job and the seal.
pub(crate) fn write(disk: Arc<dyn Disk>, dir: &Path) -> Result<(), LogError> {
    let (mut log, _) = open(disk, dir, 3 * BLOCK)?;
    for group in [MIXED, REPLACED, VOTING, REMOVED, SHORTENED] {
        log.create_group(group, voters(3));
    }
    let old_tail = [command(1, 3, b"never committed"), command(1, 4, b"nor this")];
    log.stage(MIXED, append(1, 1, [&mixed()[..2], &old_tail[..]].concat()));
    log.stage(REPLACED, append(1, 2, vec![command(1, 1, b"gone"), command(2, 2, b"gone too")]));
    log.stage(REMOVED, append(1, 2, vec![command(2, 1, b"of a group that goes")]));
    log.stage(SHORTENED, append(1, 4, [vec![command(3, 1, b"covered")], shortened()].concat()));
    run(&mut log)?;

    log.stage(MIXED, append(2, 2, mixed()[2..5].to_vec()));
    log.stage(REPLACED, reset(2, 3, Position::new(3, 10), voters(2)));
    log.stage(SHORTENED, reset(2, 4, Position::new(3, 1), voters(3)));
    log.stage(VOTING, Write { number: WriteNumber(1), hard_state: vote(6, 1), change: None });
    log.remove_group(REMOVED);
    run(&mut log)?;

    log.stage(MIXED, append(3, 2, mixed()[5..].to_vec()));
    log.stage(REPLACED, append(3, 3, replaced()));
    log.stage(VOTING, Write { number: WriteNumber(2), hard_state: vote(7, 2), change: None });
    run(&mut log)?;
    log.seal();
    run(&mut log)
}

/// What [`write()`] leaves behind.
pub(crate) fn written() -> Contents {
    let group = |hard_state, floor, membership, entries: Vec<Entry>| {
        let mut shape = LogShape::new(floor, membership);
        entries.iter().for_each(|entry| shape.append(entry));
        (RecoveredGroup { hard_state, shape, damaged_up_to: None }, entries)
    };
    BTreeMap::from([
        (MIXED, group(vote(2, 1), Position::ZERO, voters(3), mixed())),
        (REPLACED, group(vote(3, 1), Position::new(3, 10), voters(2), replaced())),
        (VOTING, group(vote(7, 2), Position::ZERO, voters(3), Vec::new())),
        (SHORTENED, group(vote(4, 1), Position::new(3, 1), voters(3), shortened())),
    ])
}

/// Opens the log and reads all of it. The segment that opening adds is as small as can be.
pub(crate) fn read(disk: Arc<dyn Disk>, dir: &Path) -> Result<Contents, LogError> {
    let (contents, damage) = read_damaged(disk, dir)?;
    assert_eq!(damage, [], "a log that is whole");
    Ok(contents)
}

/// As [`read`], of a log that may be damaged, and where it is.
pub(crate) fn read_damaged(
    disk: Arc<dyn Disk>,
    dir: &Path,
) -> Result<(Contents, Vec<Damage>), LogError> {
    let (log, groups) = open(disk, dir, BLOCK)?;
    let mut contents = Contents::new();
    for (group, recovered) in groups {
        let first = recovered.shape.floor().index.next();
        let entries = match log.read(group, first, recovered.shape.last().index, usize::MAX) {
            Read::Entries(entries) => entries,
            Read::Later(job) => job.run()?,
            Read::Gone => panic!("group {group} is gone right after it was recovered"),
        };
        contents.insert(group, (recovered, entries));
    }
    Ok((contents, log.damage().to_vec()))
}

fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    segment_bytes: u64,
) -> Result<(WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>), LogError> {
    let identity = LogIdentity { cluster: ClusterId(7), node: node(1) };
    let sync_method = SyncMethod::Fdatasync;
    let options =
        LogOptions { segment_bytes, cache_bytes: 0, sync_method, ..LogOptions::default() };
    WriteAheadLog::open(disk, dir, identity, options)
}

fn run(log: &mut WriteAheadLog) -> Result<(), LogError> {
    let job = log.next_job().expect("something is staged");
    log.complete(job.run())?;
    assert!(log.next_job().is_none(), "one job takes all");
    Ok(())
}

fn mixed() -> Vec<Entry> {
    let clock = Bytes::copy_from_slice(&1_700_000_000_000_u64.to_le_bytes());
    vec![
        entry(1, 1, EntryKind::Blank, Bytes::new()),
        command(1, 2, b"first"),
        entry(2, 3, EntryKind::Blank, Bytes::new()),
        entry(2, 4, EntryKind::Membership, voters(4).encode()),
        command(2, 5, &[0xa5; 203]),
        entry(2, 6, EntryKind::Clock, clock),
        command(2, 7, b""),
        command(2, 8, b"last"),
    ]
}

fn replaced() -> Vec<Entry> {
    vec![command(3, 11, b"behind the snapshot"), command(3, 12, &[0; 40])]
}

fn shortened() -> Vec<Entry> {
    vec![command(3, 2, b"kept"), command(4, 3, b"kept as well")]
}

fn append(number: u64, term: u64, entries: Vec<Entry>) -> Write {
    let last = entries.last().map_or(term, |entry| entry.term.0.max(term));
    let change = Some(LogChange::Append(entries));
    Write { number: WriteNumber(number), hard_state: vote(last, 1), change }
}

fn reset(number: u64, term: u64, floor: Position, membership: Membership) -> Write {
    let change = Some(LogChange::Reset { floor, membership: Box::new(membership) });
    Write { number: WriteNumber(number), hard_state: vote(term, 1), change }
}

fn vote(term: u64, id: u64) -> HardState {
    HardState { term: Term(term), vote: Some(node(id)) }
}

fn entry(term: u64, index: u64, kind: EntryKind, payload: Bytes) -> Entry {
    Entry { term: Term(term), index: Index(index), kind, payload }
}

fn command(term: u64, index: u64, payload: &[u8]) -> Entry {
    entry(term, index, EntryKind::Command, Bytes::copy_from_slice(payload))
}

fn voters(count: u64) -> Membership {
    Membership::of_voters((1..=count).map(node))
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).expect("not zero")
}
