//! What clients see: HTTP and JSON.
//!
//! | Request | Answer |
//! |---|---|
//! | `POST /v1/data` with `{"k": key, "v": value}`; `v64` takes a value, `k64` a key in base64 | 200 `{"index": n}` once committed and applied |
//! | `GET /v1/data/{key}` | 200 `{"k": key, "v": value}`, with `v64` in place of `v` where the value is not UTF-8; 404 |
//! | `GET /v1/data/{key}?consistency=stale` | the same from this node as it is, with `applied` and `leader_heard_ms` (also as headers) |
//! | `DELETE /v1/data/{key}` | 200 `{"index": n, "existed": bool}` |
//! | `POST /v1/sessions`, with `{"expires_after_ms": n}` if ten minutes are not right | 200 `{"session": n, "expires_after_ms": n}` |
//! | `DELETE /v1/sessions/{session}` | 200 `{"index": n, "existed": bool}` |
//! | `GET /v1/members` | 200 with the members as this node knows them |
//! | `POST /v1/members` with `{"changes": [step, ...]}` | 200 `{"index": n}` once the change is committed; 409 where it is refused; see below |
//! | `POST /v1/transfer`, with `{"to": id}` if not whoever is best placed | 200 `{"leader": id}` once another node leads; 409 |
//! | `GET /v1/maintenance/snapshot` | 200 with a backup of the state, which holds everything that was confirmed before (`raft-node snapshot save`); with `?consistency=stale` what this node has; 503 |
//! | `GET /v1/maintenance/collection` | 200 `{"paused": bool}`: whether this node keeps its log and its snapshots |
//! | `POST /v1/maintenance/collection` with `{"paused": bool}` | the same, from now on, until this node is restarted |
//! | `GET /health` | 200 where the group runs here, a leader is known, and the node is not stopping, else 503 |
//! | `GET /status` | 200 with how this node stands |
//! | `GET /status/cluster` | 200 with how all members stand, or why they did not say |
//! | `GET /` | a page for people that shows all this |
//!
//! A key is the rest of the path, percent-decoded, slashes included; keys are UTF-8
//! of at most [`MAX_KEY_BYTES`].
//! Reads are linearizable unless they ask for `stale`. Every node takes every request:
//! the engine of a node that does not lead passes writes on to the leader, and asks it
//! how far reads must wait here.
//!
//! A write of a session has the headers `raft-session` and `raft-sequence`: its number,
//! counted from 1. Sent again with the same number, and the same content, it is applied once;
//! it is then answered as the first time, with the first `index` and `"repeated": true`.
//! `raft-acknowledged` says up to which number no answer is wanted any more; without it that
//! is every number below this one, which is right for who sends one write at a time. A node
//! sends such a write again by itself when leadership ends, as long as the request may take.
//! Where the session is not open, or the number acknowledged, the write is not applied, and
//! the outcome is unknown, with `"reason": "session_not_open" | "acknowledged"`.
//!
//! The steps of a change happen together. Each is one of
//!
//! - `{"add": {"id": 4, "peer": "host:port", "client": "host:port"}}`, with `"name"` if it
//!   has one. The node must run and wait, started with `--join`. It receives the log as a
//!   learner and becomes a voter by itself once it has caught up; with `"replaces": 3` in the
//!   place of that node; with `"as": "learner"` never.
//! - `{"promote": 4}`, `{"demote": 4}`, `{"remove": 4}`
//! - `{"update": {"id": 4, "peer": "host:port", "client": "host:port"}}`: it is reached
//!   there from now on, and must answer there already. Without `"name"` it keeps its own.
//!
//! Where more than one voter changes, the voters before and after decide together for a
//! moment (`"joint": true` in the list), which ends by itself. A refusal has a `"reason"`:
//! `invalid`, `change_under_way`, `behind` (a learner that is to be promoted), `not_there` (a
//! node that is to be added or has moved), or `silent`: so many members have not been heard
//! that nothing could be committed afterwards. `"dangerously_ignore_silent": true` makes the
//! change though members are silent, or the one that moved does not answer. That of a
//! transfer is `transfer_refused` or `transfer_timed_out`. The leader does all this; another
//! node passes the request on to it.
//!
//! An error is `{"error": text, "outcome": "refused" | "unknown"}`. Refused: nothing
//! happened. Unknown, always with status 504: a write may have happened, or may still
//! happen. 400, 405 and 413 say that the request is wrong, 408 that it came too
//! slowly, 503 that it cannot be served now, 504 that it took too long.

mod serve;

mod status;

mod cluster;

mod maintenance;

mod members;

mod admission;

mod page;

mod data;

mod sessions;

mod input;

mod leader;

mod passing_on;

mod reads;

mod answer;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use raft_core::{Boot, ClusterId, GroupId, NodeId};

use tokio::sync::watch;

use crate::NodeHandle;
use crate::config::MemberAddress;
use crate::kv::KvReader;
use crate::room::Room;
use crate::shell::Node;

use answer::ApiError;
use cluster::Cluster;
use reads::Reads;

pub use input::MAX_KEY_BYTES;
pub use serve::{SHUTDOWN_TIMEOUT, serve, serve_counted};

/// What the API needs to know and to reach.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The node.
    pub node: NodeHandle,
    /// The group whose data is served.
    pub group: GroupId,
    /// Reads what the group has applied here.
    pub reader: KvReader,
    /// This node.
    pub me: NodeId,
    /// The addresses of members, this node's included, of which the membership in force
    /// holds none; see [`MemberAddress::to_data`].
    pub members: BTreeMap<NodeId, MemberAddress>,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// This run of the node.
    pub boot: Boot,
    /// Whether the node passes requests on to the leader, as its engine is configured. Where
    /// not, they are refused at once with the leader's id.
    pub forward: bool,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// The largest body that is taken, in bytes.
    pub max_body_bytes: usize,
    /// What the bodies of requests under way may take up together, in bytes. More are
    /// refused at once.
    pub max_waiting_bytes: usize,
    /// Becomes true when the node stops: whoever waits for a leader is told at once,
    /// and the node is not healthy any more.
    pub stopping: watch::Receiver<bool>,
    /// While there has been no leader for a while: which members are not heard, for
    /// people.
    pub no_quorum: watch::Receiver<Option<String>>,
}

impl ApiState {
    /// The API of a node that is embedded in a process of one's own, with the limits of
    /// the server. It learns of no addresses and of no stop, unless `members` and
    /// `stopping` are set as well.
    #[must_use]
    pub fn new(node: &Node, group: GroupId, reader: KvReader) -> Self {
        Self {
            node: node.handle().clone(),
            group,
            reader,
            me: node.id(),
            members: BTreeMap::new(),
            cluster: node.cluster().to_string(),
            cluster_id: node.cluster(),
            boot: node.boot(),
            forward: true,
            request_timeout: Duration::from_secs(5),
            max_body_bytes: 3 << 19,
            max_waiting_bytes: MAX_WAITING_BYTES,
            stopping: watch::channel(false).1,
            no_quorum: watch::channel(None).1,
        }
    }
}

/// The state and what serving adds to it.
#[derive(Debug)]
struct Api {
    state: ApiState,
    reads: Reads,
    /// For the bodies of requests under way.
    room: Room,
    cluster: Cluster,
    since: Instant,
}

impl Api {
    /// The members by the membership in force, and where they are reached, as far as that
    /// is known. Where no membership is known, those that the state lists.
    fn members(&self) -> BTreeMap<NodeId, Option<MemberAddress>> {
        let state = &self.state;
        let status = state.node.status(state.group).unwrap_or_default();
        let known = status.members.members();
        if known.is_empty() {
            return state.members.iter().map(|(id, at)| (*id, Some(at.clone()))).collect();
        }
        let address = |id: &NodeId, data: &[u8]| {
            MemberAddress::from_data(data).or_else(|| state.members.get(id).cloned())
        };
        known.iter().map(|(id, member)| (*id, address(id, &member.data))).collect()
    }
}

/// What bodies may take up in the server, where one body alone is not larger.
pub(crate) const MAX_WAITING_BYTES: usize = 64 << 20;

/// What changes by the moment is nothing to keep.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The routes of the API, to be served alone, or nested below a path of one's own server
/// (`Router::nest`), where requests elsewhere are not this router's affair.
///
/// # Errors
/// Where the operating system has no thread left for reading the store.
pub fn router(state: ApiState) -> io::Result<Router> {
    let room = Room::new(state.max_waiting_bytes);
    let reads = Reads::start(state.reader.clone())?;
    let (cluster, since) = (Cluster::new(), Instant::now());
    Ok(Router::new()
        .route("/", get(page::page))
        .route("/v1/data", post(data::put))
        .route("/v1/data/", get(data::get).delete(data::delete))
        .route("/v1/data/{*key}", get(data::get).delete(data::delete))
        .route("/v1/sessions", post(sessions::open))
        .route("/v1/sessions/{id}", delete(sessions::close))
        .route("/v1/members", get(members::list).post(members::change))
        .route("/v1/transfer", post(members::transfer))
        .route(
            "/v1/maintenance/collection",
            get(maintenance::collection).post(maintenance::set_collection),
        )
        .route("/v1/maintenance/snapshot", get(maintenance::backup))
        .route("/health", get(status::health))
        .route("/status", get(status::status))
        .route("/status/cluster", get(cluster::cluster))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_route)
        .with_state(Arc::new(Api { state, reads, room, cluster, since })))
}

/// What clients are answered while the node waits for the others of its cluster: that
/// nothing happened, and `why`. The page is there already, and shows the same.
pub fn router_while_waiting(why: &'static str) -> Router {
    Router::new().route("/", get(page::page)).fallback(async move |headers: HeaderMap| {
        if let Some(answer) = answer::for_a_peer(&headers) {
            return answer;
        }
        ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why).closing().into_response()
    })
}

async fn no_such_route(headers: HeaderMap, uri: Uri) -> Response {
    if let Some(answer) = answer::for_a_peer(&headers) {
        return answer;
    }
    let why = format!("there is nothing at {}", uri.path());
    ApiError::refused(StatusCode::NOT_FOUND, why).into_response()
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let why = format!("{method} is not possible at {}", uri.path());
    ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, why)
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
