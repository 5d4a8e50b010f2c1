//! Requests that only the leader can carry out, and that the engine does not pass on: they
//! are rare, so this node sends them on as a client would.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{Request, Response as Answer, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use raft_core::NodeId;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::Api;
use super::answer::{ApiError, Effect, json_response};
use super::leader::Retry;
use crate::NodeHandle;

/// What other nodes are asked with.
pub(super) type PeerClient = Client<HttpConnector, Full<Bytes>>;

/// Marks a request that a node has sent on: it is not sent on again, since two nodes that
/// take each other for the leader would do so for ever. Its value is how long the leader may
/// take, in milliseconds: who passed it on still has to hear that nothing happened.
const PASSED_ON: &str = "raft-passed-on";

/// Answers to such requests are far shorter.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// Why this node does not carry out a request by itself; nothing has happened.
#[derive(Clone, Debug)]
pub(super) enum NotHere {
    /// Another node leads, or nobody known.
    Elsewhere(Option<NodeId>),
    /// It can be carried out in a moment.
    NotYet(String),
    /// Something else, which trying again does not mend.
    Never(ApiError),
}

impl Api {
    /// Lets the leader carry out a request, whichever node that is, within the time that the
    /// request may take. Tries again only where nothing has happened.
    pub(super) async fn carried_out_by_leader<F>(
        &self,
        parts: &Parts,
        body: &Bytes,
        attempt: impl Fn(NodeHandle) -> F,
    ) -> Result<Response, ApiError>
    where
        F: Future<Output = Result<Value, NotHere>>,
    {
        let passed_on = parts.headers.contains_key(PASSED_ON);
        let mut retry = Retry::new(self.time_for(parts));
        loop {
            let attempted = attempt(self.state.node.clone());
            let why = match timeout_at(retry.pauses.deadline, attempted).await {
                Ok(Ok(done)) => return Ok(json_response(StatusCode::OK, &done)),
                Ok(Err(NotHere::Never(error))) => return Err(error),
                Ok(Err(NotHere::NotYet(why))) => why,
                Ok(Err(NotHere::Elsewhere(None))) => {
                    self.check_halted()?;
                    self.no_leader()
                }
                Ok(Err(NotHere::Elsewhere(Some(leader)))) if !self.state.forward => {
                    return Err(self.elsewhere(leader));
                }
                Ok(Err(NotHere::Elsewhere(Some(leader)))) if passed_on => {
                    return Err(led_by(leader, "another node seems to lead"));
                }
                Ok(Err(NotHere::Elsewhere(Some(leader)))) => {
                    let left = retry.pauses.deadline.duration_since(Instant::now());
                    let sent = self.pass_on(leader, parts, body, left * 3 / 4);
                    match timeout_at(retry.pauses.deadline, sent).await {
                        Ok(Ok(answer)) => return Ok(answer),
                        Ok(Err(Unanswered::Refused(why))) => why,
                        Ok(Err(Unanswered::Never(error))) => return Err(error),
                        Err(_) => {
                            return Err(ApiError::unknown(Effect::Write, retry.text("no answer")));
                        }
                    }
                }
                Err(_) => return Err(ApiError::unknown(Effect::Write, retry.text("no answer"))),
            };
            retry.pause(why, self.state.stopping.clone()).await?;
        }
    }

    /// How long a request may take: as long as ever, or less where another node has waited
    /// already.
    fn time_for(&self, parts: &Parts) -> Duration {
        let told = parts.headers.get(PASSED_ON).and_then(|value| value.to_str().ok());
        let told = told.and_then(|value| value.parse().ok()).map(Duration::from_millis);
        told.map_or(self.state.request_timeout, |told| told.min(self.state.request_timeout))
    }

    /// Sends a request on to `leader`, which has `time` to answer.
    async fn pass_on(
        &self,
        leader: NodeId,
        parts: &Parts,
        body: &Bytes,
        time: Duration,
    ) -> Result<Response, Unanswered> {
        let members = self.members();
        let Some(address) = members.get(&leader).and_then(Option::as_ref) else {
            let error = led_by(leader, "nobody knows where the leader serves clients; ask there");
            return Err(Unanswered::Never(error));
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder()
            .method(parts.method.clone())
            .uri(format!("http://{}{path}", address.client))
            .header(header::CONTENT_TYPE, "application/json")
            .header(PASSED_ON, time.as_millis().to_string())
            .body(Full::new(body.clone()));
        let request = request.map_err(|why| Unanswered::Refused(why.to_string()))?;
        match self.cluster.client.request(request).await {
            Ok(answer) => self.told(leader, answer).await,
            Err(why) if why.is_connect() => {
                Err(Unanswered::Refused(format!("node {leader}, which seems to lead: {why}")))
            }
            Err(why) => {
                let why = format!("node {leader}, to which this was passed on: {why}");
                Err(Unanswered::Never(ApiError::unknown(Effect::Write, why)))
            }
        }
    }

    /// What `leader` has answered.
    async fn told(
        &self,
        leader: NodeId,
        answer: Answer<hyper::body::Incoming>,
    ) -> Result<Response, Unanswered> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.ok().map(http_body_util::Collected::to_bytes);
        let told: Option<Value> = body.and_then(|body| serde_json::from_slice(&body).ok());
        match told {
            Some(told) if status == StatusCode::SERVICE_UNAVAILABLE => {
                let why = told["error"].as_str().unwrap_or("it cannot serve now");
                Err(Unanswered::Refused(format!("node {leader}, which seems to lead: {why}")))
            }
            Some(told) if status == StatusCode::OK || told["outcome"].is_string() => {
                Ok(json_response(status, &told))
            }
            _ => {
                let why = format!("what answers for node {leader} may be no node: {status}");
                Err(Unanswered::Never(ApiError::unknown(Effect::Write, why)))
            }
        }
    }
}

/// Why there is no answer of the leader.
enum Unanswered {
    /// Nothing has happened.
    Refused(String),
    /// Nothing is to be tried again.
    Never(ApiError),
}

fn led_by(leader: NodeId, why: &str) -> ApiError {
    let error = ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, format!("{why}: node {leader}"));
    error.with(json!({ "leader": leader.get() }))
}
