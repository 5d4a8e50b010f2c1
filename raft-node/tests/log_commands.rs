//! `raft-node log`, on folders as a node leaves them.
#![cfg(feature = "server")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId, Term,
    Write, WriteNumber,
};
use raft_log::{LogIdentity, LogOptions, RealDisk, WriteAheadLog};

/// The file of the only segment.
const SEGMENT: &str = "log/0000000000000001.log";

/// Runs `raft-node log`; answers the exit code, what it printed, and what it said besides.
fn log(arguments: &[&str], dir: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-node"));
    let output = command.arg("log").args(arguments).arg(dir).output().unwrap();
    let [printed, said] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), printed, said)
}

fn flush(log: &mut WriteAheadLog) {
    while let Some(job) = log.next_job() {
        log.complete(job.run()).unwrap();
    }
}

/// A data folder whose log holds two entries, the second in the third block, and behind it
/// a frame that covers them.
fn data_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let node = NodeId::new(1).unwrap();
    let identity = LogIdentity { cluster: ClusterId(7), node };
    let options = LogOptions { segment_bytes: 1 << 16, ..LogOptions::default() };
    let dir = folder.path().join("log");
    let (mut log, _) = WriteAheadLog::open(Arc::new(RealDisk), &dir, identity, options).unwrap();
    let group = GroupId(5);
    log.create_group(group, Membership::of_voters([1, 2, 3].map(|id| NodeId::new(id).unwrap())));
    for (index, payload) in [(1, &b"one\n"[..]), (2, &[b'x'; 100])] {
        let (term, kind) = (Term(4), EntryKind::Command);
        let payload = Bytes::from_static(Box::leak(payload.to_vec().into_boxed_slice()));
        let change = LogChange::Append(vec![Entry { term, index: Index(index), kind, payload }]);
        let hard_state = HardState { term, vote: Some(node) };
        let number = WriteNumber(index);
        log.stage(group, Write { number, hard_state, change: Some(change) });
        flush(&mut log);
    }
    log.seal();
    flush(&mut log);
    folder
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = fs::read_dir(folder.join("log")).unwrap();
    names
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_intact_log_is_verified_in_one_line_and_shown_and_left_as_it_is() {
    let folder = data_folder();
    let before = contents(folder.path());
    for dir in [folder.path().to_owned(), folder.path().join("log")] {
        let (code, printed, said) = log(&["verify"], &dir);
        assert_eq!((code, &said[..], printed.lines().count()), (0, "", 1), "{printed}");
        assert!(printed.contains("intact, node 1 of cluster"), "{printed}");
        assert!(printed.ends_with("1 segments, 1 groups, 2 entries\n"), "{printed}");

        let (code, printed, said) = log(&["inspect"], &dir);
        assert_eq!((code, &said[..]), (0, ""));
        let rows: Vec<Vec<&str>> =
            printed.lines().map(|line| line.split_whitespace().collect()).collect();
        let group = ["5", "4", "1", "0@0", "2@4", "2", "1,2,3", "-"];
        assert!(rows.iter().any(|row| row[..] == group), "{printed}");
        assert!(printed.contains("0000000000000001  yes "), "{printed}");
        assert_eq!(log(&["dump"], &dir).0, 0);
    }
    assert!(contents(folder.path()) == before, "something was changed");
}

#[test]
fn damage_ends_with_five_and_says_where_and_what_to_do() {
    let folder = data_folder();
    flip(&folder.path().join(SEGMENT), 2 * 4096 + 100);
    for command in ["verify", "inspect"] {
        let (code, printed, said) = log(&[command], folder.path());
        assert_eq!(code, 5, "{printed}{said}");
        let at = format!("{SEGMENT} is damaged at byte 8192 (group 5, up to index 2)");
        let lost = "group 5 has lost what stood after 1@4, up to 2@4: the node fetches it from";
        assert!(said.contains(&at) && said.contains(lost), "{said}");
        assert!(!printed.contains("intact"), "{printed}");
    }
    let (_, printed, _) = log(&["inspect"], folder.path());
    assert!(printed.contains("no frame at byte 8192 (says: "), "{printed}");
}

#[test]
fn a_torn_last_write_is_intact_and_mentioned() {
    let folder = data_folder();
    // The cover goes, as if the power had failed before it, and the last entry is torn.
    let path = folder.path().join(SEGMENT);
    let mut bytes = fs::read(&path).unwrap();
    bytes[3 * 4096..].fill(0);
    fs::write(&path, bytes).unwrap();
    flip(&path, 2 * 4096 + 100);
    let (code, printed, said) = log(&["verify"], folder.path());
    assert_eq!((code, &said[..]), (0, ""));
    assert!(printed.contains("1 entries; remains of an unfinished write"), "{printed}");
}

#[test]
fn files_of_zeros_are_no_intact_log() {
    let folder = data_folder();
    let path = folder.path().join(SEGMENT);
    let bytes = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0; bytes as usize]).unwrap();
    for command in ["verify", "inspect"] {
        let (code, printed, said) = log(&[command], folder.path());
        assert_eq!(code, 5, "{printed}{said}");
        assert!(said.contains("holds no log") && said.contains("put its log back"), "{said}");
        assert!(!printed.contains("intact"), "{printed}");
    }
}

#[test]
fn a_dump_has_a_line_for_every_frame_and_entry_that_is_asked_for() {
    let folder = data_folder();
    let (code, all, said) = log(&["dump"], folder.path());
    assert_eq!((code, &said[..]), (0, ""));
    assert!(all.starts_with("0000000000000001.log at 0: frame 1 head, "), "{all}");
    assert!(all.contains("  index 1 term 4 command 4 bytes \"one\\n\"\n"), "{all}");
    let cut = format!("  index 2 term 4 command 100 bytes \"{}\"...\n", "x".repeat(32));
    assert!(all.contains(&cut), "{all}");
    assert!(all.contains(" seal, "), "{all}");

    let (_, from, _) = log(&["dump", "--group", "5", "--from", "2"], folder.path());
    assert!(from.ends_with(&cut) && from.lines().count() == 2, "{from}");
    assert!(from.contains("append") && from.contains("group 5 term 4 vote 1 last 2@4"), "{from}");
    assert_eq!(log(&["dump", "--group", "6"], folder.path()).1, "");
}

#[test]
fn a_folder_in_use_is_inspected_with_a_warning() {
    let folder = data_folder();
    let lock = fs::File::open(folder.path()).unwrap();
    lock.try_lock().unwrap();
    for dir in [folder.path().to_owned(), folder.path().join("log")] {
        let (code, printed, said) = log(&["verify"], &dir);
        assert_eq!((code, printed.lines().count()), (0, 1), "{said}");
        assert!(said.contains("may be changing"), "{said}");
    }
    drop(lock);
    assert_eq!(log(&["verify"], folder.path()).2, "");
}

#[test]
fn a_folder_that_holds_no_log_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) = log(&["verify"], folder.path());
    assert_eq!(code, 2);
    assert!(said.contains("holds no log of a node"), "{said}");
    let (code, _, said) = log(&["inspect"], &folder.path().join("nowhere"));
    assert_eq!(code, 2);
    assert!(said.contains("cannot be read") && said.contains("data folder"), "{said}");
}
