//! Requests to one node.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

/// No error is longer.
const MAX_ERROR_BYTES: usize = 64 << 10;

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

/// What came of fetching something large.
#[derive(Debug)]
pub(super) enum Download {
    /// All of it was handed on.
    Whole,
    /// The node says that it cannot, and why.
    Refused(String),
    /// The node was not reached, or it broke off.
    Failed(String),
    /// What came could not be kept.
    NotStored(io::Error),
}

/// Fetches something large on a connection of its own and hands it on piece by piece. The
/// node may take as long as the first of `limits` until it begins, and as the second between
/// two pieces.
pub(super) async fn download(
    endpoint: &str,
    path: &str,
    [wait, silence]: [Duration; 2],
    mut keep: impl FnMut(&[u8]) -> io::Result<()>,
) -> Download {
    let request = Request::get(format!("http://{endpoint}{path}")).body(Full::new(Bytes::new()));
    let request = match request {
        Ok(request) => request,
        Err(why) => return Download::Failed(format!("this is no address: {why}")),
    };
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(silence));
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let late =
        |limit: Duration| Download::Failed(format!("nothing came within {} ms", limit.as_millis()));
    let answer = match timeout(wait, client.request(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => return Download::Failed(format!("{:#}", anyhow::Error::new(why))),
        Err(_) => return late(wait),
    };
    let status = answer.status();
    if status != StatusCode::OK {
        let body = Limited::new(answer.into_body(), MAX_ERROR_BYTES).collect();
        let body = timeout(silence, body).await.ok().and_then(Result::ok);
        let body: Option<Value> =
            body.and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        let why = body.as_ref().and_then(|body| body["error"].as_str());
        return Download::Refused(why.map_or_else(|| format!("answered {status}"), str::to_owned));
    }
    let mut body = answer.into_body();
    loop {
        match timeout(silence, body.frame()).await {
            Ok(None) => return Download::Whole,
            Ok(Some(Ok(frame))) => {
                let Some(piece) = frame.data_ref() else { continue };
                if let Err(why) = keep(piece) {
                    return Download::NotStored(why);
                }
            }
            Ok(Some(Err(why))) => {
                let why = anyhow::Error::new(why);
                return Download::Failed(format!("it was cut off: {why:#}"));
            }
            Err(_) => return late(silence),
        }
    }
}

/// Sends one request on a connection of its own.
pub(super) async fn send(
    endpoint: &str,
    method: Method,
    path: &str,
    body: String,
    limit: Duration,
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
    connector.set_connect_timeout(Some(limit / 2));
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
    match tokio::time::timeout(limit, exchange).await {
        Ok(Ok(reply) | Err(reply)) => reply,
        Err(_) => {
            let waited = limit.as_millis();
            Reply::Unclear(format!("{endpoint} did not answer within {waited} ms"))
        }
    }
}
