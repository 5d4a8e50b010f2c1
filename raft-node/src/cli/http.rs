//! Requests to one node.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// The node's answer.
    Answered { status: u16, body: Value },
    /// The node did not get the request.
    NotSent(String),
    /// The node may have got the request.
    Unclear(String),
}

/// Sends one request on a connection of its own.
pub(super) async fn send(
    endpoint: &str,
    method: Method,
    path: &str,
    body: String,
    timeout: Duration,
) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{endpoint}{path}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)));
    let request = match request {
        Ok(request) => request,
        Err(why) => return Reply::NotSent(format!("{endpoint} is no address: {why}")),
    };
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(timeout / 2));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let exchange = async {
        let response = client.request(request).await.map_err(|why| {
            let connecting = why.is_connect();
            let text = format!("{endpoint}: {:#}", anyhow::Error::new(why));
            if connecting { Reply::NotSent(text) } else { Reply::Unclear(text) }
        })?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(|why| Reply::Unclear(format!("{endpoint}: {why}")))?.to_bytes();
        let body = serde_json::from_slice(&body)
            .map_err(|_| Reply::Unclear(format!("{endpoint} answered {status} and no JSON")))?;
        Ok(Reply::Answered { status, body })
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(reply) | Err(reply)) => reply,
        Err(_) => {
            let waited = timeout.as_millis();
            Reply::Unclear(format!("{endpoint} did not answer within {waited} ms"))
        }
    }
}
