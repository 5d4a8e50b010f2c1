//! Snapshots to be kept elsewhere, and a pause of the collection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use raft_log::{BackupHeader, SnapshotReader};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::Api;
use super::answer::{ApiError, Effect, json_response};
use super::input::{Consistency, consistency_of};
use crate::engine::Collection;
use crate::metrics::now_ms;
use crate::{NodeHandle, SnapshotWishError};

/// As much is read of a snapshot's file at once.
const PIECE_BYTES: usize = 256 << 10;
/// So many pieces wait for the connection.
const PIECES: usize = 4;
/// The largest body of a request to pause.
const MAX_BODY: usize = 1 << 10;

/// A backup of the state: everything that was confirmed before the request, or, where a
/// stale one is asked for, what this node has.
pub(super) async fn backup(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, ApiError> {
    let (state, node) = (&api.state, &api.state.node);
    if consistency_of(&uri)? == Consistency::Linearizable {
        let reached = node.read_index_within(state.group, state.request_timeout).await;
        reached.map_err(|why| {
            let hint = "a backup of what this node has, which may lack what was confirmed last, \
                        is given with consistency=stale";
            let text = format!("{why}; {hint}");
            ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, text)
        })?;
    }
    let reader = snapshot(node, &api).await?;
    let snapshot_bytes = reader.file_bytes().map_err(|why| ApiError::internal(why.to_string()))?;
    let head = BackupHeader {
        cluster: state.cluster_id,
        cluster_name: state.cluster.clone(),
        node: state.me,
        made_at_ms: now_ms(),
        snapshot_bytes,
    };
    let head = head.encode();
    let left = head.len() as u64 + snapshot_bytes;
    let (pieces, to_send) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || read(head, &reader, &pieces));
    let mut response = Response::new(Body::new(Streamed { pieces: to_send, left }));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.raft-node.backup"));
    headers.insert(header::CACHE_CONTROL, super::NO_STORE);
    Ok(response)
}

/// The snapshot, taken if need be. A node that stops gives up waiting for it.
async fn snapshot(node: &NodeHandle, api: &Api) -> Result<SnapshotReader, ApiError> {
    let mut stopping = api.state.stopping.clone();
    let taken = tokio::select! {
        taken = node.snapshot(api.state.group) => taken,
        _ = stopping.wait_for(|stopping| *stopping) => {
            let why = "this node is stopping";
            return Err(ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why));
        }
    };
    taken.map_err(|why| match &why {
        SnapshotWishError::Request(why) => ApiError::of(why, Effect::Read),
        SnapshotWishError::Refused(_) => {
            ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
        }
    })
}

/// Reads the file where waiting is allowed, no faster than it is sent.
fn read(head: Bytes, reader: &SnapshotReader, pieces: &mpsc::Sender<Result<Bytes, String>>) {
    let mut offset = 0;
    let mut next = Ok(head);
    while pieces.blocking_send(next).is_ok() {
        next = match reader.read_file(offset, PIECE_BYTES) {
            Ok(piece) if piece.is_empty() => return,
            Ok(piece) => {
                offset += piece.len() as u64;
                Ok(piece)
            }
            Err(why) => {
                tracing::warn!("a backup is cut off: {why}");
                Err(why.to_string())
            }
        };
    }
}

/// A body that comes from another thread.
struct Streamed {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    /// How many bytes are still to come.
    left: u64,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        Poll::Ready(piece.map(|piece| {
            let piece = piece?;
            self.left = self.left.saturating_sub(piece.len() as u64);
            Ok(Frame::data(piece))
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What is asked of the collection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    paused: bool,
}

/// Whether this node lets go of what it does not need.
pub(super) async fn collection(State(api): State<Arc<Api>>) -> Response {
    let status = api.state.node.status(api.state.group).unwrap_or_default();
    told(status.collection)
}

/// Pauses the collection on this node, or lets it go on.
pub(super) async fn set_collection(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Response, ApiError> {
    let bad = |why: String| {
        let why = format!("the body is not {{\"paused\": true}} or false: {why}");
        ApiError::refused(StatusCode::BAD_REQUEST, why).closing()
    };
    let body = http_body_util::Limited::new(request.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|why| bad(why.to_string()))?.to_bytes();
    let Wanted { paused } = serde_json::from_slice(&body).map_err(|why| bad(why.to_string()))?;
    let collection = if paused { Collection::Paused } else { Collection::Running };
    let done = api.state.node.set_collection(collection).await;
    done.map_err(|why| ApiError::of(&why, Effect::Read))?;
    match collection {
        Collection::Paused => tracing::warn!(
            "the collection is paused: this node keeps its log and all its snapshots, which take \
             more and more room, until raft-node gc resume, or until it is restarted"
        ),
        Collection::Running => tracing::info!("the collection goes on"),
    }
    Ok(told(collection))
}

fn told(collection: Collection) -> Response {
    json_response(StatusCode::OK, &json!({ "paused": collection == Collection::Paused }))
}
