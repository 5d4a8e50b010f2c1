use raft_core::{Index, Term};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;
use crate::{GroupStatus, RequestError, Role};

#[path = "members_tests.rs"]
mod members_tests;

#[path = "test_node.rs"]
mod test_node;

#[path = "cluster_tests.rs"]
mod cluster_tests;

#[path = "session_tests.rs"]
mod session_tests;

use test_node::{
    Answer, Engine, GROUP, LIMIT, PassesOn, cluster, cluster_that, id, not_leader, start,
};

fn put(key: &str, value: &str) -> String {
    format!("POST /v1/data HTTP/1.1\n\n{}", json!({ "k": key, "v": value }))
}

fn refused(answer: &Answer, status: u16) {
    assert_eq!((answer.status, &answer.body["outcome"]), (status, &json!("refused")), "{answer:?}");
    assert!(answer.body["error"].as_str().is_some_and(|why| !why.is_empty()), "{answer:?}");
}

#[tokio::test]
async fn a_value_is_put_got_and_deleted() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let answer = http.ask(&put("a/b c", "1")).await;
    assert_eq!((answer.status, answer.body), (200, json!({ "index": 1 })));
    let answer = http.ask("GET /v1/data/a/b%20c HTTP/1.1").await;
    assert_eq!((answer.status, answer.body), (200, json!({ "k": "a/b c", "v": "1" })));
    for existed in [true, false] {
        let answer = http.ask("DELETE /v1/data/a%2Fb%20c HTTP/1.1").await;
        assert_eq!((answer.status, &answer.body["existed"]), (200, &json!(existed)));
    }
    refused(&http.ask("GET /v1/data/a/b%20c HTTP/1.1").await, 404);
}

#[tokio::test]
async fn a_value_is_put_where_the_key_has_the_expected_one() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let swap = |fields: &str| format!("POST /v1/data HTTP/1.1\n\n{{\"k\":\"key\",{fields}}}");
    let none = http.ask(&swap(r#""v":"1","expected":"0""#)).await;
    refused(&none, 412);
    assert_eq!(none.body["v"], json!(null));
    assert_eq!(http.ask(&swap(r#""v":"1","expected":null"#)).await.status, 200);
    let another = http.ask(&swap(r#""v":"2","expected":null"#)).await;
    refused(&another, 412);
    assert_eq!(another.body["v"], json!("1"));
    assert_eq!(http.ask(&swap(r#""v64":"/wA=","expected64":"MQ==""#)).await.status, 200);
    assert_eq!(http.ask(&swap(r#""v":"3","expected":"1""#)).await.body["v64"], json!("/wA="));
    refused(&http.ask(&swap(r#""v":"3","expected":null,"expected64":"MQ==""#)).await, 400);
    refused(&http.ask(&swap(r#""v":"3","expected":"1","expected64":"MQ==""#)).await, 400);
}

#[tokio::test]
async fn bytes_travel_as_base64() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let answer = http.ask("POST /v1/data HTTP/1.1\n\n{\"k64\":\"a2V5\",\"v64\":\"/wA=\"}").await;
    assert_eq!(answer.status, 200);
    let answer = http.ask("GET /v1/data/key HTTP/1.1").await;
    assert_eq!(answer.body, json!({ "k": "key", "v64": "/wA=" }));
}

#[tokio::test]
async fn the_longest_key_can_be_read_and_a_longer_one_is_not_taken() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let path = |key: &str| key.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let longest = "\u{fc}".repeat(MAX_KEY_BYTES / 2);
    assert_eq!(http.ask(&put(&longest, "1")).await.status, 200);
    let answer = http.ask(&format!("GET /v1/data/{} HTTP/1.1", path(&longest))).await;
    assert_eq!((answer.status, &answer.body["k"]), (200, &json!(longest)));

    let longer = format!("{longest}x");
    let (get, delete) = ["GET", "DELETE"]
        .map(|method| format!("{method} /v1/data/{} HTTP/1.1", path(&longer)))
        .into();
    for request in [put(&longer, "1"), get, delete] {
        let answer = http.ask(&request).await;
        refused(&answer, 400);
        let why = answer.body["error"].as_str().unwrap();
        assert!(why.contains("4097") && why.contains("4096"), "{why}");
    }
}

#[tokio::test]
async fn bad_requests_are_answered_and_the_connection_lives_on() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let too_large = put("k", &"x".repeat(3 * LIMIT));
    for (request, status) in [
        ("POST /v1/data HTTP/1.1\n\nnonsense", 400),
        ("POST /v1/data HTTP/1.1\n\n{\"k\":\"a\"}", 400),
        ("POST /v1/data HTTP/1.1\n\n{\"k\":\"a\",\"v\":\"1\",\"v64\":\"\"}", 400),
        ("POST /v1/data HTTP/1.1\n\n{\"k\":\"a\",\"v\":\"1\",\"ttl\":1}", 400),
        ("POST /v1/data HTTP/1.1\n\n{\"k\":\"\",\"v\":\"1\"}", 400),
        ("POST /v1/data HTTP/1.1\n\n{\"k64\":\"/w==\",\"v\":\"1\"}", 400),
        ("POST /v1/data HTTP/1.1\n\n{\"k\":\"a\",\"v64\":\"!\"}", 400),
        (&too_large, 413),
        ("GET /v1/data/%ff HTTP/1.1", 400),
        ("GET /v1/data/%zz HTTP/1.1", 400),
        ("GET /v1/data/ HTTP/1.1", 400),
        ("GET /v1/data/a?consistency=mostly HTTP/1.1", 400),
        ("GET /v1/data/a?consistency HTTP/1.1", 400),
        ("GET /v1/data/a?consistancy=stale HTTP/1.1", 400),
        ("DELETE /v1/data/a?consistency=stale HTTP/1.1", 400),
        ("GET /v1/data HTTP/1.1", 405),
        ("PUT /v1/data/a HTTP/1.1\n\nx", 405),
        ("DELETE /v1/data/ HTTP/1.1", 400),
        ("GET /v2/data HTTP/1.1", 404),
    ] {
        let answer = http.ask(request).await;
        refused(&answer, status);
        assert!(answer.head.contains("application/json"), "{answer:?}");
    }
    assert_eq!(http.ask(&put("a", "1")).await.status, 200, "the same connection still serves");
    assert_eq!(*node.served.lock().unwrap(), 1, "nothing else reached the engine");
}

#[tokio::test]
async fn a_body_without_a_length_is_limited_too() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let chunk = format!("{:x}\r\n{}\r\n", 2 * LIMIT, "x".repeat(2 * LIMIT));
    let request = format!(
        "POST /v1/data HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    refused(&http.raw(request.as_bytes()).await, 413);
    assert_eq!(http.ask(&put("a", "1")).await.status, 200);
}

#[tokio::test]
async fn a_body_far_too_large_is_not_read_to_its_end() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let head = "POST /v1/data HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\nabc";
    let answer = http.raw(head.as_bytes()).await;
    refused(&answer, 413);
    assert!(answer.head.contains("connection: close"), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let node = start(100).await;
    let head = "POST /v1/data HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc";
    refused(&node.connect().await.raw(head.as_bytes()).await, 408);
}

#[tokio::test]
async fn failures_say_whether_it_may_have_happened() {
    let node = start(1000).await;
    let too_large = RequestError::TooLarge { bytes: 9, limit: 8 };
    for (why, status, outcome) in [
        (RequestError::Overloaded, 503, "refused"),
        (RequestError::NoSuchGroup(GROUP), 503, "refused"),
        (too_large, 413, "refused"),
        (RequestError::LeadershipLost, 504, "unknown"),
        (RequestError::Stopped, 504, "unknown"),
    ] {
        node.set(Engine::Fails(why));
        let answer = node.ask(&put("a", "1")).await;
        assert_eq!((answer.status, &answer.body["outcome"]), (status, &json!(outcome)));
    }
    node.set(Engine::Fails(RequestError::Stopped));
    refused(&node.ask("GET /v1/data/a HTTP/1.1").await, 503);
}

#[tokio::test]
async fn an_engine_that_does_not_answer_leaves_a_write_unknown_and_a_read_refused() {
    let node = start(50).await;
    node.set(Engine::NeverAnswers);
    let answer = node.ask(&put("a", "1")).await;
    assert_eq!((answer.status, &answer.body["outcome"]), (504, &json!("unknown")));
    refused(&node.ask("GET /v1/data/a HTTP/1.1").await, 504);
}

#[tokio::test]
async fn a_node_that_has_too_much_to_do_says_so_at_once_and_takes_more_later() {
    let node = start(100).await;
    // Of each body all but the end comes, and takes up room.
    let begun = "x".repeat(LIMIT - 1);
    let begun =
        format!("POST /v1/data HTTP/1.1\r\nhost: x\r\ncontent-length: {LIMIT}\r\n\r\n{begun}");
    let mut taking_room = Vec::new();
    assert_eq!(node.recorder.queue_full(), 0);
    let answer = loop {
        for _ in 0..4 {
            let mut http = node.connect().await;
            http.0.write_all(begun.as_bytes()).await.unwrap();
            taking_room.push(http);
        }
        let answer = node.ask(&put("a", "1")).await;
        if answer.status == 503 {
            break answer;
        }
    };
    refused(&answer, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("overloaded"), "{answer:?}");
    assert!(node.recorder.queue_full() > 0, "it is counted where nothing came to the engine");
    refused(&node.ask("GET /v1/data/a HTTP/1.1").await, 404);
    drop(taking_room);
    while node.ask(&put("a", "1")).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_a_leader_a_request_waits_for_one_until_its_time_is_over() {
    let [node] = cluster([not_leader(None)], 200).await;
    let started = Instant::now();
    let answer = node.ask(&put("a", "1")).await;
    refused(&answer, 503);
    assert_eq!(answer.body["error"], "no leader is known (waited 200 ms)");

    // Once it is known who is missing, whoever waits is told, and so is who asks for health.
    node.missing.send_replace(Some("not heard: node 2".to_owned()));
    let answer = node.ask("GET /v1/data/a HTTP/1.1").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body["error"], "no leader is known: not heard: node 2 (waited 200 ms)");
    assert!(started.elapsed() >= Duration::from_millis(200));

    let mut http = node.connect().await;
    let asked = tokio::spawn(async move { http.ask(&put("a", "1")).await });
    while *node.served.lock().unwrap() < 10 {
        tokio::task::yield_now().await;
    }
    node.set(Engine::Leads);
    assert_eq!(asked.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_node_whose_group_has_stopped_says_so_at_once() {
    let [node] = cluster([not_leader(None)], 60_000).await;
    let halted = Some("the disk is full".to_owned());
    let status = GroupStatus { halted, ..GroupStatus::default() };
    node.statuses.write().unwrap().insert(GROUP, status);
    let answer = node.ask(&put("a", "1")).await;
    refused(&answer, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("the disk is full"), "{answer:?}");
}

#[tokio::test]
async fn a_node_that_stops_tells_those_who_wait_for_a_leader() {
    let [node] = cluster([not_leader(None)], 60_000).await;
    let mut http = node.connect().await;
    let asked = tokio::spawn(async move { http.ask(&put("a", "1")).await });
    while *node.served.lock().unwrap() < 3 {
        tokio::task::yield_now().await;
    }
    node.stopping.send_replace(true);
    let answer = asked.await.unwrap();
    refused(&answer, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("stopping"), "{:?}", answer.body);
}

#[tokio::test]
async fn an_election_that_ends_in_time_is_not_noticed() {
    let [node] = cluster([not_leader(Some(2))], 3000).await;
    let mut http = node.connect().await;
    let asked = tokio::spawn(async move { http.ask(&put("a", "1")).await });
    while *node.served.lock().unwrap() < 3 {
        tokio::task::yield_now().await;
    }
    node.set(Engine::Leads);
    assert_eq!(asked.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_read_is_asked_again_when_leadership_ends_and_a_write_is_not() {
    let [node] = cluster([Engine::Fails(RequestError::LeadershipLost)], 200).await;
    let answer = node.ask(&put("a", "1")).await;
    assert_eq!((answer.status, &answer.body["outcome"]), (504, &json!("unknown")));
    assert_eq!(*node.served.lock().unwrap(), 1);
    refused(&node.ask("GET /v1/data/a HTTP/1.1").await, 503);
    assert!(*node.served.lock().unwrap() > 2);
}

#[tokio::test]
async fn a_stale_read_needs_no_leader_and_says_how_old_it_may_be() {
    let node = start(1000).await;
    node.ask(&put("a", "1")).await;
    node.set(not_leader(None));
    let heard = Some(Duration::from_millis(70));
    let status = GroupStatus { leader_heard: heard, ..GroupStatus::default() };
    node.statuses.write().unwrap().insert(GROUP, status);
    let answer = node.ask("GET /v1/data/a?consistency=stale HTTP/1.1").await;
    let expected = json!({ "k": "a", "v": "1", "applied": 1, "leader_heard_ms": 70 });
    assert_eq!((answer.status, answer.body), (200, expected));
    assert!(answer.head.contains("x-raft-applied: 1\r\n"), "{}", answer.head);
    assert!(answer.head.contains("x-raft-leader-heard-ms: 70\r\n"), "{}", answer.head);
    let answer = node.ask("GET /v1/data/b?consistency=stale HTTP/1.1").await;
    refused(&answer, 404);
    assert_eq!(answer.body["applied"], json!(1));
}

#[tokio::test]
async fn health_and_status_say_how_the_node_stands() {
    let node = start(1000).await;
    refused(&node.ask("GET /health HTTP/1.1").await, 503);
    let set = |status| node.statuses.write().unwrap().insert(GROUP, status);
    let peer = crate::PeerStatus { id: id(1), matched: Index(4), heard: None };
    let leads = GroupStatus {
        role: Role::Leader,
        term: Term(3),
        leader: Some(id(1)),
        last: Index(9),
        commit: Index(8),
        applied: Index(7),
        leader_heard: Some(Duration::ZERO),
        peers: vec![peer],
        ..GroupStatus::default()
    };
    set(leads.clone());
    assert_eq!(node.ask("GET /health HTTP/1.1").await.status, 200);
    let status = node.ask("GET /status HTTP/1.1").await.body;
    assert_eq!(status["cluster_id"], json!("0000000000000005"));
    assert_eq!((&status["role"], &status["commit"]), (&json!("leader"), &json!(8)));
    assert_eq!(status["peers"][0]["match"], json!(4));
    assert_eq!(status["peers"][0]["peer"], json!("127.0.0.1:1"));

    set(GroupStatus { halted: Some("damaged".to_owned()), ..leads });
    let answer = node.ask("GET /health HTTP/1.1").await;
    refused(&answer, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("damaged"));
}

#[tokio::test]
async fn a_node_on_its_way_down_is_not_healthy_whatever_its_last_status_says() {
    let node = start(1000).await;
    let last = GroupStatus { leader: Some(id(1)), ..GroupStatus::default() };
    node.statuses.write().unwrap().insert(GROUP, last);
    assert_eq!(node.ask("GET /health HTTP/1.1").await.status, 200);
    node.stopping.send_replace(true);
    let answer = node.ask("GET /health HTTP/1.1").await;
    refused(&answer, 503);
    assert!(answer.body["error"].as_str().unwrap().contains("stopping"), "{answer:?}");
}

#[tokio::test]
async fn stopping_lets_the_request_under_way_finish_and_ends_idle_connections() {
    let mut node = cluster([not_leader(None)], 3000).await.into_iter().next().unwrap();
    let mut idle = node.connect().await;
    idle.ask("GET /status HTTP/1.1").await;
    let mut http = node.connect().await;
    let asked = tokio::spawn(async move { http.ask(&put("a", "1")).await });
    while *node.served.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    node.stop.take().unwrap().send(()).unwrap();
    assert_eq!(idle.0.read(&mut [0]).await.unwrap(), 0);
    node.set(Engine::Leads);
    assert_eq!(asked.await.unwrap().status, 200);
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_head_that_does_not_come() {
    let mut node = start(60_000).await;
    let mut half = node.connect().await;
    half.ask("GET /status HTTP/1.1").await;
    half.0.write_all(b"GET /status HTTP/1.1\r\nhost:").await.unwrap();
    let mut first = node.connect().await;
    first.0.write_all(b"GET /status HTTP/1.1\r\nhost:").await.unwrap();
    // The heads have arrived once a later connection was answered.
    node.ask("GET /status HTTP/1.1").await;

    let began = Instant::now();
    node.stop.take().unwrap().send(()).unwrap();
    node.ended.take().unwrap().await.unwrap().unwrap();
    assert!(began.elapsed() < SHUTDOWN_TIMEOUT, "{:?}", began.elapsed());
    for mut connection in [half, first] {
        // Closed or reset.
        assert_eq!(connection.0.read(&mut [0]).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn a_node_that_passes_nothing_on_names_the_leader_at_once() {
    let engines = [not_leader(Some(2)), not_leader(Some(1))];
    let [node, leader] = cluster_that(PassesOn::No, engines, 60_000).await;
    let requests =
        [put("a", "b"), "GET /v1/data/a HTTP/1.1".to_owned(), "DELETE /v1/data/a HTTP/1.1".into()];
    for request in requests {
        let answer = node.ask(&request).await;
        assert_eq!(
            (answer.status, &answer.body["outcome"]),
            (503, &json!("refused")),
            "{answer:?}"
        );
        assert_eq!(answer.body["leader"], 2);
        assert_eq!(answer.body["client"], leader.address.to_string());
    }
}
