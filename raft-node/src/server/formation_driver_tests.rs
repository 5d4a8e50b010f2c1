use raft_rpc::grpc::serve_identity;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Patience =
    Patience { answer: Duration::from_secs(2), pause: Duration::from_millis(5) };

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

/// A node's port, which outlives its process.
struct Port {
    listener: TcpListener,
    address: MemberAddress,
}

async fn ports() -> BTreeMap<NodeId, Port> {
    let mut ports = BTreeMap::new();
    for n in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap().to_string();
        let address = MemberAddress { peer, client: "127.0.0.1:1".to_owned(), name: None };
        ports.insert(id(n), Port { listener, address });
    }
    ports
}

fn addresses(ports: &BTreeMap<NodeId, Port>) -> BTreeMap<NodeId, MemberAddress> {
    ports.iter().map(|(id, port)| (*id, port.address.clone())).collect()
}

type Forming = JoinHandle<(DataDir, Result<FormedCluster, FormationError>)>;

/// Starts a node on a folder. It answers on its port for as long as the runtime lives.
fn start(
    folder: &std::path::Path,
    me: NodeId,
    listener: TcpListener,
    members: &BTreeMap<NodeId, MemberAddress>,
) -> Forming {
    let mut dir = DataDir::open(folder, me, "c").unwrap();
    let board = IdentityBoard::new(&dir, me, "c");
    tokio::spawn(serve_identity(listener, Arc::new(board.clone()), std::future::pending()));
    let members = members.clone();
    tokio::spawn(async move {
        let formed = form(&mut dir, &board, me, "c", &members, PATIENCE).await;
        (dir, formed)
    })
}

#[tokio::test]
async fn three_nodes_form_one_cluster_and_find_it_again() {
    let mut ports = ports().await;
    let members = addresses(&ports);
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut forming = Vec::new();
    for (me, folder) in (1..).map(id).zip(&folders) {
        let port = ports.remove(&me).unwrap();
        forming.push(start(folder.path(), me, port.listener, &members));
    }
    let mut formed = Vec::new();
    for node in forming {
        formed.push(node.await.unwrap().1.unwrap());
    }
    assert!(formed.iter().all(|one| *one == formed[0]), "{formed:?}");
    assert_eq!(formed[0].members.len(), 3);

    // Nobody needs to be asked any more.
    let mut dir = DataDir::open(folders[0].path(), id(1), "c").unwrap();
    let board = IdentityBoard::new(&dir, id(1), "c");
    let again = form(&mut dir, &board, id(1), "c", &members, PATIENCE).await.unwrap();
    assert_eq!(again, formed[0]);
}

#[tokio::test]
async fn a_list_of_members_that_changed_is_refused_until_the_log_has_begun() {
    let members = addresses(&ports().await);
    for log_begun in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let formed = FormedCluster {
            id: raft_core::ClusterId(7),
            members: [1, 2, 3].map(|n| (id(n), Incarnation(n))).into(),
        };
        let mut dir = DataDir::open(folder.path(), id(1), "c").unwrap();
        let (node, cluster, incarnation) = (id(1), "c".to_owned(), Incarnation(1));
        let formed = Some(formed);
        let removed = false;
        let identity = Identity { node, cluster, incarnation, formed, log_begun, removed };
        dir.write_identity(identity).unwrap();
        let board = IdentityBoard::new(&dir, id(1), "c");

        let alone = members.clone().into_iter().filter(|(member, _)| *member == id(1)).collect();
        let formed = form(&mut dir, &board, id(1), "c", &alone, PATIENCE).await;
        // Once the log has begun, it knows the members.
        assert_eq!(formed.is_ok(), log_begun);
        if let Err(why) = formed {
            let why = why.to_string();
            for said in [folder.path().to_str().unwrap(), "a cluster of 1, 2 and 3 ", "with 1:"] {
                assert!(why.contains(said), "{said:?} is missing: {why}");
            }
        }
        form(&mut dir, &board, id(1), "c", &members, PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_lost_its_disk_is_refused_and_its_folder_stays_empty() {
    let mut ports = ports().await;
    let members = addresses(&ports);
    let folder = tempfile::tempdir().unwrap();
    let formed = FormedCluster {
        id: raft_core::ClusterId(7),
        members: [1, 2, 3].map(|n| (id(n), Incarnation(n))).into(),
    };
    let identity = Identity {
        node: id(1),
        cluster: "c".to_owned(),
        incarnation: Incarnation(1),
        formed: Some(formed),
        log_begun: true,
        removed: false,
    };
    DataDir::open(folder.path(), id(1), "c").unwrap().write_identity(identity).unwrap();
    start(folder.path(), id(1), ports.remove(&id(1)).unwrap().listener, &members);

    let empty = tempfile::tempdir().unwrap();
    let port = ports.remove(&id(2)).unwrap();
    let (_, refused) = start(empty.path(), id(2), port.listener, &members).await.unwrap();
    assert!(matches!(refused, Err(FormationError::NewDisk { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn nobody_forms_before_everybody_is_there() {
    let mut ports = ports().await;
    let members = addresses(&ports);
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let third = ports.remove(&id(3)).unwrap();
    let mut forming = Vec::new();
    for (me, folder) in [1, 2].map(id).into_iter().zip(&folders) {
        let port = ports.remove(&me).unwrap();
        forming.push(start(folder.path(), me, port.listener, &members));
    }
    // Many rounds pass; nobody is there at the third address.
    drop(third.listener);
    tokio::time::sleep(PATIENCE.pause * 40).await;
    assert!(forming.iter().all(|node| !node.is_finished()));

    let listener = TcpListener::bind(&third.address.peer).await.unwrap();
    forming.push(start(folders[2].path(), id(3), listener, &members));
    for node in forming {
        node.await.unwrap().1.unwrap();
    }
}

#[test]
fn who_is_waited_for_is_said_at_once_and_then_rarely() {
    let (mut waiting, began) = (Waiting::default(), Instant::now());
    let mut line = |missing: &[u64], why: &str, after: u64| {
        let missing = missing.iter().copied().map(id).collect();
        let silent = [(id(2), why.to_owned())].into();
        waiting.line(&missing, &silent, began + Duration::from_secs(after))
    };
    let said = line(&[2, 3], "no way", 0).unwrap();
    assert!(said.ends_with("for node 2 (no way) and node 3 (it answers, and is starting itself)"));
    assert_eq!(line(&[2, 3], "no way", 59), None);
    assert_eq!(line(&[2, 3], "no way", 60), Some(said));
    assert_eq!(line(&[2, 3], "no answer", 61), None, "the reason changed a moment ago");
    assert!(line(&[2, 3], "no answer", 65).is_some());
    assert!(line(&[2], "no answer", 65).is_some());
}

#[test]
fn incarnations_differ_and_are_never_zero() {
    let drawn: BTreeSet<Incarnation> = (0..1000).map(|_| draw()).collect();
    assert_eq!(drawn.len(), 1000);
    assert!(!drawn.contains(&Incarnation(0)));
}
