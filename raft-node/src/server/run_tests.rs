use std::task::Poll;

use super::data_dir::{DataDir, DataDirError};
use super::*;

#[tokio::test]
async fn a_node_may_be_stopped_at_any_time_and_its_folder_stays_locked_for_its_threads() {
    let folder = tempfile::tempdir().unwrap();
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [listen_peer, listen_client] = listeners.map(|one| one.local_addr().unwrap());
    let data_dir = folder.path().join("data");
    let config = NodeConfig { data_dir, listen_peer, listen_client, ..NodeConfig::default() };
    let (id, cluster) = (config.node_id, config.cluster.clone());
    let path = config.data_dir.clone();

    // It is told to stop while it opens its folder.
    let opening = path.join("store.redb.new");
    let opened = path.join("store.redb");
    let shutdown = std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if opening.exists() || opened.exists() { Poll::Ready(()) } else { Poll::Pending }
    });
    let mut lock = None;
    run(config, shutdown, |taken| lock = Some(taken)).await.unwrap();

    let locked = || matches!(DataDir::open(&path, id, &cluster), Err(DataDirError::InUse(_)));
    assert!(locked());
    drop(lock);
    // What was opening it lets go of it by itself.
    while locked() {
        tokio::task::yield_now().await;
    }
}
