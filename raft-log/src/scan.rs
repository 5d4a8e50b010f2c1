//! Finding every intact frame of a segment.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use raft_core::{EntryKind, Index, Membership, TermRun};

use crate::disk::{DiskFile, read_exact};
use crate::error::{LogError, io_error};
use crate::frame::{
    ALIGN, BLOCK, FORMAT_VERSION, FrameHeader, FrameKind, NoFrame, align_up, version_of,
};
use crate::record::{Head, Malformed, ResetBody, decode_entries, decode_membership};

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Every intact frame, by rising offset.
    pub(crate) frames: Vec<Found>,
    /// Where something stands that is no intact frame.
    pub(crate) bad: Vec<Bad>,
    /// The length of the file.
    pub(crate) bytes: u64,
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
    Reset(ResetBody),
    Removed,
    Head(Head),
    /// Seals, and relocated entries, which stand elsewhere too.
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

/// A place where a frame can no longer be read.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) offset: u64,
    /// What the header claims, unverified.
    pub(crate) claimed: Option<FrameHeader>,
}

/// Reads the segment of `epoch` to its end.
pub(crate) fn scan(file: &dyn DiskFile, path: &Path, epoch: u64) -> Result<Scanned, LogError> {
    let bytes = file.len().map_err(io_error("cannot measure", path))?;
    let mut whole = BytesMut::zeroed(usize::try_from(bytes).expect("a segment fits into memory"));
    read_exact(file, 0, &mut whole).map_err(io_error("cannot read", path))?;
    let whole = whole.freeze();
    // Format 0 never was: a head was torn right behind its magic.
    let other = |version: &u8| *version != FORMAT_VERSION && *version != 0;
    if let Some(version) = version_of(&whole).filter(other) {
        return Err(LogError::UnknownFormat { file: path.to_owned(), version });
    }
    let mut scanned = Scanned { frames: Vec::new(), bad: Vec::new(), bytes };
    let mut offset = 0;
    // Of the segment, as its head says. Where that cannot be read, whatever looks like a
    // frame counts: then the segment is refused, and never read.
    let mut salt = None;
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
        match decoded {
            Ok((header, length)) if of_segment(&header) => {
                if offset == 0 && header.kind == FrameKind::Head {
                    salt = Some(header.salt);
                }
                let body = whole.slice(offset + crate::frame::HEADER..offset + length);
                scanned.frames.push(found(header, offset as u64, length, body, path)?);
                offset += align_up(length as u64, ALIGN) as usize;
                in_bad = false;
            }
            no_frame => {
                // Zeros are padding; whatever else is no frame is a bad one. The search
                // goes on behind it: what comes later decides whether it is damage.
                let step = &whole[offset..whole.len().min(offset + ALIGN as usize)];
                let claimed =
                    if let Err(NoFrame::Bad(claimed)) = no_frame { claimed } else { None };
                if claimed.is_some() || (!in_bad && step.iter().any(|byte| *byte != 0)) {
                    scanned.bad.push(Bad { offset: offset as u64, claimed });
                    in_bad = true;
                }
                offset += ALIGN as usize;
            }
        }
    }
    Ok(scanned)
}

fn is_zero_block(bytes: &[u8]) -> bool {
    bytes.len() >= BLOCK as usize
        && bytes[..BLOCK as usize].as_chunks::<8>().0.iter().all(|word| *word == [0; 8])
}

fn found(
    header: FrameHeader,
    offset: u64,
    length: usize,
    body: Bytes,
    path: &Path,
) -> Result<Found, LogError> {
    let content = content(&header, body).map_err(|Malformed(what)| LogError::Damaged {
        file: path.to_owned(),
        offset,
        group: Some(header.group),
        index: Some(header.last.index),
        what: format!("an intact frame holds {what}"),
    })?;
    let length = u32::try_from(length).expect("a frame below 4 GiB");
    Ok(Found { header, offset, length, content })
}

fn content(header: &FrameHeader, body: Bytes) -> Result<Content, Malformed> {
    Ok(match header.kind {
        FrameKind::Append => Content::Append(appended(header, body)?),
        FrameKind::Relocate => {
            decode_entries(body)?;
            Content::Nothing
        }
        FrameKind::Reset => Content::Reset(ResetBody::decode(body)?),
        FrameKind::Removed => Content::Removed,
        FrameKind::Seal => Content::Nothing,
        FrameKind::Head => Content::Head(Head::decode(body)?),
    })
}

fn appended(header: &FrameHeader, body: Bytes) -> Result<Appended, Malformed> {
    let entries = decode_entries(body)?;
    let mut appended = Appended {
        first: entries.first().map_or(header.last.index.next(), |entry| entry.index),
        count: entries.len() as u64,
        runs: Vec::new(),
        memberships: Vec::new(),
    };
    for entry in &entries {
        match appended.runs.last() {
            Some(run) if entry.term < run.term => return Err(Malformed("terms that go back")),
            Some(run) if entry.term == run.term => {}
            _ => appended.runs.push(TermRun { first: entry.index, term: entry.term }),
        }
        if entry.kind == EntryKind::Membership {
            appended.memberships.push((entry.index, decode_membership(&entry.payload)?));
        }
    }
    if entries.last().is_some_and(|entry| entry.position() != header.last) {
        return Err(Malformed("entries that do not end where the header says"));
    }
    Ok(appended)
}
