//! Bytes taken for a little program: whatever they are, it can be run.

/// Reads from the front. Where nothing is left, everything is zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'d>(&'d [u8]);

/// Bytes above this announce a number of eight bytes; the others are a number themselves.
pub(crate) const LARGEST_SMALL: u8 = 0xf0;

impl<'d> Input<'d> {
    pub(crate) const fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// Mostly a small one.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small if small <= LARGEST_SMALL => u64::from(small),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// One that is below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        if limit <= 1 << 8 {
            return usize::from(self.byte()) % limit;
        }
        u32::from_le_bytes(std::array::from_fn(|_| self.byte())) as usize % limit
    }

    /// So many bytes, or as many as are left.
    pub(crate) fn bytes(&mut self, count: usize) -> &'d [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    pub(crate) fn rest(self) -> &'d [u8] {
        self.0
    }
}
