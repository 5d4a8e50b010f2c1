use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use raft_core::Index;
use raft_log::ReadOnlyDisk;
use raft_log::inspect::for_each_frame;

use super::*;
use crate::config::NodeConfig;
use crate::kv::{KvAnswer, KvCommand};
use crate::server::backup::{LogEnd, save_offline};
use crate::server::{Context, DATA_GROUP, prepare};

async fn free() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A single node on this folder, with small segments and snapshots often.
async fn started(folder: &Path) -> Context {
    let (listen_peer, listen_client) = (free().await, free().await);
    let own = NodeConfig::default().node_id;
    let (peer, client) = (listen_peer.to_string(), listen_client.to_string());
    let config = NodeConfig {
        data_dir: folder.to_owned(),
        listen_peer,
        listen_client,
        members: [(own, MemberAddress { peer, client, name: None })].into(),
        snapshot_every_entries: 20,
        keep_entries: 5,
        segment_bytes: 1 << 16,
        ..NodeConfig::default()
    };
    let mut context = Context::build(prepare(config, drop).await.unwrap()).await.unwrap();
    context.start().await.unwrap();
    context
}

async fn put(context: &Context, key: &str) -> Index {
    let command = KvCommand::Put { key: key.to_owned().into(), value: vec![b'v'; 3000].into() };
    let patience = std::time::Duration::from_secs(10);
    let applied = context.handle().propose_within(DATA_GROUP, command.encode(), patience).await;
    applied.unwrap().index
}

async fn existed(context: &Context, key: &str) -> bool {
    let command = KvCommand::Delete { key: Bytes::from(key.to_owned()) };
    let patience = std::time::Duration::from_secs(10);
    let applied = context.handle().propose_within(DATA_GROUP, command.encode(), patience).await;
    matches!(
        KvAnswer::decode(applied.unwrap().answer).unwrap(),
        KvAnswer::Deleted { existed: true }
    )
}

/// Every file of a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[tokio::test]
async fn a_new_cluster_of_one_holds_what_the_folder_held_and_is_another_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let mut node = started(&old).await;
    for number in 0..60 {
        put(&node, &format!("key-{number}")).await;
    }
    node.stop().await.unwrap();
    drop(node);
    let before = content(&old);
    let identity = DataDir::open_as_it_is(&old).unwrap().unwrap().identity().unwrap().clone();

    let address = || MemberAddress { peer: "h:1".into(), client: "h:2".into(), name: None };
    let other = (NodeId::new(9).unwrap(), address());
    let error = recover(&old, &new, Some(&other)).unwrap_err();
    assert!(matches!(error, RecoverError::OtherNode { .. }) && !new.exists(), "{error}");

    let moved = (identity.node, address());
    let recovered = recover(&old, &new, Some(&moved)).unwrap();
    assert_eq!(content(&old), before, "the old folder is only read");
    let last = recovered.last[&DATA_GROUP];
    assert!(last.index >= Index(61), "{last:?}");

    let again = recover(&old, &new, None).unwrap_err();
    assert!(matches!(again, RecoverError::NotNew(_)), "{again}");
    let mut node = started(&new).await;
    assert_eq!(put(&node, "one more").await, Index(last.index.0 + 3), "its membership, its term");
    for number in 0..60 {
        assert!(existed(&node, &format!("key-{number}")).await, "key-{number}");
    }
    let status = node.handle().status(DATA_GROUP).unwrap();
    let me = &status.members.members()[&recovered.node];
    assert_eq!(MemberAddress::from_data(&me.data), Some(moved.1));
    assert_ne!(me.incarnation, identity.incarnation);
    assert_ne!(Some(recovered.cluster), identity.formed.map(|formed| formed.id));
    assert_eq!(status.members.voters().len(), 1);
    node.stop().await.unwrap();
}

#[test]
fn a_folder_without_a_log_is_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    fs::create_dir(&old).unwrap();
    let error = recover(&old, &new, None).unwrap_err();
    assert!(matches!(error, RecoverError::NoLog(_)), "{error}");
    assert!(!new.exists());
}

#[tokio::test]
async fn a_folder_that_is_or_holds_the_other_or_was_removed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    let mut node = started(&old).await;
    put(&node, "a").await;
    node.stop().await.unwrap();
    drop(node);
    let before = content(&old);
    for new in [&old, &old.join("new"), &old.join("log"), folder.path()] {
        let error = recover(&old, new, None).unwrap_err();
        assert!(matches!(error, RecoverError::SameFolder { .. }), "{}: {error}", new.display());
    }
    assert_eq!(content(&old), before);

    let mut dir = DataDir::open_as_it_is(&old).unwrap().unwrap();
    let identity = dir.identity().unwrap().clone();
    dir.write_identity(Identity { removed: true, ..identity }).unwrap();
    drop(dir);
    let new = folder.path().join("new");
    let error = recover(&old, &new, None).unwrap_err();
    assert!(matches!(error, RecoverError::WasRemoved { .. }) && !new.exists(), "{error}");
}

/// Where the frame of the last command but three stands.
fn fourth_last_command(log: &Path) -> (PathBuf, u64) {
    let mut frames = Vec::new();
    for_each_frame(&ReadOnlyDisk, log, |frame| {
        if frame.entries.iter().any(|entry| entry.kind == EntryKind::Command) {
            frames.push((frame.file, frame.offset));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    frames.swap_remove(frames.len() - 4)
}

fn lose_a_frame(log: &Path) {
    let (file, offset) = fourth_last_command(log);
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&[0; 4], offset).unwrap();
}

/// Loses that frame and everything behind it, as a file does that is set back.
fn lose_the_end(log: &Path) {
    let (from, offset) = fourth_last_command(log);
    fs::OpenOptions::new().write(true).open(&from).unwrap().set_len(offset).unwrap();
    for path in content(log).into_keys().filter(|path| *path > from) {
        fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_log_is_no_beginning_but_its_store_can_be_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let mut node = started(&old).await;
    for number in 0..10 {
        put(&node, &format!("key-{number}")).await;
    }
    node.stop().await.unwrap();
    drop(node);
    lose_a_frame(&old.join("log"));
    let error = recover(&old, &new, None).unwrap_err();
    let RecoverError::Damaged { left, damaged_up_to, .. } = error else { panic!("{error}") };
    assert_eq!(damaged_up_to.index.0 - left.index.0, 4, "{left}, {damaged_up_to}");

    let saved = save_offline(&old, &folder.path().join("saved")).unwrap();
    assert_eq!(saved.log, LogEnd::At(damaged_up_to));
    let meta = &saved.saved.meta;
    assert_eq!(meta.position, damaged_up_to, "all of it was applied and flushed");
    assert_eq!(saved.saved.content.pairs, 10);
}

#[tokio::test]
async fn a_store_that_is_ahead_of_its_log_can_be_saved() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut node = started(&data).await;
    let mut last = Index(0);
    for number in 0..10 {
        last = put(&node, &format!("key-{number}")).await;
    }
    node.stop().await.unwrap();
    drop(node);
    lose_the_end(&data.join("log"));
    let saved = save_offline(&data, &folder.path().join("saved")).unwrap();
    let LogEnd::Unknown(why) = &saved.log else { panic!("{:?}", saved.log) };
    assert!(why.contains(&format!("ends at index {}", last.0 - 4)), "{why}");
    assert_eq!((saved.saved.meta.position.index, saved.saved.content.pairs), (last, 10));
}
