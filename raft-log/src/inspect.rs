//! What a folder holds, for people: read, and never changed.
//!
//! [`inspect`] judges a folder by the rules by which [`crate::WriteAheadLog::open`] would
//! (`FORMAT.md`, "Rules of reading"), and [`for_each_frame`] shows every intact frame as it
//! stands in the files, those included that count no more. Neither writes. A folder may be
//! in use meanwhile; what is found is then a moment, or several, of a log that goes on.
//!
//! ```no_run
//! use raft_log::{ReadOnlyDisk, inspect::inspect};
//!
//! let report = inspect(&ReadOnlyDisk, std::path::Path::new("raft-data/log"))?;
//! match &report.fault {
//!     Some(why) => println!("cannot be opened: {why}"),
//!     None => println!("{} groups are intact", report.groups.len()),
//! }
//! # Ok::<(), raft_log::LogError>(())
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use raft_core::{Entry, GroupId, HardState, Index, LogShape, Membership, Position, RecoveredGroup};

use crate::disk::Disk;
use crate::error::{Damage, LogError, io_error};
pub use crate::frame::FrameKind;
use crate::frame::{FrameHeader, HEADER};
use crate::options::LogIdentity;
use crate::record::{Malformed, decode_entries};
use crate::recovery::{Recovered, Segment, epochs, recover_from, segment_path};
use crate::scan::Found;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Report {
    /// Whose log it is, by the newest head that can be read; nothing where there is none.
    pub identity: Option<LogIdentity>,
    /// Every segment that can be read, by epoch.
    pub segments: BTreeMap<u64, SegmentReport>,
    /// Every group; none where there is a [`Report::fault`], because nothing is certain then.
    pub groups: BTreeMap<GroupId, GroupReport>,
    /// The highest sequence that counts; 0 where none does.
    pub last_sequence: u64,
    /// The highest sequence that an intact frame knows to be durable.
    pub durable_upto: u64,
    /// Where something durable can no longer be read, and the log can be opened all the same.
    pub damage: Vec<Damage>,
    /// Why the log cannot be opened as it is, and what to do; nothing where it can.
    pub fault: Option<LogError>,
}

/// What a segment holds.
#[derive(Debug)]
pub struct SegmentReport {
    /// Its file.
    pub file: PathBuf,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// How many intact frames it has.
    pub frames: usize,
    /// The lowest and the highest sequence of those; nothing where there is none.
    pub sequences: Option<(u64, u64)>,
    /// The highest sequence that its frames know to be durable; 0 without frames.
    pub durable_upto: u64,
    /// Where something stands that is no frame.
    pub unreadable: Vec<Unreadable>,
    /// Whether the log needs it.
    pub standing: Standing,
}

/// Whether a log needs a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is part of the log.
    Live,
    /// The next opening removes or empties it: nothing in it counts.
    Dead,
    /// It lies before a place where the log is damaged. It is left as it is, and not read.
    Unreachable,
    /// The log has a [`Report::fault`], so that nothing is certain.
    Unknown,
}

/// A place where something stands that is no intact frame of its segment.
///
/// That alone is no fault: a write that a crash has torn leaves such places, and so does
/// what the file held when it was another segment. It is one where something durable is
/// missing, and [`Report::fault`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The first byte of it in the file.
    pub offset: u64,
    /// What it says of itself, unverified; nothing where it does not look like a frame.
    pub claims: Option<Claims>,
}

/// What an unreadable frame says of itself. None of it is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Its sequence.
    pub sequence: u64,
    /// Its group; meaningless for seals and heads.
    pub group: GroupId,
    /// The last index of the group with it; meaningless for seals and heads.
    pub index: Index,
}

/// What a group is.
#[derive(Debug)]
pub struct GroupReport {
    /// Its term and vote.
    pub hard_state: HardState,
    /// See [`RecoveredGroup::damaged_up_to`]: the rest is what is left.
    pub damaged_up_to: Option<Position>,
    /// The last position that is trimmed away.
    pub floor: Position,
    /// The last position.
    pub last: Position,
    /// How many entries the log holds above the floor.
    pub entries: u64,
    /// The latest membership in the log, committed or not (thesis, section 4.1).
    pub membership: Membership,
    /// The terms and memberships of its entries, by position.
    pub shape: LogShape,
}

/// Reads the log in the folder `dir` and judges it. Changes nothing. Reads every segment
/// as a whole, one after the other.
///
/// # Errors
/// [`LogError::Io`] where the folder cannot be listed. Whatever is wrong with what it holds
/// is part of the report.
pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<Report, LogError> {
    let names = disk.list(dir).map_err(io_error("cannot list", dir))?;
    let mut report = Report::default();
    let (mut segments, mut memory) = (BTreeMap::new(), Vec::new());
    for epoch in epochs(&names) {
        match Segment::read(disk, dir, epoch, &mut memory) {
            Ok(segment) => {
                report.identity = segment.head().map(|head| head.identity).or(report.identity);
                report.segments.insert(epoch, segment_report(dir, epoch, &segment));
                segments.insert(epoch, segment);
            }
            Err(why) => report.fault = report.fault.or(Some(why)),
        }
    }
    drop(memory);
    // Without a head there is nothing to recover, but something can still be damaged; then
    // the identity is compared with nothing.
    let node = raft_core::NodeId::new(1).expect("one is not zero");
    let nobody = LogIdentity { cluster: raft_core::ClusterId(0), node };
    if report.fault.is_none() {
        let recovered = recover_from(&names, segments, report.identity.unwrap_or(nobody));
        match recovered {
            Ok(recovered) => take_in(&mut report, recovered),
            Err(why) => report.fault = Some(why),
        }
    }
    Ok(report)
}

fn segment_report(dir: &Path, epoch: u64, segment: &Segment) -> SegmentReport {
    let frames = &segment.scanned.frames;
    let sequences = || frames.iter().map(|found| found.header.sequence);
    let claims = |header: FrameHeader| Claims {
        sequence: header.sequence,
        group: header.group,
        index: header.last.index,
    };
    let bad = segment.scanned.bad.iter();
    SegmentReport {
        file: segment_path(dir, epoch),
        bytes: segment.scanned.bytes,
        frames: frames.len(),
        sequences: sequences().min().zip(sequences().max()),
        durable_upto: frames.iter().map(|found| found.header.durable_upto).max().unwrap_or(0),
        unreadable: bad
            .map(|bad| Unreadable { offset: bad.offset, claims: bad.claimed.map(claims) })
            .collect(),
        standing: Standing::Unknown,
    }
}

fn take_in(report: &mut Report, recovered: Recovered) {
    (report.last_sequence, report.durable_upto) = (recovered.last, recovered.durable_upto);
    report.damage = recovered.damage;
    for (group, replayed) in recovered.groups {
        let RecoveredGroup { hard_state, shape, damaged_up_to } = replayed.recovered();
        let told = GroupReport {
            hard_state,
            damaged_up_to,
            floor: shape.floor(),
            last: shape.last(),
            entries: shape.last().index.0 - shape.floor().index.0,
            membership: shape.membership().clone(),
            shape: shape.clone(),
        };
        report.groups.insert(group, told);
    }
    for (epoch, segment) in &mut report.segments {
        let is_live = recovered.segments.contains_key(epoch);
        let is_dead = recovered.dead.contains(epoch);
        segment.standing = match (is_live, is_dead) {
            (true, _) => Standing::Live,
            (false, true) => Standing::Dead,
            (false, false) => Standing::Unreachable,
        };
    }
}

/// An intact frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The file it stands in.
    pub file: PathBuf,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes, without padding.
    pub bytes: u32,
    /// What it does.
    pub kind: FrameKind,
    /// Its place in the order of the log.
    pub sequence: u64,
    /// The last sequence known to be durable when it was written.
    pub durable_upto: u64,
    /// Whose it is; nothing for seals and heads, which are of no group.
    pub group: Option<GroupId>,
    /// The group's term and vote from here on; meaningless for seals and heads.
    pub hard_state: HardState,
    /// The group's last position from here on; meaningless for seals and heads.
    pub last: Position,
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// Shows `each` every intact frame of the folder `dir`, by epoch and offset, until it
/// breaks off. Also those that count no more: entries that were cut or trimmed, copies, and
/// dead segments. Changes nothing, and passes over what cannot be read; [`inspect`] names it.
///
/// # Errors
/// [`LogError`] where the folder or a file cannot be read, is of an unknown format, or has
/// an intact frame that makes no sense.
pub fn for_each_frame(
    disk: &dyn Disk,
    dir: &Path,
    mut each: impl FnMut(Frame) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let names = disk.list(dir).map_err(io_error("cannot list", dir))?;
    let mut memory = Vec::new();
    for epoch in epochs(&names) {
        let segment = Segment::read(disk, dir, epoch, &mut memory)?;
        for found in &segment.scanned.frames {
            let begin = usize::try_from(found.offset).expect("a segment fits into memory");
            let body = &memory[begin + HEADER..begin + found.length as usize];
            if each(frame(segment_path(dir, epoch), found, body)?).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn frame(file: PathBuf, found: &Found, body: &[u8]) -> Result<Frame, LogError> {
    let header = &found.header;
    let group = (!matches!(header.kind, FrameKind::Seal | FrameKind::Head)).then_some(header.group);
    let entries = match header.kind {
        FrameKind::Append | FrameKind::Relocate => decode_entries(Bytes::copy_from_slice(body)),
        FrameKind::Reset | FrameKind::Removed | FrameKind::Seal | FrameKind::Head => Ok(Vec::new()),
    };
    let entries = entries.map_err(|Malformed(what)| {
        LogError::Damaged(Damage {
            file: file.clone(),
            offset: found.offset,
            group,
            index: group.map(|_| header.last.index),
            what: format!("an intact frame holds {what}"),
        })
    })?;
    Ok(Frame {
        file,
        offset: found.offset,
        bytes: found.length,
        kind: header.kind,
        sequence: header.sequence,
        durable_upto: header.durable_upto,
        group,
        hard_state: header.hard_state,
        last: header.last,
        entries,
    })
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
