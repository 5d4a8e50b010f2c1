//! Receiving one snapshot. Slow work for a thread that may wait.

use std::sync::Arc;

use raft_core::SnapshotMeta;

use crate::snapshot_error::SnapshotError;
use crate::snapshot_writer::SnapshotWriter;

/// Receives a snapshot piece by piece; see [`crate::SnapshotStore::receiver`].
///
/// What has arrived stays where this is dropped, and the next receiver of the same snapshot
/// goes on from there, also after a restart or a power failure: each chunk of the file is
/// looked at again then. It goes where the disk refuses it, where it turns out not to be
/// what was announced, and where another snapshot takes its place.
#[derive(Debug)]
pub struct SnapshotReceiver {
    writer: SnapshotWriter,
    announced: SnapshotMeta,
    looked: Looked,
    /// While it is held, no other receiver writes to the same file.
    _in_use: Arc<()>,
}

/// Whether an earlier receiver's file has been looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    NotYet,
    Already,
}

impl SnapshotReceiver {
    pub(crate) const fn new(
        writer: SnapshotWriter,
        announced: SnapshotMeta,
        in_use: Arc<()>,
    ) -> Self {
        Self { writer, announced, looked: Looked::NotYet, _in_use: in_use }
    }

    /// The snapshot that is being received.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.announced
    }

    /// Everything below it has arrived. What an earlier receiver has left counts from the
    /// first piece on.
    #[must_use]
    pub const fn next_offset(&self) -> u64 {
        self.writer.bytes()
    }

    /// True when [`SnapshotReceiver::finish`] can be called.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.writer.bytes() == self.announced.bytes
    }

    /// Takes the piece at `offset` whose CRC32C is `crc`; answers the offset that is
    /// wanted next. A piece that came before, or comes too early, changes nothing.
    ///
    /// # Errors
    /// [`SnapshotError::BadPiece`] where the checksum does not fit,
    /// [`SnapshotError::NotAsAnnounced`] where it goes beyond the announced end, both
    /// without taking anything; [`SnapshotError::Io`].
    pub fn chunk(&mut self, offset: u64, data: &[u8], crc: u32) -> Result<u64, SnapshotError> {
        if crc32c::crc32c(data) != crc {
            return Err(SnapshotError::BadPiece { offset });
        }
        let end = offset.saturating_add(data.len() as u64);
        if end > self.announced.bytes {
            return Err(self.not_as_announced(end));
        }
        if self.looked == Looked::NotYet {
            self.looked = Looked::Already;
            self.writer.resume(self.announced.bytes)?;
        }
        let next = self.writer.bytes();
        if offset <= next && end > next {
            self.writer.take(&data[(next - offset) as usize..])?;
        }
        Ok(self.writer.bytes())
    }

    /// Checks that everything has arrived as it was announced, and makes it durable.
    /// What it returns is to be given to [`crate::SnapshotStore::add`].
    ///
    /// # Errors
    /// [`SnapshotError::NotAsAnnounced`], [`SnapshotError::Io`]; the snapshot does not
    /// exist then, and nothing of it is kept.
    pub fn finish(self) -> Result<SnapshotMeta, SnapshotError> {
        if self.is_complete() && self.writer.checksum() == self.announced.checksum {
            return self.writer.finish();
        }
        let error = self.not_as_announced(self.writer.bytes());
        self.writer.give_up();
        Err(error)
    }

    fn not_as_announced(&self, bytes: u64) -> SnapshotError {
        SnapshotError::NotAsAnnounced {
            bytes,
            checksum: self.writer.checksum(),
            announced_bytes: self.announced.bytes,
            announced_checksum: self.announced.checksum,
        }
    }
}
