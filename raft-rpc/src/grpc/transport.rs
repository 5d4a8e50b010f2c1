//! The handle that the owner of a node holds.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use raft_core::{Boot, ClusterId, Envelope, Incarnation, NodeId, Position};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::error::TransportError;
use super::generated::peer_server::PeerServer;
use super::hello::Greeting;
use super::identify::IdentityProvider;
use super::known::Relation;
use super::link::Link;
use super::options::TransportOptions;
use super::peer::{LinkKind, Peer, PeerLink};
use super::server::{self, PeerService};

/// Who a node is, on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalIdentity {
    /// Its cluster; nodes of another one are refused.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The life of its disk; never zero.
    pub incarnation: Incarnation,
    /// This run of it.
    pub boot: Boot,
}

/// What a node says of its place in the cluster, on every connection that is opened from
/// then on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    /// Where others dial it (`host:port`), for those that do not know it yet; empty where
    /// it does not know itself.
    pub address: String,
    /// The position in its log whose membership names it with its incarnation; zero where
    /// none does.
    pub named_at: Position,
}

/// Which life of a peer's disk is meant by the peer's id, and since when.
///
/// Another one is another replica and is refused, unless it was named at a later position
/// than `since`: a replica is named anew only once the one before it is removed, and that
/// is committed, so whoever was named later is right and this node is behind. The term comes
/// first: a former life may hold a higher index that was never committed, but no later
/// position, as every leader since has the entry that removed it (thesis, section 3.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The life of its disk.
    pub incarnation: Incarnation,
    /// The position in this node's log whose membership says so.
    pub since: Position,
}

/// Takes what peers send. It is called on threads of the runtime and must not block.
pub trait Inbound: Send + Sync + 'static {
    /// A peer sent these, in this order. Batches of one lane arrive one after the
    /// other; those of different lanes and peers may arrive at the same time. Every
    /// message of a group is from that peer and to this node.
    fn receive(&self, from: NodeId, boot: Boot, envelopes: Vec<Envelope>);

    /// The control and append lanes to a peer can send, or no longer can. Called
    /// once per change, with the peer's state locked: from here,
    /// [`GrpcTransport::send`] may be called, and nothing else of the transport.
    fn link_changed(&self, peer: NodeId, up: bool);
}

/// Carries envelopes between the nodes of a cluster; see [`crate::grpc`].
///
/// It is a handle: clones are the same transport. Once the last one is gone, or
/// [`GrpcTransport::close`] was called, all connections end.
#[derive(Clone)]
pub struct GrpcTransport {
    owner: Arc<Owner>,
}

/// Ends the tasks when the last handle goes; the tasks hold what it wraps.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What the tasks of a transport share.
pub(super) struct Shared {
    pub(super) identity: LocalIdentity,
    pub(super) options: TransportOptions,
    pub(super) inbound: Arc<dyn Inbound>,
    pub(super) closed: watch::Sender<bool>,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    standing: Mutex<Standing>,
    provider: Mutex<Option<Arc<dyn IdentityProvider>>>,
    links: Mutex<JoinSet<()>>,
    runtime: Handle,
}

impl GrpcTransport {
    /// A transport without peers, which hands what it receives to `inbound`.
    ///
    /// # Panics
    /// Outside a Tokio runtime. Its tasks run on the runtime that it was made in.
    #[must_use]
    pub fn new(
        identity: LocalIdentity,
        options: TransportOptions,
        inbound: Arc<dyn Inbound>,
    ) -> Self {
        let shared = Shared {
            identity,
            options,
            inbound,
            closed: watch::Sender::new(false),
            peers: RwLock::default(),
            standing: Mutex::default(),
            provider: Mutex::default(),
            links: Mutex::default(),
            runtime: Handle::current(),
        };
        Self { owner: Arc::new(Owner(Arc::new(shared))) }
    }

    /// Dials a peer at `address` (`host:port`) from now on, and lets it call, whatever
    /// life of its disk it speaks for. A peer that is known is moved to the address, and
    /// keeps what is queued for it.
    pub fn set_peer(&self, id: NodeId, address: String) {
        self.shared().set_peer(id, address, None);
    }

    /// Like [`set_peer`](Self::set_peer), for one life of the peer's disk. Where the peer
    /// was known with another one, its connections and what is queued for it end.
    ///
    /// One verdict holds for all that a connection carries. With several groups between two
    /// nodes whoever calls this pins a life only that no group objects to.
    pub fn set_pinned_peer(&self, id: NodeId, address: String, pinned: Pinned) {
        self.shared().set_peer(id, address, Some(pinned));
    }

    /// Forgets a peer: its connections end, and it may no longer call.
    pub fn remove_peer(&self, id: NodeId) {
        let removed = write(&self.shared().peers).remove(&id);
        if let Some(peer) = removed {
            peer.remove(&*self.shared().inbound);
        }
    }

    /// Makes a peer a guest: it is talked to for as long as it holds its connections to
    /// this node, so that it can be told that it is no member any more.
    pub fn dismiss_peer(&self, id: NodeId) {
        if let Some(peer) = self.shared().peer(id) {
            peer.dismiss();
            self.shared().forget_idle_guest(&peer);
        }
    }

    /// What this node says of itself on connections from now on.
    pub fn set_standing(&self, standing: Standing) {
        *lock(&self.shared().standing) = standing;
    }

    /// Queues envelopes for a peer, each on its lane; those of one lane stay together
    /// and in order. It never blocks and can be called on any thread: what finds no
    /// room, or is for a node that is no peer, is dropped.
    pub fn send(&self, to: NodeId, envelopes: Vec<Envelope>) {
        if let Some(peer) = self.shared().peer(to) {
            peer.send(envelopes);
        }
    }

    /// What peers call, to be mounted on a server of one's own. That server sets
    /// `TCP_NODELAY` and HTTP/2 keep-alive; its graceful shutdown waits for the streams
    /// of peers, which end with [`GrpcTransport::close`].
    #[must_use]
    pub fn service(&self) -> PeerServer<PeerService> {
        let shared = self.shared();
        server::peer_server(Arc::clone(shared), shared.closed.subscribe())
    }

    /// Lets [`GrpcTransport::serve`] answer also those who ask who is there.
    pub fn set_identity_provider(&self, provider: Arc<dyn IdentityProvider>) {
        *lock(&self.shared().provider) = Some(provider);
    }

    /// Serves peers on `listener` until `shutdown` completes or the transport is
    /// closed. Then its streams end; it returns once they have, or after
    /// [`TransportOptions::connect_timeout`].
    ///
    /// # Errors
    /// [`TransportError::Serve`] where the listener fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), TransportError> {
        server::serve(self.shared(), listener, shutdown).await
    }

    /// How each peer is connected, in the order of ids.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerLink> {
        read(&self.shared().peers).values().map(|peer| peer.describe()).collect()
    }

    /// Ends all connections and tasks, and waits until they have ended. Nothing is
    /// received afterwards, and what is sent is dropped.
    pub async fn close(&self) {
        for reader in self.shared().stop() {
            let _ = reader.await;
        }
        let mut links = std::mem::take(&mut *lock(&self.shared().links));
        while links.join_next().await.is_some() {}
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }
}

impl Shared {
    pub(super) fn peer(&self, id: NodeId) -> Option<Arc<Peer>> {
        read(&self.peers).get(&id).cloned()
    }

    pub(super) fn provider(&self) -> Option<Arc<dyn IdentityProvider>> {
        lock(&self.provider).clone()
    }

    pub(super) fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    fn set_peer(self: &Arc<Self>, id: NodeId, address: String, pinned: Option<Pinned>) {
        let mut peers = write(&self.peers);
        if *self.closed.borrow() {
            return;
        }
        if let Some(known) = peers.get(&id) {
            if known.means_another(pinned) {
                known.remove(&*self.inbound);
            } else {
                return known.make_member(address, pinned);
            }
        }
        peers.insert(id, self.new_peer(id, address, pinned, Relation::Member));
    }

    /// Lets in a node of the cluster that this one does not know: a leader that was added
    /// after the last entry here, or one that was removed and is to be told.
    pub(super) fn let_in(self: &Arc<Self>, greeting: &Greeting) -> Result<Arc<Peer>, String> {
        let (id, me) = (greeting.node, self.identity.node);
        let mut peers = write(&self.peers);
        // Two lanes of it may come at once.
        if let Some(peer) = peers.get(&id) {
            return Ok(Arc::clone(peer));
        }
        if *self.closed.borrow() {
            return Err(format!("node {me} is stopping"));
        }
        let address = greeting.standing.address.clone();
        let guests = peers.values().filter(|peer| peer.is_guest()).count();
        if address.is_empty() || self.options.guests == 0 {
            return Err(format!(
                "node {id} called, which node {me} does not know: make it a member of the \
                 cluster, or give node {me} its address"
            ));
        }
        if guests >= self.options.guests {
            return Err(format!(
                "node {id} called, which node {me} does not know, beside {guests} others that \
                 it does not know either: correct the addresses where they run"
            ));
        }
        let peer = self.new_peer(id, address, None, Relation::Guest);
        peers.insert(id, Arc::clone(&peer));
        Ok(peer)
    }

    /// Forgets a peer that is no member and does not call any more; true where it is gone.
    pub(super) fn forget_idle_guest(&self, peer: &Arc<Peer>) -> bool {
        let mut peers = write(&self.peers);
        let present = peers.get(&peer.id).is_some_and(|known| Arc::ptr_eq(known, peer));
        let idle = present && peer.is_idle_guest();
        if idle {
            peers.remove(&peer.id);
            peer.remove(&*self.inbound);
        }
        idle || !present
    }

    fn new_peer(
        self: &Arc<Self>,
        id: NodeId,
        address: String,
        pinned: Option<Pinned>,
        relation: Relation,
    ) -> Arc<Peer> {
        let peer = Arc::new(Peer::new(id, address, pinned, relation, &self.options));
        let mut links = lock(&self.links);
        while links.try_join_next().is_some() {}
        for kind in LinkKind::ALL {
            let link = Link { shared: Arc::clone(self), peer: Arc::clone(&peer), kind };
            links.spawn_on(link.run(peer.target()), &self.runtime);
        }
        peer
    }

    /// Ends everything, and returns what has not ended yet.
    fn stop(&self) -> Vec<JoinHandle<()>> {
        let peers = {
            let mut peers = write(&self.peers);
            self.closed.send_replace(true);
            std::mem::take(&mut *peers)
        };
        peers.values().flat_map(|peer| peer.remove(&*self.inbound)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(of: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    of.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(of: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    of.write().unwrap_or_else(PoisonError::into_inner)
}
