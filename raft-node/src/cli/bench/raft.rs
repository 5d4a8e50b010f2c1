//! Requests to a cluster of this program, by its HTTP API.

use std::sync::Arc;

use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header, uri};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Deserialize;

use super::Kind;
use super::client::{Outcome, lost};
use super::connect::{Link, Sender};

/// The way to a node, with what is the same for all requests on it.
#[derive(Debug)]
pub(super) struct Route {
    link: Link<Full<Bytes>>,
    /// HTTP/1.1 names the host in a header, HTTP/2 in the address.
    host: Option<HeaderValue>,
    base: uri::Parts,
    put: Uri,
    stale: bool,
}

/// A client on a route.
#[derive(Debug)]
pub(super) struct Client {
    route: Arc<Route>,
    sender: Option<Sender<Full<Bytes>>>,
}

impl Route {
    pub(super) fn new(link: Link<Full<Bytes>>, http1: bool, stale: bool) -> Self {
        let host = http1.then(|| {
            let host = HeaderValue::from_str(link.endpoint.as_str());
            host.expect("an authority is visible ASCII")
        });
        let mut base = uri::Parts::default();
        if !http1 {
            base.scheme = Some(uri::Scheme::HTTP);
            base.authority = Some(link.endpoint.clone());
        }
        let put = with_path(&base, Bytes::from_static(b"/v1/data"));
        Self { link, host, base, put, stale }
    }

    fn request(&self, method: Method, uri: Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        if let Some(host) = &self.host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        request
    }

    fn put(&self, key: u32, value: &[u8]) -> Request<Full<Bytes>> {
        let mut body = BytesMut::with_capacity(value.len() + 40);
        body.put_slice(br#"{"k":""#);
        put_key(&mut body, key);
        body.put_slice(br#"","v":""#);
        body.put_slice(value);
        body.put_slice(br#""}"#);
        let mut request = self.request(Method::POST, self.put.clone(), body.freeze());
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        request
    }

    fn get(&self, key: u32) -> Request<Full<Bytes>> {
        let mut path = BytesMut::with_capacity(60);
        path.put_slice(b"/v1/data/");
        put_key(&mut path, key);
        if self.stale {
            path.put_slice(b"?consistency=stale");
        }
        self.request(Method::GET, with_path(&self.base, path.freeze()), Bytes::new())
    }
}

impl Client {
    pub(super) const fn new(route: Arc<Route>) -> Self {
        Self { route, sender: None }
    }

    /// The connection, which is opened where it is missing or was lost.
    pub(super) async fn connect(&mut self) -> Result<(), String> {
        self.sender().await.map(drop)
    }

    async fn sender(&mut self) -> Result<&mut Sender<Full<Bytes>>, String> {
        if self.sender.as_ref().is_none_or(Sender::is_closed) {
            self.sender = Some(self.route.link.open().await?);
        }
        Ok(self.sender.as_mut().expect("a connection was opened above"))
    }

    pub(super) async fn put(&mut self, key: u32, value: &[u8]) -> Outcome {
        let request = self.route.put(key, value);
        match self.exchange(Kind::Put, request).await {
            Ok((StatusCode::OK, _)) => Outcome::Done,
            Ok((status, body)) => error(status, &body),
            Err(outcome) => outcome,
        }
    }

    pub(super) async fn get(&mut self, key: u32, bytes: usize) -> Outcome {
        let request = self.route.get(key);
        match self.exchange(Kind::Get, request).await {
            Ok((StatusCode::OK, body)) => match value_length(&body) {
                Some(length) if length == bytes => Outcome::Done,
                Some(length) => {
                    Outcome::Failed(format!("a value has {length} bytes in place of {bytes}"))
                }
                None => Outcome::Failed("an answer has no value".to_owned()),
            },
            Ok((status, body)) => error(status, &body),
            Err(outcome) => outcome,
        }
    }

    async fn exchange(
        &mut self,
        kind: Kind,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Outcome> {
        // Until it was handed over, nothing can have happened.
        let sender = self.sender().await.map_err(Outcome::Failed)?;
        sender.ready().await.map_err(|why| Outcome::Failed(why.to_string()))?;
        let response = sender.send(request).await;
        let response = response.map_err(|why| lost(kind, why.to_string()))?;
        let status = response.status();
        let body = whole(response.into_body()).await;
        Ok((status, body.map_err(|why| lost(kind, why.to_string()))?))
    }
}

/// The whole of a body; small ones come in one piece and are not copied.
async fn whole(mut body: Incoming) -> hyper::Result<Bytes> {
    let mut read = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        read = if read.is_empty() { data } else { Bytes::from([&read[..], &data[..]].concat()) };
    }
    Ok(read)
}

/// What an answer other than 200 says.
fn error(status: StatusCode, body: &[u8]) -> Outcome {
    #[derive(Deserialize)]
    struct Error {
        error: String,
        outcome: String,
    }
    let Ok(said) = serde_json::from_slice::<Error>(body) else {
        return Outcome::Failed(format!("status {status} from something that is no Raft node"));
    };
    let why = format!("{}: {}", status.as_u16(), said.error);
    match (status, &said.outcome[..]) {
        (_, "unknown") => Outcome::Unknown(why),
        // Everything else that is refused is a fault of the request.
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, _) => Outcome::Refused(why),
        (StatusCode::TOO_MANY_REQUESTS, _) => Outcome::Refused(why),
        (StatusCode::NOT_FOUND, _) => Outcome::Failed(format!("{why} (--prefill writes them all)")),
        _ => Outcome::Failed(why),
    }
}

/// The length of the value in an answer, whose text needs no escapes since this program
/// wrote it.
fn value_length(body: &[u8]) -> Option<usize> {
    const BEFORE: &[u8] = br#""v":""#;
    let at = body.windows(BEFORE.len()).position(|window| window == BEFORE)?;
    body[at + BEFORE.len()..].iter().position(|byte| *byte == b'"')
}

fn with_path(base: &uri::Parts, path: Bytes) -> Uri {
    let mut parts = uri::Parts::default();
    parts.scheme.clone_from(&base.scheme);
    parts.authority.clone_from(&base.authority);
    let path = PathAndQuery::from_maybe_shared(path);
    parts.path_and_query = Some(path.expect("keys need no escapes in a path"));
    Uri::from_parts(parts).expect("scheme and authority are there both or neither")
}

/// The text of a key: the same length for all, so that all requests have the same size.
pub(super) fn put_key(text: &mut BytesMut, key: u32) {
    text.put_slice(b"bench-");
    let mut digits = *b"0000000000";
    let mut rest = key;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).expect("a digit is below ten");
        rest /= 10;
    }
    text.put_slice(&digits);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn route(http1: bool, stale: bool) -> Route {
        let endpoint = "10.0.0.1:2379".parse().unwrap();
        Route::new(Link::new(endpoint, http1, Duration::from_secs(1)), http1, stale)
    }

    #[test]
    fn keys_have_one_length() {
        for (key, expected) in [(0, "bench-0000000000"), (4_294_967_295, "bench-4294967295")] {
            let mut text = BytesMut::new();
            put_key(&mut text, key);
            assert_eq!(text, expected);
        }
    }

    #[tokio::test]
    async fn a_put_is_what_the_api_takes() {
        let request = route(false, false).put(42, b"abc");
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "http://10.0.0.1:2379/v1/data");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, serde_json::json!({ "k": "bench-0000000042", "v": "abc" }));
    }

    #[test]
    fn a_get_names_its_host_in_the_way_of_its_protocol() {
        let request = route(false, true).get(7);
        let expected = "http://10.0.0.1:2379/v1/data/bench-0000000007?consistency=stale";
        assert_eq!(request.uri(), expected);
        assert_eq!(request.headers().get("host"), None);
        let request = route(true, false).get(7);
        assert_eq!(request.uri(), "/v1/data/bench-0000000007");
        assert_eq!(request.headers()["host"], "10.0.0.1:2379");
    }

    #[test]
    fn the_length_of_a_value_is_read_from_the_answer() {
        assert_eq!(value_length(br#"{"k":"a","v":"12345"}"#), Some(5));
        assert_eq!(value_length(br#"{"applied":9,"v":"","k":"a"}"#), Some(0));
        assert_eq!(value_length(br#"{"k":"a","v64":"AA=="}"#), None);
    }

    #[test]
    fn errors_are_told_apart() {
        let of = |status: u16, outcome: &str| {
            let body = format!(r#"{{"error": "why", "outcome": "{outcome}"}}"#);
            error(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        assert_eq!(of(503, "refused"), Outcome::Refused("503: why".to_owned()));
        assert_eq!(of(504, "refused"), Outcome::Refused("504: why".to_owned()));
        assert_eq!(of(504, "unknown"), Outcome::Unknown("504: why".to_owned()));
        assert_eq!(of(400, "refused"), Outcome::Failed("400: why".to_owned()));
        assert!(matches!(of(404, "refused"), Outcome::Failed(why) if why.contains("--prefill")));
        let stranger = error(StatusCode::BAD_GATEWAY, b"<html>");
        assert!(matches!(stranger, Outcome::Failed(why) if why.contains("no Raft node")));
    }
}
