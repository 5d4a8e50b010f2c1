use std::collections::BTreeMap;
use std::path::Path;

use raft_core::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::MemberAddress;

/// Addresses at which nobody listens at the moment.
async fn free(count: usize) -> Vec<SocketAddr> {
    let mut bound = Vec::new();
    for _ in 0..count {
        bound.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    bound.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

async fn configs(folder: &Path, count: usize) -> Vec<NodeConfig> {
    let ports = free(2 * count).await;
    let id = |at: usize| NodeId::new(at as u64 + 1).unwrap();
    let address = |at: usize| MemberAddress {
        peer: ports[2 * at].to_string(),
        client: ports[2 * at + 1].to_string(),
        name: None,
    };
    let members: BTreeMap<_, _> = (0..count).map(|at| (id(at), address(at))).collect();
    (0..count)
        .map(|at| NodeConfig {
            node_id: id(at),
            data_dir: folder.join(format!("data-{}", at + 1)),
            listen_peer: ports[2 * at],
            listen_client: ports[2 * at + 1],
            members: members.clone(),
            ..NodeConfig::default()
        })
        .collect()
}

/// What is left of a node that goes on to run, which answers peers all the while.
struct Running {
    cluster: FormedCluster,
    boot: Boot,
    client: TcpListener,
}

async fn runs(config: NodeConfig) -> Running {
    let Prepared { cluster, boot, client, peer, board, .. } = prepare(config, drop).await.unwrap();
    tokio::spawn(serve_identity(peer, Arc::new(board), std::future::pending()));
    Running { cluster, boot, client }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn nodes_wait_for_one_another_and_say_so_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let configs = configs(folder.path(), 2).await;
    let first = tokio::spawn(runs(configs[0].clone()));
    let answer = get(configs[0].listen_client, "/health").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("waits for its other members"), "{answer}");
    assert!(!first.is_finished());

    let (first, second) = tokio::join!(first, runs(configs[1].clone()));
    let (first, second) = (first.unwrap(), second);
    assert_eq!(first.cluster, second.cluster);
    assert_ne!(first.boot, second.boot);
    // The port is still there for whoever serves next.
    TcpStream::connect(configs[0].listen_client).await.unwrap();
    first.client.accept().await.unwrap();
}

#[tokio::test]
async fn who_connects_and_says_nothing_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let configs = configs(folder.path(), 2).await;
    let first = tokio::spawn(runs(configs[0].clone()));
    get(configs[0].listen_client, "/health").await;
    let _silent = TcpStream::connect(configs[0].listen_peer).await.unwrap();
    let _silent_too = TcpStream::connect(configs[0].listen_client).await.unwrap();
    let second = runs(configs[1].clone());
    let limit = 10 * LINGER;
    let (first, second) =
        tokio::time::timeout(limit, async { tokio::join!(first, second) }).await.unwrap();
    assert_eq!(first.unwrap().cluster, second.cluster);
}

#[tokio::test]
async fn a_taken_port_is_named_and_no_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = configs(folder.path(), 1).await.pop().unwrap();
    for taken in [config.listen_client, config.listen_peer] {
        let _holder = TcpListener::bind(taken).await.unwrap();
        let error = prepare(config.clone(), drop).await.unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()), "{error}");
        assert!(!config.data_dir.exists());
    }
}

#[tokio::test]
async fn a_single_node_forms_at_once_and_is_the_same_cluster_again_with_another_boot() {
    let folder = tempfile::tempdir().unwrap();
    let config = configs(folder.path(), 1).await.pop().unwrap();
    let first = prepare(config.clone(), drop).await.unwrap();
    let (cluster, boot) = (first.cluster.clone(), first.boot);
    drop(first);
    let second = prepare(config, drop).await.unwrap();
    assert_eq!(second.cluster, cluster);
    assert_ne!(second.boot, boot);
}
