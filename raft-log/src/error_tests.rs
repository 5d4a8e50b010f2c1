//! Errors say what was done to which file, and where; whose entries they concern, and what
//! can be done about it.

use std::io::ErrorKind;

use super::*;
use crate::SyncMethod;

fn uncached() -> LogOptions {
    LogOptions { cache_bytes: 0, ..options() }
}

/// A log that holds entries 1 to 5, none of them in memory.
fn log(disk: &SimDisk, sync_method: SyncMethod) -> WriteAheadLog {
    let (mut log, _) = open_with(disk, LogOptions { sync_method, ..uncached() });
    log.create_group(G, membership());
    log.stage(G, append(1, big(1, 1, 5)));
    flush(&mut log);
    log
}

#[test]
fn a_failed_read_says_which_entries_of_which_group_stand_where() {
    let disk = SimDisk::new(1);
    let log = log(&disk, SyncMethod::Direct);
    let Read::Later(job) = log.read(G, Index(2), Index(3), 1) else { panic!("in memory") };
    disk.fail_reads_after(0, 1);
    let text = job.run().unwrap_err().to_string();
    let place = "cannot read log/0000000000000001.log at byte 4272 (group 1, up to index 5): ";
    assert!(text.starts_with(place), "{text}");
    assert!(text.ends_with("start it again when the disk works"), "{text}");
}

#[test]
fn a_failed_write_or_sync_says_where_it_began() {
    for (sync_method, failing_sync, doing) in [
        (SyncMethod::Fdatasync, true, "cannot sync"),
        (SyncMethod::Fdatasync, false, "cannot write to"),
        (SyncMethod::Direct, false, "cannot write to"),
    ] {
        let disk = SimDisk::new(1);
        let mut log = log(&disk, sync_method);
        log.stage(G, append(2, big(1, 6, 1)));
        let job = log.next_job().unwrap();
        if failing_sync {
            disk.fail_next_syncs(1);
        } else {
            disk.fail_next_writes(1, ErrorKind::Other);
        }
        let text = log.complete(job.run()).unwrap_err().to_string();
        let place = format!("{doing} log/0000000000000001.log at byte 12288: ");
        assert!(text.starts_with(&place), "{text}");
    }
}

#[test]
fn what_is_done_to_a_folder_has_no_place_in_it() {
    let disk = SimDisk::new(1);
    disk.fail_at(2, ErrorKind::PermissionDenied);
    let opened = WriteAheadLog::open(Arc::new(disk), Path::new("log"), identity(), options());
    let text = opened.unwrap_err().to_string();
    assert!(!text.contains(" at byte "), "{text}");
    assert!(text.ends_with("let the user that runs the node read and write it"), "{text}");
}

/// What the first sync has thrown away is not there for the second, which would vouch for it.
#[test]
fn a_sync_that_failed_is_not_tried_again() {
    let disk = SimDisk::new(1);
    let mut log = log(&disk, SyncMethod::Fdatasync);
    log.stage(G, append(2, big(1, 6, 1)));
    let (job, before) = (log.next_job().unwrap(), disk.counts());
    disk.fail_next_syncs(1);
    let done = job.run();
    let after = disk.counts();
    assert_eq!((after.syncs - before.syncs, after.failed_syncs - before.failed_syncs), (0, 1));
    assert!(log.complete(done).is_err(), "the log has ended");
}
