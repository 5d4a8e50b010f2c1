//! Recovery: which segments of a folder are the log, and what they hold.
//!
//! A frame's sequence says where it belongs in the log, and its `durable_upto` what
//! must be there. So recovery collects every intact frame of every segment, looks for
//! all sequences up to the highest `durable_upto`, keeps what follows without a gap,
//! and cuts the rest. What is missing is damage, see [`crate::keeping`]. It changes nothing
//! on disk; [`crate::WriteAheadLog::open`] does, and only by adding a segment whose head puts
//! an end to what was cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use raft_core::GroupId;

use crate::LogIdentity;
use crate::checkpoint::Head;
use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, LogError, io_error};
use crate::frame::{BLOCK, FrameHeader, FrameKind, align_up};
use crate::frames::Place;
use crate::keeping::keep;
use crate::record::LIMIT;
use crate::replayed::Replayed;
use crate::scan::{Bad, Content, Found, Scanned, scan};

/// What recovery found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Every group, as it is or as far as it is left.
    pub(crate) groups: BTreeMap<GroupId, Replayed>,
    /// Whether there may have been groups of which nothing is known.
    pub(crate) may_lack_groups: bool,
    /// Where something durable can no longer be read.
    pub(crate) damage: Vec<Damage>,
    /// The segments to go on with, by epoch.
    pub(crate) segments: BTreeMap<u64, Kept>,
    /// Segments of which nothing is or will be needed, except that their epochs were used.
    pub(crate) dead: BTreeSet<u64>,
    /// Files that were prepared for a segment, by the epoch in their name.
    pub(crate) spares: Vec<u64>,
    /// Epoch and length of the file that had the name of the next segment, and was none yet.
    /// That is a dead segment.
    pub(crate) next: Option<(u64, u64)>,
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
    /// Whether only the segment before it says to which log it belongs.
    pub(crate) lacks_head: bool,
    /// Whether the disk cannot read some of it.
    pub(crate) is_unreadable: bool,
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

/// A log that has come so far is not opened: each later segment needs an epoch below [`LIMIT`],
/// and one that had none would not be found again.
const LAST_EPOCH: u64 = LIMIT - (1 << 32);

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
    if let Some(newest) = segments.get(&recovered.highest_epoch).filter(|it| it.epoch >= LAST_EPOCH)
    {
        let what = "no log has so many segments, and no name is left for those behind it";
        return Err(LogError::Damaged(newest.damage(0, None, what.to_owned())));
    }
    let Chain { epochs: chain, broken } = chain(&mut segments)?;
    let oldest = chain.first().copied().unwrap_or(0);
    recovered.dead = segments.keys().copied().filter(|epoch| !chain.contains(epoch)).collect();
    let behind = segments.range(chain.last().map_or(0, |newest| newest + 1)..);
    let mut waiting = behind.filter(|(_, segment)| segment.waits_for_head());
    recovered.next = waiting.next().map(|(epoch, segment)| (*epoch, segment.scanned.bytes));
    segments.retain(|epoch, _| chain.contains(epoch));
    let is_broken = broken.is_some();
    recovered.damage.extend(broken);
    let base = segments.values().next().and_then(|oldest| oldest.head_frame());
    let Some(begin) = base.map(|head| head.header.durable_upto + 1) else { return Ok(recovered) };
    keep(&mut recovered, &segments, begin)?;
    if is_broken || recovered.groups.values().any(|group| group.damaged_up_to.is_some()) {
        // What lies before the log may be what it misses: people may need it.
        recovered.dead.retain(|epoch| *epoch > oldest);
    }
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
    epoch: u64,
    path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) scanned: Scanned,
    /// Whether its head cannot be read, and it is known to which log its frames belong.
    goes_on_without_head: bool,
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
        Ok(Self { epoch, path, file, scanned, goes_on_without_head: false })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the head cannot be read: keeps the frames that are of the run with this salt,
    /// that of the segment before.
    fn go_on_without_head(&mut self, salt: Option<u32>) {
        let frames = &mut self.scanned.frames;
        let of_run = |found: &Found| Some(found.header.salt) == salt;
        let headless = frames.first().is_some_and(|first| first.offset > 0);
        if headless && frames.iter().any(of_run) {
            frames.retain(of_run);
            self.goes_on_without_head = true;
        }
    }

    /// Whether the frame with this sequence is its first one because the head cannot be read.
    pub(crate) fn lacks_head_before(&self, sequence: u64) -> bool {
        let first = self.scanned.frames.first();
        self.goes_on_without_head && first.is_some_and(|first| first.header.sequence == sequence)
    }

    /// What the disk cannot read may be anything, but not where there was never a head, nor
    /// where it is the first block only: what was written first behind the head would be there.
    fn holds_more_than_a_head(&self) -> bool {
        let Scanned { frames, unreadable, placeholder, .. } = &self.scanned;
        let may_be_frames = || unreadable.iter().any(|range| range.end > BLOCK);
        frames.len() > usize::from(self.head().is_some())
            || (placeholder.is_none() && may_be_frames())
    }

    /// Whether it has had its name before it was to be used, and nothing else since.
    fn waits_for_head(&self) -> bool {
        let Scanned { frames, unreadable, placeholder, .. } = &self.scanned;
        placeholder.is_some() && frames.is_empty() && unreadable.is_empty()
    }

    /// Whether the disk cannot read some of the write that follows what is known here up to the
    /// sequence `last`: it may have been confirmed. Writes follow one another without a gap, so
    /// that what lies further on was never confirmed where there is nothing here.
    pub(crate) fn is_unreadable_behind(&self, last: u64) -> bool {
        let next = align_up(self.known_up_to(last), BLOCK);
        let follows = |bad: &Bad| {
            self.claims(bad) == Some(last + 1) && self.scanned.is_unreadable(&(bad.offset..bad.end))
        };
        self.scanned.unreadable.iter().any(|range| range.contains(&next))
            || self.scanned.bad.iter().any(follows)
    }

    /// Where the last frame ends that stands here, up to the sequence `last`, whether or not it
    /// can be read: it may stand elsewhere too.
    fn known_up_to(&self, last: u64) -> u64 {
        let Scanned { frames, bad, .. } = &self.scanned;
        let known = frames.iter().filter(|found| found.header.sequence <= last).map(Found::end);
        // The length may be what is wrong with it.
        let covers =
            |bad: &Bad| frames.iter().any(|it| bad.offset < it.offset && it.offset < bad.end);
        let lost = bad.iter().filter(|bad| self.claims(bad).is_some_and(|it| it <= last));
        let lost = lost.filter(|bad| !covers(bad)).map(|bad| bad.end);
        // The head stands before everything else, whatever its sequence.
        known.chain(lost).chain(self.head_frame().map(Found::end)).max().unwrap_or(0)
    }

    /// The sequence that a frame of this segment claims which is not intact.
    fn claims(&self, bad: &Bad) -> Option<u64> {
        let salt = self.salt();
        let header = bad.claimed.as_ref().filter(|header| Some(header.salt) == salt);
        header.map(|header| header.sequence)
    }

    /// Whether the disk cannot read some of it.
    pub(crate) fn is_unreadable(&self) -> bool {
        !self.scanned.unreadable.is_empty()
    }

    fn salt(&self) -> Option<u32> {
        let known = self.head().is_some() || self.goes_on_without_head;
        self.scanned.frames.first().filter(|_| known).map(|found| found.header.salt)
    }

    /// The epoch of the segment before it, 0 for none; nothing where that cannot be told.
    fn predecessor(&self) -> Option<u64> {
        let of_run = || self.epoch.checked_sub(1).filter(|_| self.goes_on_without_head);
        self.head().map(|head| head.predecessor).or_else(of_run)
    }

    /// The last sequence that counts in earlier segments.
    pub(crate) fn predecessor_last(&self) -> u64 {
        // The head that is missing had the sequence before the first frame at the latest.
        // No frame of an earlier segment of the same run was written after it.
        let before_head =
            || self.scanned.frames.first().map(|first| first.header.sequence.saturating_sub(2));
        let of_run = || before_head().filter(|_| self.goes_on_without_head);
        self.head().map(|head| head.predecessor_last).or_else(of_run).unwrap_or(u64::MAX)
    }

    pub(crate) fn head_frame(&self) -> Option<&Found> {
        self.scanned.frames.first().filter(|found| found.offset == 0)
    }

    pub(crate) fn head(&self) -> Option<&Head> {
        match &self.head_frame()?.content {
            Content::Head(head) => Some(head),
            _ => None,
        }
    }

    /// What is said of a place in it that cannot be read.
    pub(crate) fn damage(
        &self,
        offset: u64,
        claimed: Option<&FrameHeader>,
        what: String,
    ) -> Damage {
        let of_group = claimed.filter(|header| {
            !matches!(header.kind, FrameKind::Seal | FrameKind::Head | FrameKind::Removed)
        });
        Damage {
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
///
/// A head that cannot be read though other frames of its segment can is damage. Where the
/// segment goes on a run that an earlier one began, nothing is lost with it but itself. Where
/// it began a run, what came before it can no longer be told from what was cut; then the log
/// begins with the segment behind it, whose head says how every group stood, and the files
/// before that are left alone.
fn chain(segments: &mut BTreeMap<u64, Segment>) -> Result<Chain, LogError> {
    let epochs: Vec<u64> = segments.keys().copied().collect();
    for epoch in epochs {
        let before = epoch.checked_sub(1).and_then(|before| segments.get(&before)?.salt());
        // Files from before there was a salt do not say where a run began.
        let before = before.filter(|salt| *salt != 0);
        if let Some(segment) = segments.get_mut(&epoch) {
            segment.go_on_without_head(before);
        }
    }
    let mut chain = Chain { epochs: BTreeSet::new(), broken: None };
    let newest = segments.iter().rev().find(|(_, segment)| segment.holds_more_than_a_head());
    let mut next = newest.map(|(epoch, _)| *epoch);
    while let Some(epoch) = next {
        // Where the file is gone, it was collected; what is missing shows once everything
        // is replayed.
        let Some(segment) = segments.get(&epoch) else { break };
        let Some(before) = segment.predecessor() else {
            let what = "the head of the segment cannot be read, and with it what came before";
            let damage = segment.damage(0, None, what.to_owned());
            if chain.epochs.is_empty() {
                return Err(LogError::Damaged(damage));
            }
            chain.broken = Some(damage);
            break;
        };
        chain.epochs.insert(epoch);
        next = Some(before).filter(|before| *before < epoch);
    }
    Ok(chain)
}

/// The segments that belong to the log, the oldest of which has a head that can be read.
struct Chain {
    epochs: BTreeSet<u64>,
    /// Why there is none before them, where there should be.
    broken: Option<Damage>,
}
