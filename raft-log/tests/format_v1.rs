//! Files of format 1 as they were written once. Every later build must read them.

mod story;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{GroupId, Index, Membership, NodeId, Position};
use raft_log::{RealDisk, SnapshotStore};

const OF_SNAPSHOT: GroupId = GroupId(2);
const AT: Position = Position::new(3, 10);
const CONTENT: &[u8] = b"what the first ten entries amount to";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// A copy of a folder, as opening a log writes to it.
fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

fn snapshots(dir: &Path) -> SnapshotStore {
    SnapshotStore::open(Arc::new(RealDisk), dir, 1).unwrap()
}

fn membership() -> Membership {
    Membership::of_voters([1, 2].map(|id| NodeId::new(id).unwrap()))
}

#[test]
fn a_log_of_format_1_holds_every_group_and_entry_and_goes_on() {
    let copy = copy_of(&fixture().join("log"));
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 2, "segments of the fixture");
    // The second time it is this build's files as well that are read.
    for opening in 1..=2 {
        let contents = story::read(Arc::new(RealDisk), copy.path()).unwrap();
        assert_eq!(contents, story::written(), "opening {opening}");
    }
}

#[test]
fn a_snapshot_of_format_1_can_be_read() {
    let copy = copy_of(&fixture().join("snapshots"));
    let store = snapshots(copy.path());
    let meta = store.newest(OF_SNAPSHOT).expect("the fixture's snapshot");
    assert_eq!((meta.position, &meta.membership), (AT, &membership()));
    let mut content = Vec::new();
    store.reader(OF_SNAPSHOT, Index(10)).unwrap().read_to_end(&mut content).unwrap();
    assert_eq!(content, CONTENT);
}

/// What the fixture was made with. It writes beside the build, to be copied by hand for a
/// format to come; the fixture of format 1 stays as it is for as long as that is read.
#[test]
fn what_this_build_writes_holds_the_same_as_the_fixture() {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("v1");
    if made.exists() {
        fs::remove_dir_all(&made).unwrap();
    }
    story::write(Arc::new(RealDisk), &made.join("log")).unwrap();
    let mut store = snapshots(&made.join("snapshots"));
    let mut writer = store.writer(OF_SNAPSHOT, AT, membership()).unwrap();
    writer.write_all(CONTENT).unwrap();
    let written = writer.finish().unwrap();
    let fixture = copy_of(&fixture().join("snapshots"));
    assert_eq!(snapshots(fixture.path()).newest(OF_SNAPSHOT), Some(&written));

    let copy = copy_of(&made.join("log"));
    assert_eq!(story::read(Arc::new(RealDisk), copy.path()).unwrap(), story::written());
}
