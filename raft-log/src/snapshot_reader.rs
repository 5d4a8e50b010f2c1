//! Reading one snapshot. Slow work for a thread that may wait.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use raft_core::{GroupId, SnapshotMeta};

use crate::disk::{DiskFile, read_exact};
use crate::snapshot_chunk::{CHUNK, decode_chunk};
use crate::snapshot_error::{SnapshotError, io_error, io_error_at};
use crate::snapshot_file::{CHUNK_CHECKSUM, Ends, Layout, read_ends};

/// Reads the content of a snapshot, checking every chunk; see
/// [`crate::SnapshotStore::reader`]. It goes on working when the snapshot is removed.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    meta: SnapshotMeta,
    layout: Layout,
    /// What [`Read`] reads next.
    offset: u64,
    /// The chunk that was read last, and where its content begins.
    chunk: Option<(u64, Bytes)>,
}

impl SnapshotReader {
    /// Opens a complete file, and says whose it is.
    pub(crate) fn open(
        file: Arc<dyn DiskFile>,
        path: &Path,
    ) -> Result<(GroupId, Self), SnapshotError> {
        let Ends { group, meta, layout } = read_ends(&*file, path)?;
        let path = path.to_owned();
        Ok((group, Self { file, path, meta, layout, offset: 0, chunk: None }))
    }

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
        let number = (start / CHUNK as u64) as usize;
        let (place, chunk) = match &self.layout {
            Layout::Even { header } => {
                let whole = CHUNK + CHUNK_CHECKSUM;
                let place = header + (number * whole) as u64;
                let chunk = self.stored(place, content + CHUNK_CHECKSUM)?;
                (place, whole_chunk(chunk, content))
            }
            Layout::Listed(places) => {
                let place = places[number];
                let chunk = self.stored(place, (places[number + 1] - place) as usize)?;
                (place, decode_chunk(start, content, chunk))
            }
        };
        let chunk = chunk.map_err(|what| {
            let file = self.path.clone();
            SnapshotError::Damaged { file, offset: place, what }
        })?;
        self.chunk = Some((start, chunk.clone()));
        Ok((start, chunk))
    }

    fn stored(&self, place: u64, length: usize) -> Result<Bytes, SnapshotError> {
        let mut bytes = BytesMut::zeroed(length);
        read_exact(&*self.file, place, &mut bytes).map_err(io_error_at(
            "cannot read",
            &self.path,
            place,
        ))?;
        Ok(bytes.freeze())
    }

    /// The length of the snapshot's file, in bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn file_bytes(&self) -> Result<u64, SnapshotError> {
        self.file.len().map_err(io_error("cannot measure", &self.path))
    }

    /// Up to `max` bytes of the snapshot's file as it is, from `offset` on; nothing at its
    /// end. Whoever gets all of it can check it by itself.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn read_file(&self, offset: u64, max: usize) -> Result<Bytes, SnapshotError> {
        let mut bytes = BytesMut::zeroed(max);
        let read = self.file.read_at(offset, &mut bytes);
        bytes.truncate(read.map_err(io_error_at("cannot read", &self.path, offset))?);
        Ok(bytes.freeze())
    }
}

/// The content of a chunk of format 1.
fn whole_chunk(mut chunk: Bytes, content: usize) -> Result<Bytes, &'static str> {
    let crc = chunk.split_off(content);
    if crc32c::crc32c(&chunk).to_le_bytes() == crc[..] {
        Ok(chunk)
    } else {
        Err("the checksum of a chunk does not fit")
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
