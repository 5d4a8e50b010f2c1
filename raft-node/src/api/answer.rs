//! Answers as JSON.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Outcome, RequestError};

/// What a client is told when its request failed.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    outcome: Outcome,
    why: String,
    close: bool,
    details: Value,
}

/// Whether a request changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
    /// A write that is applied once, however often it is sent.
    WriteOnce,
}

impl ApiError {
    /// Nothing happened.
    pub(super) fn refused(status: StatusCode, why: impl Into<String>) -> Self {
        let why = why.into();
        let details = json!({});
        Self { status, outcome: Outcome::Refused, why, close: false, details }
    }

    /// It may have happened, if it was a write.
    pub(super) fn unknown(effect: Effect, why: impl Into<String>) -> Self {
        let outcome = match effect {
            Effect::Read => Outcome::Refused,
            Effect::Write | Effect::WriteOnce => Outcome::Unknown,
        };
        Self { outcome, ..Self::refused(StatusCode::GATEWAY_TIMEOUT, why) }
    }

    /// What `error` means to the client.
    pub(super) fn of(error: &RequestError, effect: Effect) -> Self {
        let why = error.to_string();
        match error {
            RequestError::TooLarge { .. } => Self::refused(StatusCode::PAYLOAD_TOO_LARGE, why),
            RequestError::NoRoom => Self::refused(StatusCode::INSUFFICIENT_STORAGE, why),
            _ if effect != Effect::Read && Outcome::of(error) == Outcome::Unknown => {
                Self::unknown(effect, why)
            }
            _ => Self::refused(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    /// The same, where it may have happened before.
    pub(super) fn in_doubt(self) -> Self {
        Self { status: StatusCode::GATEWAY_TIMEOUT, outcome: Outcome::Unknown, ..self }
    }

    /// Something that should not go wrong did; nothing was changed.
    pub(super) fn internal(why: impl Into<String>) -> Self {
        Self::refused(StatusCode::INTERNAL_SERVER_ERROR, why)
    }

    /// Closes the connection after the answer, since the rest of the request is not read.
    pub(super) fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// Adds fields to the answer.
    pub(super) fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = self.details;
        body["error"] = self.why.into();
        body["outcome"] = match self.outcome {
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
        }
        .into();
        let mut response = json_response(self.status, &body);
        let headers = response.headers_mut();
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What a node is answered that takes the port for clients for the one for peers, which
/// happens where both are written next to each other: in its own protocol, what to correct.
pub(super) fn for_a_peer(headers: &HeaderMap) -> Option<Response> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !kind.starts_with("application/grpc") {
        return None;
    }
    const FAILED_PRECONDITION: &str = "9";
    const WHY: &str = "this is a node's port for clients: correct its peer address in members";
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(FAILED_PRECONDITION));
    headers.insert("grpc-message", HeaderValue::from_static(WHY));
    Some(response)
}

/// `body` as an answer.
pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("what the node answers can be written as JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
