//! Requests that are answered with what is wrong with them.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::Stage;
use super::http::Client;

const TIMEOUT: Duration = Duration::from_secs(5);
/// A value of this size makes a body larger than the limit of 1.5 MiB.
const TOO_LARGE: usize = 3 << 19;

/// Each bad request gets its 4xx, says that nothing happened, and leaves the
/// connection as useful as it was.
pub(super) fn refused_on_the_wire(stage: &mut Stage) -> Result<()> {
    let too_large = json!({ "k": "large", "v": "x".repeat(TOO_LARGE) }).to_string();
    let cases: [(&str, &str, &str, Option<&str>, u16); 13] = [
        ("malformed JSON", "POST", "/v1/data", Some("{\"k\": \"a\", "), 400),
        ("no object", "POST", "/v1/data", Some("[1]"), 400),
        ("no value", "POST", "/v1/data", Some("{\"k\": \"a\"}"), 400),
        ("a number as value", "POST", "/v1/data", Some("{\"k\": \"a\", \"v\": 1}"), 400),
        ("an empty key", "POST", "/v1/data", Some("{\"k\": \"\", \"v\": \"1\"}"), 400),
        ("no body", "POST", "/v1/data", None, 400),
        ("a body too large", "POST", "/v1/data", Some(&too_large), 413),
        ("an unknown route", "GET", "/v1/nothing", None, 404),
        ("an unknown method", "PATCH", "/v1/data", Some("{}"), 405),
        ("an unknown consistency", "GET", "/v1/data/a?consistency=mostly", None, 400),
        ("a key that is no UTF-8", "GET", "/v1/data/%FF%FE", None, 400),
        ("a broken escape", "GET", "/v1/data/%zz", None, 400),
        ("no key", "DELETE", "/v1/data/", None, 400),
    ];
    for node in &stage.cluster.nodes {
        let mut http = Client::new(node.client, TIMEOUT);
        for (what, method, target, body, status) in cases {
            let response = http.request(method, target, body.map(str::as_bytes))?;
            let text = String::from_utf8_lossy(&response.body);
            ensure!(response.status == status, "{what}: {} {text}, not {status}", response.status);
            let json = response.json();
            ensure!(json["outcome"] == "refused", "{what}: it does not say refused: {text}");
            ensure!(json["error"].is_string(), "{what}: it does not say why: {text}");
            let health = http.request("GET", "/health", None)?;
            ensure!(health.status == 200, "{what}: the node is ill afterwards: {health:?}");
            ensure!(http.connections() == 1, "{what}: the connection was given up");
        }
        nonsense(stage, node.client)?;
    }
    println!("   {} kinds of bad requests refused by every node", cases.len() + 1);
    Ok(())
}

/// What is no HTTP at all may end the connection, not the node.
fn nonsense(stage: &Stage, node: std::net::SocketAddr) -> Result<()> {
    let mut http = Client::new(node, TIMEOUT);
    if let Ok(response) = http.send(b"\x00\xff\xfe nonsense\r\n\r\n") {
        ensure!(response.status == 400, "nonsense was answered with {}", response.status);
    }
    for node in &stage.cluster.nodes {
        ensure!(node.status().is_some(), "node {} is down after nonsense", node.id);
    }
    Ok(())
}
