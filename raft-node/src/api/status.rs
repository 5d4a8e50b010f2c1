//! How the node stands.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use raft_core::NodeId;
use serde_json::{Value, json};

use super::Api;
use super::answer::{ApiError, json_response};
use crate::PeerStatus;
use crate::config::MemberAddress;
use crate::engine::Collection;
use crate::metrics::now_ms;

pub(super) async fn health(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let unhealthy = |why: String| Err(ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why));
    // The last status outlives the engine.
    if *api.state.stopping.borrow() {
        return unhealthy("this node is stopping".to_owned());
    }
    let Some(status) = api.state.node.status(api.state.group) else {
        return unhealthy("the group has not started here".to_owned());
    };
    match (status.halted, status.leader) {
        (Some(why), _) => unhealthy(format!("the group stopped here: {why}")),
        (None, None) => unhealthy(api.no_leader()),
        (None, Some(leader)) => {
            let body = json!({ "status": "ok", "leader": leader.get() });
            Ok(json_response(StatusCode::OK, &body))
        }
    }
}

pub(super) async fn status(State(api): State<Arc<Api>>) -> Response {
    let mut response = json_response(StatusCode::OK, &api.status());
    response.headers_mut().insert(header::CACHE_CONTROL, super::NO_STORE);
    response
}

impl Api {
    /// How this node stands.
    pub(super) fn status(&self) -> Value {
        let state = &self.state;
        let status = state.node.status(state.group).unwrap_or_default();
        let members = self.members();
        let address = |id: &NodeId| members.get(id).and_then(Option::as_ref);
        let peers = status.peers.iter().map(|told| peer(told, address(&told.id)));
        let peers: Vec<Value> = peers.collect();
        let missing = state.no_quorum.borrow().clone();
        json!({
            "node": state.me.get(),
            "cluster": state.cluster,
            "cluster_id": state.cluster_id.to_string(),
            "boot": state.boot.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "time_ms": now_ms(),
            "up_ms": milliseconds(self.since.elapsed()),
            "role": status.role.name(),
            "term": status.term.0,
            "leader": status.leader.map(NodeId::get),
            "last": status.last.0,
            "commit": status.commit.0,
            "applied": status.applied.0,
            "damaged_up_to": status.damaged_up_to.map(|index| index.0),
            "leader_heard_ms": status.leader_heard.map(milliseconds),
            "peers": peers,
            "missing": missing.filter(|_| status.leader.is_none()),
            "stopping": *state.stopping.borrow(),
            "halted": status.halted,
            "no_room": status.no_room,
            "collection_paused": status.collection == Collection::Paused,
        })
    }
}

fn peer(peer: &PeerStatus, address: Option<&MemberAddress>) -> Value {
    json!({
        "id": peer.id.get(),
        "match": peer.matched.0,
        "heard_ms": peer.heard.map(milliseconds),
        "client": address.map(|address| &address.client),
        "peer": address.map(|address| &address.peer),
    })
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
