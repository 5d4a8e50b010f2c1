//! Memory that a disk can take without copying it.

use crate::frame::BLOCK;

/// Larger ones are given back after a write: one huge write must not hold memory for ever.
const KEPT_BYTES: usize = 4 << 20;

/// Bytes that begin on a block's boundary in memory, as writes past the page cache demand.
/// It is used for one write after the other, which saves the system from clearing the
/// memory each time.
#[derive(Debug, Default)]
pub(crate) struct BlockBuffer {
    memory: Vec<u8>,
    start: usize,
}

impl BlockBuffer {
    /// Empties it and makes room for so many bytes, rounded up to blocks.
    pub(crate) fn clear_for(&mut self, bytes: usize) {
        self.memory.clear();
        if self.memory.capacity() > KEPT_BYTES {
            self.memory = Vec::new();
        }
        self.memory.reserve(bytes.next_multiple_of(BLOCK as usize) + BLOCK as usize);
        self.start = self.memory.as_ptr().align_offset(BLOCK as usize);
        self.memory.resize(self.start, 0);
    }

    /// How many bytes are in it.
    pub(crate) fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    /// Where to append. Whoever appends more than was announced may move the content off
    /// its boundary, which costs a copy and nothing else.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// The content, as it is.
    pub(crate) fn content(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    /// The content, with zeros up to the end of its last block: a block is written as a
    /// whole, so that nothing has to be read for the rest of it and none of what stood
    /// there before is left.
    pub(crate) fn whole_blocks(&mut self) -> &[u8] {
        let bytes = self.len().next_multiple_of(BLOCK as usize);
        self.memory.resize(self.start + bytes, 0);
        &self.memory[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_begins_and_ends_with_a_block_whatever_stood_there_before() {
        let mut buffer = BlockBuffer::default();
        for bytes in [1, 4096, 5000, 1 << 20, 70, KEPT_BYTES + 1, 9] {
            buffer.clear_for(bytes);
            buffer.end().extend(std::iter::repeat_n(7, bytes));
            assert_eq!(buffer.len(), bytes);
            let blocks = buffer.whole_blocks();
            assert_eq!(blocks.as_ptr().align_offset(BLOCK as usize), 0);
            assert_eq!(blocks.len(), bytes.next_multiple_of(4096));
            assert!(blocks[..bytes].iter().all(|byte| *byte == 7));
            assert!(blocks[bytes..].iter().all(|byte| *byte == 0));
        }
        buffer.clear_for(9);
        assert!(buffer.memory.capacity() < KEPT_BYTES, "a large one is given back");
    }
}
