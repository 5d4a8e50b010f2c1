//! Sending a client's request on to the leader.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use raft_core::NodeId;
use tokio::time::{Instant, timeout_at};

use super::{ApiState, FORWARDED_FROM, NOT_LEADER};
use crate::config::MemberAddress;

/// How long an idle connection to another node is kept: less than a server keeps it,
/// so that a request is not sent into a connection that is being closed.
const IDLE: Duration = Duration::from_secs(20);

/// An answer may be this many times larger than a body: JSON writes some bytes as six.
const ANSWER_TIMES: usize = 8;

/// The connections to the other nodes' client ports.
#[derive(Debug)]
pub(super) struct Forwarder {
    me: NodeId,
    members: BTreeMap<NodeId, MemberAddress>,
    client: Client<HttpConnector, Full<Bytes>>,
    max_answer_bytes: usize,
}

/// What came of a request that was sent on.
pub(super) enum Forwarded {
    /// The leader's answer, whatever it says.
    Answered(Response),
    /// It did not reach a leader: nothing happened.
    NotCarriedOut(String),
    /// It may have reached the leader.
    Unclear(String),
}

impl Forwarder {
    pub(super) fn new(state: &ApiState) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // While connecting nothing has been sent, so giving up early leaves time to try
        // again where a timeout of the whole would leave the outcome unknown.
        connector.set_connect_timeout(Some(state.request_timeout / 4));
        let mut client = Client::builder(TokioExecutor::new());
        client.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
        Self {
            me: state.me,
            members: state.members.clone(),
            client: client.build(connector),
            max_answer_bytes: state.max_body_bytes.saturating_mul(ANSWER_TIMES),
        }
    }

    /// Sends a request on to `leader` and waits for the answer until `deadline`.
    pub(super) async fn forward(
        &self,
        leader: NodeId,
        parts: &Parts,
        body: Bytes,
        deadline: Instant,
    ) -> Forwarded {
        let Some(member) = self.members.get(&leader) else {
            let why = format!("the address of the leader, node {leader}, was not found");
            return Forwarded::NotCarriedOut(why);
        };
        let named = |why: &str| format!("the leader, node {leader} at {}, {why}", member.client);
        let request = match self.request(member, parts, body) {
            Ok(request) => request,
            Err(why) => return Forwarded::NotCarriedOut(named(&why.to_string())),
        };
        match timeout_at(deadline, self.exchange(request)).await {
            Ok(Ok(response)) if response.headers().contains_key(NOT_LEADER) => {
                Forwarded::NotCarriedOut(named("did not lead"))
            }
            Ok(Ok(response)) => Forwarded::Answered(response),
            Ok(Err(Failure { sent: false, why })) => {
                Forwarded::NotCarriedOut(named(&format!("was not reached ({why})")))
            }
            Ok(Err(Failure { sent: true, why })) => {
                Forwarded::Unclear(named(&format!("broke off ({why})")))
            }
            Err(_) => Forwarded::Unclear(named("did not answer in time")),
        }
    }

    fn request(
        &self,
        member: &MemberAddress,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, axum::http::Error> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme("http").authority(&member.client[..]).path_and_query(path);
        let mut request = Request::builder()
            .method(parts.method.clone())
            .uri(uri.build()?)
            .header(FORWARDED_FROM, self.me.get());
        if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        request.body(Full::new(body))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response, Failure> {
        let response = self.client.request(request).await.map_err(|why| Failure {
            // Whatever is not surely before the first byte counts as sent.
            sent: !why.is_connect(),
            why: with_causes(&why),
        })?;
        let (from, body) = response.into_parts();
        let body = Limited::new(body, self.max_answer_bytes).collect().await;
        let body = body.map_err(|why| Failure { sent: true, why: why.to_string() })?.to_bytes();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = from.status;
        let of_interest = |name: &str| name == "content-type" || name.starts_with("x-raft-");
        let kept = from.headers.iter().filter(|(name, _)| of_interest(name.as_str()));
        response.headers_mut().extend(kept.map(|(n, v): (_, &HeaderValue)| (n.clone(), v.clone())));
        Ok(response)
    }
}

/// An exchange that failed, and whether the request may have left.
struct Failure {
    sent: bool,
    why: String,
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text = format!("{text}: {one}");
        cause = one.source();
    }
    text
}
