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
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use super::answer::{ApiError, Effect, json_response};
use super::input::{Consistency, consistency_of, key_of, no_parameters, put_of, read_body};
use super::sessions::{self, call_of};
use super::{Api, ApiState};
use crate::kv::{Actual, KvAnswer, KvCommand};
use crate::room::Place;
use crate::sessions::SessionCall;
use crate::{Applied, NodeHandle, RequestError};

pub(super) async fn put(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body, _place) = api.write_of(request).await?;
    let call = call_of(&parts.headers)?;
    api.write(call, put_of(&body)?).await
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    // A body means nothing here, but one that is not read would close the connection.
    let (parts, ..) = api.write_of(request).await?;
    let call = call_of(&parts.headers)?;
    let key = key_of(&parts.uri)?.into();
    api.write(call, KvCommand::Delete { key }).await
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
    /// Takes in a request that changes something: no parameter has a meaning there.
    pub(super) async fn write_of(
        &self,
        request: Request<Body>,
    ) -> Result<(Parts, Bytes, Place), ApiError> {
        let (parts, body) = request.into_parts();
        let (body, place) = self.body_of(&parts, body).await?;
        no_parameters(&parts.uri)?;
        Ok((parts, body, place))
    }

    /// Reads a body, if there is room for it until the request is answered. Refusing at
    /// once keeps a node that is given too much to do from running out of memory.
    async fn body_of(&self, parts: &Parts, body: Body) -> Result<(Bytes, Place), ApiError> {
        let ApiState { max_body_bytes, request_timeout, .. } = &self.state;
        let refused = || self.state.node.refused(RequestError::Overloaded);
        let overloaded = || ApiError::of(&refused(), Effect::Read);
        let (limit, timeout) = (*max_body_bytes, *request_timeout);
        read_body(&parts.headers, body, limit, timeout, &self.room, overloaded).await
    }

    /// Carries out a command, as part of a session where the client has said so.
    pub(super) async fn write(
        &self,
        call: Option<SessionCall>,
        command: KvCommand,
    ) -> Result<Response, ApiError> {
        let (effect, command) = match call {
            None => (Effect::Write, command),
            Some(call) => {
                (Effect::WriteOnce, KvCommand::InSession { call, change: Box::new(command) })
            }
        };
        let (group, payload) = (self.state.group, command.encode());
        let attempt = move |node: NodeHandle| {
            let payload = payload.clone();
            async move { node.propose(group, payload).await }
        };
        written(self.with_leader(effect, attempt).await?)
    }

    /// Reads what is applied here.
    async fn read(&self, key: &str) -> Result<(Option<Bytes>, Index), ApiError> {
        let found = self.reads.get(self.state.group, key.to_owned().into());
        let Ok(found) = timeout(self.state.request_timeout, found).await else {
            let why =
                "the store did not answer in time: its disk is slow, or it has too much to do";
            return Err(ApiError::unknown(Effect::Read, why));
        };
        found.map_err(|why| ApiError::internal(format!("the store: {why}")))
    }

    async fn read_stale(&self, key: String) -> Result<Response, ApiError> {
        let (value, applied) = self.read(&key).await?;
        let heard = self.state.node.status(self.state.group).and_then(|status| status.leader_heard);
        let heard_ms = heard.map(|heard| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX));
        let mut response = match value {
            Some(value) => {
                let age = Some(Age { applied: applied.0, leader_heard_ms: heard_ms });
                json_response(StatusCode::OK, &Pair { age, ..pair(&key, &value) })
            }
            None => {
                let age = json!({ "applied": applied.0, "leader_heard_ms": heard_ms });
                axum::response::IntoResponse::into_response(absent(&key).with(age))
            }
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
    let mut index = applied.index.0;
    let (mut answer, mut repeated) = (KvAnswer::decode(applied.answer), None);
    if let Ok(KvAnswer::Repeated { index: first, answer: then }) = answer {
        (index, answer, repeated) = (first.0, KvAnswer::decode(then), Some(true));
    }
    let done = |existed| Ok(json_response(StatusCode::OK, &Written { index, existed, repeated }));
    match answer {
        Ok(KvAnswer::Stored) => done(None),
        Ok(KvAnswer::Deleted { existed }) => done(Some(existed)),
        Ok(KvAnswer::Unequal { actual }) => Err(unequal(index, &actual)),
        Ok(KvAnswer::Refused { why }) => Err(ApiError::refused(StatusCode::BAD_REQUEST, why)),
        Ok(of_session) => sessions::told(index, of_session),
        Err(why) => Err(ApiError::unknown(
            Effect::Write,
            format!("the answer of the store at index {index} cannot be read: {why}"),
        )),
    }
}

/// The key has another value than was expected: this one, or none.
fn unequal(index: u64, actual: &Actual) -> ApiError {
    let why = "the key has another value than expected; nothing was changed";
    let text = |value| std::str::from_utf8(value);
    let details = match actual {
        Actual::Nothing => json!({ "index": index, "v": null }),
        Actual::Long(bytes) => json!({ "index": index, "bytes": bytes }),
        Actual::Value(value) => match text(value) {
            Ok(v) => json!({ "index": index, "v": v }),
            Err(_) => json!({ "index": index, "v64": BASE64_STANDARD.encode(value) }),
        },
    };
    ApiError::refused(StatusCode::PRECONDITION_FAILED, why).with(details)
}

/// A key and its value; `v64` in place of `v` where the value is not UTF-8.
#[derive(Serialize)]
struct Pair<'a> {
    k: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v64: Option<String>,
    #[serde(flatten)]
    age: Option<Age>,
}

/// How old a stale read may be.
#[derive(Serialize)]
struct Age {
    applied: u64,
    leader_heard_ms: Option<u64>,
}

/// A write that was applied.
#[derive(Serialize)]
struct Written {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    existed: Option<bool>,
    /// True where it was applied by an earlier request, at `index`, and not again.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<bool>,
}

fn pair<'a>(key: &'a str, value: &'a Bytes) -> Pair<'a> {
    match std::str::from_utf8(value) {
        Ok(value) => Pair { k: key, v: Some(value), v64: None, age: None },
        Err(_) => Pair { k: key, v: None, v64: Some(BASE64_STANDARD.encode(value)), age: None },
    }
}

fn absent(key: &str) -> ApiError {
    ApiError::refused(StatusCode::NOT_FOUND, format!("there is no key {key:?}"))
}
