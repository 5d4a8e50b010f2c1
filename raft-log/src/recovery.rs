//! Recovery: which frames of a folder are kept, and what is damage.
//!
//! A frame's sequence says where it belongs in the log, and its `durable_upto` what
//! must be there. So recovery collects every intact frame of every segment, demands
//! all sequences up to the highest `durable_upto`, keeps what follows without a gap,
//! and cuts the rest. It changes nothing on disk; [`crate::WriteAheadLog::open`] does,
//! and only by adding a segment whose head puts an end to what was cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::LogIdentity;
use crate::disk::{Disk, DiskFile, read_exact};
use crate::error::{LogError, io_error};
use crate::frame::{ALIGN, FrameHeader, FrameKind, HEADER, align_up};
use crate::group_log::Place;
use crate::record::{Head, LIMIT};
use crate::replay::{Contradiction, Replay};
use crate::scan::{Bad, Content, Found, Scanned, scan};

/// What recovery found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) replay: Replay,
    /// The segments to go on with, by epoch.
    pub(crate) segments: BTreeMap<u64, Kept>,
    /// Segments of which nothing is or will be needed, except that their epochs were used.
    pub(crate) dead: BTreeSet<u64>,
    /// Files that were prepared for a segment, by the epoch in their name.
    pub(crate) spares: Vec<u64>,
    /// The highest epoch of any segment file.
    pub(crate) highest_epoch: u64,
    /// The sequence of the last kept frame.
    pub(crate) last: u64,
    /// The highest sequence that an intact frame knows to be durable.
    pub(crate) durable_upto: u64,
    /// The kept frames beyond that, to be written again.
    pub(crate) uncovered: Vec<Uncovered>,
}

impl Recovered {
    /// The epoch of the newest segment to go on with; 0 for none.
    pub(crate) fn newest(&self) -> u64 {
        self.segments.keys().next_back().copied().unwrap_or(0)
    }
}

/// A segment that recovery keeps.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    /// Where its last kept frame ends.
    pub(crate) end: u64,
}

/// A frame that may have been in the page cache only.
#[derive(Debug)]
pub(crate) struct Uncovered {
    pub(crate) header: FrameHeader,
    pub(crate) place: Place,
    pub(crate) body: Bytes,
}

/// The file of a segment.
pub(crate) fn segment_path(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("{epoch:016x}.log"))
}

/// The file that is prepared for a segment to come: at the earliest, that of this epoch.
pub(crate) fn spare_path(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("{epoch:016x}.spare"))
}

fn epoch_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix).filter(|digits| digits.len() == 16)?;
    // One that is not below the limit was never given to a file of ours.
    u64::from_str_radix(digits, 16).ok().filter(|epoch| *epoch < LIMIT)
}

/// Reads the folder. Changes nothing.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    identity: LogIdentity,
) -> Result<Recovered, LogError> {
    let names = names(disk, dir)?;
    let mut segments = BTreeMap::new();
    let mut memory = Vec::new();
    for epoch in epochs(&names) {
        segments.insert(epoch, Segment::read(disk, dir, epoch, &mut memory)?);
    }
    drop(memory);
    recover_from(&names, segments, identity)
}

/// The epochs of the segments among these files.
pub(crate) fn epochs(names: &[String]) -> impl Iterator<Item = u64> {
    names.iter().filter_map(|name| epoch_of(name, ".log"))
}

/// What [`recover`] does with the segments once they are read.
pub(crate) fn recover_from(
    names: &[String],
    mut segments: BTreeMap<u64, Segment>,
    identity: LogIdentity,
) -> Result<Recovered, LogError> {
    for segment in segments.values() {
        if let Some(head) = segment.head() {
            check_identity(&segment.path, head, identity)?;
        }
    }
    let mut recovered = Recovered {
        spares: names.iter().filter_map(|name| epoch_of(name, ".spare")).collect(),
        highest_epoch: segments.keys().next_back().copied().unwrap_or(0),
        ..Recovered::default()
    };
    let chain = chain(&segments)?;
    recovered.dead = segments.keys().filter(|epoch| !chain.contains(epoch)).copied().collect();
    segments.retain(|epoch, _| chain.contains(epoch));
    let base = segments.values().next().and_then(|oldest| oldest.head_frame());
    let Some(begin) = base.map(|head| head.header.durable_upto + 1) else { return Ok(recovered) };
    keep(&mut recovered, &segments, begin)?;
    Ok(recovered)
}

fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, LogError> {
    match disk.list(dir) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error("cannot list", dir)(error)),
    }
}

/// A segment as it is read, before anything is known of the others.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    pub(crate) scanned: Scanned,
}

impl Segment {
    /// Reads the segment of `epoch` to its end, see [`scan`].
    pub(crate) fn read(
        disk: &dyn Disk,
        dir: &Path,
        epoch: u64,
        memory: &mut Vec<u8>,
    ) -> Result<Self, LogError> {
        let path = segment_path(dir, epoch);
        let file = disk.open(&path).map_err(io_error("cannot open", &path))?;
        let scanned = scan(&*file, &path, epoch, memory)?;
        Ok(Self { path, file, scanned })
    }

    fn head_frame(&self) -> Option<&Found> {
        self.scanned.frames.first().filter(|found| found.offset == 0)
    }

    pub(crate) fn head(&self) -> Option<&Head> {
        match &self.head_frame()?.content {
            Content::Head(head) => Some(head),
            _ => None,
        }
    }

    fn damaged(&self, offset: u64, claimed: Option<&FrameHeader>, what: String) -> LogError {
        let of_group = claimed.filter(|header| {
            !matches!(header.kind, FrameKind::Seal | FrameKind::Head | FrameKind::Removed)
        });
        LogError::Damaged {
            file: self.path.clone(),
            offset,
            group: of_group.map(|header| header.group),
            index: of_group.map(|header| header.last.index),
            what,
        }
    }
}

fn check_identity(file: &Path, head: &Head, identity: LogIdentity) -> Result<(), LogError> {
    if head.identity == identity {
        return Ok(());
    }
    Err(LogError::OtherOwner {
        file: file.to_owned(),
        found_cluster: head.identity.cluster,
        found_node: head.identity.node,
        cluster: identity.cluster,
        node: identity.node,
    })
}

/// The segments that belong to the log: from the newest that holds more than a head
/// back over the predecessors that heads name, as far as the files reach.
///
/// A head is synced before any other frame of its segment is written. So a head that
/// cannot be read is torn only where no frame of its epoch is intact; and a head alone
/// may have been in the page cache only, where a power failure could still take it away
/// from under a successor. Nothing was promised on it but its epoch, which the name of
/// the file keeps. So it is passed over.
fn chain(segments: &BTreeMap<u64, Segment>) -> Result<BTreeSet<u64>, LogError> {
    for segment in segments.values().filter(|segment| segment.head().is_none()) {
        if !segment.scanned.frames.is_empty() {
            let what = "the head of the segment cannot be read, but later frames can";
            return Err(segment.damaged(0, None, what.to_owned()));
        }
    }
    let mut chain = BTreeSet::new();
    let newest = segments
        .iter()
        .rev()
        .find(|(_, segment)| segment.head().is_some() && segment.scanned.frames.len() > 1);
    let mut next = newest.map(|(epoch, _)| *epoch);
    while let Some(epoch) = next {
        // Where the file is gone, it was collected; that nothing is missing is checked
        // once everything is replayed.
        let Some(segment) = segments.get(&epoch) else { break };
        let Some(head) = segment.head() else {
            let what = "the head of the segment cannot be read, but a later segment follows it";
            return Err(segment.damaged(0, None, what.to_owned()));
        };
        chain.insert(epoch);
        next = Some(head.predecessor).filter(|before| *before < epoch);
    }
    Ok(chain)
}

/// Decides which frames are kept and replays them.
fn keep(
    recovered: &mut Recovered,
    segments: &BTreeMap<u64, Segment>,
    begin: u64,
) -> Result<(), LogError> {
    let (candidates, copies_of_heads) = candidates(segments);
    let durable_upto = candidates.iter().map(|(_, found)| found.header.durable_upto).max();
    recovered.durable_upto = durable_upto.unwrap_or(0);
    recovered.last = begin - 1;
    let mut places: BTreeMap<u64, u64> = BTreeMap::new();
    let from = candidates.partition_point(|(_, found)| found.header.sequence < begin);
    for (sequence, (epoch, found)) in (begin..).zip(&candidates[from..]) {
        if found.header.sequence != sequence {
            break;
        }
        recovered.replay.take(*epoch, found).map_err(|Contradiction(what)| {
            segments[epoch].damaged(found.offset, Some(&found.header), what)
        })?;
        if sequence > recovered.durable_upto {
            recovered.uncovered.push(uncovered(&segments[epoch], *epoch, found)?);
        }
        let furthest = places.entry(*epoch).or_default();
        *furthest = found.end().max(*furthest);
        recovered.last = sequence;
    }
    // They take the place of heads once those are collected.
    for (epoch, copy) in copies_of_heads {
        if copy.header.sequence <= recovered.last {
            let furthest = places.entry(epoch).or_default();
            *furthest = copy.end().max(*furthest);
        }
    }
    if recovered.last < recovered.durable_upto {
        return Err(damage(segments, recovered.last + 1, recovered.durable_upto));
    }
    if let (false, Some(oldest)) = (recovered.replay.has_base(), segments.values().next()) {
        let what = "what follows does not reach up to this head, without which not even the \
                    groups are known: a segment before it is gone";
        return Err(oldest.damaged(0, None, what.to_owned()));
    }
    for (epoch, segment) in segments {
        let end = places.get(epoch).copied().unwrap_or(0);
        // The head stays readable even where nothing else of the segment is kept.
        let head = segment.head_frame().map_or(0, |head| u64::from(head.length));
        let (file, bytes) = (Arc::clone(&segment.file), segment.scanned.bytes);
        let end = end.max(align_up(head, ALIGN));
        recovered.segments.insert(*epoch, Kept { file, bytes, end });
    }
    Ok(())
}

type Candidate<'s> = (u64, &'s Found);

/// The frame to use for every sequence, and its epoch, by sequence; and the copies of heads that are
/// not used because the heads are.
///
/// Nothing beyond what a later head names as its predecessor's last is ever read.
/// Where recovery has copied a frame, the later copy counts, because it is the one
/// that was synced; but a head is never replaced by its copy.
fn candidates(segments: &BTreeMap<u64, Segment>) -> (Vec<Candidate<'_>>, Vec<Candidate<'_>>) {
    let mut all: Vec<Candidate<'_>> = Vec::new();
    let mut limit = u64::MAX;
    for (epoch, segment) in segments.iter().rev() {
        let read = segment.scanned.frames.iter().filter(|found| found.header.sequence <= limit);
        all.extend(read.map(|found| (*epoch, found)));
        limit = limit.min(segment.head().map_or(u64::MAX, |head| head.predecessor_last));
    }
    // Of frames with the same sequence, the one of the latest epoch stays first.
    all.sort_by_key(|(_, found)| found.header.sequence);
    let mut copies_of_heads = Vec::new();
    all.dedup_by(|older, chosen| {
        let same = older.1.header.sequence == chosen.1.header.sequence;
        if same && matches!(older.1.content, Content::Head(_)) {
            copies_of_heads.push(std::mem::replace(chosen, *older));
        }
        same
    });
    (all, copies_of_heads)
}

fn uncovered(segment: &Segment, epoch: u64, found: &Found) -> Result<Uncovered, LogError> {
    let place = Place { epoch, offset: found.offset, length: found.length };
    let mut header = found.header;
    if header.kind == FrameKind::Head {
        // Its place in the order is kept, its content is restated by the next head.
        header.kind = FrameKind::Seal;
        return Ok(Uncovered { header, place, body: Bytes::new() });
    }
    let mut body = BytesMut::zeroed(found.length as usize - HEADER);
    read_exact(&*segment.file, found.offset + HEADER as u64, &mut body)
        .map_err(io_error("cannot read", &segment.path))?;
    Ok(Uncovered { header, place, body: body.freeze() })
}

/// Names the place where the frame of `missing` should stand.
fn damage(segments: &BTreeMap<u64, Segment>, missing: u64, durable_upto: u64) -> LogError {
    let what = format!(
        "the frame with sequence {missing} is not intact, though it was durable: \
         a later frame covers everything up to {durable_upto}"
    );
    let begins_before = |segment: &&Segment| {
        segment.head_frame().is_some_and(|head| head.header.sequence <= missing)
    };
    let segment = segments
        .values()
        .rev()
        .find(begins_before)
        .or_else(|| segments.values().next())
        .expect("there is a head where something is covered");
    let frames = &segment.scanned.frames;
    let before =
        frames.iter().filter(|found| found.header.sequence < missing).max_by_key(|f| f.offset);
    let from = before.map_or(0, Found::end);
    let claims_it =
        |bad: &&Bad| bad.claimed.as_ref().is_some_and(|header| header.sequence == missing);
    let bad = segment.scanned.bad.iter();
    let bad = bad.clone().find(claims_it).or_else(|| bad.clone().find(|bad| bad.offset >= from));
    let claimed = bad.and_then(|bad| bad.claimed.as_ref());
    segment.damaged(bad.map_or(from, |bad| bad.offset), claimed, what)
}
