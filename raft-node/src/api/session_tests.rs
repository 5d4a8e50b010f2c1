//! Writes of sessions, as clients send them.

use super::*;

/// The request with headers of a session.
fn once(headers: &str, request: &str) -> String {
    request.replacen("HTTP/1.1", &format!("HTTP/1.1\n{headers}"), 1)
}

fn nth(session: u64, sequence: u64, request: &str) -> String {
    once(&format!("raft-session: {session}\nraft-sequence: {sequence}"), request)
}

fn unknown(answer: &Answer, reason: &str) {
    let told = (&answer.body["outcome"], &answer.body["reason"]);
    assert_eq!((answer.status, told), (504, (&json!("unknown"), &json!(reason))), "{answer:?}");
}

async fn opened(http: &mut test_node::Http) -> u64 {
    let answer = http.ask("POST /v1/sessions HTTP/1.1").await;
    assert_eq!((answer.status, &answer.body["expires_after_ms"]), (200, &json!(600_000)));
    answer.body["session"].as_u64().unwrap()
}

#[tokio::test]
async fn a_write_of_a_session_is_applied_once_and_answered_as_then() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let session = opened(&mut http).await;
    let (first, delete) = (nth(session, 1, &put("a", "1")), "DELETE /v1/data/a HTTP/1.1");
    let answer = http.ask(&first).await;
    assert_eq!((answer.status, answer.body), (200, json!({ "index": 2 })));
    let answer = http.ask(&nth(session, 2, delete)).await;
    assert_eq!(answer.body, json!({ "index": 3, "existed": true }));
    http.ask(&put("a", "of another client")).await;

    let answer = http.ask(&nth(session, 2, delete)).await;
    let as_then = json!({ "index": 3, "existed": true, "repeated": true });
    assert_eq!((answer.status, answer.body), (200, as_then));
    let answer = http.ask("GET /v1/data/a HTTP/1.1").await;
    assert_eq!(answer.body["v"], "of another client");

    unknown(&http.ask(&first).await, "acknowledged");
    assert_eq!(http.ask("GET /v1/data/a HTTP/1.1").await.body["v"], "of another client");
}

#[tokio::test]
async fn who_sends_several_at_once_says_what_is_answered() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let session = opened(&mut http).await;
    let numbered = |sequence: u64, acknowledged: u64| {
        let headers = format!("raft-session: {session}\nraft-sequence: {sequence}");
        once(&format!("{headers}\nraft-acknowledged: {acknowledged}"), &put("a", "1"))
    };
    assert_eq!(http.ask(&numbered(2, 0)).await.body, json!({ "index": 2 }));
    assert_eq!(http.ask(&numbered(1, 0)).await.body, json!({ "index": 3 }));
    assert_eq!(http.ask(&numbered(2, 0)).await.body, json!({ "index": 2, "repeated": true }));
    assert_eq!(http.ask(&numbered(3, 1)).await.body, json!({ "index": 5 }));
    unknown(&http.ask(&numbered(1, 0)).await, "acknowledged");
}

#[tokio::test]
async fn a_write_of_a_session_that_is_not_open_is_not_applied() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    let session = opened(&mut http).await;
    for existed in [true, false] {
        let answer = http.ask(&format!("DELETE /v1/sessions/{session} HTTP/1.1")).await;
        assert_eq!((answer.status, &answer.body["existed"]), (200, &json!(existed)));
    }
    unknown(&http.ask(&nth(session, 1, &put("a", "1"))).await, "session_not_open");
    refused(&http.ask("GET /v1/data/a HTTP/1.1").await, 404);
}

#[tokio::test]
async fn headers_and_bodies_that_make_no_sense_are_refused() {
    let node = start(1000).await;
    let mut http = node.connect().await;
    for headers in [
        "raft-session: 1",
        "raft-sequence: 1",
        "raft-acknowledged: 1",
        "raft-session: one\nraft-sequence: 1",
        "raft-session: 1\nraft-sequence: -1",
        "raft-session: 1\nraft-sequence: 1\nraft-sequence: 2",
        "raft-session: 1\nraft-sequence: 0",
        "raft-session: 1\nraft-sequence: 5\nraft-acknowledged: 5",
    ] {
        refused(&http.ask(&once(headers, &put("a", "1"))).await, 400);
        refused(&http.ask(&once(headers, "DELETE /v1/data/a HTTP/1.1")).await, 400);
    }
    for body in
        ["{", "{\"ttl\":1}", "{\"expires_after_ms\":999}", "{\"expires_after_ms\":86400001}"]
    {
        refused(&http.ask(&format!("POST /v1/sessions HTTP/1.1\n\n{body}")).await, 400);
    }
    refused(&http.ask("DELETE /v1/sessions/one HTTP/1.1").await, 400);
    refused(&http.ask("GET /v1/sessions/1 HTTP/1.1").await, 405);
    assert_eq!(*node.served.lock().unwrap(), 0, "nothing reached the engine");

    let body = "{\"expires_after_ms\":1500}";
    let answer = http.ask(&format!("POST /v1/sessions HTTP/1.1\n\n{body}")).await;
    assert_eq!(answer.body["expires_after_ms"], 1500);
}

#[tokio::test]
async fn a_write_of_a_session_is_sent_again_by_the_node_when_leadership_ends() {
    let [node] = cluster([Engine::Fails(RequestError::LeadershipLost)], 3000).await;
    let mut http = node.connect().await;
    let asked = tokio::spawn(async move { http.ask(&nth(7, 1, &put("a", "1"))).await });
    while *node.served.lock().unwrap() < 3 {
        tokio::task::yield_now().await;
    }
    node.set(Engine::Leads);
    unknown(&asked.await.unwrap(), "session_not_open");
    assert!(*node.served.lock().unwrap() > 3, "the store has answered");
}

#[tokio::test]
async fn what_was_in_doubt_once_stays_in_doubt() {
    let [node] = cluster([Engine::Fails(RequestError::LeadershipLost)], 300).await;
    let mut http = node.connect().await;
    let asked = tokio::spawn(async move { http.ask(&nth(7, 1, &put("a", "1"))).await });
    while *node.served.lock().unwrap() < 2 {
        tokio::task::yield_now().await;
    }
    node.set(not_leader(None));
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, &answer.body["outcome"]), (504, &json!("unknown")), "{answer:?}");

    // What was refused every time is refused.
    refused(&node.ask(&nth(7, 1, &put("a", "1"))).await, 503);
}
