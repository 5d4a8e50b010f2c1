use std::io::{Read as _, Write as _};

use raft_core::{Index, Membership, Position};

use super::*;
use crate::{SimDisk, SnapshotStore};

const G: GroupId = GroupId(4);

fn content() -> Vec<u8> {
    (0..9000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// A disk with a backup, and its path.
fn saved() -> (SimDisk, &'static Path) {
    let (disk, path) = (SimDisk::new(1), Path::new("backup"));
    let mut store = SnapshotStore::open(Arc::new(disk.clone()), Path::new("s"), 1).unwrap();
    let voters = Membership::of_voters([NodeId::new(1).unwrap()]);
    let mut writer = store.writer(G, Position::new(3, 9), voters).unwrap();
    writer.write_all(&content()).unwrap();
    let meta = writer.finish().unwrap();
    store.add(G, meta);
    let reader = store.reader(G, Index(9)).unwrap();
    let header = header(reader.file_bytes().unwrap());
    let file = disk.create(path).unwrap();
    let encoded = header.encode();
    file.write_at(0, &encoded).unwrap();
    let mut at = 0;
    while let Some(piece) = Some(reader.read_file(at, 1000).unwrap()).filter(|p| !p.is_empty()) {
        file.write_at(encoded.len() as u64 + at, &piece).unwrap();
        at += piece.len() as u64;
    }
    (disk, path)
}

fn header(snapshot_bytes: u64) -> BackupHeader {
    BackupHeader {
        cluster: ClusterId(7),
        cluster_name: "demo".to_owned(),
        node: NodeId::new(3).unwrap(),
        made_at_ms: 1_700_000_000_000,
        snapshot_bytes,
    }
}

#[test]
fn a_backup_says_whose_it_is_and_holds_the_snapshot() {
    let (disk, path) = saved();
    let mut backup = Backup::open(&disk, path).unwrap();
    assert_eq!(*backup.header(), header(backup.header().snapshot_bytes));
    assert_eq!((backup.group(), backup.meta().position), (G, Position::new(3, 9)));
    backup.verify().unwrap();
    let mut found = Vec::new();
    backup.into_reader().read_to_end(&mut found).unwrap();
    assert_eq!(found, content());
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let (disk, path) = saved();
    let bytes = disk.content(path).len() as u64;
    let check = |what: &str| {
        let opened = Backup::open(&disk, path).and_then(|mut backup| backup.verify());
        assert!(opened.is_err(), "{what}");
    };
    for offset in (0..400).chain(400..bytes).step_by(1).filter(|n| *n < 400 || n % 97 == 0) {
        let bit = (offset % 8) as u8;
        disk.flip_bit(path, offset, bit);
        check(&format!("byte {offset}"));
        disk.flip_bit(path, offset, bit);
    }
    let file = disk.open(path).unwrap();
    for length in [bytes - 1, bytes - 30, 5000, 200, 60, 52, 48, 20, 0] {
        file.set_len(length).unwrap();
        check(&format!("{length} bytes"));
    }
}
