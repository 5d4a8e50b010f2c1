use std::fs;
use std::io::{Read as _, Write as _};

use bytes::Bytes;
use raft_core::Membership;
use raft_log::{BackupHeader, SimDisk};

use super::*;
use crate::kv::{KvCommand, KvDatabase};
use crate::server::backup::{Draft, save_offline};
use crate::{Command, StateMachine};

const AT: Position = Position::new(3, 2);

/// A backup of two keys.
fn backup(dir: &Path) -> PathBuf {
    let mut store = KvDatabase::open(dir.join("store")).unwrap().group(DATA_GROUP).unwrap();
    for (index, key) in [(1, "a"), (2, "b")] {
        let put = KvCommand::Put { key: key.into(), value: Bytes::from(vec![b'v'; 90_000]) };
        let (index, payload) = (raft_core::Index(index), put.encode());
        store.apply(&[Command { index, payload }], index).unwrap();
    }
    let mut content = Vec::new();
    store.snapshot().unwrap().read_to_end(&mut content).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let mut snapshots = SnapshotStore::open(disk, Path::new("s"), 1).unwrap();
    let voters = Membership::of_voters([1, 2, 3].map(|id| NodeId::new(id).unwrap()));
    let mut writer = snapshots.writer(DATA_GROUP, AT, voters).unwrap();
    writer.write_all(&content).unwrap();
    let meta = writer.finish().unwrap();
    snapshots.add(DATA_GROUP, meta);
    let reader = snapshots.reader(DATA_GROUP, AT.index).unwrap();
    let header = BackupHeader {
        cluster: ClusterId(7),
        cluster_name: "demo".to_owned(),
        node: NodeId::new(2).unwrap(),
        made_at_ms: 5,
        snapshot_bytes: reader.file_bytes().unwrap(),
    };
    let file = dir.join("backup");
    let mut draft = Draft::begin(&file).unwrap();
    draft.write_all(&header.encode()).unwrap();
    draft.write_all(&reader.read_file(0, 1 << 20).unwrap()).unwrap();
    assert_eq!(draft.finish().unwrap().content.pairs, 2);
    file
}

fn member() -> NewMember {
    let at = MemberAddress { peer: "h:1".into(), client: "h:2".into(), name: None };
    NewMember { at: Some(at), ..NewMember::default() }
}

#[test]
fn what_is_damaged_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (file, to) = (backup(folder.path()), folder.path().join("new"));
    let whole = fs::read(&file).unwrap();
    for place in [0, 9, 60, 200, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 4;
        fs::write(&file, damaged).unwrap();
        let error = restore(&file, &to, member()).unwrap_err();
        let named = matches!(&error, RestoreError::Backup(BackupError::Snapshot(_)));
        assert!(named && !to.exists(), "byte {place}: {error}");
    }
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(restore(&file, &to, member()).is_err() && !to.exists());
}

#[test]
fn nothing_is_restored_over_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (file, to) = (backup(folder.path()), folder.path().join("new"));
    let nowhere = restore(&file, &to, NewMember::default()).unwrap_err();
    assert!(matches!(nowhere, RestoreError::NoAddress(_)) && !to.exists(), "{nowhere}");
    let restored = restore(&file, &to, member()).unwrap();
    assert_ne!(restored.cluster, ClusterId(7));
    assert_eq!((restored.node.get(), &restored.name[..]), (2, "demo"));
    let again = restore(&file, &to, member()).unwrap_err();
    assert!(matches!(again, RestoreError::NotNew(_)), "{again}");
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letters"), "dear").unwrap();
    let foreign = restore(&file, &other, member()).unwrap_err();
    assert!(matches!(foreign, RestoreError::DataDir(DataDirError::Foreign { .. })), "{foreign}");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
}

/// Its identity is written last: without it, everything else is nobody's.
#[test]
fn a_restore_that_was_cut_off_is_no_nodes_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (file, to) = (backup(folder.path()), folder.path().join("new"));
    restore(&file, &to, member()).unwrap();
    fs::remove_file(to.join("identity.json")).unwrap();
    let cut_off = DataDir::open(&to, NodeId::new(2).unwrap(), "demo").unwrap_err();
    assert!(matches!(cut_off, DataDirError::Foreign { .. }), "{cut_off}");
    assert!(save_offline(&to, &folder.path().join("again")).is_err());
}

#[test]
fn a_backup_replaces_nothing_and_leaves_nothing_half_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = backup(folder.path());
    let exists = Draft::begin(&file).unwrap_err();
    assert!(matches!(exists, BackupError::Exists(_)), "{exists}");
    let before = fs::read_dir(folder.path()).unwrap().count();
    let mut draft = Draft::begin(&folder.path().join("half")).unwrap();
    draft.write_all(&fs::read(&file).unwrap()[..1000]).unwrap();
    assert!(matches!(draft.finish(), Err(BackupError::Snapshot(_))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
}
