//! What a disk can lose, and where.
//!
//! Of the log only what is covered: frames that something durable after them vouches for.
//! Nothing vouches for the last write, so that its loss passes for one that was torn; and for
//! a whole folder that was set back nothing does. Against these no log protects a node: they come
//! last in a run (`forgetting`).

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use raft_core::Random;
use raft_log::inspect::{FrameKind, for_each_frame};
use raft_log::{Disk as _, LogError, SimDisk};

use super::fault_counts::FaultKind;

const SECTOR: u64 = 512;
const LOG: &str = "data/log";

/// A way to lose something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    BitFlip,
    Zeros,
    Sector,
    /// A sector that cannot be read any more.
    Unreadable,
    /// A frame stands where another one was.
    Misplaced,
    /// The end of a file is as it was before it was written: where it was another segment
    /// once, with frames of that.
    StaleFile,
    /// All stores of a node are as they were some flushes ago.
    StaleStore,
    Snapshot,
}

/// A frame that something later vouches for.
#[derive(Clone, Debug)]
struct Covered {
    file: PathBuf,
    bytes: Range<u64>,
}

impl Damage {
    pub(crate) const ALL: [Self; 8] = [
        Self::BitFlip,
        Self::Zeros,
        Self::Sector,
        Self::Unreadable,
        Self::Misplaced,
        Self::StaleFile,
        Self::StaleStore,
        Self::Snapshot,
    ];

    pub(crate) const fn kind(self) -> FaultKind {
        match self {
            Self::BitFlip => FaultKind::BitFlip,
            Self::Zeros => FaultKind::Zeros,
            Self::Sector => FaultKind::LostSector,
            Self::Unreadable => FaultKind::UnreadableSector,
            Self::Misplaced => FaultKind::MisplacedWrite,
            Self::StaleFile => FaultKind::StaleFile,
            Self::StaleStore => FaultKind::StaleStore,
            Self::Snapshot => FaultKind::RottenSnapshot,
        }
    }

    /// Does this to a disk, and says where; `None` where there is nothing to lose. Stores are
    /// not on this disk.
    pub(crate) fn strike(
        self,
        disk: &SimDisk,
        random: &mut Random,
    ) -> Result<Option<String>, LogError> {
        if !disk.names_are_durable() {
            return Ok(None);
        }
        // What is not durable yet may be lost, and then vouches for nothing.
        let durable = disk.durable_copy();
        if self == Self::Snapshot {
            return Ok(spoil_snapshot(disk, &durable, random));
        }
        if durable.list(Path::new(LOG)).is_err() {
            // The node has only begun.
            return Ok(None);
        }
        let (mut frames, others) = frames(&durable)?;
        // A disk that cannot read something says so, which no torn write does.
        if self == Self::Unreadable {
            frames.extend(others);
        }
        // A file may be about to become another one.
        frames.retain(|frame| {
            let place = frame.bytes.start as usize..frame.bytes.end as usize;
            disk.reads(&frame.file, place.clone()) == durable.reads(&frame.file, place)
        });
        if frames.is_empty() {
            return Ok(None);
        }
        let place = random.below(frames.len() as u64) as usize;
        let Covered { file, bytes } = &frames[place];
        let length = bytes.end - bytes.start;
        let from = bytes.start + random.below(length);
        match self {
            Self::BitFlip => disk.flip_bit(file, from, random.below(8) as u8),
            Self::Zeros => disk.zero(file, from, 1 + random.below(bytes.end - from)),
            Self::Sector => {
                let sector = from / SECTOR * SECTOR..(from / SECTOR + 1) * SECTOR;
                for frame in frames.iter().filter(|frame| frame.file == *file) {
                    let (start, end) =
                        (frame.bytes.start.max(sector.start), frame.bytes.end.min(sector.end));
                    disk.zero(file, start, end.saturating_sub(start));
                }
            }
            Self::Unreadable => disk.lose_sector(file, from),
            Self::Misplaced => {
                let source = &frames[random.below(frames.len() as u64) as usize];
                misplace(disk, &durable, source, &frames[place], random);
            }
            Self::StaleFile => {
                // The end of the last file may be lost without a trace.
                if frames.last().is_none_or(|last| last.file == *file) {
                    return Ok(None);
                }
                for frame in frames[place..].iter().filter(|frame| frame.file == *file) {
                    disk.set_back(file, frame.bytes.clone());
                }
            }
            Self::StaleStore | Self::Snapshot => return Ok(None),
        }
        // What was there before may be the same.
        let struck = self == Self::Unreadable || disk.is_damaged();
        Ok(struck.then(|| format!("{} at {}", file.display(), bytes.start)))
    }
}

/// Takes away what nothing vouches for, the last write, and says how many frames that were.
pub(crate) fn lose_tail(disk: &SimDisk) -> Result<usize, LogError> {
    let (_, others) = frames(disk)?;
    for Covered { file, bytes } in &others {
        disk.zero(file, bytes.start, bytes.end - bytes.start);
    }
    disk.accept_damage();
    Ok(others.len())
}

/// Puts one frame in the place of another; where it should be nothing is, or it too.
fn misplace(
    disk: &SimDisk,
    durable: &SimDisk,
    source: &Covered,
    target: &Covered,
    random: &mut Random,
) {
    let length = target.bytes.end - target.bytes.start;
    let end = source.bytes.end.min(source.bytes.start + length);
    let content = durable.content(&source.file);
    let data = &content[source.bytes.start as usize..end as usize];
    if random.chance(500) {
        disk.zero(&source.file, source.bytes.start, end - source.bytes.start);
    }
    disk.misplace(&target.file, target.bytes.start, data);
}

fn spoil_snapshot(disk: &SimDisk, durable: &SimDisk, random: &mut Random) -> Option<String> {
    let folder = Path::new("data/snapshots");
    let mut names = durable.list(folder).ok()?;
    names.retain(|name| name.ends_with(".snap"));
    if names.is_empty() {
        return None;
    }
    let path = folder.join(&names[random.below(names.len() as u64) as usize]);
    let length = durable.content(&path).len() as u64;
    let from = random.below(length.max(1));
    if length == 0 || disk.content(&path).len() as u64 != length {
        return None;
    }
    if random.chance(500) {
        disk.flip_bit(&path, from, random.below(8) as u8);
    } else {
        disk.zero(&path, from, 1 + random.below(length - from));
    }
    Some(format!("{} at {from}", path.display()))
}

/// Those that are covered, in the order in which they were written, and the others. A head
/// that stands alone in its file vouches for nothing: it may be of a switch that never was
/// (rule 2 of reading, `raft-log/FORMAT.md`).
fn frames(disk: &SimDisk) -> Result<(Vec<Covered>, Vec<Covered>), LogError> {
    let mut frames = Vec::new();
    let (mut durable_upto, mut head_says) = (0, 0);
    for_each_frame(disk, Path::new(LOG), |frame| {
        if frame.kind == FrameKind::Head {
            head_says = frame.durable_upto;
        } else {
            durable_upto = durable_upto.max(head_says).max(frame.durable_upto);
        }
        let bytes = frame.offset..frame.offset + u64::from(frame.bytes);
        frames.push((frame.sequence, Covered { file: frame.file, bytes }));
        ControlFlow::Continue(())
    })?;
    let (covered, others): (Vec<_>, Vec<_>) =
        frames.into_iter().partition(|(sequence, _)| *sequence <= durable_upto);
    let places = |of: Vec<(u64, Covered)>| of.into_iter().map(|(_, frame)| frame).collect();
    Ok((places(covered), places(others)))
}
