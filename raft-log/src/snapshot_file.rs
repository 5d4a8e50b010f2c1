//! The bytes of a snapshot file: see `FORMAT.md`.

use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_core::{GroupId, Index, Membership, Position, SnapshotMeta, Term};

use crate::disk::{DiskFile, read_exact};
use crate::snapshot_chunk::{CHUNK, CHUNK_HEAD, stored_length};
use crate::snapshot_error::{SnapshotError, io_error, io_error_at};

const MAGIC: u32 = u32::from_le_bytes(*b"RSNP");
const END_MAGIC: u32 = u32::from_le_bytes(*b"RSNE");
/// Chunks as they are, each followed by its checksum. Read, and not written any more.
const UNCOMPRESSED: u8 = 1;
/// Chunks of their own length each, compressed where that makes them smaller.
const VERSION: u8 = 2;
const HEADER_FIXED: usize = 44;
const END_OF_UNCOMPRESSED: usize = 20;
const END: usize = 24;
/// What a chunk of an uncompressed file takes up beyond its content.
pub(crate) const CHUNK_CHECKSUM: usize = 4;

/// What a complete snapshot file says about itself.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) group: GroupId,
    pub(crate) meta: SnapshotMeta,
    pub(crate) layout: Layout,
}

/// Where the chunks of a file stand.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// Format 1: behind a header of this length, all of the same size.
    Even {
        /// The length of the header.
        header: u64,
    },
    /// Format 2: where each begins, and at last where the last one ends.
    Listed(Arc<[u64]>),
}

/// A snapshot file's beginning.
pub(crate) fn header(group: GroupId, position: Position, membership: &Membership) -> BytesMut {
    let membership = membership.encode();
    let mut out = BytesMut::with_capacity(HEADER_FIXED + membership.len());
    out.put_u32_le(0);
    out.put_u32_le(MAGIC);
    out.put_u8(VERSION);
    out.put_bytes(0, 3);
    out.put_u32_le(CHUNK as u32);
    out.put_u64_le(group.0);
    out.put_u64_le(position.term.0);
    out.put_u64_le(position.index.0);
    out.put_u32_le(u32::try_from(membership.len()).expect("a membership below 4 GiB"));
    out.put_slice(&membership);
    sign(&mut out);
    out
}

/// A snapshot file's end, with the list of its chunks; it exists only in complete files.
pub(crate) fn end(bytes: u64, checksum: u32, chunks: &[u32]) -> BytesMut {
    let mut out = BytesMut::with_capacity(chunks.len() * 4 + END);
    chunks.iter().for_each(|chunk| out.put_u32_le(*chunk));
    let of_list = crc32c::crc32c(&out);
    let mut end = out.split_off(out.len());
    end.put_u32_le(0);
    end.put_u32_le(END_MAGIC);
    end.put_u64_le(bytes);
    end.put_u32_le(checksum);
    end.put_u32_le(of_list);
    sign(&mut end);
    out.unsplit(end);
    out
}

/// Puts the checksum of all that follows into the first four bytes.
fn sign(out: &mut [u8]) {
    let crc = crc32c::crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// What a complete file says about itself.
pub(crate) fn read_ends(file: &dyn DiskFile, path: &Path) -> Result<Ends, SnapshotError> {
    let from = Reading { file, path };
    let length = file.len().map_err(io_error("cannot measure", path))?;
    if length < (HEADER_FIXED + END_OF_UNCOMPRESSED) as u64 {
        return Err(from.damaged(length, "it is too short for a snapshot"));
    }
    let fixed = from.bytes(0, HEADER_FIXED as u64)?;
    let mut fields = &fixed[4..];
    if fields.get_u32_le() != MAGIC {
        return Err(from.damaged(4, "it does not begin like a snapshot"));
    }
    let version = fields.get_u8();
    if ![UNCOMPRESSED, VERSION].contains(&version) {
        return Err(SnapshotError::UnknownFormat { file: path.to_owned(), version });
    }
    fields.advance(3);
    let chunk = fields.get_u32_le() as usize;
    let group = GroupId(fields.get_u64_le());
    let position = Position { term: Term(fields.get_u64_le()), index: Index(fields.get_u64_le()) };
    let header = HEADER_FIXED as u64 + u64::from(fields.get_u32_le());
    let end_bytes = if version == UNCOMPRESSED { END_OF_UNCOMPRESSED } else { END };
    if length < header + end_bytes as u64 {
        return Err(from.damaged(length, "it ends within its header"));
    }
    let whole = from.bytes(0, header)?;
    if crc32c::crc32c(&whole[4..]) != (&whole[..4]).get_u32_le() || chunk != CHUNK {
        return Err(from.damaged(0, "the checksum of its header does not fit"));
    }
    let membership = Membership::decode(&whole[HEADER_FIXED..])
        .map_err(|_| from.damaged(HEADER_FIXED as u64, "its membership cannot be decoded"))?;

    let mut end = from.end(length - end_bytes as u64, end_bytes)?;
    let (bytes, checksum) = (end.get_u64_le(), end.get_u32_le());
    let layout = if version == UNCOMPRESSED {
        from.even(header, bytes, length)?
    } else {
        from.listed(header, bytes, length, end.get_u32_le())?
    };
    Ok(Ends { group, meta: SnapshotMeta { position, membership, bytes, checksum }, layout })
}

struct Reading<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
}

impl Reading<'_> {
    fn damaged(&self, offset: u64, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged { file: self.path.to_owned(), offset, what }
    }

    fn bytes(&self, offset: u64, length: u64) -> Result<Bytes, SnapshotError> {
        let mut bytes = BytesMut::zeroed(length as usize);
        read_exact(self.file, offset, &mut bytes).map_err(io_error_at(
            "cannot read",
            self.path,
            offset,
        ))?;
        Ok(bytes.freeze())
    }

    /// What follows the magic of the file's end.
    fn end(&self, at: u64, bytes: usize) -> Result<Bytes, SnapshotError> {
        let mut end = self.bytes(at, bytes as u64)?;
        let crc = end.get_u32_le();
        if crc32c::crc32c(&end) != crc || end.get_u32_le() != END_MAGIC {
            return Err(self.damaged(at, "the checksum of its end does not fit"));
        }
        Ok(end)
    }

    fn even(&self, header: u64, bytes: u64, length: u64) -> Result<Layout, SnapshotError> {
        let checksums = bytes.div_ceil(CHUNK as u64) * CHUNK_CHECKSUM as u64;
        let content = header.saturating_add(bytes).saturating_add(checksums);
        if length != content.saturating_add(END_OF_UNCOMPRESSED as u64) {
            return Err(self.damaged(length, WRONG_LENGTH));
        }
        Ok(Layout::Even { header })
    }

    fn listed(
        &self,
        header: u64,
        bytes: u64,
        length: u64,
        crc: u32,
    ) -> Result<Layout, SnapshotError> {
        let list_bytes = bytes.div_ceil(CHUNK as u64).saturating_mul(4);
        let list_end = length - END as u64;
        let Some(list_at) = list_end.checked_sub(list_bytes).filter(|at| *at >= header) else {
            return Err(self.damaged(length, WRONG_LENGTH));
        };
        let mut list = self.bytes(list_at, list_bytes)?;
        if crc32c::crc32c(&list) != crc {
            return Err(self.damaged(list_at, "the checksum of its list of chunks does not fit"));
        }
        let mut places = Vec::with_capacity(list.len() / 4 + 1);
        let mut at = header;
        places.push(at);
        while list.has_remaining() {
            at += CHUNK_HEAD as u64 + stored_length(list.get_u32_le()) as u64;
            places.push(at);
        }
        if at != list_at {
            return Err(self.damaged(length, WRONG_LENGTH));
        }
        Ok(Layout::Listed(places.into()))
    }
}

const WRONG_LENGTH: &str = "its length is not what its end says";
