//! Who is there?

use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft_core::{ClusterId, Incarnation};
use raft_rpc::grpc::{Identification, IdentityProvider, TransportError, identify, serve_identity};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::harness::{Node, id, soon};

const PATIENCE: Duration = Duration::from_secs(10);

fn unformed(node: u64) -> Identification {
    Identification {
        cluster_name: "orders".into(),
        cluster: None,
        node: id(node),
        incarnation: None,
        members: [].into(),
    }
}

fn formed(node: u64) -> Identification {
    Identification {
        cluster: Some(ClusterId(7)),
        incarnation: Some(Incarnation(70)),
        members: [(id(1), Incarnation(60)), (id(2), Incarnation(70))].into(),
        ..unformed(node)
    }
}

/// Always says the same, and remembers who asked.
struct Says {
    answer: Identification,
    asked_by: Mutex<Vec<Identification>>,
}

impl Says {
    fn new(answer: Identification) -> Arc<Self> {
        Arc::new(Self { answer, asked_by: Mutex::default() })
    }
}

impl IdentityProvider for Says {
    fn identify(&self, asked_by: &Identification) -> Identification {
        self.asked_by.lock().unwrap().push(asked_by.clone());
        self.answer.clone()
    }
}

#[tokio::test]
async fn a_node_without_a_cluster_answers_before_it_has_peers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let says = Says::new(unformed(2));
    let (stop, stopped) = oneshot::channel::<()>();
    let provider = Arc::clone(&says);
    let serving = tokio::spawn(async move {
        let shutdown = async { stopped.await.unwrap_or_default() };
        serve_identity(listener, provider, shutdown).await
    });
    let asks = formed(1);
    assert_eq!(identify(&address, &asks, PATIENCE).await.unwrap(), unformed(2));
    assert_eq!(*says.asked_by.lock().unwrap(), [asks]);

    // It does not talk to peers yet, and a dialer is told so.
    let one = Node::start(1).await;
    one.transport.set_peer(id(2), address);
    let absent = |error: &String| error.contains("still waits for the members of a new cluster");
    one.until_link(id(2), |link| link.last_error.as_ref().is_some_and(absent)).await;
    stop.send(()).unwrap();
    one.stop().await;
    soon("end serving", serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_of_a_cluster_answers_on_the_port_of_its_peers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let two = Node::start(2).await;
    two.transport.set_identity_provider(Says::new(formed(2)));
    let transport = two.transport.clone();
    let serving =
        tokio::spawn(async move { transport.serve(listener, std::future::pending()).await });
    assert_eq!(identify(&address, &unformed(1), PATIENCE).await.unwrap(), formed(2));
    two.stop().await;
    soon("end serving", serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn whoever_cannot_answer_is_an_error_in_time() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    let short = Duration::from_millis(200);
    let error = identify(&address, &unformed(1), short).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
    drop(nobody);
    let error = identify(&address, &unformed(1), PATIENCE).await.unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error}");
    let error = identify("here", &unformed(1), PATIENCE).await.unwrap_err();
    assert!(matches!(error, TransportError::Address { .. }), "{error}");
    let without = Node::start(2).await;
    let error = identify(&without.address, &unformed(1), PATIENCE).await.unwrap_err();
    assert!(matches!(error, TransportError::WrongPeer { .. }), "{error}");
    without.stop().await;
}
