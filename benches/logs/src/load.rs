//! What is asked of every log, and how it is counted.

use std::any::Any;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::SEGMENT_BYTES;

/// The bytes of an entry's payload.
pub(crate) const PAYLOAD: usize = 256;

/// How long a log runs before it is measured, at least: as long as it takes until files
/// are in use again, where it uses them again.
const WARM_UP: Duration = Duration::from_millis(300);
const WARM_UP_BYTES: u64 = 3 * SEGMENT_BYTES;
const WARM_UP_AT_MOST: Duration = Duration::from_secs(1);

/// So many appends are outstanding, each of so many entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) outstanding: usize,
    pub(crate) batch: usize,
}

/// What a measurement has found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) entries_per_second: f64,
    pub(crate) written_per_payload: f64,
}

/// A log that was opened again.
pub(crate) struct Opened {
    pub(crate) took: Duration,
    /// What tells where the entries stand.
    pub(crate) index_bytes: usize,
    /// The log itself, which stays open.
    pub(crate) held: Box<dyn Any>,
}

/// Counts from the end of the warming up to the end of the measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    time: Duration,
    begun: Instant,
    entries: u64,
    measuring: Option<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    entries: u64,
    written: u64,
}

impl Meter {
    pub(crate) fn new(time: Duration) -> Self {
        Self { time, begun: Instant::now(), entries: 0, measuring: None }
    }

    /// So many more entries are durable, and so many bytes have been written so far. The
    /// result, once it is time.
    pub(crate) fn durable(&mut self, entries: u64, written: u64) -> Option<Measured> {
        self.entries += entries;
        let now = Instant::now();
        let Some(mark) = self.measuring else {
            let so_far = now - self.begun;
            let is_warm = so_far >= WARM_UP && self.entries * PAYLOAD as u64 >= WARM_UP_BYTES;
            if is_warm || so_far >= WARM_UP_AT_MOST {
                self.measuring = Some(Mark { at: now, entries: self.entries, written });
            }
            return None;
        };
        let elapsed = now - mark.at;
        (elapsed >= self.time).then(|| {
            let entries = (self.entries - mark.entries) as f64;
            Measured {
                entries_per_second: entries / elapsed.as_secs_f64(),
                written_per_payload: (written - mark.written) as f64 / (entries * PAYLOAD as f64),
            }
        })
    }
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
