use std::net::SocketAddr;
use std::path::Path;

use super::*;
use crate::server::prepare;

async fn free() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A single node on this folder.
async fn prepared(folder: &Path) -> Prepared {
    let (listen_peer, listen_client) = (free().await, free().await);
    let own = NodeConfig::default().node_id;
    let (peer, client) = (listen_peer.to_string(), listen_client.to_string());
    let members = BTreeMap::from([(own, MemberAddress { peer, client, name: None })]);
    let data_dir = folder.to_owned();
    let config =
        NodeConfig { data_dir, listen_peer, listen_client, members, ..NodeConfig::default() };
    prepare(config, drop).await.unwrap()
}

fn log_begun(dir: &DataDir) -> bool {
    dir.identity().unwrap().log_begun
}

#[tokio::test]
async fn a_crash_before_the_folder_says_that_the_log_has_begun_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    drop(Context::build(prepared(folder.path()).await).await.unwrap());
    // As a crash leaves it that comes between the group's record and the folder's.
    let mut crashed = prepared(folder.path()).await;
    let identity = crashed.dir.identity().unwrap().clone();
    assert!(identity.log_begun);
    crashed.dir.write_identity(Identity { log_begun: false, ..identity }).unwrap();
    drop(Context::build(crashed).await.unwrap());

    let restarted = prepared(folder.path()).await;
    assert!(log_begun(&restarted.dir), "nobody would notice if the log got lost now");
    drop(restarted);
    std::fs::remove_dir_all(folder.path().join("log")).unwrap();
    let refused = Context::build(prepared(folder.path()).await).await.unwrap_err();
    assert!(matches!(refused, ServeError::LogLost(_)), "{refused}");
}

#[test]
fn the_engine_takes_whatever_command_the_api_takes() {
    for max_body_bytes in [1, 1 << 20, 16 << 20] {
        let config = NodeConfig { max_body_bytes, ..NodeConfig::default() };
        let taken = shell_options(&config).max_command_bytes;
        assert!(taken >= max_body_bytes.max(api::MAX_KEY_BYTES), "{taken}");
        let (key, value) = ("k".into(), vec![b'v'; max_body_bytes.saturating_sub(17)].into());
        let command = KvCommand::Put { key, value };
        assert!(command.encode().len() <= taken, "{max_body_bytes}");
    }
}
