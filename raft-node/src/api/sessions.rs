//! Clients' sessions: a write that is sent again is applied once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::answer::{ApiError, json_response};
use super::input::bad;
use crate::kv::{KvAnswer, KvCommand};
use crate::sessions::{Sequence, SessionCall, SessionId};

/// The headers with which a write says whose it is.
const SESSION: &str = "raft-session";
const SEQUENCE: &str = "raft-sequence";
const ACKNOWLEDGED: &str = "raft-acknowledged";

/// A session that nobody has used for so long is closed, unless the client asks for
/// another time.
const EXPIRES_AFTER: Duration = Duration::from_secs(600);
/// A client may ask for so much at least: the time is told once a second.
const EXPIRES_AFTER_LEAST: Duration = Duration::from_secs(1);
/// And for so much at most.
const EXPIRES_AFTER_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The body with which a session is opened.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    expires_after_ms: Option<u64>,
}

pub(super) async fn open(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (_, body, _place) = api.write_of(request).await?;
    let expires_after = expires_after(&body)?;
    // Opened twice, one of them is never used and expires.
    api.write(None, KvCommand::OpenSession { expires_after }).await
}

pub(super) async fn close(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, ..) = api.write_of(request).await?;
    let name = parts.uri.path().strip_prefix("/v1/sessions/").unwrap_or_default();
    let name = name.parse().map_err(|_| bad(format!("{name:?} is not the number of a session")))?;
    api.write(None, KvCommand::CloseSession { session: SessionId(name) }).await
}

fn expires_after(body: &[u8]) -> Result<Duration, ApiError> {
    let wishes: Wishes = match body {
        [] => Wishes::default(),
        body => serde_json::from_slice(body)
            .map_err(|why| bad(format!("the body is not {{\"expires_after_ms\": n}}: {why}")))?,
    };
    let wished = wishes.expires_after_ms.map_or(EXPIRES_AFTER, Duration::from_millis);
    if (EXPIRES_AFTER_LEAST..=EXPIRES_AFTER_MOST).contains(&wished) {
        return Ok(wished);
    }
    let (least, most) = (EXPIRES_AFTER_LEAST.as_millis(), EXPIRES_AFTER_MOST.as_millis());
    Err(bad(format!("expires_after_ms is {}; it may be {least} to {most}", wished.as_millis())))
}

/// What the headers of a write say of its session; `None` where it is of none.
pub(super) fn call_of(headers: &HeaderMap) -> Result<Option<SessionCall>, ApiError> {
    let [session, sequence, acknowledged] =
        [number(headers, SESSION)?, number(headers, SEQUENCE)?, number(headers, ACKNOWLEDGED)?];
    let (session, sequence) = match (session, sequence, acknowledged) {
        (None, None, None) => return Ok(None),
        (Some(session), Some(sequence), _) => (SessionId(session), Sequence(sequence)),
        _ => {
            return Err(bad(format!("a write of a session has both {SESSION} and {SEQUENCE}")));
        }
    };
    let call = SessionCall::one_at_a_time(session, sequence);
    let acknowledged = acknowledged.map_or(call.acknowledged, Sequence);
    match sequence {
        Sequence(0) => Err(bad("the writes of a session are numbered from 1, not 0")),
        _ if acknowledged >= sequence => Err(bad(format!(
            "{ACKNOWLEDGED} is {acknowledged}, but write {sequence} is only being sent"
        ))),
        _ => Ok(Some(SessionCall { acknowledged, ..call })),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().ok();
            let number = text.and_then(|text| text.parse().ok());
            number.map(Some).ok_or_else(|| bad(format!("{name} is not a number")))
        }
        (Some(_), Some(_)) => Err(bad(format!("{name} is given twice"))),
    }
}

/// Answers what only sessions answer. `index` is where this very request stands.
pub(super) fn told(index: u64, answer: KvAnswer) -> Result<Response, ApiError> {
    let unknown = |why: String, reason: &str| {
        ApiError::unknown(super::answer::Effect::Write, why).with(json!({ "reason": reason }))
    };
    match answer {
        KvAnswer::SessionOpened { session, expires_after } => Ok(done(&json!({
            "session": session.0,
            "expires_after_ms": u64::try_from(expires_after.as_millis()).unwrap_or(u64::MAX),
        }))),
        KvAnswer::SessionClosed { existed } => {
            Ok(done(&json!({ "index": index, "existed": existed })))
        }
        KvAnswer::SessionNotOpen { session } => {
            let why = format!(
                "session {session} is not open: it was not used for too long, was closed, or never \
                 existed. The write was not applied now; whether it was before, nobody knows"
            );
            Err(unknown(why, "session_not_open"))
        }
        KvAnswer::Stale { acknowledged } => {
            let why = format!(
                "the client has acknowledged all writes of its session up to {acknowledged}. This \
                 one was not applied now; whether it was before, nobody knows"
            );
            Err(unknown(why, "acknowledged"))
        }
        KvAnswer::NoRoom { why } => Err(ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why)),
        other => Err(ApiError::internal(format!("the store answers {other:?} at index {index}"))),
    }
}

fn done(body: &Value) -> Response {
    json_response(StatusCode::OK, body)
}
