use std::sync::Arc;
use std::time::Duration;

use raft_core::Incarnation;
use raft_rpc::grpc::serve_identity;
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Patience =
    Patience { answer: Duration::from_secs(2), pause: Duration::from_millis(5) };

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

/// What node `n` of cluster `name` says, formed or not.
fn says(n: u64, name: &str, cluster: Option<u64>) -> Identification {
    Identification {
        cluster_name: name.to_owned(),
        cluster: cluster.map(ClusterId),
        node: id(n),
        incarnation: Some(Incarnation(n)),
        members: cluster.map(|_| (id(n), Incarnation(n))).into_iter().collect(),
    }
}

/// A board that says so, served at an address.
async fn served(says: Identification) -> (IdentityBoard, String) {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), says.node, &says.cluster_name).unwrap();
    let board = IdentityBoard::new(&dir, says.node, &says.cluster_name);
    board.set(says);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve_identity(listener, Arc::new(board.clone()), std::future::pending()));
    (board, address)
}

/// Node 4 on a folder, which joins the cluster "c" at these addresses.
async fn joins(
    folder: &std::path::Path,
    addresses: &[String],
) -> Result<(DataDir, FormedCluster), FormationError> {
    let mut dir = DataDir::open(folder, id(4), "c").unwrap();
    let board = IdentityBoard::new(&dir, id(4), "c");
    let formed = join(&mut dir, &board, "c", addresses, PATIENCE).await?;
    assert_eq!(board.now().cluster, Some(formed.id));
    assert_eq!(board.now().incarnation, dir.identity().map(|identity| identity.incarnation));
    Ok((dir, formed))
}

#[tokio::test]
async fn a_node_waits_for_a_member_to_answer_and_then_is_of_its_cluster_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let (board, address) = served(says(1, "c", None)).await;
    let path = folder.path().to_owned();
    // Nobody is at the first address, and the member at the second has yet to form.
    let addresses = ["127.0.0.1:1".to_owned(), address];
    let joining = tokio::spawn(async move { joins(&path, &addresses).await });
    tokio::time::sleep(PATIENCE.pause * 20).await;
    assert!(!joining.is_finished() && std::fs::read_dir(folder.path()).unwrap().count() == 0);
    board.set(says(1, "c", Some(7)));
    let (dir, formed) = joining.await.unwrap().unwrap();
    assert_eq!(formed, FormedCluster { id: ClusterId(7), members: [].into() });
    let drawn = dir.identity().unwrap().incarnation;
    drop(dir);

    // Nobody needs to be asked again.
    let (dir, again) = joins(folder.path(), &["127.0.0.1:1".to_owned()]).await.unwrap();
    assert_eq!((again, dir.identity().unwrap().incarnation), (formed, drawn));
}

#[tokio::test]
async fn clusters_that_do_not_fit_are_named_and_the_folder_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (_, one) = served(says(1, "c", Some(7))).await;
    let (_, two) = served(says(2, "c", Some(8))).await;
    let (_, other) = served(says(3, "d", Some(9))).await;
    let error = joins(folder.path(), &[other]).await.unwrap_err();
    assert!(matches!(error, FormationError::OtherCluster { .. }), "{error}");
    let error = joins(folder.path(), &[one, two]).await.unwrap_err();
    assert!(matches!(error, FormationError::TwoClusters(..)), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_of_a_node_that_was_removed_is_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_, address) = served(says(1, "c", Some(7))).await;
    let (mut dir, _) = joins(folder.path(), std::slice::from_ref(&address)).await.unwrap();
    let identity = dir.identity().unwrap().clone();
    dir.write_identity(Identity { removed: true, ..identity }).unwrap();
    drop(dir);
    let error = joins(folder.path(), &[address]).await.unwrap_err();
    assert!(matches!(error, FormationError::WasRemoved { .. }), "{error}");
}
