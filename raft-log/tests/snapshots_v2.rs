//! A snapshot of format 2 as it was written once. Every later build must read it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{GroupId, Index, Membership, NodeId, Position, Random, SnapshotMeta};
use raft_log::{RealDisk, SnapshotStore};

const GROUP: GroupId = GroupId(2);
const AT: Position = Position::new(3, 10);

/// A chunk that is worth compressing, one that is not, and a short one.
fn content() -> Vec<u8> {
    let mut random = Random::new(2);
    let text = (0..4096).flat_map(|n: u32| format!("entry {n:08}\n\n").into_bytes());
    let noise = (0..65_536).map(|_| random.next_u64() as u8);
    text.chain(noise).chain(*b"the end").collect()
}

fn membership() -> Membership {
    Membership::of_voters([1, 2].map(|id| NodeId::new(id).unwrap()))
}

fn meta() -> SnapshotMeta {
    let content = content();
    SnapshotMeta {
        position: AT,
        membership: membership(),
        bytes: content.len() as u64,
        checksum: crc32c::crc32c(&content),
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2/snapshots")
}

fn open(dir: &Path) -> SnapshotStore {
    SnapshotStore::open(Arc::new(RealDisk), dir, 1).unwrap()
}

#[test]
fn a_snapshot_of_format_2_can_be_read() {
    let store = open(&fixture());
    assert_eq!(store.newest(GROUP), Some(&meta()));
    let mut reader = store.reader(GROUP, Index(10)).unwrap();
    reader.verify().unwrap();
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    assert!(found == content());
    let last = reader.read_chunk(131_070, 100).unwrap().0;
    assert_eq!(&last[2..], b"the end", "from the middle on");
}

/// What the fixture was made with. It writes beside the build, to be copied by hand for a
/// format to come; the fixture of format 2 stays as it is for as long as that is read.
#[test]
fn what_this_build_writes_is_as_large_as_the_fixture() {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("v2");
    if made.exists() {
        fs::remove_dir_all(&made).unwrap();
    }
    let mut store = open(&made);
    let mut writer = store.writer(GROUP, AT, membership()).unwrap();
    writer.write_all(&content()).unwrap();
    assert_eq!(writer.finish().unwrap(), meta());
    let bytes = |dir: &Path| -> u64 {
        let files = fs::read_dir(dir).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let (made, fixture) = (bytes(&made), bytes(&fixture()));
    assert!(made.abs_diff(fixture) < fixture / 10, "{made} bytes, {fixture} in the fixture");
}
