//! Which frames are kept, which are missing, and what that makes of the groups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use raft_core::GroupId;

use crate::disk::read_exact;
use crate::error::{Damage, LogError, io_error_at};
use crate::frame::{FrameKind, HEADER};
use crate::frames::Place;
use crate::recovery::{Kept, Recovered, Segment, Uncovered};
use crate::replay::{Contradiction, Outcome, Replay};
use crate::scan::{Bad, Content, Found};

/// Decides which frames are kept and replays them.
pub(crate) fn keep(
    recovered: &mut Recovered,
    segments: &BTreeMap<u64, Segment>,
    begin: u64,
) -> Result<(), LogError> {
    let (candidates, copies_of_heads) = candidates(segments);
    let durable_upto = candidates.iter().map(|(_, found)| found.header.durable_upto).max();
    recovered.durable_upto = durable_upto.unwrap_or(0);
    // The oldest head counts on everything before it, and without it not even the groups are
    // known.
    let base = segments.values().next().and_then(Segment::head_frame);
    let needed = base.map_or(0, |head| head.header.sequence).max(recovered.durable_upto);
    let mut replay = Replay::default();
    let mut places: BTreeMap<u64, u64> = BTreeMap::new();
    let mut next = begin;
    let from = candidates.partition_point(|(_, found)| found.header.sequence < begin);
    for (epoch, found) in &candidates[from..] {
        let sequence = found.header.sequence;
        if sequence > next {
            // Between the frames of two segments stands a head, which changes nothing.
            // It is asked of all segments, as the frame behind it may be a copy.
            let lacks_it = |segment: &Segment| segment.lacks_head_before(sequence);
            let is_head = sequence == next + 1 && segments.values().any(lacks_it);
            let replay = Some(&mut replay).filter(|_| !is_head);
            next = missing(recovered, replay, segments, next..sequence, needed);
        }
        if sequence > next {
            break;
        }
        replay.take(*epoch, found).map_err(|Contradiction(what)| {
            let damage = segments[epoch].damage(found.offset, Some(&found.header), what);
            LogError::Damaged(damage)
        })?;
        if sequence > recovered.durable_upto {
            recovered.uncovered.push(uncovered(&segments[epoch], *epoch, found)?);
        }
        let furthest = places.entry(*epoch).or_default();
        *furthest = found.end().max(*furthest);
        next = sequence + 1;
    }
    next = missing(recovered, Some(&mut replay), segments, next..u64::MAX, needed);
    recovered.last = next - 1;
    let outcome = replay.finish().map_err(|Contradiction(what)| {
        let oldest = segments.values().next().expect("there are segments where frames are kept");
        LogError::Damaged(oldest.damage(0, None, what))
    })?;
    take_groups(recovered, outcome, segments)?;
    // They take the place of heads once those are collected.
    for (epoch, copy) in copies_of_heads {
        if copy.header.sequence <= recovered.last {
            let furthest = places.entry(epoch).or_default();
            *furthest = copy.end().max(*furthest);
        }
    }
    keep_segments(recovered, segments, &places)
}

/// Notes the segments to go on with, and where the last kept frame of each ends.
///
/// # Errors
/// Where the disk cannot read what may have been confirmed behind the last of all.
fn keep_segments(
    recovered: &mut Recovered,
    segments: &BTreeMap<u64, Segment>,
    places: &BTreeMap<u64, u64>,
) -> Result<(), LogError> {
    for (epoch, segment) in segments {
        let end = places.get(epoch).copied().unwrap_or(0);
        // The head stays readable even where nothing else of the segment is kept, or the
        // frame that stands in for it: without one the segments before could not be told from
        // those that are dead.
        let end = end.max(segment.scanned.frames.first().map_or(0, Found::end));
        let later = segments.range(epoch + 1..).map(|(_, later)| later.predecessor_last());
        // What a later one has kept of it may be lost there.
        let may_go_on = later.min().is_none_or(|up_to| recovered.last < up_to);
        if may_go_on && segment.is_unreadable_behind(recovered.last) {
            let what = "the disk cannot read what was written last, and nothing says what that was";
            return Err(LogError::Damaged(segment.damage(end, None, what.to_owned())));
        }
        let (file, bytes) = (Arc::clone(&segment.file), segment.scanned.bytes);
        // What is damaged may be what somebody can still make out.
        let is_damaged = recovered.damage.iter().any(|damage| damage.file == segment.path());
        let end = if is_damaged { bytes } else { end };
        let (lacks_head, is_unreadable) = (segment.head().is_none(), segment.is_unreadable());
        let kept = Kept { file, bytes, end, lacks_head, is_unreadable };
        recovered.segments.insert(*epoch, kept);
    }
    Ok(())
}

/// Notes that no frame has any of `these` sequences; answers the one behind those of them
/// that are `needed`. The others are a torn tail, where the log ends. The groups are told,
/// where it concerns them.
fn missing(
    recovered: &mut Recovered,
    replay: Option<&mut Replay>,
    segments: &BTreeMap<u64, Segment>,
    these: Range<u64>,
    needed: u64,
) -> u64 {
    let behind = these.end.min(needed + 1);
    if behind <= these.start {
        return these.start;
    }
    if let Some(replay) = replay {
        replay.gap();
    }
    recovered.damage.push(damage(segments, these.start, behind - 1, needed));
    behind
}

/// Takes over what the groups are, or are left as.
fn take_groups(
    recovered: &mut Recovered,
    outcome: Outcome,
    segments: &BTreeMap<u64, Segment>,
) -> Result<(), LogError> {
    let listed = |groups: &BTreeSet<GroupId>| {
        groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (voted, unmade) = (listed(&outcome.votes_lost), listed(&outcome.unmade));
    let consequence = if !voted.is_empty() {
        format!("Nothing later says how group {voted} has voted, so that it can take part no more")
    } else if !unmade.is_empty() {
        format!("Group {unmade} was made there, and nothing later says who was in it")
    } else {
        String::new()
    };
    if let Some(damage) = recovered.damage.last().filter(|_| !consequence.is_empty()) {
        let what = format!("{}. {consequence}", damage.what);
        return Err(LogError::Damaged(Damage { what, ..damage.clone() }));
    }
    for (id, group) in &outcome.groups {
        if let Some(ended) = group.damaged_up_to.filter(|_| recovered.damage.is_empty())
            && let Some(oldest) = segments.values().next()
        {
            // No frame is missing among those that there are.
            let what = format!(
                "entries {} to {} of group {id} are missing: a segment before it is gone, or was \
                 damaged when the log was opened before",
                group.last.index.next(),
                ended.index
            );
            let (group, index) = (Some(*id), Some(ended.index));
            recovered.damage.push(Damage { group, index, ..oldest.damage(0, None, what) });
        }
    }
    (recovered.groups, recovered.may_lack_groups) = (outcome.groups, outcome.may_lack_groups);
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
        limit = limit.min(segment.predecessor_last());
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
    read_exact(&*segment.file, found.offset + HEADER as u64, &mut body).map_err(io_error_at(
        "cannot read",
        segment.path(),
        found.offset,
    ))?;
    Ok(Uncovered { header, place, body: body.freeze() })
}

/// Names the place where the frames of `first` to `last` should stand.
fn damage(segments: &BTreeMap<u64, Segment>, first: u64, last: u64, durable_upto: u64) -> Damage {
    let which = match last {
        last if last == first => {
            format!("frame with sequence {first} is not intact, though it was")
        }
        last => format!("frames with sequences {first} to {last} are not intact, though they were"),
    };
    let what = format!("the {which} durable: a later frame covers everything up to {durable_upto}");
    let begins_before = |segment: &&Segment| {
        let frames = &segment.scanned.frames;
        let head = segment.head_frame().map(|head| head.header.sequence);
        let begins = head.or_else(|| frames.first().map(|found| found.header.sequence - 1));
        begins.is_some_and(|begins| begins <= first)
    };
    let segment = segments
        .values()
        .rev()
        .find(begins_before)
        .or_else(|| segments.values().next())
        .expect("there is a segment where something is covered");
    let frames = &segment.scanned.frames;
    let before =
        frames.iter().filter(|found| found.header.sequence < first).max_by_key(|f| f.offset);
    let from = before.map_or(0, Found::end);
    let claims_it =
        |bad: &&Bad| bad.claimed.as_ref().is_some_and(|header| header.sequence == first);
    let bad = segment.scanned.bad.iter();
    let bad = bad.clone().find(claims_it).or_else(|| bad.clone().find(|bad| bad.offset >= from));
    let claimed = bad.and_then(|bad| bad.claimed.as_ref());
    segment.damage(bad.map_or(from, |bad| bad.offset), claimed, what)
}
