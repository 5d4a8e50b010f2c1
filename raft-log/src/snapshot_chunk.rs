//! The chunks of a snapshot file of format 2, and the pieces in which a snapshot travels:
//! both hold what they hold compressed where that makes it smaller.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::snapshot_error::SnapshotError;

/// Content between two checksums.
pub(crate) const CHUNK: usize = 64 << 10;
/// What stands before a chunk's stored bytes: checksum and length.
pub(crate) const CHUNK_HEAD: usize = 8;

/// Set in the length of a chunk whose bytes are compressed.
const COMPRESSED: u32 = 1 << 31;

/// The first byte of a piece that stands as it is.
const AS_IT_IS: u8 = 0;
/// The first byte of a piece that is compressed; its length before that follows.
const LZ4: u8 = 1;
/// No piece makes more than this, whatever it claims.
const MAX_PIECE_BYTES: usize = 256 << 20;

/// How many bytes a chunk with this length field has stored.
pub(crate) const fn stored_length(field: u32) -> usize {
    (field & !COMPRESSED) as usize
}

/// `content` compressed into a buffer that is used again and again; nothing where that
/// would not be smaller.
fn compress<'a>(content: &[u8], into: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    into.resize(lz4_flex::block::get_maximum_output_size(content.len()), 0);
    let length = lz4_flex::block::compress_into(content, into).ok()?;
    (length < content.len()).then(|| &into[..length])
}

/// Appends the chunk with this content, which begins at `offset` of the snapshot's, and
/// answers its length field.
pub(crate) fn encode_chunk(
    offset: u64,
    content: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> u32 {
    let (stored, flag) = match compress(content, scratch) {
        Some(compressed) => (compressed, COMPRESSED),
        None => (content, 0),
    };
    let field = flag | u32::try_from(stored.len()).expect("a chunk is small");
    out.put_u32_le(checksum(offset, field, stored));
    out.put_u32_le(field);
    out.put_slice(stored);
    field
}

/// The checksum of a chunk covers where it belongs, so that one in another's place is none.
fn checksum(offset: u64, field: u32, stored: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), &field.to_le_bytes());
    crc32c::crc32c_append(crc, stored)
}

/// The content of the chunk that begins at `offset` of the snapshot's content and has this
/// many bytes of it; says what is wrong otherwise.
pub(crate) fn decode_chunk(
    offset: u64,
    content: usize,
    mut chunk: Bytes,
) -> Result<Bytes, &'static str> {
    if chunk.len() < CHUNK_HEAD {
        return Err("a chunk is cut off");
    }
    let (crc, field) = (chunk.get_u32_le(), chunk.get_u32_le());
    if stored_length(field) != chunk.len() || checksum(offset, field, &chunk) != crc {
        return Err("the checksum of a chunk does not fit");
    }
    let chunk = if field & COMPRESSED == 0 {
        chunk
    } else {
        decompress(&chunk, content).ok_or("a chunk cannot be decompressed")?
    };
    if chunk.len() == content { Ok(chunk) } else { Err("a chunk has another length") }
}

fn decompress(stored: &[u8], content: usize) -> Option<Bytes> {
    let mut out = BytesMut::zeroed(content);
    let length = lz4_flex::block::decompress_into(stored, &mut out).ok()?;
    (length == content).then(|| out.freeze())
}

/// A piece of a snapshot as it travels: its content, compressed where that is smaller.
#[must_use]
pub fn pack_piece(content: &Bytes) -> Bytes {
    let mut scratch = Vec::new();
    let compressed = compress(content, &mut scratch);
    let mut out = BytesMut::with_capacity(5 + compressed.map_or(content.len(), <[u8]>::len));
    match compressed {
        Some(compressed) => {
            out.put_u8(LZ4);
            out.put_u32_le(u32::try_from(content.len()).expect("a piece is below 4 GiB"));
            out.put_slice(compressed);
        }
        None => {
            out.put_u8(AS_IT_IS);
            out.put_slice(content);
        }
    }
    out.freeze()
}

/// The content of a piece that belongs at `offset`.
///
/// # Errors
/// [`SnapshotError::BadPiece`] where it is none.
pub fn unpack_piece(offset: u64, mut piece: Bytes) -> Result<Bytes, SnapshotError> {
    let bad = || SnapshotError::BadPiece { offset };
    if !piece.has_remaining() {
        return Err(bad());
    }
    match piece.get_u8() {
        AS_IT_IS => Ok(piece),
        LZ4 if piece.len() >= 4 => {
            let content = piece.get_u32_le() as usize;
            // LZ4 makes 255 bytes of one at most, which bounds what is believed.
            if content > MAX_PIECE_BYTES || content / 255 > piece.len() {
                return Err(bad());
            }
            decompress(&piece, content).ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use raft_core::Random;

    use super::*;

    fn noise(bytes: usize) -> Bytes {
        let mut random = Random::new(bytes as u64);
        (0..bytes).map(|_| random.next_u64() as u8).collect()
    }

    #[test]
    fn a_piece_is_packed_where_that_is_smaller_and_comes_out_as_it_was() {
        for content in [Bytes::new(), noise(1), noise(70_000), Bytes::from(vec![7; 70_000])] {
            let packed = pack_piece(&content);
            assert_eq!(unpack_piece(0, packed.clone()).unwrap(), content);
            let smaller = content.len() > 1 && content[0] == content[1];
            assert_eq!(packed.len() < content.len(), smaller, "{} bytes", content.len());
            assert!(packed.len() <= content.len() + 1);
        }
    }

    #[test]
    fn what_is_no_piece_is_refused_and_takes_no_memory() {
        let mut huge = vec![LZ4];
        huge.extend_from_slice(&u32::MAX.to_le_bytes());
        huge.extend_from_slice(&[0; 20]);
        let cases = [Vec::new(), vec![9], vec![LZ4], vec![LZ4, 1, 0, 0, 0], huge];
        for case in cases {
            let error = unpack_piece(5, case.clone().into()).unwrap_err();
            assert!(matches!(error, SnapshotError::BadPiece { offset: 5 }), "{case:?}");
        }
        let mut random = Random::new(3);
        let good = pack_piece(&Bytes::from(vec![1; 5000]));
        for _ in 0..2000 {
            let mut bad = good.to_vec();
            let at = random.below(bad.len() as u64) as usize;
            bad[at] ^= 1 << random.below(8);
            if let Ok(content) = unpack_piece(0, bad.into()) {
                assert!(content.len() <= MAX_PIECE_BYTES);
            }
        }
    }

    #[test]
    fn a_chunk_in_another_chunks_place_is_none() {
        let (content, mut out) = (noise(100), Vec::new());
        encode_chunk(0, &content, &mut Vec::new(), &mut out);
        let chunk = Bytes::from(out);
        assert_eq!(decode_chunk(0, 100, chunk.clone()), Ok(content));
        assert!(decode_chunk(CHUNK as u64, 100, chunk.clone()).is_err());
        assert!(decode_chunk(0, 99, chunk).is_err());
    }
}
