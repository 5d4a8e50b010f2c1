//! The least that can be called a group commit: one file that was filled with zeros, one
//! write and one sync for all that waits. No recovery, no index, no groups.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::SEGMENT_BYTES;
use crate::load::{Load, Measured, Meter, Payloads, fresh};

/// The file is used from its beginning again when it is full.
const BYTES: u64 = 4 * SEGMENT_BYTES;
const BLOCK: usize = 4096;

pub(crate) fn measure(dir: &Path, load: Load, time: Duration) -> io::Result<Measured> {
    fresh(dir)?;
    let file = File::create_new(dir.join("bare"))?;
    for step in 0..BYTES >> 20 {
        file.write_all_at(&[0; 1 << 20], step << 20)?;
    }
    file.sync_all()?;
    let mut payloads = Payloads::new(1);
    let mut meter = Meter::new(time);
    let entries = load.outstanding * load.batch;
    let (mut offset, mut index, mut written) = (0, 0_u64, 0);
    let mut out = Vec::new();
    loop {
        out.clear();
        for _ in 0..entries {
            index += 1;
            let payload = payloads.next();
            out.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
            out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            out.extend_from_slice(&index.to_le_bytes());
            out.extend_from_slice(&payload);
        }
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        if offset + out.len() as u64 > BYTES {
            offset = 0;
        }
        file.write_all_at(&out, offset)?;
        rustix::fs::fdatasync(&file)?;
        offset += out.len() as u64;
        written += out.len() as u64;
        if let Some(measured) = meter.durable(entries as u64, written) {
            return Ok(measured);
        }
    }
}
