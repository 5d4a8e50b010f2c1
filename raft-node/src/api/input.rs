//! What clients send, checked.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};

use super::answer::ApiError;
use crate::kv::KvCommand;
use crate::room::{Place, Room};

/// How much of a body that is too large is read away, so that the connection can be
/// used again: this many times what is allowed.
const DRAINED_TIMES: usize = 8;

/// The largest key, in bytes of UTF-8. Percent-encoding makes three of each at most, and
/// a path of that length passes through HTTP/1.1 and HTTP/2 with their usual limits, so
/// that every key that can be stored can be read.
pub const MAX_KEY_BYTES: usize = 4096;

/// How a read may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    Linearizable,
    Stale,
}

/// The body of a put.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Put<'a> {
    #[serde(borrow)]
    k: Option<Text<'a>>,
    k64: Option<Text<'a>>,
    v: Option<Text<'a>>,
    v64: Option<Text<'a>>,
    /// What is to be there for the value to be stored: `null` where nothing is.
    #[serde(default, deserialize_with = "given")]
    expected: Option<Option<Text<'a>>>,
    expected64: Option<Text<'a>>,
}

/// Tells `null` from a field that is not there.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Text<'de>>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A string where it stands in the body, unless it has escapes. (An optional [`Cow`]
/// would always be a copy.)
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The key in the path, which is its rest after `/v1/data/`.
pub(super) fn key_of(uri: &Uri) -> Result<String, ApiError> {
    let rest = uri.path().strip_prefix("/v1/data/").unwrap_or_default();
    let bad_escape = rest.split('%').skip(1).any(|after| {
        !matches!(after.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
    });
    if bad_escape {
        return Err(bad("the path has a '%' that two hexadecimal digits do not follow"));
    }
    let key = percent_decode_str(rest).decode_utf8();
    let key = key.map_err(|_| bad("the key in the path is not UTF-8"))?;
    check_length(key.as_bytes())?;
    Ok(key.into_owned())
}

/// The consistency that the query asks for.
pub(super) fn consistency_of(uri: &Uri) -> Result<Consistency, ApiError> {
    let mut asked = None;
    for (name, value) in parameters(uri) {
        if name != "consistency" {
            return Err(unknown_parameter(name, "; a read takes consistency"));
        }
        if asked.replace(value).is_some() {
            return Err(bad("consistency is given twice"));
        }
    }
    match asked {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("stale") => Ok(Consistency::Stale),
        Some(other) => {
            Err(bad(format!("consistency is linearizable or stale, not {:?}", decoded(other))))
        }
    }
}

/// Refuses a query where none has a meaning.
pub(super) fn no_parameters(uri: &Uri) -> Result<(), ApiError> {
    match parameters(uri).next() {
        Some((name, _)) => Err(unknown_parameter(name, "; a write takes none")),
        None => Ok(()),
    }
}

fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let given = uri.query().unwrap_or_default().split('&').filter(|one| !one.is_empty());
    given.map(|one| one.split_once('=').unwrap_or((one, "")))
}

fn unknown_parameter(name: &str, known: &str) -> ApiError {
    bad(format!("the parameter {:?} is not known here{known}", decoded(name)))
}

/// What a body asks to be put, whatever is there or where that is what it expects.
pub(super) fn put_of(body: &Bytes) -> Result<KvCommand, ApiError> {
    let put: Put<'_> = serde_json::from_slice(body)
        .map_err(|why| bad(format!("the body is not {{\"k\": key, \"v\": value}}: {why}")))?;
    let key = one_of(body, "k", put.k, put.k64)?;
    let value = one_of(body, "v", put.v, put.v64)?;
    check_length(&key)?;
    // A path could not name another key, so nobody could read it again.
    if std::str::from_utf8(&key).is_err() {
        return Err(bad("the key in k64 is not UTF-8"));
    }
    let expected = match (put.expected, put.expected64) {
        (None, None) => return Ok(KvCommand::Put { key, value }),
        (Some(None), None) => None,
        (Some(None), Some(_)) => return Err(bad("the body has both expected and expected64")),
        (text, base64) => Some(one_of(body, "expected", text.flatten(), base64)?),
    };
    Ok(KvCommand::CompareAndSwap { key, expected, value })
}

/// Reads a body of at most `limit` bytes. Of a larger one some is read away, so that the
/// connection lives on where the client is not too far off. Where there is no room for
/// what has come, `overloaded` is the answer at once and the rest is not read: who has
/// too much to do must not spend its time on what it does not take.
pub(super) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    timeout: Duration,
    room: &Room,
    overloaded: impl Fn() -> ApiError,
) -> Result<(Bytes, Place), ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
    let drained = limit.saturating_mul(DRAINED_TIMES);
    // Who waits to be asked for the body has not sent it.
    if announced > drained || (announced > limit && headers.contains_key(header::EXPECT)) {
        return Err(too_large(limit).closing());
    }
    match tokio::time::timeout(timeout, collect(body, limit, drained, room, overloaded)).await {
        Ok(read) => read,
        Err(_) => {
            let why = format!("the body did not arrive within {} ms", timeout.as_millis());
            Err(ApiError::refused(StatusCode::REQUEST_TIMEOUT, why).closing())
        }
    }
}

async fn collect(
    mut body: Body,
    limit: usize,
    drained: usize,
    room: &Room,
    overloaded: impl Fn() -> ApiError,
) -> Result<(Bytes, Place), ApiError> {
    let mut place = room.take(0).ok_or_else(&overloaded)?;
    let mut whole = Bytes::new();
    let mut read = BytesMut::new();
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| bad(format!("the body broke off: {why}")).closing())?;
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
        if total <= limit && !place.grow(data.len()) {
            return Err(overloaded());
        }
        if total <= limit && whole.is_empty() && read.is_empty() {
            // Most bodies come in one piece, which then is not copied.
            whole = data;
        } else if total <= limit {
            read.extend_from_slice(&std::mem::take(&mut whole));
            read.extend_from_slice(&data);
        } else if total > drained {
            return Err(too_large(limit).closing());
        } else {
            read.clear();
        }
    }
    match total {
        _ if total > limit => Err(too_large(limit)),
        _ if read.is_empty() => Ok((whole, place)),
        _ => Ok((read.freeze(), place)),
    }
}

fn check_length(key: &[u8]) -> Result<(), ApiError> {
    match key.len() {
        0 => Err(bad("the key is empty")),
        1..=MAX_KEY_BYTES => Ok(()),
        bytes => Err(bad(format!("the key has {bytes} bytes; {MAX_KEY_BYTES} are allowed"))),
    }
}

/// The text, as part of `body` where it stands there as it is, or the decoded bytes.
fn one_of(
    body: &Bytes,
    name: &str,
    text: Option<Text<'_>>,
    base64: Option<Text<'_>>,
) -> Result<Bytes, ApiError> {
    match (text.map(|text| text.0), base64.map(|text| text.0)) {
        (Some(Cow::Borrowed(text)), None) => Ok(body.slice_ref(text.as_bytes())),
        (Some(Cow::Owned(text)), None) => Ok(text.into()),
        (None, Some(base64)) => match BASE64_STANDARD.decode(&*base64) {
            Ok(bytes) => Ok(bytes.into()),
            Err(why) => Err(bad(format!("{name}64 is not base64: {why}"))),
        },
        (None, None) => Err(bad(format!("the body has neither {name} nor {name}64"))),
        (Some(_), Some(_)) => Err(bad(format!("the body has both {name} and {name}64"))),
    }
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

fn too_large(limit: usize) -> ApiError {
    let why = format!("the body is larger than the {limit} bytes that are allowed");
    ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, why)
}

pub(super) fn bad(why: impl Into<String>) -> ApiError {
    ApiError::refused(StatusCode::BAD_REQUEST, why)
}
