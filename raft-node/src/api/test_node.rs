//! A node whose port and store are real and whose engine does as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::super::*;
use raft_core::MemberChange;
use raft_state::ChangeRefusal;

use crate::engine::SnapshotRefusal;
use crate::handle::Request;
use crate::kv::{KvDatabase, KvStore};
use crate::metrics::Recorder;
use crate::{Applied, Command, RequestError, StateMachine};

pub(super) const GROUP: GroupId = GroupId(1);
pub(super) const LIMIT: usize = 10_000;

/// What stands in for consensus: it applies each proposal at once, or fails as told.
#[derive(Clone, Debug)]
pub(super) enum Engine {
    Leads,
    Fails(RequestError),
    NeverAnswers,
    RefusesChange(ChangeRefusal),
}

/// A node with a real port, a real store, and an engine that does as it is told.
pub(super) struct Node {
    pub(super) address: SocketAddr,
    pub(super) engine: Arc<Mutex<Engine>>,
    pub(super) served: Arc<Mutex<u64>>,
    /// The members' changes that came last.
    pub(super) changes: Arc<Mutex<Vec<MemberChange>>>,
    pub(super) stopping: watch::Sender<bool>,
    /// What is said while there is no leader.
    pub(super) missing: watch::Sender<Option<String>>,
    pub(super) statuses: crate::handle::Statuses,
    pub(super) recorder: Arc<Recorder>,
    pub(super) stop: Option<oneshot::Sender<()>>,
    /// Completes when it has stopped serving.
    pub(super) ended: Option<JoinHandle<std::io::Result<()>>>,
    _folder: tempfile::TempDir,
}

impl Node {
    pub(super) fn set(&self, engine: Engine) {
        *self.engine.lock().unwrap() = engine;
    }

    pub(super) async fn connect(&self) -> Http {
        Http(TcpStream::connect(self.address).await.unwrap())
    }

    pub(super) async fn ask(&self, request: &str) -> Answer {
        self.connect().await.ask(request).await
    }
}

pub(super) fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

pub(super) fn not_leader(leader: Option<u64>) -> Engine {
    Engine::Fails(RequestError::NotLeader { leader: leader.map(id) })
}

async fn run_engine(
    mut requests: mpsc::Receiver<Request>,
    mut store: KvStore,
    engine: Arc<Mutex<Engine>>,
    served: Arc<Mutex<u64>>,
    changed: Arc<Mutex<Vec<MemberChange>>>,
) {
    let mut unanswered = Vec::new();
    while let Some(request) = requests.recv().await {
        let engine = engine.lock().unwrap().clone();
        *served.lock().unwrap() += 1;
        match (engine, request) {
            (Engine::NeverAnswers, request) => unanswered.push(request),
            (Engine::Fails(why), Request::Propose { answer, .. }) => {
                answer.send((Err(why), Instant::now())).unwrap();
            }
            (Engine::Fails(why), Request::Read { answer, .. }) => answer.send(Err(why)).unwrap(),
            (Engine::Fails(why), Request::Change { answer, .. }) => {
                answer.send(Err(why.into())).unwrap();
            }
            (Engine::Fails(why), Request::Transfer { answer, .. }) => {
                answer.send(Err(why.into())).unwrap();
            }
            (Engine::RefusesChange(why), Request::Change { answer, .. }) => {
                answer.send(Err(why.into())).unwrap();
            }
            (Engine::RefusesChange(_), request) => unanswered.push(request),
            (Engine::Leads, Request::Change { answer, changes, .. }) => {
                *changed.lock().unwrap() = changes;
                answer.send(Ok(raft_core::Index(1))).unwrap();
            }
            (Engine::Leads, Request::Transfer { answer, .. }) => answer.send(Ok(())).unwrap(),
            (_, Request::Campaign { .. }) => {}
            (Engine::Fails(_), Request::Snapshot { answer, .. }) => {
                answer.send(Err(SnapshotRefusal::Nothing)).unwrap();
            }
            (Engine::Leads, Request::Snapshot { answer, .. }) => {
                let why = SnapshotRefusal::Failed("no room".to_owned());
                answer.send(Err(why)).unwrap();
            }
            (_, Request::Collect { answer, .. }) => answer.send(()).unwrap(),
            (Engine::Leads, Request::Read { answer, .. }) => {
                answer.send(Ok(store.applied())).unwrap();
            }
            (Engine::Leads, Request::Propose { payload, answer, .. }) => {
                let index = store.applied().next();
                let answers = store.apply(&[Command { index, payload }], index).unwrap();
                let [applied]: [Bytes; 1] = answers.try_into().unwrap();
                let applied = Ok(Applied { index, answer: applied });
                answer.send((applied, Instant::now())).unwrap();
            }
        }
    }
}

pub(super) async fn start(timeout_ms: u64) -> Node {
    let [node] = cluster([not_leader(None)], timeout_ms).await;
    node.set(Engine::Leads);
    node
}

/// Whether nodes pass on what only the leader can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassesOn {
    Yes,
    No,
}

/// Nodes 1, 2, ... that know each other.
pub(super) async fn cluster<const N: usize>(engines: [Engine; N], timeout_ms: u64) -> [Node; N] {
    cluster_that(PassesOn::Yes, engines, timeout_ms).await
}

pub(super) async fn cluster_that<const N: usize>(
    passes_on: PassesOn,
    engines: [Engine; N],
    timeout_ms: u64,
) -> [Node; N] {
    let mut listeners = Vec::new();
    let mut members = BTreeMap::new();
    for n in 1..=N as u64 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = listener.local_addr().unwrap().to_string();
        members.insert(id(n), MemberAddress { peer: "127.0.0.1:1".to_owned(), client, name: None });
        listeners.push(listener);
    }
    let nodes: Vec<Node> = engines
        .into_iter()
        .zip(listeners)
        .zip(1..)
        .map(|((engine, listener), n)| {
            node_that(passes_on, id(n), engine, listener, &members, timeout_ms)
        })
        .collect();
    nodes.try_into().unwrap_or_else(|_| unreachable!())
}

pub(super) fn node(
    me: NodeId,
    engine: Engine,
    listener: TcpListener,
    members: &BTreeMap<NodeId, MemberAddress>,
    timeout_ms: u64,
) -> Node {
    node_that(PassesOn::Yes, me, engine, listener, members, timeout_ms)
}

fn node_that(
    passes_on: PassesOn,
    me: NodeId,
    engine: Engine,
    listener: TcpListener,
    members: &BTreeMap<NodeId, MemberAddress>,
    timeout_ms: u64,
) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let database = KvDatabase::open(folder.path().join("kv.redb")).unwrap();
    let (sender, requests) = mpsc::channel(100);
    let statuses = Arc::new(RwLock::new(BTreeMap::new()));
    let (engine, served) = (Arc::new(Mutex::new(engine)), Arc::default());
    let changes = Arc::default();
    let store = database.group(GROUP).unwrap();
    let told = (Arc::clone(&served), Arc::clone(&changes));
    tokio::spawn(run_engine(requests, store, Arc::clone(&engine), told.0, told.1));
    let address = listener.local_addr().unwrap();
    let (stopping, stopped_api) = watch::channel(false);
    let (missing, no_quorum) = watch::channel(None);
    let recorder = Arc::new(Recorder::default());
    let state = ApiState {
        node: NodeHandle::new(sender, Arc::clone(&statuses), recorder.clone(), 64 << 20),
        group: GROUP,
        reader: database.reader(),
        me,
        members: members.clone(),
        cluster: "test".to_owned(),
        cluster_id: ClusterId(5),
        boot: Boot(6),
        forward: passes_on == PassesOn::Yes,
        request_timeout: Duration::from_millis(timeout_ms),
        max_body_bytes: LIMIT,
        max_waiting_bytes: 4 * LIMIT,
        stopping: stopped_api,
        no_quorum,
    };
    let routes = router(state).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = Some(tokio::spawn(serve(listener, routes, async {
        let _ = stopped.await;
    })));
    Node {
        address,
        ended,
        engine,
        served,
        changes,
        statuses,
        recorder,
        stopping,
        missing,
        stop: Some(stop),
        _folder: folder,
    }
}

/// One connection, spoken to in bytes.
pub(super) struct Http(pub(super) TcpStream);

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Value,
}

impl Http {
    /// Sends a request, its body after an empty line, and reads one answer.
    pub(super) async fn ask(&mut self, request: &str) -> Answer {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let head = head.replace('\n', "\r\n");
        let length = format!("content-length: {}", body.len());
        self.raw(format!("{head}\r\nhost: x\r\n{length}\r\n\r\n{body}").as_bytes()).await
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) -> Answer {
        self.0.write_all(bytes).await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let after = |name: &str| head.split_once(name).map(|(_, rest)| rest.trim_start());
        let number = |text: &str| text.split_whitespace().next().unwrap().parse().unwrap();
        let mut body = vec![0; after("content-length:").map_or(0, number)];
        self.0.read_exact(&mut body).await.unwrap();
        let status = u16::try_from(number(after("http/1.1 ").unwrap())).unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status, head, body }
    }
}
