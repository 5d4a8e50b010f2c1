use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::*;
use super::test_node::{Answer, Engine, Http, cluster, id, node, start};

/// What is said of member `n`.
fn of(answer: &Answer, n: u64) -> &serde_json::Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    let members = answer.body["members"].as_array().unwrap();
    members.iter().find(|member| member["id"] == n).unwrap()
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

    let answer = first.ask("GET /status/cluster HTTP/1.1").await;
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
    for (n, why) in [
        (3, "Connection refused"),
        (4, "no answer within 300 ms"),
        (5, "node 2 of cluster test answers there"),
    ] {
        let error = of(&answer, n)["error"].as_str().unwrap();
        assert!(error.contains(why), "{error}");
        assert_eq!(of(&answer, n)["failing_since_ms"], answer.body["asked_ms"]);
        assert_eq!(of(&answer, n)["answered_before"], false, "nobody asked before");
    }

    second.stop.take().unwrap().send(()).unwrap();
    second.ended.take().unwrap().await.unwrap().unwrap();
    // A second later they are asked again; what failed before has failed since then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = first.ask("GET /status/cluster HTTP/1.1").await;
    assert_ne!(later.body["asked_ms"], answer.body["asked_ms"]);
    assert_eq!(of(&later, 3)["failing_since_ms"], answer.body["asked_ms"]);
    assert_eq!(of(&later, 2)["failing_since_ms"], later.body["asked_ms"]);
    assert_eq!(of(&later, 2)["answered_before"], true);
}

#[tokio::test]
async fn many_pages_make_few_questions() {
    const PAGES: usize = 10;
    let [first, _second] = cluster([Engine::Leads, Engine::Leads], 1000).await;
    let mut asked = JoinSet::new();
    for _ in 0..PAGES {
        let mut page: Http = first.connect().await;
        asked.spawn(async move { page.ask("GET /status/cluster HTTP/1.1").await });
    }
    let mut rounds = BTreeSet::new();
    for answer in asked.join_all().await {
        assert_eq!(of(&answer, 2)["status"]["node"], 2);
        rounds.insert(answer.body["asked_ms"].as_u64().unwrap());
    }
    assert!(rounds.len() < PAGES, "{rounds:?}");
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
    tokio::spawn(serve(listener, router_while_forming(), std::future::pending()));
    let connect = async || Http(tokio::net::TcpStream::connect(&address.client).await.unwrap());
    assert_eq!(connect().await.ask("GET / HTTP/1.1").await.status, 200);
    let answer = connect().await.ask("GET /status HTTP/1.1").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("being formed"), "{answer:?}");
}
