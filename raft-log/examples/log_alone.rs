//! The write-ahead log alone, in a real folder: two groups share it and one sync, and
//! everything is there again when it is opened anew.
//!
//! `cargo run -p raft-log --example log_alone`

use std::path::Path;
use std::sync::Arc;

use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId, Term,
    Write, WriteNumber,
};
use raft_log::{LogError, LogIdentity, LogOptions, Read, RealDisk, WriteAheadLog};

const ORDERS: GroupId = GroupId(1);
const USERS: GroupId = GroupId(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    read_back(folder.path())?;
    Ok(())
}

fn write(dir: &Path) -> Result<(), LogError> {
    let (mut log, recovered) = WriteAheadLog::open(Arc::new(RealDisk), dir, me(), options())?;
    assert!(recovered.is_empty());
    for group in [ORDERS, USERS] {
        log.create_group(group, Membership::of_voters([me().node]));
    }
    log.stage(ORDERS, append(&["order 1", "order 2", "order 3"]));
    log.stage(USERS, append(&["user 1"]));

    // One job for all that is staged: one write, one sync, on any thread.
    let job = log.next_job().expect("something is staged");
    println!("{} bytes for both groups", job.bytes());
    let durable = log.complete(job.run())?;
    assert_eq!(durable, [(ORDERS, WriteNumber(1)), (USERS, WriteNumber(1))]);

    // A seal before closing vouches for the last write, so that damage to it is noticed.
    log.seal();
    let job = log.next_job().expect("the seal is staged");
    log.complete(job.run())?;
    Ok(())
}

fn read_back(dir: &Path) -> Result<(), LogError> {
    let (mut log, recovered) = WriteAheadLog::open(Arc::new(RealDisk), dir, me(), options())?;
    assert_eq!(recovered[&ORDERS].hard_state.term, Term(1));
    assert_eq!(recovered[&USERS].shape.last().index, Index(1));
    assert_eq!(read(&log, ORDERS)?, Some(["order 1", "order 2", "order 3"].map(Into::into).into()));
    assert_eq!(read(&log, USERS)?, Some(["user 1"].map(Into::into).into()));

    // Once a snapshot covers the first two orders, the log may let go of them.
    log.trim(ORDERS, Index(2));
    assert_eq!(read(&log, ORDERS)?, None);
    println!("{:?} of the orders is left", log.shape(ORDERS).expect("it exists").last());
    Ok(())
}

/// All entries of a group from the first one; `None` where that is gone.
fn read(log: &WriteAheadLog, group: GroupId) -> Result<Option<Vec<String>>, LogError> {
    let entries = match log.read(group, Index(1), Index(u64::MAX), 1 << 20) {
        Read::Entries(entries) => entries,
        Read::Later(job) => job.run()?,
        Read::Gone => return Ok(None),
    };
    let text = |entry: Entry| String::from_utf8_lossy(&entry.payload).into_owned();
    Ok(Some(entries.into_iter().map(text).collect()))
}

/// The first write of a group: its term, its vote, and these entries.
fn append(commands: &[&'static str]) -> Write {
    let (term, kind) = (Term(1), EntryKind::Command);
    let entries = commands.iter().zip(1..).map(|(command, index)| Entry {
        term,
        index: Index(index),
        kind,
        payload: (*command).into(),
    });
    Write {
        number: WriteNumber(1),
        hard_state: HardState { term, vote: Some(me().node) },
        change: Some(LogChange::Append(entries.collect())),
    }
}

fn me() -> LogIdentity {
    LogIdentity { cluster: ClusterId(7), node: NodeId::new(1).expect("not zero") }
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() }
}

#[test]
fn it_runs() {
    main().expect("the log works");
}
