use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::*;
use super::test_node::{Answer, Engine, Http, Node, id, node, start};

/// What is said of member `n`.
fn of(answer: &Answer, n: u64) -> &serde_json::Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    let members = answer.body["members"].as_array().unwrap();
    members.iter().find(|member| member["id"] == n).unwrap()
}

/// What a node says once it has heard everyone who is `expected` to speak in time, and
/// when it asked for the first time. On a busy machine that may take several rounds.
async fn once(node: &Node, expected: impl Fn(&Answer) -> bool) -> (Answer, serde_json::Value) {
    const ROUNDS: usize = 30;
    let mut first = None;
    for _ in 0..ROUNDS {
        let answer = node.ask("GET /status/cluster HTTP/1.1").await;
        let first = first.get_or_insert_with(|| answer.body["asked_ms"].clone());
        if expected(&answer) {
            return (answer, first.clone());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("not within {ROUNDS} rounds");
}

async fn listener() -> (TcpListener, MemberAddress) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = listener.local_addr().unwrap().to_string();
    (listener, MemberAddress { peer: "127.0.0.1:1".to_owned(), client, name: None })
}

#[tokio::test]
async fn a_node_tells_how_live_dead_slow_and_mistaken_members_stand() {
    let (mine, me) = listener().await;
    let (its, live) = listener().await;
    let (_, dead) = listener().await;
    // Connections are taken by the operating system, and nobody answers.
    let (_silent, slow) = listener().await;
    let mistaken = live.clone();
    let members = [me, live, dead, slow, mistaken].into_iter().zip(1..);
    let members = members.map(|(member, n)| (id(n), member)).collect();
    let first = node(id(1), Engine::Leads, mine, &members, 1000);
    let mut second = node(id(2), Engine::Leads, its, &members, 1000);

    let (refused, mistaken) = ("Connection refused", "node 2 of cluster test answers there");
    let says = |answer: &Answer, n, why| {
        of(answer, n)["error"].as_str().is_some_and(|error| error.contains(why))
    };
    let heard = |answer: &Answer| {
        of(answer, 2)["status"].is_object() && says(answer, 3, refused) && says(answer, 5, mistaken)
    };
    let (answer, began) = once(&first, heard).await;
    assert!(answer.head.contains("cache-control: no-store"), "{answer:?}");
    assert_eq!(
        (&of(&answer, 1)["self"], &of(&answer, 1)["status"]["node"]),
        (&true.into(), &1.into())
    );
    assert_eq!(
        (&of(&answer, 2)["self"], &of(&answer, 2)["status"]["node"]),
        (&false.into(), &2.into())
    );
    assert!(of(&answer, 2)["took_ms"].is_f64(), "{answer:?}");
    assert!(says(&answer, 4, "no answer within 300 ms"), "{answer:?}");
    for n in [3, 4, 5] {
        assert_eq!(of(&answer, n)["failing_since_ms"], began);
        assert_eq!(of(&answer, n)["answered_before"], false, "nobody asked before");
    }

    second.stop.take().unwrap().send(()).unwrap();
    second.ended.take().unwrap().await.unwrap().unwrap();
    // A second later they are asked again; what failed before has failed since then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = first.ask("GET /status/cluster HTTP/1.1").await;
    assert_ne!(later.body["asked_ms"], answer.body["asked_ms"]);
    assert_eq!(of(&later, 3)["failing_since_ms"], began);
    assert_eq!(of(&later, 2)["failing_since_ms"], later.body["asked_ms"]);
    assert_eq!(of(&later, 2)["answered_before"], true);
}

/// Member 2 is played, and counts how often it is asked.
#[tokio::test]
async fn many_pages_make_few_questions() {
    const PAGES: usize = 10;
    let (mine, me) = listener().await;
    let (its, played) = listener().await;
    let questions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&questions);
    let routes = Router::new().route(
        "/status",
        get(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            let status = json!({ "node": 2, "cluster_id": ClusterId(5).to_string() });
            std::future::ready(status.to_string())
        }),
    );
    tokio::spawn(serve(its, routes, std::future::pending()));
    let members = [me, played].into_iter().zip(1..).map(|(member, n)| (id(n), member)).collect();
    let first = node(id(1), Engine::Leads, mine, &members, 1000);
    once(&first, |answer| of(answer, 2)["status"]["node"] == 2).await;
    let before = questions.load(Ordering::SeqCst);
    assert!(before > 0, "the answer came from somewhere else");

    let mut asked = JoinSet::new();
    for _ in 0..PAGES {
        let mut page: Http = first.connect().await;
        asked.spawn(async move { page.ask("GET /status/cluster HTTP/1.1").await.status });
    }
    assert_eq!(asked.join_all().await, [200; PAGES]);
    let more = questions.load(Ordering::SeqCst) - before;
    assert!(more < PAGES, "{more} questions for {PAGES} pages");
}

#[tokio::test]
async fn a_browser_gets_a_page_that_may_do_nothing_but_ask_its_node() {
    let node = start(1000).await;
    let answer = node.ask("GET / HTTP/1.1").await;
    assert_eq!(answer.status, 200);
    for header in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "content-security-policy: default-src 'none';",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
    ] {
        assert!(answer.head.contains(header), "{header}: {}", answer.head);
    }
}

#[tokio::test]
async fn a_node_that_waits_for_its_members_shows_the_page_and_why_it_does_not_serve() {
    let (listener, address) = listener().await;
    let waiting = router_while_waiting("the cluster is being formed");
    tokio::spawn(serve(listener, waiting, std::future::pending()));
    let connect = async || Http(tokio::net::TcpStream::connect(&address.client).await.unwrap());
    assert_eq!(connect().await.ask("GET / HTTP/1.1").await.status, 200);
    let answer = connect().await.ask("GET /status HTTP/1.1").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("being formed"), "{answer:?}");
}
