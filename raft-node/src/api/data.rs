//! Putting, getting and deleting.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use raft_core::Index;
use serde_json::{Value, json};

use super::answer::{ApiError, Effect, json_response};
use super::input::{Consistency, consistency_of, key_of, no_parameters, put_of, read_body};
use super::{Api, ApiState};
use crate::kv::{KvAnswer, KvCommand};
use crate::{Applied, NodeHandle};

pub(super) async fn put(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = api.body_of(&parts, body).await?;
    no_parameters(&parts.uri)?;
    let (key, value) = put_of(&body)?;
    api.write(&KvCommand::Put { key, value }).await
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    // A body means nothing here, but one that is not read would close the connection.
    api.body_of(&parts, body).await?;
    no_parameters(&parts.uri)?;
    let key = key_of(&parts.uri)?.into();
    api.write(&KvCommand::Delete { key }).await
}

pub(super) async fn get(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    // As above.
    api.body_of(&parts, body).await?;
    let key = key_of(&parts.uri)?;
    if consistency_of(&parts.uri)? == Consistency::Stale {
        return api.read_stale(key).await;
    }
    let group = api.state.group;
    let attempt = move |node: NodeHandle| async move { node.read_index(group).await };
    api.with_leader(Effect::Read, attempt).await?;
    match api.read(&key).await? {
        (Some(value), _) => Ok(json_response(StatusCode::OK, &pair(&key, &value))),
        (None, _) => Err(absent(&key)),
    }
}

impl Api {
    async fn body_of(&self, parts: &Parts, body: Body) -> Result<Bytes, ApiError> {
        let ApiState { max_body_bytes, request_timeout, .. } = &self.state;
        read_body(&parts.headers, body, *max_body_bytes, *request_timeout).await
    }

    async fn write(&self, command: &KvCommand) -> Result<Response, ApiError> {
        let (group, payload) = (self.state.group, command.encode());
        let attempt = move |node: NodeHandle| {
            let payload = payload.clone();
            async move { node.propose(group, payload).await }
        };
        written(self.with_leader(Effect::Write, attempt).await?)
    }

    /// Reads what is applied here.
    async fn read(&self, key: &str) -> Result<(Option<Bytes>, Index), ApiError> {
        let found = self.reads.get(self.state.group, key.to_owned().into()).await;
        found.map_err(|why| ApiError::internal(format!("the store: {why}")))
    }

    async fn read_stale(&self, key: String) -> Result<Response, ApiError> {
        let (value, applied) = self.read(&key).await?;
        let heard = self.state.node.status(self.state.group).and_then(|status| status.leader_heard);
        let heard_ms = heard.map(|heard| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX));
        let age = json!({ "applied": applied.0, "leader_heard_ms": heard_ms });
        let mut response = match value {
            Some(value) => {
                let mut body = pair(&key, &value);
                body["applied"] = age["applied"].clone();
                body["leader_heard_ms"] = age["leader_heard_ms"].clone();
                json_response(StatusCode::OK, &body)
            }
            None => axum::response::IntoResponse::into_response(absent(&key).with(age)),
        };
        let headers = response.headers_mut();
        headers.insert("x-raft-applied", HeaderValue::from(applied.0));
        if let Some(heard_ms) = heard_ms {
            headers.insert("x-raft-leader-heard-ms", HeaderValue::from(heard_ms));
        }
        Ok(response)
    }
}

fn written(applied: Applied) -> Result<Response, ApiError> {
    let index = applied.index.0;
    match KvAnswer::decode(applied.answer) {
        Ok(KvAnswer::Stored) => Ok(json_response(StatusCode::OK, &json!({ "index": index }))),
        Ok(KvAnswer::Deleted { existed }) => {
            Ok(json_response(StatusCode::OK, &json!({ "index": index, "existed": existed })))
        }
        Ok(KvAnswer::Refused { why }) => Err(ApiError::refused(StatusCode::BAD_REQUEST, why)),
        Err(why) => Err(ApiError::unknown(
            Effect::Write,
            format!("the answer of the store at index {index} cannot be read: {why}"),
        )),
    }
}

fn pair(key: &str, value: &Bytes) -> Value {
    match std::str::from_utf8(value) {
        Ok(value) => json!({ "k": key, "v": value }),
        Err(_) => json!({ "k": key, "v64": BASE64_STANDARD.encode(value) }),
    }
}

fn absent(key: &str) -> ApiError {
    ApiError::refused(StatusCode::NOT_FOUND, format!("there is no key {key:?}"))
}
