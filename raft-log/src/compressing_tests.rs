//! Frames that turn out to be smaller than their place, and what stands behind them.

use super::*;

fn text(index: u64, bytes: usize) -> String {
    format!("{{\"number\":{index}}},").repeat(bytes / 8)
}

/// Nothing is kept in memory, so that every read needs the places.
fn uncached() -> LogOptions {
    LogOptions { cache_bytes: 0, compress_above_bytes: 100, ..options() }
}

#[test]
fn compressed_entries_are_read_from_where_they_stand_now_and_after_a_power_failure() {
    for fill in 0..3 {
        let disk = SimDisk::new(1);
        let (mut log, _) = open_with(&disk, uncached());
        let other = GroupId(2);
        for group in [G, other] {
            log.create_group(group, membership());
        }
        let mut expected = Vec::new();
        for index in 1..=60 {
            // Large and small ones of two groups by turns, several frames in a job.
            let next = entry(1, index, &text(index, [2000, 8, 150][(index % 3) as usize]));
            expected.push(next.clone());
            log.stage(G, append(index, vec![next.clone()]));
            log.stage(other, append(index, vec![next]));
            if index % (fill + 1) == 0 {
                flush(&mut log);
            }
        }
        flush(&mut log);
        assert_eq!(read(&log, 1, 60), expected);
        let stats = log.stats();
        let bytes: usize = expected.iter().map(|entry| entry.payload.len()).sum();
        assert!(stats.saved_bytes as usize > bytes, "{stats:?}");
        assert!(log.tail.offset < 1 << 16 && log.tail.epoch <= 5, "{:?}", log.tail);
        disk.crash_power();
        let (log, _) = open_with(&disk, uncached());
        assert_eq!(read(&log, 1, 60), expected);
        assert_eq!(log.damage(), []);
    }
}

#[test]
fn noise_stays_as_it_is() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, uncached());
    log.create_group(G, membership());
    let mut random = raft_core::Random::new(1);
    let payload: Vec<u8> = (0..5000).map(|_| random.below(256) as u8).collect();
    let entry = Entry { payload: payload.into(), ..entry(1, 1, "") };
    log.stage(G, append(1, vec![entry.clone()]));
    flush(&mut log);
    assert_eq!((read(&log, 1, 1), log.stats().saved_bytes), (vec![entry], 0));
}

#[test]
fn a_write_counts_the_bytes_that_go_to_the_disk() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, uncached());
    log.create_group(G, membership());
    flush(&mut log);
    log.stage(G, append(1, vec![entry(1, 1, &text(1, 20_000))]));
    let before = disk.counts().written_bytes;
    let job = log.next_job().unwrap();
    let uncompressed = job.bytes();
    let written = job.write();
    let bytes = written.bytes();
    log.complete(written.sync()).unwrap();
    assert_eq!(disk.counts().written_bytes - before, bytes as u64);
    assert!(bytes < uncompressed / 2 && uncompressed > 20_000, "{bytes} of {uncompressed}");
    assert!(log.stats().saved_bytes as usize >= uncompressed - bytes);
}
