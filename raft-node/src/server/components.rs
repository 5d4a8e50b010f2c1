//! The components of a node that have a life of their own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use raft_core::{Boot, Envelope, NodeId};
use raft_rpc::grpc::{GrpcTransport, Inbound, TransportError};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::lifecycle::{ComponentError, Lifecycle};
use super::roster::Roster;
use crate::api;
use crate::engine::{Engine, Machines};
use crate::metrics::{HttpRequests, Metrics};
use crate::shell::{Clock, Inbox, Queues, Shell, ShellError};

/// How long peers' connections may take to end when a node stops.
const LAST_MESSAGES: Duration = Duration::from_secs(2);

/// What arrives from peers goes to the engine.
pub(super) fn inbound(inbox: Inbox) -> Arc<dyn Inbound> {
    struct ToEngine(Inbox);
    impl Inbound for ToEngine {
        fn receive(&self, from: NodeId, boot: Boot, envelopes: Vec<Envelope>) {
            self.0.receive(from, boot, envelopes);
        }

        fn link_changed(&self, peer: NodeId, up: bool) {
            let now = if up { "connected" } else { "not connected" };
            tracing::debug!("node {peer} is {now}");
        }
    }
    Arc::new(ToEngine(inbox))
}

/// A task that runs until it is told to stop.
struct Running<E> {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), E>>,
}

/// The engine with its threads.
pub(super) struct EngineComponent {
    /// Taken when it starts.
    parts: Option<(Engine, Machines, Clock, Queues, Roster)>,
    ending: Option<watch::Sender<bool>>,
    running: Option<Running<ShellError>>,
}

impl EngineComponent {
    pub(super) const fn new(
        engine: Engine,
        machines: Machines,
        clock: Clock,
        queues: Queues,
        roster: Roster,
        ending: watch::Sender<bool>,
    ) -> Self {
        let parts = Some((engine, machines, clock, queues, roster));
        Self { parts, ending: Some(ending), running: None }
    }
}

#[async_trait]
impl Lifecycle for EngineComponent {
    fn name(&self) -> &str {
        "engine"
    }

    async fn start(&mut self) -> Result<(), ComponentError> {
        let parts = self.parts.take().zip(self.ending.take());
        let ((engine, machines, clock, queues, roster), ending) =
            parts.ok_or("it was started before")?;
        let mut shell = Shell::start(engine, machines, clock, queues, Arc::new(roster))?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                ended = shell.ended() => {
                    ending.send_replace(true);
                    ended
                }
                _ = stopped => shell.stop().await,
            }
        });
        self.running = Some(Running { stop, task });
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ComponentError> {
        let Some(Running { stop, task }) = self.running.take() else { return Ok(()) };
        // Where it has failed already, nobody listens; the task says why.
        let _ = stop.send(());
        Ok(task.await??)
    }
}

/// The transport with its listener.
pub(super) struct TransportComponent {
    transport: GrpcTransport,
    listener: Option<TcpListener>,
    running: Option<Running<TransportError>>,
}

impl TransportComponent {
    pub(super) const fn new(transport: GrpcTransport, listener: TcpListener) -> Self {
        Self { transport, listener: Some(listener), running: None }
    }
}

#[async_trait]
impl Lifecycle for TransportComponent {
    fn name(&self) -> &str {
        "transport"
    }

    async fn start(&mut self) -> Result<(), ComponentError> {
        let listener = self.listener.take().ok_or("it was started before")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let transport = self.transport.clone();
        let task = tokio::spawn(async move {
            transport
                .serve(listener, async {
                    let _ = stopped.await;
                })
                .await
        });
        self.running = Some(Running { stop, task });
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ComponentError> {
        let Some(Running { stop, mut task }) = self.running.take() else { return Ok(()) };
        self.transport.close().await;
        let _ = stop.send(());
        match tokio::time::timeout(LAST_MESSAGES, &mut task).await {
            Ok(served) => Ok(served??),
            // Peers that hold on to their connections lose them.
            Err(_) => {
                task.abort();
                Ok(())
            }
        }
    }
}

/// The API with its listener.
pub(super) struct ApiComponent {
    parts: Option<(TcpListener, Router, Arc<HttpRequests>)>,
    stopping: watch::Sender<bool>,
    running: Option<Running<std::io::Error>>,
}

impl ApiComponent {
    /// Requests that the router's state makes wait are told of the stop by `stopping`.
    pub(super) const fn new(
        listener: TcpListener,
        router: Router,
        requests: Arc<HttpRequests>,
        stopping: watch::Sender<bool>,
    ) -> Self {
        Self { parts: Some((listener, router, requests)), stopping, running: None }
    }
}

#[async_trait]
impl Lifecycle for ApiComponent {
    fn name(&self) -> &str {
        "API"
    }

    async fn start(&mut self) -> Result<(), ComponentError> {
        let (listener, router, requests) = self.parts.take().ok_or("it was started before")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            api::serve_counted(listener, router, requests, async {
                let _ = stopped.await;
            })
            .await
        });
        self.running = Some(Running { stop, task });
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ComponentError> {
        let Some(Running { stop, task }) = self.running.take() else { return Ok(()) };
        self.stopping.send_replace(true);
        let _ = stop.send(());
        Ok(task.await??)
    }
}

/// The task that keeps the node's history.
pub(super) struct HistoryComponent {
    metrics: Arc<Metrics>,
    task: Option<JoinHandle<()>>,
}

impl HistoryComponent {
    pub(super) const fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, task: None }
    }
}

#[async_trait]
impl Lifecycle for HistoryComponent {
    fn name(&self) -> &str {
        "history"
    }

    async fn start(&mut self) -> Result<(), ComponentError> {
        self.task = Some(tokio::spawn(Arc::clone(&self.metrics).keep_history()));
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ComponentError> {
        if let Some(task) = self.task.take() {
            task.abort();
            // It was told to end, and nothing it does can fail.
            let _ = task.await;
        }
        Ok(())
    }
}
