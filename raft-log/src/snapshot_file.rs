//! The bytes of a snapshot file: see `FORMAT.md`.

use std::path::Path;

use bytes::{Buf, BufMut, BytesMut};
use raft_core::{GroupId, Index, Membership, Position, SnapshotMeta, Term};

use crate::disk::{DiskFile, read_exact};
use crate::snapshot_error::{SnapshotError, io_error};

/// Content between two checksums.
pub(crate) const CHUNK: usize = 64 << 10;
/// What a chunk takes up beyond its content.
pub(crate) const CHUNK_CHECKSUM: usize = 4;
const MAGIC: u32 = u32::from_le_bytes(*b"RSNP");
const END_MAGIC: u32 = u32::from_le_bytes(*b"RSNE");
const VERSION: u8 = 1;
const HEADER_FIXED: usize = 44;
const FOOTER: usize = 20;

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
    let crc = crc32c::crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

/// A snapshot file's end; it exists only in complete files.
pub(crate) fn footer(bytes: u64, checksum: u32) -> BytesMut {
    let mut out = BytesMut::with_capacity(FOOTER);
    out.put_u32_le(0);
    out.put_u32_le(END_MAGIC);
    out.put_u64_le(bytes);
    out.put_u32_le(checksum);
    let crc = crc32c::crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Where the chunk that holds content byte `offset` begins in a file whose header has
/// this length.
pub(crate) const fn chunk_place(header: u64, offset: u64) -> u64 {
    header + offset / CHUNK as u64 * (CHUNK + CHUNK_CHECKSUM) as u64
}

/// What a complete file says about itself, and the length of its header.
pub(crate) fn read_ends(
    file: &dyn DiskFile,
    path: &Path,
) -> Result<(GroupId, SnapshotMeta, u64), SnapshotError> {
    let damaged = |offset, what| SnapshotError::Damaged { file: path.to_owned(), offset, what };
    let length = file.len().map_err(io_error("cannot measure", path))?;
    if length < (HEADER_FIXED + FOOTER) as u64 {
        return Err(damaged(length, "it is too short for a snapshot"));
    }
    let mut fixed = [0; HEADER_FIXED];
    read_exact(file, 0, &mut fixed).map_err(io_error("cannot read", path))?;
    let mut from = &fixed[4..];
    if from.get_u32_le() != MAGIC {
        return Err(damaged(4, "it does not begin like a snapshot"));
    }
    let version = from.get_u8();
    if version != VERSION {
        return Err(SnapshotError::UnknownFormat { file: path.to_owned(), version });
    }
    from.advance(3);
    let chunk = from.get_u32_le() as usize;
    let group = GroupId(from.get_u64_le());
    let position = Position { term: Term(from.get_u64_le()), index: Index(from.get_u64_le()) };
    let header = HEADER_FIXED as u64 + u64::from(from.get_u32_le());
    if length < header + FOOTER as u64 {
        return Err(damaged(length, "it ends within its header"));
    }
    let mut whole = vec![0; header as usize];
    read_exact(file, 0, &mut whole).map_err(io_error("cannot read", path))?;
    if crc32c::crc32c(&whole[4..]) != (&whole[..4]).get_u32_le() || chunk != CHUNK {
        return Err(damaged(0, "the checksum of its header does not fit"));
    }
    let membership = Membership::decode(&whole[HEADER_FIXED..])
        .map_err(|_| damaged(HEADER_FIXED as u64, "its membership cannot be decoded"))?;
    let (bytes, checksum) = read_footer(file, path, length)?;
    if length != content_end(header, bytes) + FOOTER as u64 {
        return Err(damaged(length, "its length is not what its end says"));
    }
    Ok((group, SnapshotMeta { position, membership, bytes, checksum }, header))
}

fn read_footer(file: &dyn DiskFile, path: &Path, length: u64) -> Result<(u64, u32), SnapshotError> {
    let at = length - FOOTER as u64;
    let mut footer = [0; FOOTER];
    read_exact(file, at, &mut footer).map_err(io_error("cannot read", path))?;
    let mut from = &footer[..];
    let crc = from.get_u32_le();
    if crc32c::crc32c(from) != crc || from.get_u32_le() != END_MAGIC {
        let what = "the checksum of its end does not fit";
        return Err(SnapshotError::Damaged { file: path.to_owned(), offset: at, what });
    }
    Ok((from.get_u64_le(), from.get_u32_le()))
}

fn content_end(header: u64, bytes: u64) -> u64 {
    let checksums = bytes.div_ceil(CHUNK as u64) * CHUNK_CHECKSUM as u64;
    header.saturating_add(bytes).saturating_add(checksums)
}
