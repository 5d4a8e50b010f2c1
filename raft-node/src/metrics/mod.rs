//! What a node tells about itself in figures.
//!
//! `GET /metrics` answers with OpenMetrics text; docs/metrics.md lists every family.
//! `GET /status/history` answers with the last five minutes, second by second, and the
//! last notable events, as JSON.
//!
//! Observing is kept off the way of a request: the engine counts in plain numbers that
//! it hands out by value several times a second; the threads add to atomic numbers, most
//! of them once per batch. Everything else is read when somebody asks. Each node has a
//! registry of its own, so that many nodes fit into one process.

mod history;

mod events;

mod http;

mod recorder;

mod collect;

mod histogram;
mod page;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use raft_rpc::grpc::GrpcTransport;
use tokio::time::MissedTickBehavior;

use crate::NodeHandle;

pub(crate) use events::now_ms;
pub(crate) use recorder::Recorder;

pub use events::{EventKind, Events, NodeEvent};
pub use history::{History, Sample};
pub use http::{Begun, HttpRequests};

use collect::Sources;
use history::Sampler;

/// How often a sample is taken.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The figures of one node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sources: Sources,
    history: History,
}

impl Metrics {
    /// Those of a node that `recorder` watches; `store` is the file of its data.
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        node: &NodeHandle,
        transport: GrpcTransport,
        store: PathBuf,
    ) -> Self {
        let (http, statuses) = (Arc::default(), node.statuses());
        let sources = Sources { recorder, http, statuses, transport, store };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(sources.clone()));
        Self { registry, sources, history: History::default() }
    }

    /// Everything, as OpenMetrics text.
    ///
    /// # Errors
    /// None that is known: text in memory takes whatever is written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(32 << 10);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// The last five minutes.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The last notable events.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.sources.recorder.events
    }

    /// Where requests of clients are counted.
    #[must_use]
    pub fn http_requests(&self) -> Arc<HttpRequests> {
        Arc::clone(&self.sources.http)
    }

    /// Takes a sample every second, for ever.
    pub(crate) async fn keep_history(self: Arc<Self>) {
        let mut sampler = Sampler::new(self.sources.clone());
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        // A sample that comes late stands for a longer time; none is made up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            sampler.take(&self.history);
        }
    }
}

/// `GET /metrics` and `GET /status/history`, to be merged with the API.
pub fn router(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/status/history", get(status_history))
        .with_state(metrics)
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))], text).into_response()
        }
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response(),
    }
}

async fn status_history(State(metrics): State<Arc<Metrics>>, uri: Uri) -> Response {
    let (status, body) = match since_ms(uri.query().unwrap_or_default()) {
        Some(since_ms) => {
            let mut samples = metrics.history.samples();
            samples.retain(|sample| sample.time_ms > since_ms);
            let events = metrics.events().recent();
            (StatusCode::OK, serde_json::json!({ "samples": samples, "events": events }))
        }
        None => {
            let why = "the only parameter is since_ms=<milliseconds since 1970>";
            let body = serde_json::json!({ "error": why, "outcome": "refused" });
            (StatusCode::BAD_REQUEST, body)
        }
    };
    let json = HeaderValue::from_static("application/json");
    let no_store = HeaderValue::from_static("no-store");
    let headers = [(header::CONTENT_TYPE, json), (header::CACHE_CONTROL, no_store)];
    (status, headers, body.to_string()).into_response()
}

/// After which time samples are wanted; `None` where the query asks for anything else.
fn since_ms(query: &str) -> Option<u64> {
    if query.is_empty() { Some(0) } else { query.strip_prefix("since_ms=")?.parse().ok() }
}
