//! What stands in the place of a head in a file that has the name of a segment before it is one.

use bytes::{Buf, BufMut};

use crate::block_buffer::BlockBuffer;
use crate::frame::BLOCK;

/// No frame begins like this, and where a head that takes its place is torn right behind its
/// own magic, what follows names no format that never was.
const MAGIC: &[u8; 4] = b"NX\0\0";

/// Checksum, magic, salt and epoch.
const BYTES: usize = 20;

/// The first block of a file that waits, under the name of the next segment, for its head.
/// Whatever else is in the file was left there by an earlier use: the head takes the place
/// of this, and is durable before anything else is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// That of the run that named the file: no frame with another one is of this segment.
    pub(crate) salt: u32,
    /// That of the name. The file may have got another one since.
    pub(crate) epoch: u64,
}

impl Placeholder {
    /// The whole block.
    pub(crate) fn encode(self) -> BlockBuffer {
        let mut block = BlockBuffer::default();
        block.clear_for(BYTES);
        let mut fields = Vec::with_capacity(BYTES - 4);
        fields.put_slice(MAGIC);
        fields.put_u32_le(self.salt);
        fields.put_u64_le(self.epoch);
        block.end().put_u32_le(crc32c::crc32c(&fields));
        block.end().put_slice(&fields);
        block
    }

    /// That at the beginning of the segment of `epoch`, where there is one for it.
    pub(crate) fn decode(segment: &[u8], epoch: u64) -> Option<Self> {
        let (mut checksum, fields) = segment.get(..BYTES)?.split_at(4);
        let mut rest = fields.strip_prefix(MAGIC)?;
        let found = Self { salt: rest.get_u32_le(), epoch: rest.get_u64_le() };
        let is_intact = checksum.get_u32_le() == crc32c::crc32c(fields);
        let is_whole = segment.len() >= BLOCK as usize;
        (is_intact && is_whole && found.epoch == epoch).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::version_of;

    #[test]
    fn it_is_what_was_written_for_this_epoch_and_no_bit_may_be_another() {
        let placeholder = Placeholder { salt: 77, epoch: 9 };
        let mut block = placeholder.encode().whole_blocks().to_vec();
        assert_eq!(block.len() as u64, BLOCK);
        assert_eq!(Placeholder::decode(&block, 9), Some(placeholder));
        assert_eq!(Placeholder::decode(&block, 8), None);
        assert_eq!(Placeholder::decode(&block[..BLOCK as usize - 1], 9), None);
        assert_eq!(version_of(&block), None);
        let torn: Vec<u8> = b"head\x52\x4c".iter().chain(&block[6..]).copied().collect();
        assert_eq!(version_of(&torn), Some(0));
        for bit in 0..BYTES * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Placeholder::decode(&block, 9), None, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
