//! Writing one snapshot. Slow work for a thread that may wait.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{GroupId, Membership, Position, SnapshotMeta};

use crate::disk::{Disk, DiskFile, read_exact};
use crate::snapshot_chunk::{CHUNK, CHUNK_HEAD, decode_chunk, encode_chunk, stored_length};
use crate::snapshot_error::{SnapshotError, io_error, io_error_at, sync_error};
use crate::snapshot_file::{end, header};

/// Writes the content of a new snapshot; see [`crate::SnapshotStore::writer`].
///
/// The file has a temporary name until [`SnapshotWriter::finish`]; a writer that is
/// dropped before that leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    temporary: PathBuf,
    path: PathBuf,
    group: GroupId,
    position: Position,
    membership: Membership,
    /// Created with the first byte, by the thread that writes it.
    file: Option<Arc<dyn DiskFile>>,
    /// What happens to the file when this is dropped.
    unfinished: Unfinished,
    /// Where the next chunk goes.
    end: u64,
    /// Content that makes no whole chunk yet.
    chunk: Vec<u8>,
    /// The length fields of the chunks that are written.
    chunks: Vec<u32>,
    /// What was written last, and what it was compressed into: memory that is used again.
    buffers: [Vec<u8>; 2],
    bytes: u64,
    checksum: u32,
}

/// What happens to a file that was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// It goes.
    Removed,
    /// It stays, and is gone on with later.
    Kept,
}

impl SnapshotWriter {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        [dir, temporary, path]: [PathBuf; 3],
        group: GroupId,
        position: Position,
        membership: Membership,
    ) -> Self {
        Self {
            disk,
            dir,
            temporary,
            path,
            group,
            position,
            membership,
            file: None,
            unfinished: Unfinished::Removed,
            end: 0,
            chunk: Vec::with_capacity(CHUNK),
            chunks: Vec::new(),
            buffers: [Vec::new(), Vec::new()],
            bytes: 0,
            checksum: 0,
        }
    }

    /// Has the file stay where it is not finished.
    pub(crate) fn keep_unfinished(mut self) -> Self {
        self.unfinished = Unfinished::Kept;
        self
    }

    /// Leaves nothing behind.
    pub(crate) fn give_up(mut self) {
        self.unfinished = Unfinished::Removed;
    }

    /// How many bytes of content have been taken so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Completes the snapshot and makes it durable under its name. What it returns is
    /// to be given to [`crate::SnapshotStore::add`].
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the snapshot does not exist then.
    pub fn finish(mut self) -> Result<SnapshotMeta, SnapshotError> {
        // Whatever fails from here on, nothing can be gone on with.
        self.unfinished = Unfinished::Removed;
        self.write_chunk()?;
        let end = end(self.bytes, self.checksum, &self.chunks);
        let file = self.file()?;
        file.write_at(self.end, &end).map_err(io_error_at(
            "cannot write to",
            &self.temporary,
            self.end,
        ))?;
        file.sync().map_err(sync_error(&self.temporary))?;
        self.disk
            .rename(&self.temporary, &self.path)
            .map_err(io_error("cannot rename", &self.temporary))?;
        // From here on there is nothing to clean up.
        self.file = None;
        self.disk.sync_dir(&self.dir).map_err(sync_error(&self.dir))?;
        Ok(SnapshotMeta {
            position: self.position,
            membership: std::mem::take(&mut self.membership),
            bytes: self.bytes,
            checksum: self.checksum,
        })
    }

    pub(crate) fn take(&mut self, mut data: &[u8]) -> Result<(), SnapshotError> {
        self.checksum = crc32c::crc32c_append(self.checksum, data);
        self.bytes += data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            data = later;
            if self.chunk.len() == CHUNK {
                self.write_chunk()?;
            }
        }
        Ok(())
    }

    fn write_chunk(&mut self) -> Result<(), SnapshotError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let file = self.file()?;
        let [out, scratch] = &mut self.buffers;
        out.clear();
        let offset = self.chunks.len() as u64 * CHUNK as u64;
        let field = encode_chunk(offset, &self.chunk, scratch, out);
        if let Err(why) = file.write_at(self.end, out) {
            // What takes up room on a disk that is full must not stay.
            self.unfinished = Unfinished::Removed;
            return Err(io_error_at("cannot write to", &self.temporary, self.end)(why));
        }
        self.end += out.len() as u64;
        self.chunks.push(field);
        self.chunk.clear();
        Ok(())
    }

    fn file(&mut self) -> Result<Arc<dyn DiskFile>, SnapshotError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.create(&self.temporary);
        let file = file.map_err(io_error("cannot create", &self.temporary))?;
        self.begin(&file)?;
        Ok(file)
    }

    fn begin(&mut self, file: &Arc<dyn DiskFile>) -> Result<(), SnapshotError> {
        self.file = Some(Arc::clone(file));
        let header = header(self.group, self.position, &self.membership);
        file.write_at(0, &header).map_err(io_error_at("cannot write to", &self.temporary, 0))?;
        self.end = header.len() as u64;
        Ok(())
    }

    /// Goes on with the file that an earlier writer of the same snapshot, whose content has
    /// `announced` bytes, has left: with all its chunks up to the first that is not whole.
    pub(crate) fn resume(&mut self, announced: u64) -> Result<(), SnapshotError> {
        let file = match self.disk.open(&self.temporary) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(why) => return Err(io_error("cannot open", &self.temporary)(why)),
        };
        let length = file.len().map_err(io_error("cannot measure", &self.temporary))?;
        let expected = header(self.group, self.position, &self.membership);
        let mut found = vec![0; expected.len()];
        if length < found.len() as u64 || self.read(&*file, 0, &mut found)? != expected {
            file.set_len(0).map_err(io_error("cannot empty", &self.temporary))?;
            return self.begin(&file);
        }
        self.end = expected.len() as u64;
        while self.bytes < announced {
            let content = (announced - self.bytes).min(CHUNK as u64) as usize;
            let Some((field, content)) = self.next_chunk(&*file, length, content)? else { break };
            self.checksum = crc32c::crc32c_append(self.checksum, &content);
            self.bytes += content.len() as u64;
            self.end += (CHUNK_HEAD + stored_length(field)) as u64;
            self.chunks.push(field);
        }
        file.set_len(self.end).map_err(io_error_at("cannot cut", &self.temporary, self.end))?;
        self.file = Some(file);
        Ok(())
    }

    /// The chunk at the end of what was read so far, where it is whole.
    fn next_chunk(
        &self,
        file: &dyn DiskFile,
        length: u64,
        content: usize,
    ) -> Result<Option<(u32, Bytes)>, SnapshotError> {
        let mut head = [0; CHUNK_HEAD];
        if length < self.end + CHUNK_HEAD as u64 {
            return Ok(None);
        }
        self.read(file, self.end, &mut head)?;
        let field = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let whole = CHUNK_HEAD + stored_length(field);
        if stored_length(field) > CHUNK || length < self.end + whole as u64 {
            return Ok(None);
        }
        let mut chunk = vec![0; whole];
        self.read(file, self.end, &mut chunk)?;
        let chunk = decode_chunk(self.bytes, content, chunk.into());
        Ok(chunk.ok().map(|chunk| (field, chunk)))
    }

    fn read<'a>(
        &self,
        file: &dyn DiskFile,
        offset: u64,
        into: &'a mut [u8],
    ) -> Result<&'a [u8], SnapshotError> {
        read_exact(file, offset, into).map_err(io_error_at(
            "cannot read",
            &self.temporary,
            offset,
        ))?;
        Ok(into)
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.take(data)?;
        Ok(data.len())
    }

    /// Does nothing: only [`SnapshotWriter::finish`] makes a snapshot durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.file.is_some() && self.unfinished == Unfinished::Removed {
            // Where this fails, the store removes the file when it is opened next.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}
