//! Finding every intact frame of a segment.

use std::io;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use raft_core::{EntryKind, Index, Membership, Position, TermRun};

use crate::checkpoint::{Head, Seal};
use crate::disk::{DiskFile, read_exact};
use crate::error::{Damage, LogError, io_error, io_error_at};
use crate::frame::{
    ALIGN, BLOCK, FORMAT_VERSION, FrameHeader, FrameKind, HEADER, NoFrame, align_up, version_of,
};
use crate::placeholder::Placeholder;
use crate::record::{Malformed, ResetBody, decode_membership, for_each_entry, reachable};

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Every intact frame, by rising offset.
    pub(crate) frames: Vec<Found>,
    /// Where something stands that is no intact frame.
    pub(crate) bad: Vec<Bad>,
    /// What the disk cannot read any more, by rising offset.
    pub(crate) unreadable: Vec<Range<u64>>,
    /// The length of the file.
    pub(crate) bytes: u64,
    /// What stands in the place of the head, where it waits for that.
    pub(crate) placeholder: Option<Placeholder>,
}

/// An intact frame.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) header: FrameHeader,
    pub(crate) offset: u64,
    /// Header and body, without padding.
    pub(crate) length: u32,
    pub(crate) content: Content,
}

impl Found {
    /// Where it ends, its padding included.
    pub(crate) fn end(&self) -> u64 {
        align_up(self.offset + u64::from(self.length), ALIGN)
    }
}

/// What recovery needs of a frame's body; payloads are left on disk.
#[derive(Debug)]
pub(crate) enum Content {
    Append(Appended),
    /// Entries that stood elsewhere too.
    Relocated(Appended),
    Reset(ResetBody),
    Removed,
    Head(Head),
    Seal(Seal),
    /// A seal that restates nothing.
    Nothing,
}

/// Entries without their payloads.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) first: Index,
    pub(crate) count: u64,
    pub(crate) runs: Vec<TermRun>,
    pub(crate) memberships: Vec<(Index, Membership)>,
}

impl Appended {
    /// The index of the last one; the one before `first` where there is none.
    pub(crate) fn last(&self) -> Index {
        Index(self.first.0 + self.count).prev()
    }
}

impl Scanned {
    /// Whether the disk cannot read some of these bytes, for which zeros stand here. They are
    /// no frame even where those fit its checksum: what is kept must be there to be read.
    pub(crate) fn is_unreadable(&self, bytes: &Range<u64>) -> bool {
        self.unreadable.iter().any(|range| range.start < bytes.end && bytes.start < range.end)
    }
}

/// A place where a frame can no longer be read.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) offset: u64,
    /// What the header claims, unverified.
    pub(crate) claimed: Option<FrameHeader>,
    /// Where it ends, going by the length that the header claims.
    pub(crate) end: u64,
}

/// Reads the segment of `epoch` to its end. `memory` is what it is read into: one segment
/// after the other uses the same.
pub(crate) fn scan(
    file: &dyn DiskFile,
    path: &Path,
    epoch: u64,
    memory: &mut Vec<u8>,
) -> Result<Scanned, LogError> {
    let bytes = file.len().map_err(io_error("cannot measure", path))?;
    memory.resize(usize::try_from(bytes).expect("a segment fits into memory"), 0);
    let unreadable = read_what_can_be(file, memory).map_err(io_error_at("cannot read", path, 0))?;
    let whole = memory.as_slice();
    // Format 0 never was: a head was torn right behind its magic.
    let other = |version: &u8| *version > FORMAT_VERSION;
    if let Some(version) = version_of(whole).filter(other) {
        return Err(LogError::UnknownFormat { file: path.to_owned(), version });
    }
    let unclaimed = |&Range { start, .. }: &_| Bad { offset: start, claimed: None, end: start };
    let bad = unreadable.iter().map(unclaimed).collect();
    let placeholder = Placeholder::decode(whole, epoch);
    let mut scanned = Scanned { frames: Vec::new(), bad, unreadable, bytes, placeholder };
    let mut offset = if placeholder.is_some() { BLOCK as usize } else { 0 };
    // Of the segment, as its head says, or what stands in its place. Where that cannot be
    // read, whatever looks like a frame counts: then the segment is refused, and never read.
    let mut salt = placeholder.map(|placeholder| placeholder.salt);
    // Whether the bytes before `offset` are already reported as bad.
    let mut in_bad = false;
    while offset < whole.len() {
        if (offset as u64).is_multiple_of(BLOCK) && is_zero_block(&whole[offset..]) {
            offset += BLOCK as usize;
            in_bad = false;
            continue;
        }
        let decoded = FrameHeader::decode(&whole[offset..], offset as u64, epoch);
        let of_segment = |header: &FrameHeader| salt.is_none_or(|salt| header.salt == salt);
        let place = |length: usize| offset as u64..(offset + length) as u64;
        match decoded {
            Ok((header, length))
                if of_segment(&header) && !scanned.is_unreadable(&place(length)) =>
            {
                if offset == 0 && header.kind == FrameKind::Head {
                    salt = Some(header.salt);
                }
                let frame = &whole[offset..offset + length];
                scanned.frames.push(found(header, offset as u64, frame, path)?);
                offset += align_up(length as u64, ALIGN) as usize;
                in_bad = false;
            }
            no_frame => {
                // Zeros are padding; whatever else is no frame is a bad one. The search
                // goes on behind it: what comes later decides whether it is damage.
                let step = &whole[offset..whole.len().min(offset + ALIGN as usize)];
                let claimed = match no_frame {
                    Ok(of_other) => Some(of_other).filter(|(header, _)| of_segment(header)),
                    Err(NoFrame::Bad(claimed)) => claimed,
                    Err(NoFrame::Absent) => None,
                };
                if claimed.is_some() || (!in_bad && step.iter().any(|byte| *byte != 0)) {
                    let (claimed, length) = claimed.unzip();
                    let Range { start: offset, end } = place(length.unwrap_or(0));
                    scanned.bad.push(Bad { offset, claimed, end });
                    in_bad = true;
                }
                offset += ALIGN as usize;
            }
        }
    }
    scanned.bad.sort_by_key(|bad| bad.offset);
    Ok(scanned)
}

/// Reads the whole file, with zeros where the disk cannot read it; answers where that is.
///
/// # Errors
/// That of the disk, where it can read nothing of it.
fn read_what_can_be(file: &dyn DiskFile, into: &mut [u8]) -> io::Result<Vec<Range<u64>>> {
    let Err(why) = read_exact(file, 0, into) else { return Ok(Vec::new()) };
    let mut unreadable: Vec<Range<u64>> = Vec::new();
    let mut readable = 0;
    for (at, block) in (0..).step_by(BLOCK as usize).zip(into.chunks_mut(BLOCK as usize)) {
        if read_exact(file, at, block).is_ok() {
            readable += 1;
            continue;
        }
        block.fill(0);
        let end = at + block.len() as u64;
        match unreadable.last_mut().filter(|range| range.end == at) {
            Some(range) => range.end = end,
            None => unreadable.push(at..end),
        }
    }
    if readable > 0 { Ok(unreadable) } else { Err(why) }
}

fn is_zero_block(bytes: &[u8]) -> bool {
    bytes.len() >= BLOCK as usize
        && bytes[..BLOCK as usize].as_chunks::<8>().0.iter().all(|word| *word == [0; 8])
}

fn found(header: FrameHeader, offset: u64, frame: &[u8], path: &Path) -> Result<Found, LogError> {
    let version = version_of(frame).expect("the version of a frame that was decoded");
    let body = &frame[HEADER..];
    let content = content(&header, version, body).map_err(|Malformed(what)| {
        LogError::Damaged(Damage {
            file: path.to_owned(),
            offset,
            group: Some(header.group),
            index: Some(header.last.index),
            what: format!("an intact frame holds {what}"),
        })
    })?;
    let length = u32::try_from(frame.len()).expect("a frame below 4 GiB");
    Ok(Found { header, offset, length, content })
}

fn content(header: &FrameHeader, version: u8, body: &[u8]) -> Result<Content, Malformed> {
    let (hard_state, last) = (header.hard_state, header.last);
    for number in
        [header.sequence, header.durable_upto, hard_state.term.0, last.term.0, last.index.0]
    {
        reachable(number)?;
    }
    if header.durable_upto >= header.sequence {
        return Err(Malformed("a promise about what comes after it"));
    }
    let copy = || Bytes::copy_from_slice(body);
    Ok(match header.kind {
        FrameKind::Append => {
            let appended = appended(header, body)?;
            if appended.count > 0 && appended.last() != last.index {
                return Err(Malformed("entries that do not end where the header says"));
            }
            Content::Append(appended)
        }
        FrameKind::Relocate => {
            let relocated = appended(header, body)?;
            if relocated.count == 0 || relocated.last() > last.index {
                return Err(Malformed("relocated entries that are not in the log"));
            }
            Content::Relocated(relocated)
        }
        FrameKind::Reset => Content::Reset(ResetBody::decode(copy())?),
        FrameKind::Removed => Content::Removed,
        FrameKind::Seal => Seal::decode(copy(), version)?.map_or(Content::Nothing, Content::Seal),
        FrameKind::Head => Content::Head(Head::decode(copy(), version)?),
    })
}

fn appended(header: &FrameHeader, body: &[u8]) -> Result<Appended, Malformed> {
    let mut appended = Appended {
        first: header.last.index.next(),
        count: 0,
        runs: Vec::with_capacity(1),
        memberships: Vec::new(),
    };
    let mut last = None;
    for_each_entry(body, |index, entry, payload| {
        if appended.count == 0 {
            appended.first = index;
        }
        appended.count += 1;
        match appended.runs.last() {
            Some(run) if entry.term < run.term => return Err(Malformed("terms that go back")),
            Some(run) if entry.term == run.term => {}
            _ => appended.runs.push(TermRun { first: index, term: entry.term }),
        }
        if entry.kind == EntryKind::Membership {
            appended.memberships.push((index, decode_membership(payload)?));
        }
        last = Some(Position { term: entry.term, index });
        Ok(())
    })?;
    if last.is_some_and(|last| last.index == header.last.index && last.term != header.last.term) {
        return Err(Malformed("entries that do not end in the term that the header says"));
    }
    Ok(appended)
}
