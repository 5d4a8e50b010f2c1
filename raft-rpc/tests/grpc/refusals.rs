//! Who may not call is told so, and what may not be said is not heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tracing::span;

use crate::harness::{Node, Proxy, append, beat, id, options, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_told_what_is_wrong() {
    let ours = Node::start(1).await;
    let theirs = Node::start_with(2, 8, 1, "127.0.0.1:0", options()).await;
    ours.knows(&theirs);
    theirs.knows(&ours);
    theirs.transport.send(ours.id, vec![beat(1)]);
    let says = "refuses: node 2 of cluster 0000000000000008 called, this is node 1 of cluster \
                0000000000000007: correct the addresses";
    let refused = |error: &String| error.contains(says) && error.starts_with(&ours.address);
    theirs.until_link(ours.id, |link| link.last_error.as_ref().is_some_and(refused)).await;
    assert!(ours.heard().envelopes.is_empty() && !theirs.heard().is_up(ours.id));
    ours.stop().await;
    theirs.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_is_told_who_lives_there() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.transport.set_peer(id(3), two.address.clone());
    two.knows(&one);
    let says = "node 1 called node 3, this is node 2: correct the address of node 3";
    let refused = |error: &String| error.contains(says);
    one.until_link(id(3), |link| link.last_error.as_ref().is_some_and(refused)).await;

    one.transport.set_peer(id(4), one.address.clone());
    let says = "the address of a peer is the node's own";
    let refused = |error: &String| error.contains(says);
    one.until_link(id(4), |link| link.last_error.as_ref().is_some_and(refused)).await;

    one.transport.set_peer(id(5), "nowhere".into());
    let says = "\"nowhere\" is not an address of the form host:port";
    one.until_link(id(5), |link| link.last_error.as_deref() == Some(says)).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_another_program_is_told_from_a_node_that_is_down() {
    let one = Node::start(1).await;
    for words in ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = other.local_addr().unwrap().to_string();
        let answering = tokio::spawn(async move {
            while let Ok((mut stream, _)) = other.accept().await {
                // Who calls may be gone already.
                let _ = stream.write_all(words.as_bytes()).await;
            }
        });
        one.transport.set_peer(id(2), address.clone());
        let says = format!(
            "{address} does not answer as expected: what listens there may be no Raft node ("
        );
        let strange =
            |why: &String| why.starts_with(&says) && why.ends_with("): correct the address");
        one.until_link(id(2), |link| link.last_error.as_ref().is_some_and(strange)).await;
        answering.abort();
    }
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_until_it_is_a_peer() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&two);
    let refused = |error: &String| error.contains("node 1 called, which node 2 does not know");
    one.until_link(two.id, |link| link.last_error.as_ref().is_some_and(refused)).await;
    two.knows(&one);
    one.until("reach node 2", |heard| heard.is_up(two.id)).await;
    let link = one.until_link(two.id, |link| link.lanes.iter().all(|lane| lane.connected)).await;
    assert_eq!(link.last_error, None);

    two.transport.remove_peer(one.id);
    one.until("lose node 2", |heard| !heard.is_up(two.id)).await;
    one.until_link(two.id, |link| link.last_error.as_ref().is_some_and(refused)).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_the_name_of_others_or_for_others_are_not_heard() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&two);
    two.knows(&one);
    let good = append(one.id, two.id, 3, Bytes::new());
    one.transport.send(
        two.id,
        vec![
            append(id(3), two.id, 1, Bytes::new()),
            append(one.id, id(3), 2, Bytes::new()),
            good.clone(),
        ],
    );
    let heard = two.until("hear the good one", |heard| !heard.envelopes.is_empty()).await;
    assert_eq!(heard.envelopes.len(), 1);
    assert_eq!(heard.envelopes[0].2, good);
    let link = two.link(one.id);
    assert_eq!(link.refused, 2);
    let why = link.last_refusal.unwrap();
    assert_eq!(why, "a message from node 1 to node 3, sent by 1 to 2");
    one.stop().await;
    two.stop().await;
}

/// Counts the warnings of the thread that it is the default of.
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("raft_rpc")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_peer_that_stays_away_is_logged_once_and_not_at_every_attempt() {
    let warnings = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let mut proxy = Proxy::to(&two.address).await;
    one.transport.set_peer(two.id, proxy.address.clone());
    soon("dial 20 times", proxy.accepted.wait_for(|count| *count >= 20)).await.unwrap();
    let logged = warnings.load(Ordering::Relaxed);
    assert_eq!(logged, 1, "warnings for two connections that fail alike");
    one.stop().await;
    two.stop().await;
}
