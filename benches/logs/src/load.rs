//! What is asked of every log, and how it is counted.

use std::any::Any;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::Outcome;

/// The bytes of an entry's payload.
pub(crate) const PAYLOAD: usize = 256;

/// So many appends are outstanding, each of so many entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) outstanding: usize,
    pub(crate) batch: usize,
}

/// What a log has done in one slice of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) elapsed: Duration,
    pub(crate) entries: u64,
    /// Bytes.
    pub(crate) written: u64,
}

/// A log under one load, which it works at in slices of time, by turns with others.
pub(crate) trait Writer {
    /// Works for about this long, and then until nothing is under way.
    fn run(&mut self, time: Duration) -> Outcome<Slice>;
}

/// A log that was opened again.
pub(crate) struct Opened {
    pub(crate) took: Duration,
    /// What tells where the entries stand.
    pub(crate) index_bytes: usize,
    /// The log itself, which stays open.
    pub(crate) held: Box<dyn Any>,
}

/// Payloads that nobody can compress: each has bytes of its own.
#[derive(Debug)]
pub(crate) struct Payloads(u64);

impl Payloads {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> [u8; PAYLOAD] {
        let mut payload = [0; PAYLOAD];
        for word in payload.as_chunks_mut::<8>().0 {
            // Xorshift: cheap beside what is measured.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *word = self.0.to_le_bytes();
        }
        payload
    }
}

/// What this process has in memory.
pub(crate) fn resident_bytes() -> u64 {
    field("VmRSS:").unwrap_or(0) * 1024
}

/// The most that this process has had in memory.
pub(crate) fn peak_bytes() -> u64 {
    field("VmHWM:").unwrap_or(0) * 1024
}

fn field(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// An empty folder, and a disk that has nothing left to write for anybody.
pub(crate) fn fresh(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(dir)?,
    }
    rustix::fs::sync();
    Ok(())
}
