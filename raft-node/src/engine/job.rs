//! Work that may block, as values.

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;
use raft_core::{Entry, GroupId, Index, NodeId, SnapshotMeta};
use raft_log::{
    CollectDone, CollectJob, LogError, PrepareDone, PrepareJob, ReadJob, RelocateDone, RelocateJob,
    SnapshotError, SnapshotReader, SnapshotReceiver, SnapshotWriter, Space, SpaceJob, pack_piece,
    unpack_piece,
};
use raft_state::SendEntries;
use thiserror::Error;

use crate::state_machine::FlushWork;

/// What entries are read from the log for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFor {
    /// To be sent.
    Sending(SendEntries),
    /// To be applied.
    Applying {
        /// The first of them.
        from: Index,
    },
}

/// A part of copying an image of a state machine into a snapshot.
pub struct WriteSnapshot {
    /// The group.
    pub group: GroupId,
    /// The rest of the image.
    pub image: Box<dyn Read + Send>,
    /// Where it goes.
    pub writer: SnapshotWriter,
    /// How many bytes are copied at once, at most.
    pub max_bytes: u64,
}

/// How far the writing of a snapshot has come.
pub enum Written {
    /// There is more to be copied.
    Partly(Box<WriteSnapshot>),
    /// It is whole and durable.
    Whole {
        /// What it is.
        meta: SnapshotMeta,
        /// How many bytes fewer than might have been were copied in the end.
        unused_bytes: u64,
    },
}

/// One piece of work to be run wherever blocking is allowed.
pub enum Job {
    /// Read old entries of the log.
    ReadEntries {
        /// The group.
        group: GroupId,
        /// What for.
        purpose: ReadFor,
        /// The reading.
        job: ReadJob,
    },
    /// Remove segments of the log that nobody needs.
    Collect(CollectJob),
    /// Read what little old segments of the log are needed for, to write it again.
    Relocate(RelocateJob),
    /// Make the file of the log's next segment.
    Prepare(PrepareJob),
    /// Ask how much room the file system has.
    AskForSpace(SpaceJob),
    /// Make what a state machine has applied durable.
    Flush {
        /// The group.
        group: GroupId,
        /// The work.
        work: FlushWork,
    },
    /// Copy a part of an image of a state machine into a snapshot, and end it with the last
    /// one.
    WriteSnapshot(WriteSnapshot),
    /// Read a piece of a snapshot for a follower.
    ReadPiece {
        /// The group.
        group: GroupId,
        /// The follower.
        to: NodeId,
        /// The number in the transfer's token.
        number: u64,
        /// The snapshot.
        reader: SnapshotReader,
        /// Where the piece begins.
        offset: u64,
        /// Its length at most.
        max_bytes: usize,
    },
    /// Store a piece of a snapshot from the leader, and end it with the last one.
    StorePiece {
        /// The group.
        group: GroupId,
        /// Which reception of a snapshot it belongs to.
        number: u64,
        /// Where the snapshot is collected.
        receiver: SnapshotReceiver,
        /// Where the piece begins.
        offset: u64,
        /// The piece, packed.
        data: Bytes,
        /// The checksum of its content.
        checksum: u32,
        /// The length of the whole.
        total: u64,
    },
    /// Remove snapshots that newer ones replace.
    DropSnapshots(raft_log::SnapshotRemoval),
}

/// What came of a job.
pub enum JobDone {
    /// Of [`Job::ReadEntries`].
    EntriesRead {
        /// The group.
        group: GroupId,
        /// What for.
        purpose: ReadFor,
        /// The entries.
        outcome: Result<Vec<Entry>, LogError>,
    },
    /// Of [`Job::Collect`].
    Collected(Result<CollectDone, LogError>),
    /// Of [`Job::Relocate`].
    Relocated(RelocateDone),
    /// Of [`Job::Prepare`].
    Prepared(PrepareDone),
    /// Of [`Job::AskForSpace`].
    SpaceTold(Result<Space, LogError>),
    /// Of [`Job::Flush`].
    Flushed {
        /// The group.
        group: GroupId,
        /// The index reached.
        outcome: io::Result<Index>,
    },
    /// Of [`Job::WriteSnapshot`].
    SnapshotWritten {
        /// The group.
        group: GroupId,
        /// The finished snapshot, or the rest.
        outcome: Result<Written, SnapshotTrouble>,
    },
    /// Of [`Job::ReadPiece`].
    PieceRead {
        /// The group.
        group: GroupId,
        /// The follower.
        to: NodeId,
        /// The number in the transfer's token.
        number: u64,
        /// The snapshot, for the next piece.
        reader: SnapshotReader,
        /// Where the piece begins.
        offset: u64,
        /// The piece, packed, and the checksum of its content.
        outcome: Result<(Bytes, u32), SnapshotError>,
    },
    /// Of [`Job::StorePiece`].
    PieceStored {
        /// The group.
        group: GroupId,
        /// Which reception of a snapshot the piece belongs to.
        number: u64,
        /// What is wanted next, or what failed.
        outcome: Result<Stored, SnapshotError>,
    },
    /// Of [`Job::DropSnapshots`].
    SnapshotsDropped(Result<(), SnapshotError>),
}

/// Why a snapshot was not taken. It is tried again with the next one that is due.
#[derive(Debug, Error)]
pub enum SnapshotTrouble {
    /// The image could not be copied.
    #[error("the image could not be copied: {0}")]
    Image(#[source] io::Error),
    /// The snapshot could not be finished.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// How far a snapshot from the leader has come.
pub enum Stored {
    /// More is wanted.
    Partly {
        /// Where the rest goes.
        receiver: Box<SnapshotReceiver>,
        /// The next byte wanted.
        next_offset: u64,
    },
    /// It is whole and durable.
    Whole(SnapshotMeta),
}

impl Job {
    /// True where nothing waits for its end but room on the disk, or in memory, or a
    /// switch of the log that can do without: it may give way to all other work.
    #[must_use]
    pub const fn is_background(&self) -> bool {
        match self {
            Self::Collect(_)
            | Self::Relocate(_)
            | Self::Prepare(_)
            | Self::Flush { .. }
            | Self::WriteSnapshot(_)
            | Self::DropSnapshots(_) => true,
            Self::AskForSpace(_)
            | Self::ReadEntries { .. }
            | Self::ReadPiece { .. }
            | Self::StorePiece { .. } => false,
        }
    }

    /// Does the work.
    #[must_use]
    pub fn run(self) -> JobDone {
        match self {
            Self::ReadEntries { group, purpose, job } => {
                JobDone::EntriesRead { group, purpose, outcome: job.run() }
            }
            Self::Collect(job) => JobDone::Collected(job.run()),
            Self::Relocate(job) => JobDone::Relocated(job.run()),
            Self::Prepare(job) => JobDone::Prepared(job.run()),
            Self::AskForSpace(job) => JobDone::SpaceTold(job.run()),
            Self::Flush { group, work } => JobDone::Flushed { group, outcome: work() },
            Self::WriteSnapshot(part) => {
                JobDone::SnapshotWritten { group: part.group, outcome: part.run() }
            }
            Self::ReadPiece { group, to, number, mut reader, offset, max_bytes } => {
                let outcome = reader.read_chunk(offset, max_bytes);
                let outcome = outcome.map(|(content, crc)| (pack_piece(&content), crc));
                JobDone::PieceRead { group, to, number, reader, offset, outcome }
            }
            Self::StorePiece { group, number, receiver, offset, data, checksum, total } => {
                let outcome = store(receiver, offset, data, checksum, total);
                JobDone::PieceStored { group, number, outcome }
            }
            Self::DropSnapshots(job) => JobDone::SnapshotsDropped(job.run()),
        }
    }
}

impl WriteSnapshot {
    fn run(mut self) -> Result<Written, SnapshotTrouble> {
        let mut part = (&mut self.image).take(self.max_bytes);
        let copied = io::copy(&mut part, &mut self.writer).map_err(SnapshotTrouble::Image)?;
        if copied == self.max_bytes {
            return Ok(Written::Partly(Box::new(self)));
        }
        let unused_bytes = self.max_bytes - copied;
        Ok(Written::Whole { meta: self.writer.finish()?, unused_bytes })
    }
}

fn store(
    mut receiver: SnapshotReceiver,
    offset: u64,
    data: Bytes,
    checksum: u32,
    total: u64,
) -> Result<Stored, SnapshotError> {
    let content = unpack_piece(offset, data)?;
    let next_offset = receiver.chunk(offset, &content, checksum)?;
    if next_offset == total {
        receiver.finish().map(Stored::Whole)
    } else {
        Ok(Stored::Partly { receiver: Box::new(receiver), next_offset })
    }
}

/// An error that a node lives on with. A failed sync is none: what else of this disk is
/// durable, nobody knows any more.
pub(crate) fn survivable(why: SnapshotError) -> Result<SnapshotError, LogError> {
    match why {
        why if !why.is_final() => Ok(why),
        SnapshotError::Io { doing, path, offset, source } => {
            Err(LogError::Io { doing, path, offset, group: None, index: None, source })
        }
        why => Ok(why),
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadEntries { .. } => "ReadEntries",
            Self::Collect(_) => "Collect",
            Self::Relocate(_) => "Relocate",
            Self::Prepare(_) => "Prepare",
            Self::AskForSpace(_) => "AskForSpace",
            Self::Flush { .. } => "Flush",
            Self::WriteSnapshot(_) => "WriteSnapshot",
            Self::ReadPiece { .. } => "ReadPiece",
            Self::StorePiece { .. } => "StorePiece",
            Self::DropSnapshots(_) => "DropSnapshots",
        })
    }
}

impl fmt::Debug for WriteSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteSnapshot({}, {})", self.group, self.writer.bytes())
    }
}

impl fmt::Debug for JobDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EntriesRead { .. } => "EntriesRead",
            Self::Collected(_) => "Collected",
            Self::Relocated(_) => "Relocated",
            Self::Prepared(_) => "Prepared",
            Self::SpaceTold(_) => "SpaceTold",
            Self::Flushed { .. } => "Flushed",
            Self::SnapshotWritten { .. } => "SnapshotWritten",
            Self::PieceRead { .. } => "PieceRead",
            Self::PieceStored { .. } => "PieceStored",
            Self::SnapshotsDropped(_) => "SnapshotsDropped",
        })
    }
}
