//! How all members stand, as each says on its own port for clients.
//!
//! A page in a browser may ask only the node that it came from; so that node asks the
//! others.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::uri::Uri;
use axum::http::{StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use raft_core::NodeId;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Api;
use super::answer::json_response;
use super::passing_on::PeerClient;
use crate::config::MemberAddress;
use crate::metrics::now_ms;

/// How long a member may take to say how it stands.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// How long answers are told on before the members are asked again, so that it makes no
/// difference to them how many look at the page.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// What is longer ago says nothing of the time in between.
const TOGETHER: Duration = Duration::from_secs(10);

/// A node's status is far shorter; what is longer is none.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// How long a connection to another member is kept when nobody looks any more.
const KEEP_CONNECTIONS: Duration = Duration::from_secs(10);

/// What the other members answered last.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) client: PeerClient,
    last: Mutex<Option<Round>>,
}

/// All members were asked once.
#[derive(Debug)]
struct Round {
    at: Instant,
    time_ms: u64,
    /// How this node stood at the same moment.
    mine: Value,
    replies: BTreeMap<NodeId, Reply>,
}

/// A member that did not say how it stands.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// The first time in a row, in milliseconds since 1970.
    since_ms: u64,
    /// Whether it had answered just before, so that it did not fail for longer.
    answered_before: bool,
}

/// What came of asking one member.
#[derive(Clone, Debug)]
struct Reply {
    took: Duration,
    status: Result<Value, String>,
    failing: Option<Failing>,
}

pub(super) async fn cluster(State(api): State<Arc<Api>>) -> Response {
    let state = &api.state;
    let mut last = api.cluster.last.lock().await;
    let fresh = |round: &Round| round.at.elapsed() < FRESH_FOR;
    if !last.as_ref().is_some_and(fresh) {
        let round = api.cluster.ask_all(&api, last.as_ref()).await;
        *last = Some(round);
    }
    let round = last.as_ref().expect("the members were asked");
    let known = api.members();
    let address = |id: &NodeId| known.get(id).and_then(Option::as_ref);
    let mut members: Vec<Value> =
        round.replies.iter().map(|(id, reply)| member(*id, address(id), reply.to_json())).collect();
    let me = json!({ "self": true, "status": round.mine });
    members.push(member(state.me, address(&state.me), me));
    members.sort_by_key(|member| member["id"].as_u64());
    let body = json!({ "asked_ms": round.time_ms, "members": members });
    drop(last);
    let mut response = json_response(StatusCode::OK, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, super::NO_STORE);
    response
}

fn member(id: NodeId, address: Option<&MemberAddress>, mut body: Value) -> Value {
    body["id"] = id.get().into();
    body["name"] = json!(address.and_then(|address| address.name.as_ref()));
    body["client"] = json!(address.map(|address| &address.client));
    body["peer"] = json!(address.map(|address| &address.peer));
    body
}

impl Cluster {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_CONNECTIONS)
            .build(connector);
        Self { client, last: Mutex::new(None) }
    }

    /// Asks all other members at the same time.
    async fn ask_all(&self, api: &Api, before: Option<&Round>) -> Round {
        let state = &api.state;
        let before = before.filter(|round| round.at.elapsed() < TOGETHER);
        let mut asked = JoinSet::new();
        let members = api.members().into_iter().filter(|(id, _)| *id != state.me);
        let members = members.filter_map(|(id, address)| Some((id, address?.client)));
        for (id, address) in members {
            let (client, cluster) = (self.client.clone(), state.cluster_id.to_string());
            asked.spawn(async move {
                let began = Instant::now();
                let status = match timeout(ANSWER_WITHIN, ask(&client, &address)).await {
                    Ok(answer) => answer.and_then(|status| check(status, id, &cluster)),
                    Err(_) => Err(format!("no answer within {} ms", ANSWER_WITHIN.as_millis())),
                };
                (id, Reply { took: began.elapsed(), status, failing: None })
            });
        }
        let (time_ms, mine) = (now_ms(), api.status());
        let mut replies = BTreeMap::new();
        while let Some(answered) = asked.join_next().await {
            let Ok((id, mut reply)) = answered else { continue };
            if reply.status.is_err() {
                let earlier = before.and_then(|round| round.replies.get(&id));
                let begins = Failing { since_ms: time_ms, answered_before: earlier.is_some() };
                reply.failing = earlier.and_then(|reply| reply.failing).or(Some(begins));
            }
            replies.insert(id, reply);
        }
        Round { at: Instant::now(), time_ms, mine, replies }
    }
}

impl Reply {
    fn to_json(&self) -> Value {
        let took_ms = (self.took.as_secs_f64() * 1e4).round() / 10.0;
        match &self.status {
            Ok(status) => json!({ "self": false, "took_ms": took_ms, "status": status }),
            Err(why) => json!({
                "self": false,
                "took_ms": took_ms,
                "error": why,
                "failing_since_ms": self.failing.map(|failing| failing.since_ms),
                "answered_before": self.failing.is_some_and(|failing| failing.answered_before),
            }),
        }
    }
}

/// What `/status` says at `address`.
async fn ask(client: &PeerClient, address: &str) -> Result<Value, String> {
    let uri: Uri = format!("http://{address}/status").parse().map_err(|why| format!("{why}"))?;
    let answer = client.get(uri).await.map_err(|why| root_of(&why))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|why| root_of(&*why))?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match (status, &body["error"]) {
        (StatusCode::OK, _) => Ok(body),
        (_, Value::String(why)) => Err(why.clone()),
        _ => Err(format!("what listens there answers {status} and may be no node")),
    }
}

/// An answer of somebody else would be shown as this member's.
fn check(status: Value, id: NodeId, cluster: &str) -> Result<Value, String> {
    if status["node"] == id.get() && status["cluster_id"] == cluster {
        return Ok(status);
    }
    Err(match (status["node"].as_u64(), status["cluster"].as_str()) {
        (Some(node), Some(name)) => format!("node {node} of cluster {name} answers there"),
        _ => "what listens there may be no node".to_owned(),
    })
}

/// The innermost cause, which says it in the fewest words.
fn root_of(why: &(dyn Error + 'static)) -> String {
    let mut root = why;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}
