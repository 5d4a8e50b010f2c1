//! The least that can be called a group commit: one file that was filled with zeros, one
//! write and one sync for all that waits. No recovery, no index, no groups.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::{Load, Payloads, Slice, Writer, fresh};
use crate::{Outcome, SEGMENT_BYTES};

/// The file is used from its beginning again when it is full.
const BYTES: u64 = 2 * SEGMENT_BYTES;
const BLOCK: usize = 4096;

pub(crate) struct Bare {
    file: File,
    load: Load,
    payloads: Payloads,
    offset: u64,
    index: u64,
    out: Vec<u8>,
}

impl Bare {
    pub(crate) fn open(dir: &Path, load: Load) -> io::Result<Self> {
        fresh(dir)?;
        let file = File::create_new(dir.join("bare"))?;
        for step in 0..BYTES >> 20 {
            file.write_all_at(&[0; 1 << 20], step << 20)?;
        }
        file.sync_all()?;
        let payloads = Payloads::new(1);
        Ok(Self { file, load, payloads, offset: 0, index: 0, out: Vec::new() })
    }

    /// Writes and syncs everything that is outstanding.
    fn commit(&mut self) -> io::Result<()> {
        self.out.clear();
        for _ in 0..self.load.outstanding * self.load.batch {
            self.index += 1;
            let payload = self.payloads.next();
            self.out.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
            self.out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            self.out.extend_from_slice(&self.index.to_le_bytes());
            self.out.extend_from_slice(&payload);
        }
        self.out.resize(self.out.len().next_multiple_of(BLOCK), 0);
        if self.offset + self.out.len() as u64 > BYTES {
            self.offset = 0;
        }
        self.file.write_all_at(&self.out, self.offset)?;
        rustix::fs::fdatasync(&self.file)?;
        self.offset += self.out.len() as u64;
        Ok(())
    }
}

impl Writer for Bare {
    fn run(&mut self, time: Duration) -> Outcome<Slice> {
        let (begun, index) = (Instant::now(), self.index);
        let mut written = 0;
        while begun.elapsed() < time {
            self.commit()?;
            written += self.out.len() as u64;
        }
        Ok(Slice { elapsed: begun.elapsed(), entries: self.index - index, written })
    }
}
