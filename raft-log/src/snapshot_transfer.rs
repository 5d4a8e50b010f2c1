//! Writing, receiving and reading one snapshot. All of it is slow work for a thread
//! that may wait.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use raft_core::{GroupId, Membership, Position, SnapshotMeta};

use crate::disk::{Disk, DiskFile, read_exact};
use crate::snapshot_error::{SnapshotError, io_error, sync_error};
use crate::snapshot_file::{CHUNK, CHUNK_CHECKSUM, chunk_place, footer, header};

/// Writes the content of a new snapshot; see [`crate::SnapshotStore::writer`].
///
/// The file has a temporary name until [`SnapshotWriter::finish`]; a writer that is
/// dropped before that leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotWriter {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) temporary: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) group: GroupId,
    pub(crate) position: Position,
    pub(crate) membership: Membership,
    /// Created with the first byte, by the thread that writes it.
    file: Option<Arc<dyn DiskFile>>,
    /// Where the next chunk goes.
    end: u64,
    chunk: Vec<u8>,
    bytes: u64,
    checksum: u32,
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
            end: 0,
            chunk: Vec::with_capacity(CHUNK + CHUNK_CHECKSUM),
            bytes: 0,
            checksum: 0,
        }
    }

    /// How many bytes of content have been taken so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Completes the snapshot and makes it durable under its name. What it returns is
    /// to be given to [`crate::SnapshotStore::add`].
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the snapshot does not exist then.
    pub fn finish(mut self) -> Result<SnapshotMeta, SnapshotError> {
        self.write_chunk()?;
        let footer = footer(self.bytes, self.checksum);
        self.append(&footer)?;
        let file = self.file()?;
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

    fn take(&mut self, mut data: &[u8]) -> Result<(), SnapshotError> {
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
        let crc = crc32c::crc32c(&self.chunk);
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.extend_from_slice(&crc.to_le_bytes());
        self.append(&chunk)?;
        chunk.clear();
        self.chunk = chunk;
        Ok(())
    }

    fn append(&mut self, data: &[u8]) -> Result<(), SnapshotError> {
        let file = self.file()?;
        file.write_at(self.end, data).map_err(io_error("cannot write to", &self.temporary))?;
        self.end += data.len() as u64;
        Ok(())
    }

    fn file(&mut self) -> Result<Arc<dyn DiskFile>, SnapshotError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.create(&self.temporary);
        let file = file.map_err(io_error("cannot create", &self.temporary))?;
        self.file = Some(Arc::clone(&file));
        let header = header(self.group, self.position, &self.membership);
        file.write_at(0, &header).map_err(io_error("cannot write to", &self.temporary))?;
        self.end = header.len() as u64;
        Ok(file)
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
        if self.file.is_some() {
            // Where this fails, the store removes the file when it is opened next.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

/// Receives a snapshot piece by piece; see [`crate::SnapshotStore::receiver`].
#[derive(Debug)]
pub struct SnapshotReceiver {
    pub(crate) writer: SnapshotWriter,
    pub(crate) announced: SnapshotMeta,
}

impl SnapshotReceiver {
    /// The snapshot that is being received.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.announced
    }

    /// Everything below it has arrived.
    #[must_use]
    pub const fn next_offset(&self) -> u64 {
        self.writer.bytes
    }

    /// True when [`SnapshotReceiver::finish`] can be called.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.writer.bytes == self.announced.bytes
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
        let next = self.writer.bytes;
        if offset <= next && end > next {
            self.writer.take(&data[(next - offset) as usize..])?;
        }
        Ok(self.writer.bytes)
    }

    /// Checks that everything has arrived as it was announced, and makes it durable.
    /// What it returns is to be given to [`crate::SnapshotStore::add`].
    ///
    /// # Errors
    /// [`SnapshotError::NotAsAnnounced`], [`SnapshotError::Io`]; the snapshot does not
    /// exist then.
    pub fn finish(self) -> Result<SnapshotMeta, SnapshotError> {
        let arrived = self.is_complete() && self.writer.checksum == self.announced.checksum;
        if arrived { self.writer.finish() } else { Err(self.not_as_announced(self.writer.bytes)) }
    }

    fn not_as_announced(&self, bytes: u64) -> SnapshotError {
        SnapshotError::NotAsAnnounced {
            bytes,
            checksum: self.writer.checksum,
            announced_bytes: self.announced.bytes,
            announced_checksum: self.announced.checksum,
        }
    }
}

/// Reads the content of a snapshot, checking every chunk; see
/// [`crate::SnapshotStore::reader`]. It goes on working when the snapshot is removed.
#[derive(Debug)]
pub struct SnapshotReader {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) meta: SnapshotMeta,
    /// The length of the file's header.
    pub(crate) header: u64,
    pub(crate) offset: u64,
    /// The chunk that was read last, and where its content begins.
    pub(crate) chunk: Option<(u64, Bytes)>,
}

impl SnapshotReader {
    /// What is read.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Up to `max` bytes of content from `offset` on, and their CRC32C; nothing at the
    /// end of the content.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`], [`SnapshotError::Io`].
    pub fn read_chunk(&mut self, offset: u64, max: usize) -> Result<(Bytes, u32), SnapshotError> {
        let end = self.meta.bytes.min(offset.saturating_add(max as u64));
        let mut out = BytesMut::with_capacity(end.saturating_sub(offset) as usize);
        let mut at = offset;
        while at < end {
            let (start, chunk) = self.chunk_at(at)?;
            let stop = chunk.len().min((end - start) as usize);
            out.extend_from_slice(&chunk[(at - start) as usize..stop]);
            at = start + stop as u64;
        }
        let out = out.freeze();
        let crc = crc32c::crc32c(&out);
        Ok((out, crc))
    }

    /// Reads everything and checks it against the checksums.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`], [`SnapshotError::Io`].
    pub fn verify(&mut self) -> Result<(), SnapshotError> {
        let (mut at, mut checksum) = (0, 0);
        while at < self.meta.bytes {
            let (start, chunk) = self.chunk_at(at)?;
            checksum = crc32c::crc32c_append(checksum, &chunk);
            at = start + chunk.len() as u64;
        }
        if checksum == self.meta.checksum {
            return Ok(());
        }
        let what = "its chunks are whole, but not the content they should make up";
        Err(SnapshotError::Damaged { file: self.path.clone(), offset: 0, what })
    }

    /// The chunk with content byte `offset`, and where its content begins.
    fn chunk_at(&mut self, offset: u64) -> Result<(u64, Bytes), SnapshotError> {
        let start = offset - offset % CHUNK as u64;
        if let Some((_, chunk)) = self.chunk.as_ref().filter(|(at, _)| *at == start) {
            return Ok((start, chunk.clone()));
        }
        let content = (self.meta.bytes - start).min(CHUNK as u64) as usize;
        let place = chunk_place(self.header, offset);
        let mut chunk = BytesMut::zeroed(content + CHUNK_CHECKSUM);
        read_exact(&*self.file, place, &mut chunk).map_err(io_error("cannot read", &self.path))?;
        let crc = chunk.split_off(content);
        if crc32c::crc32c(&chunk).to_le_bytes() != crc[..] {
            let what = "the checksum of a chunk does not fit";
            return Err(SnapshotError::Damaged { file: self.path.clone(), offset: place, what });
        }
        let chunk = chunk.freeze();
        self.chunk = Some((start, chunk.clone()));
        Ok((start, chunk))
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.offset >= self.meta.bytes || into.is_empty() {
            return Ok(0);
        }
        let (start, chunk) = self.chunk_at(self.offset)?;
        let from = &chunk[(self.offset - start) as usize..];
        let read = from.len().min(into.len());
        into[..read].copy_from_slice(&from[..read]);
        self.offset += read as u64;
        Ok(read)
    }
}
