//! Nodes that remember what they hear, and a wire that can be cut.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{
    Beat, Body, Boot, ClusterId, Entry, EntryKind, Envelope, GroupId, Incarnation, Index,
    Membership, Message, NodeId, Position, SnapshotMeta, Term, Token,
};
use raft_rpc::grpc::{GrpcTransport, Inbound, LocalIdentity, PeerLink, TransportOptions};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// No test waits longer for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Short delays, and nothing goes stale while a slow machine connects.
pub(crate) fn options() -> TransportOptions {
    TransportOptions {
        backoff_initial: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        stale_after: PATIENCE,
        ..TransportOptions::default()
    }
}

/// What a node has heard so far.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    pub(crate) envelopes: Vec<(NodeId, Boot, Envelope)>,
    pub(crate) links: BTreeMap<NodeId, bool>,
}

impl Heard {
    /// The numbers of the messages that came from a node on the lane of `like`.
    pub(crate) fn numbers(&self, from: NodeId, like: &Envelope) -> Vec<u64> {
        let mine = self.envelopes.iter().filter(|(sender, _, _)| *sender == from);
        let on_lane = mine.filter(|(_, _, envelope)| envelope.lane() == like.lane());
        on_lane.map(|(_, _, envelope)| number(envelope)).collect()
    }

    pub(crate) fn is_up(&self, peer: NodeId) -> bool {
        self.links.get(&peer) == Some(&true)
    }
}

struct Ears {
    heard: watch::Sender<Heard>,
}

impl Inbound for Ears {
    fn receive(&self, from: NodeId, boot: Boot, envelopes: Vec<Envelope>) {
        let heard = envelopes.into_iter().map(|envelope| (from, boot, envelope));
        self.heard.send_modify(|all| all.envelopes.extend(heard));
    }

    fn link_changed(&self, peer: NodeId, up: bool) {
        self.heard.send_modify(|all| {
            let before = all.links.insert(peer, up);
            assert_ne!(before, Some(up), "node {peer} was already so");
        });
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) transport: GrpcTransport,
    pub(crate) address: String,
    heard: watch::Receiver<Heard>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Node {
    /// A node of cluster 7 on a free port.
    pub(crate) async fn start(number: u64) -> Self {
        Self::start_with(number, 7, 1, "127.0.0.1:0", options()).await
    }

    pub(crate) async fn start_with(
        number: u64,
        cluster: u64,
        boot: u64,
        address: &str,
        options: TransportOptions,
    ) -> Self {
        let incarnation = Incarnation(number * 10);
        let (cluster, node, boot) = (ClusterId(cluster), id(number), Boot(boot));
        let identity = LocalIdentity { cluster, node, incarnation, boot };
        Self::start_as(identity, address, options).await
    }

    pub(crate) async fn start_as(
        identity: LocalIdentity,
        address: &str,
        options: TransportOptions,
    ) -> Self {
        let heard = watch::Sender::default();
        let hears = heard.subscribe();
        let transport = GrpcTransport::new(identity, options, Arc::new(Ears { heard }));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let serves = transport.clone();
        let serving = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or_default() };
            serves.serve(listener, shutdown).await.unwrap();
        });
        Self { id: identity.node, transport, address, heard: hears, stop, serving }
    }

    pub(crate) fn knows(&self, other: &Self) {
        self.transport.set_peer(other.id, other.address.clone());
    }

    /// Waits until what was heard is as `expected`.
    pub(crate) async fn until(&self, what: &str, expected: impl FnMut(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.clone();
        let came = soon(what, heard.wait_for(expected)).await;
        came.expect("the transport lives").clone()
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    pub(crate) fn link(&self, peer: NodeId) -> PeerLink {
        self.transport.peers().into_iter().find(|link| link.id == peer).unwrap()
    }

    /// Looks at a link until it is as `expected`.
    pub(crate) async fn until_link(
        &self,
        peer: NodeId,
        expected: impl Fn(&PeerLink) -> bool,
    ) -> PeerLink {
        let looks = async {
            loop {
                let link = self.link(peer);
                if expected(&link) {
                    return link;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, looks).await {
            Ok(link) => link,
            Err(_) => panic!("the link stays {:?}", self.link(peer)),
        }
    }

    /// Ends the node as a process would: it no longer listens and has no connections.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        soon("close", self.transport.close()).await;
        soon("end serving", self.serving).await.unwrap();
    }
}

/// What comes of `future`, which must come soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("did not {what} within {PATIENCE:?}"),
    }
}

/// Forwards connections until it is frozen; then it is as silent as a stopped process,
/// for old connections and for new ones. It can be told to damage what it forwards.
pub(crate) struct Proxy {
    pub(crate) address: String,
    pub(crate) accepted: watch::Receiver<usize>,
    frozen: watch::Sender<bool>,
    flips: Arc<AtomicUsize>,
}

/// What a proxy recognises a payload by that it is to damage.
pub(crate) const FRAGILE: [u8; 64] = [0xa7; 64];

impl Proxy {
    pub(crate) async fn to(target: &str) -> Self {
        let target: SocketAddr = target.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (count, accepted) = watch::channel(0);
        let frozen = watch::Sender::new(false);
        let freezes = frozen.subscribe();
        let flips = Arc::new(AtomicUsize::new(0));
        let to_flip = Arc::clone(&flips);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                tokio::spawn(forward(near, target, freezes.clone(), Arc::clone(&to_flip)));
            }
        });
        Self { address, accepted, frozen, flips }
    }

    /// Changes one byte of the next [`FRAGILE`] payload on its way to the target.
    pub(crate) fn flip_once(&self) {
        self.flips.store(1, Ordering::SeqCst);
    }

    /// How many bytes are still to be changed.
    pub(crate) fn to_flip(&self) -> usize {
        self.flips.load(Ordering::SeqCst)
    }

    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}

async fn forward(
    mut near: TcpStream,
    target: SocketAddr,
    mut frozen: watch::Receiver<bool>,
    flips: Arc<AtomicUsize>,
) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let freeze = async { frozen.wait_for(|frozen| *frozen).await.is_ok() };
    let (mut from_near, mut to_near) = near.split();
    let (mut from_far, mut to_far) = far.split();
    let freezes = tokio::select! {
        biased;
        freezes = freeze => freezes,
        () = copy_with_flips(&mut from_near, &mut to_far, &flips) => false,
        _ = tokio::io::copy(&mut from_far, &mut to_near) => false,
    };
    if freezes {
        // Both connections stay open, and nobody reads or writes them.
        pending::<()>().await;
    }
}

/// Copies until either side ends, with one bit of a [`FRAGILE`] payload flipped where one is
/// to be.
async fn copy_with_flips(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    flips: &AtomicUsize,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let fragile = buffer[..read].windows(FRAGILE.len()).position(|bytes| bytes == FRAGILE);
        if let Some(at) = fragile
            && flips.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        {
            buffer[at] ^= 0x10;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// A control message with a number.
pub(crate) fn beat(sequence: u64) -> Envelope {
    Envelope::Beat(Beat { sequence, ..Beat::default() })
}

/// An append message with a number and one entry.
pub(crate) fn append(from: NodeId, to: NodeId, number: u64, payload: Bytes) -> Envelope {
    let (term, index) = (Term(1), Index(1));
    let entries = vec![Entry { term, index, kind: EntryKind::Command, payload }];
    let token = Token { boot: Boot(1), number };
    let body = Body::Append { token, prev: Position::ZERO, entries, commit: Index(0) };
    Envelope::Group(Message::new(GroupId(1), from, to, term, body))
}

/// A piece of a snapshot with a number.
pub(crate) fn chunk(from: NodeId, to: NodeId, number: u64, data: Bytes) -> Envelope {
    let meta = SnapshotMeta {
        position: Position::new(1, 1),
        membership: Membership::of_voters([from, to]),
        bytes: u64::MAX,
        checksum: 0,
    };
    let token = Token { boot: Boot(1), number };
    let body = Body::SnapshotChunk { token, meta: Box::new(meta), offset: 0, data, checksum: 0 };
    Envelope::Group(Message::new(GroupId(1), from, to, Term(1), body))
}

fn number(of: &Envelope) -> u64 {
    match of {
        Envelope::Beat(beat) => beat.sequence,
        Envelope::Group(Message { body: Body::Append { token, .. }, .. })
        | Envelope::Group(Message { body: Body::SnapshotChunk { token, .. }, .. }) => token.number,
        other => panic!("{other:?} has no number"),
    }
}
