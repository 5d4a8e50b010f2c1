//! Requests to etcd, by gRPC: over the same HTTP/2 client as those to our own API, so that
//! the generator costs about the same for both.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{Request, Response, Uri};
use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::Kind;
use super::client::{Outcome, lost};
use super::connect::{Link, Sender};
use super::raft::put_key;

/// The way to a node.
#[derive(Debug)]
pub(super) struct Route {
    link: Link<tonic::body::Body>,
    origin: Uri,
    serializable: bool,
}

/// A client on a route.
#[derive(Debug)]
pub(super) struct Client {
    route: Arc<Route>,
    open: Option<Open>,
}

/// A connection: once as such, once as what tonic sends its requests to.
#[derive(Debug)]
struct Open {
    sender: http2::SendRequest<tonic::body::Body>,
    grpc: Grpc<Http2>,
}

impl Route {
    pub(super) fn new(link: Link<tonic::body::Body>, serializable: bool) -> Self {
        let origin = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(link.endpoint.clone())
            .path_and_query(PathAndQuery::from_static("/"))
            .build()
            .expect("all three parts are there");
        Self { link, origin, serializable }
    }
}

impl Client {
    pub(super) const fn new(route: Arc<Route>) -> Self {
        Self { route, open: None }
    }

    /// The connection, which is opened where it is missing or was lost.
    pub(super) async fn connect(&mut self) -> Result<(), String> {
        self.grpc().await.map(drop)
    }

    async fn grpc(&mut self) -> Result<&mut Grpc<Http2>, String> {
        if self.open.as_ref().is_none_or(|open| open.sender.is_closed()) {
            let Sender::Http2(sender) = self.route.link.open().await? else {
                unreachable!("the route of gRPC has no HTTP/1.1");
            };
            let grpc = Grpc::with_origin(Http2(sender.clone()), self.route.origin.clone());
            self.open = Some(Open { sender, grpc });
        }
        Ok(&mut self.open.as_mut().expect("a connection was opened above").grpc)
    }

    pub(super) async fn put(&mut self, key: u32, value: &Bytes) -> Outcome {
        let request = PutRequest { key: key_of(key), value: value.clone() };
        match self.call(Kind::Put, "/etcdserverpb.KV/Put", request).await {
            Ok(PutResponse { header: Some(_) }) => Outcome::Done,
            Ok(PutResponse { header: None }) => {
                Outcome::Failed("an answer has no header".to_owned())
            }
            Err(outcome) => outcome,
        }
    }

    pub(super) async fn get(&mut self, key: u32, bytes: usize) -> Outcome {
        let request = RangeRequest { key: key_of(key), serializable: self.route.serializable };
        let answer: Result<RangeResponse, _> =
            self.call(Kind::Get, "/etcdserverpb.KV/Range", request).await;
        match answer.map(|answer| answer.kvs.into_iter().next()) {
            Ok(Some(pair)) if pair.value.len() == bytes => Outcome::Done,
            Ok(Some(pair)) => {
                let length = pair.value.len();
                Outcome::Failed(format!("a value has {length} bytes in place of {bytes}"))
            }
            Ok(None) => Outcome::Failed("a key is absent (--prefill writes them all)".to_owned()),
            Err(outcome) => outcome,
        }
    }

    /// Grants a lease. After heavy writes etcd 3.4 copies a large and empty buffer for every
    /// read, until two commits without a write of a key have made it forget that buffer.
    pub(super) async fn grant_lease(&mut self) -> Outcome {
        let request = LeaseGrantRequest { ttl_s: 60 };
        match self.call(Kind::Put, "/etcdserverpb.Lease/LeaseGrant", request).await {
            Ok(LeaseGrantResponse { id: 1.. }) => Outcome::Done,
            Ok(_) => Outcome::Failed("a lease was not granted".to_owned()),
            Err(outcome) => outcome,
        }
    }

    async fn call<Q, A>(&mut self, kind: Kind, path: &'static str, request: Q) -> Result<A, Outcome>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        // Until it was handed over, nothing can have happened.
        let grpc = self.grpc().await.map_err(Outcome::Failed)?;
        let path = PathAndQuery::from_static(path);
        let answer = grpc.unary(tonic::Request::new(request), path, ProstCodec::<Q, A>::default());
        answer.await.map(tonic::Response::into_inner).map_err(|status| error(kind, &status))
    }
}

/// What a status other than "ok" says.
fn error(kind: Kind, status: &Status) -> Outcome {
    let why = format!("{:?}: {}", status.code(), status.message());
    if std::error::Error::source(status).is_some() {
        // It is not etcd that said so.
        return lost(kind, why);
    }
    match status.code() {
        // etcd says "request timed out" and "leader changed" of what may still happen.
        Code::Unavailable if kind == Kind::Put && !why.contains("no leader") => {
            Outcome::Unknown(why)
        }
        Code::Unavailable | Code::ResourceExhausted => Outcome::Refused(why),
        _ => Outcome::Failed(why),
    }
}

fn key_of(key: u32) -> Bytes {
    let mut text = BytesMut::with_capacity(16);
    put_key(&mut text, key);
    text.freeze()
}

/// A connection as the service that tonic sends its requests to.
#[derive(Clone, Debug)]
pub(super) struct Http2(http2::SendRequest<tonic::body::Body>);

impl Service<Request<tonic::body::Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

// The part of etcd's messages that is used here, with the field numbers of its `rpc.proto`
// and `kv.proto`.

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, tag = "1")]
    header: Option<ResponseHeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    ttl_s: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseGrantResponse {
    #[prost(int64, tag = "2")]
    id: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_bytes_that_etcd_reads() {
        use prost::Message;
        let put = PutRequest { key: "k".into(), value: "vv".into() };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01k\x12\x02vv");
        let range = RangeRequest { key: "k".into(), serializable: true };
        assert_eq!(range.encode_to_vec(), b"\x0a\x01k\x38\x01");
        let answer = b"\x0a\x02\x18\x09\x12\x07\x0a\x01k\x2a\x02vv\x20\x01";
        let answer = RangeResponse::decode(&answer[..]).unwrap();
        assert_eq!(answer.kvs, [KeyValue { value: "vv".into() }]);
    }

    #[test]
    fn errors_are_told_apart() {
        let of = |kind, code, text: &str| error(kind, &Status::new(code, text));
        let busy = of(Kind::Put, Code::ResourceExhausted, "etcdserver: too many requests");
        assert!(matches!(busy, Outcome::Refused(_)), "{busy:?}");
        let late = of(Kind::Put, Code::Unavailable, "etcdserver: request timed out");
        assert!(matches!(late, Outcome::Unknown(_)), "{late:?}");
        let none = of(Kind::Put, Code::Unavailable, "etcdserver: no leader");
        assert!(matches!(none, Outcome::Refused(_)), "{none:?}");
        let read = of(Kind::Get, Code::Unavailable, "etcdserver: request timed out");
        assert!(matches!(read, Outcome::Refused(_)), "{read:?}");
        let wrong = of(Kind::Get, Code::InvalidArgument, "etcdserver: key is not provided");
        assert!(matches!(wrong, Outcome::Failed(_)), "{wrong:?}");
    }
}
