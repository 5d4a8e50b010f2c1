//! Slow work, handed out: whoever owns the log runs it where waiting is allowed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use raft_core::{Entry, GroupId, Index};

use crate::block_buffer::BlockBuffer;
use crate::disk::{DiskFile, read_exact};
use crate::error::{Damage, LogError, io_error_at};
use crate::frame::{BLOCK, FrameHeader, HEADER, NoFrame};
use crate::frames::{FrameRef, Place};
use crate::group_log::Taken;
use crate::new_segment::{Created, NewSegment, Ready};
use crate::options::SyncMethod;
use crate::packing::Packer;
use crate::record::{Body, Malformed, decode_entries};

/// One write and one sync for everything that was staged: see
/// [`crate::WriteAheadLog::next_job`].
#[derive(Debug)]
pub struct WriteJob {
    pub(crate) target: Target,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) frames: Vec<LaidOut>,
    /// Where they are put together.
    pub(crate) buffer: BlockBuffer,
    pub(crate) sync_method: SyncMethod,
    pub(crate) compress_above_bytes: usize,
}

/// A frame that has its place, as far as that is certain: where payloads before it turn out to
/// be smaller than they might have been, it moves forward.
#[derive(Debug)]
pub(crate) struct LaidOut {
    pub(crate) header: FrameHeader,
    pub(crate) body: Body,
    pub(crate) place: Place,
}

/// A frame that does not stand where it was to, or is shorter.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) group: GroupId,
    pub(crate) from: Place,
    pub(crate) to: Place,
}

/// Where a job writes to.
#[derive(Debug)]
pub(crate) enum Target {
    Open {
        path: PathBuf,
        file: Arc<dyn DiskFile>,
    },
    /// A new segment, in the file that waits for it, where there is one.
    Create(NewSegment, Option<Ready>),
}

/// What came of a [`WriteJob`]; goes back with [`crate::WriteAheadLog::complete`].
#[derive(Debug)]
#[must_use = "a job is done only when the log has heard of it"]
pub struct WriteDone {
    pub(crate) outcome: Outcome,
    /// By offset.
    pub(crate) moved: Vec<Moved>,
    pub(crate) buffer: BlockBuffer,
}

/// How a [`WriteJob`] ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All of it is durable, in this new segment where the job has begun one.
    Durable(Option<Created>),
    /// There was no room for the file of a new segment. Nothing was written, and nothing
    /// is left of the attempt, so the same job can be run again.
    NoRoom(Box<WriteJob>, LogError),
    /// What the disk holds is unknown.
    Failed(LogError),
}

/// Why a job did not come to its sync.
#[derive(Debug)]
enum Unwritten {
    NoRoom(Box<WriteJob>, LogError),
    Failed(LogError),
}

impl From<LogError> for Unwritten {
    fn from(why: LogError) -> Self {
        Self::Failed(why)
    }
}

impl WriteJob {
    /// Writes and syncs. Takes as long as the disk does.
    pub fn run(self) -> WriteDone {
        self.write().sync()
    }

    /// The first half of [`run`](Self::run), for whoever times the two apart: everything
    /// before the wait for the disk, a new segment aside.
    pub fn write(mut self) -> Written {
        let mut buffer = std::mem::take(&mut self.buffer);
        let moved = self.put_frames(&mut buffer);
        Written { outcome: self.put(&mut buffer), moved, buffer }
    }

    /// How many bytes it writes, without those that fill files and blocks with zeros, and if
    /// nothing in it were compressed.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries it writes, of all groups.
    #[must_use]
    pub fn entries(&self) -> usize {
        let entries = |body: &Body| match body {
            Body::Append(writes) => writes.iter().map(|entries| entries.len()).sum(),
            // Those that are relocated were written before.
            Body::Relocate(_) | Body::Reset(_) | Body::Removed | Body::Seal(_) => 0,
        };
        self.frames.iter().map(|frame| entries(&frame.body)).sum()
    }

    /// The file it writes to.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.target {
            Target::Open { path, .. } => path,
            Target::Create(new, _) => &new.path,
        }
    }

    /// Puts the frames together; answers which of them do not stand where they were to.
    fn put_frames(&self, buffer: &mut BlockBuffer) -> Vec<Moved> {
        let mut packer = Packer::new(self.compress_above_bytes);
        let mut moved = Vec::new();
        buffer.clear_for(self.bytes);
        for LaidOut { header, body, place } in &self.frames {
            let offset = self.offset + buffer.len() as u64;
            let length = header.encode(offset, buffer.end(), |out| body.put(&mut packer, out));
            let to = Place { offset, length, ..*place };
            if to != *place {
                moved.push(Moved { group: header.group, from: *place, to });
            }
        }
        assert!(buffer.len() <= self.bytes, "the announced size of a job");
        moved
    }

    fn put(mut self, buffer: &mut BlockBuffer) -> Result<Unsynced, Unwritten> {
        let (path, file, created) = match &mut self.target {
            Target::Open { path, file } => (path.clone(), Arc::clone(file), None),
            Target::Create(new, ready) => {
                let adopted = ready.take().map_or(Ok(None), |ready| new.adopt(ready))?;
                let created = match adopted {
                    Some(adopted) => adopted,
                    None => match new.make() {
                        Ok(made) => made,
                        Err(why) if why.is_no_room() => {
                            return Err(Unwritten::NoRoom(Box::new(self), why));
                        }
                        Err(why) => return Err(why.into()),
                    },
                };
                let begun = new.begin(&*created.file, created.named);
                begun.inspect_err(|_| new.discard())?;
                (new.path.clone(), Arc::clone(&created.file), Some(created))
            }
        };
        if self.sync_method == SyncMethod::Fdatasync {
            let written = file.write_at(self.offset, buffer.whole_blocks());
            written.map_err(io_error_at("cannot write to", &path, self.offset))?;
        }
        Ok(Unsynced { path, file, created, offset: self.offset, sync_method: self.sync_method })
    }
}

/// A [`WriteJob`] of which nothing is durable yet.
#[derive(Debug)]
#[must_use = "what is not synced is not durable"]
pub struct Written {
    outcome: Result<Unsynced, Unwritten>,
    moved: Vec<Moved>,
    buffer: BlockBuffer,
}

#[derive(Debug)]
struct Unsynced {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    created: Option<Created>,
    offset: u64,
    sync_method: SyncMethod,
}

impl Written {
    /// How many bytes go to the disk, as they are after compression and in whole blocks; with
    /// neither the zeros nor the head of a new segment. None where the job has already failed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.outcome {
            Ok(_) => self.buffer.len().next_multiple_of(BLOCK as usize),
            Err(_) => 0,
        }
    }

    /// The second half of [`WriteJob::run`]: the sync, or the write where it is durable by
    /// itself.
    pub fn sync(mut self) -> WriteDone {
        let outcome = match self.outcome {
            Ok(unsynced) => match unsynced.sync(&mut self.buffer) {
                Ok(created) => Outcome::Durable(created),
                Err(why) => Outcome::Failed(why),
            },
            Err(Unwritten::NoRoom(job, why)) => Outcome::NoRoom(job, why),
            Err(Unwritten::Failed(why)) => Outcome::Failed(why),
        };
        WriteDone { outcome, moved: self.moved, buffer: self.buffer }
    }
}

impl Unsynced {
    fn sync(self, buffer: &mut BlockBuffer) -> Result<Option<Created>, LogError> {
        let Self { path, file, created, offset, sync_method } = self;
        match sync_method {
            SyncMethod::Fdatasync => {
                file.sync().map_err(io_error_at("cannot sync", &path, offset))?;
            }
            SyncMethod::Direct => file
                .write_through(offset, buffer.whole_blocks())
                .map_err(io_error_at("cannot write to", &path, offset))?,
        }
        Ok(created)
    }
}

/// Reads entries that are in memory no longer.
#[derive(Debug)]
pub struct ReadJob {
    pub(crate) group: GroupId,
    pub(crate) frames: Vec<(Arc<dyn DiskFile>, PathBuf, FrameRef)>,
    pub(crate) from: Index,
    pub(crate) up_to: Index,
    pub(crate) max_bytes: usize,
}

impl ReadJob {
    /// Reads and checks. The log may have been cut in the meantime: before using an
    /// entry, see whether [`crate::WriteAheadLog::shape`] still holds its position.
    ///
    /// # Errors
    /// [`LogError::Io`] where the disk refuses, [`LogError::Damaged`] where a frame is
    /// not what was written.
    pub fn run(self) -> Result<Vec<Entry>, LogError> {
        let mut taken = Taken::new(self.max_bytes);
        for (file, path, frame) in &self.frames {
            let place = frame.place.expect("a frame that is read has a place");
            let damaged = |what: &str| {
                LogError::Damaged(Damage {
                    file: path.clone(),
                    offset: place.offset,
                    group: Some(self.group),
                    index: Some(frame.last),
                    what: what.to_owned(),
                })
            };
            let mut bytes = BytesMut::zeroed(place.length as usize);
            read_exact(&**file, place.offset, &mut bytes).map_err(|source| LogError::Io {
                doing: "cannot read",
                path: path.clone(),
                offset: Some(place.offset),
                group: Some(self.group),
                index: Some(frame.last),
                source,
            })?;
            match FrameHeader::decode(&bytes, place.offset, place.epoch) {
                Ok((_, length)) if length == bytes.len() => {}
                Ok(_) | Err(NoFrame::Absent | NoFrame::Bad(_)) => {
                    return Err(damaged("a durable frame can no longer be read"));
                }
            }
            let body = bytes.freeze().slice(HEADER..);
            let entries = decode_entries(body).map_err(|Malformed(what)| damaged(what))?;
            let from = self.from.max(frame.first);
            let up_to = self.up_to.min(frame.last);
            let has = |index| entries.iter().any(|entry| entry.index == index);
            if !has(from) || !has(up_to) {
                return Err(damaged("a frame lacks entries that it should hold"));
            }
            for entry in entries.iter().filter(|e| e.index >= from && e.index <= up_to) {
                if !taken.take(entry) {
                    return Ok(taken.entries);
                }
            }
        }
        Ok(taken.entries)
    }
}
