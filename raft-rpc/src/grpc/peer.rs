//! What a transport keeps about one peer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raft_core::{Envelope, Lane, NodeId};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::error::TransportError;
use super::hello::Greeting;
use super::known::{Known, Recognised, Relation};
use super::options::TransportOptions;
use super::queue::LaneQueue;
use super::transport::{Inbound, Pinned};

/// What is usual for a while, such as a node that is not ready yet, is logged when it lasts.
const LASTS: Duration = Duration::from_secs(10);

/// More reasons than this are not logged until the peer is back.
const MANY: usize = 10;

/// How a peer is connected, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// The peer.
    pub id: NodeId,
    /// Where it is dialed.
    pub address: String,
    /// Why it is not connected; nothing while all of its lanes are.
    pub last_error: Option<String>,
    /// Its lanes, from the highest to the lowest.
    pub lanes: [LaneLink; 3],
    /// How many batches and envelopes of this peer were refused: malformed, or not
    /// from it or not for this node.
    pub refused: u64,
    /// How many batches of this peer arrived damaged, each of which ended a connection.
    pub damaged: u64,
    /// Why the last one of either was not taken.
    pub last_refusal: Option<String>,
}

/// One lane of a [`PeerLink`]. The counts start with the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLink {
    /// Which one.
    pub lane: Lane,
    /// True while this node can send on it.
    pub connected: bool,
    /// Envelopes that wait to be sent.
    pub queued: usize,
    /// About how many bytes they take.
    pub queued_bytes: usize,
    /// Envelopes that were dropped before they were sent.
    pub dropped: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames received, on the streams that the peer dialed.
    pub received: u64,
}

/// The lanes, in the order of [`PeerLink::lanes`].
const LANES: [Lane; 3] = [Lane::Control, Lane::Append, Lane::Snapshot];

/// The two connections to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// Votes, heartbeats and entries.
    Main,
    /// Snapshots.
    Snapshot,
}

impl LinkKind {
    pub(super) const ALL: [Self; 2] = [Self::Main, Self::Snapshot];

    pub(super) const fn lanes(self) -> &'static [Lane] {
        match self {
            Self::Main => &[Lane::Control, Lane::Append],
            Self::Snapshot => &[Lane::Snapshot],
        }
    }
}

pub(super) struct Peer {
    pub(super) id: NodeId,
    known: Mutex<Known>,
    /// The address to dial; nothing once the peer is removed.
    target: watch::Sender<Option<String>>,
    /// Told when the peer has dialed this node, which is a good moment to dial it.
    pub(super) alive: Notify,
    queues: [Arc<LaneQueue>; 3],
    links: Mutex<Links>,
    incoming: Mutex<Incoming>,
}

#[derive(Default)]
struct Links {
    removed: bool,
    main: LinkState,
    snapshot: LinkState,
}

#[derive(Default)]
struct LinkState {
    up: bool,
    last_error: Option<String>,
    /// Since when it cannot be used, where that was noticed.
    down_since: Option<Instant>,
    /// What was logged since then: each reason once.
    told: Vec<String>,
}

#[derive(Default)]
struct Incoming {
    removed: bool,
    readers: [Option<JoinHandle<()>>; 3],
    received: [u64; 3],
    refused: u64,
    damaged: u64,
    last_refusal: Option<String>,
}

impl Peer {
    pub(super) fn new(
        id: NodeId,
        address: String,
        pinned: Option<Pinned>,
        relation: Relation,
        options: &TransportOptions,
    ) -> Self {
        Self {
            id,
            known: Mutex::new(Known { pinned, relation }),
            target: watch::Sender::new(Some(address)),
            alive: Notify::new(),
            queues: LANES.map(|_| Arc::new(LaneQueue::new(options.clone()))),
            links: Mutex::default(),
            incoming: Mutex::default(),
        }
    }

    pub(super) fn target(&self) -> watch::Receiver<Option<String>> {
        self.target.subscribe()
    }

    /// Whether `pinned` names another life of the peer's disk than is known here.
    pub(super) fn means_another(&self, pinned: Option<Pinned>) -> bool {
        let incarnation = |pinned: Pinned| pinned.incarnation;
        lock(&self.known).pinned.map(incarnation) != pinned.map(incarnation)
    }

    pub(super) fn make_member(&self, address: String, pinned: Option<Pinned>) {
        *lock(&self.known) = Known { pinned, relation: Relation::Member };
        self.move_to(address);
    }

    pub(super) fn dismiss(&self) {
        *lock(&self.known) = Known { pinned: None, relation: Relation::Guest };
    }

    pub(super) fn is_guest(&self) -> bool {
        lock(&self.known).relation == Relation::Guest
    }

    /// True for a guest that does not call any more.
    pub(super) fn is_idle_guest(&self) -> bool {
        let calls = |reader: &JoinHandle<()>| !reader.is_finished();
        self.is_guest() && !lock(&self.incoming).readers.iter().flatten().any(calls)
    }

    /// Checks that whoever greets is the replica that is meant, and takes its word for
    /// where it is where it knows better; else what is wrong and what to do.
    pub(super) fn recognise(&self, greeting: &Greeting) -> Result<(), String> {
        let recognised = lock(&self.known).recognise(self.id, greeting);
        match recognised {
            Recognised::Same => {}
            Recognised::Newer if greeting.standing.address.is_empty() => {}
            Recognised::Newer => self.move_to(greeting.standing.address.clone()),
            Recognised::Another(why) => return Err(why),
        }
        Ok(())
    }

    /// Dials another address from now on, if it is another one.
    fn move_to(&self, address: String) {
        self.target.send_if_modified(|target| {
            let moved = target.as_ref().is_some_and(|known| *known != address);
            if moved {
                *target = Some(address);
            }
            moved
        });
    }

    pub(super) fn queue(&self, lane: Lane) -> &Arc<LaneQueue> {
        &self.queues[place(lane)]
    }

    /// Queues each envelope on its lane, in order.
    pub(super) fn send(&self, envelopes: Vec<Envelope>) {
        let mut lanes: [Vec<Envelope>; 3] = Default::default();
        for envelope in envelopes {
            lanes[place(envelope.lane())].push(envelope);
        }
        for (lane, batch) in LANES.into_iter().zip(lanes).filter(|(_, batch)| !batch.is_empty()) {
            if !self.queue(lane).push(batch) {
                tracing::error!(peer = %self.id, ?lane, "dropped a message that is too large to send");
            }
        }
    }

    /// The lanes of a link may send.
    pub(super) fn link_up(&self, kind: LinkKind, address: &str, inbound: &dyn Inbound) {
        let mut links = lock(&self.links);
        if links.removed {
            return;
        }
        for lane in kind.lanes() {
            self.queue(*lane).open();
        }
        let before =
            std::mem::replace(links.of(kind), LinkState { up: true, ..LinkState::default() });
        if kind == LinkKind::Main {
            let id = self.id;
            match before.last_error {
                Some(why) if before.told.is_empty() && before.down_since.is_some() => {
                    tracing::info!("node {id} is connected at {address}, after this: {why}");
                }
                _ => tracing::info!("node {id} is connected at {address}"),
            }
            inbound.link_changed(self.id, true);
        }
    }

    /// The lanes of a link cannot send, because of `problem` where there is one. Each
    /// reason is logged once until the link is up again, and not at every attempt.
    pub(super) fn link_down(
        &self,
        kind: LinkKind,
        problem: Option<&TransportError>,
        inbound: &dyn Inbound,
    ) {
        let mut links = lock(&self.links);
        for lane in kind.lanes() {
            self.queue(*lane).close();
        }
        if links.removed {
            return;
        }
        let main_up = links.main.up;
        let state = links.of(kind);
        let was_up = std::mem::take(&mut state.up);
        let down_for = state.down_since.get_or_insert_with(Instant::now).elapsed();
        if let Some(problem) = problem {
            let why = problem.in_full();
            let patience = match (kind, problem) {
                // The first attempt to dial again says more than how the connection ended.
                _ if was_up => Duration::MAX,
                // Most often both links fail alike, and then one line says enough.
                (LinkKind::Snapshot, _) if !main_up => Duration::MAX,
                (LinkKind::Snapshot, _) | (_, TransportError::NotReady { .. }) => LASTS,
                (LinkKind::Main, _) => Duration::ZERO,
            };
            if down_for >= patience && !state.told.contains(&why) && state.told.len() < MANY {
                let what = if kind == LinkKind::Main { "" } else { " for snapshots" };
                if self.is_guest() {
                    // It called; as far as is known here nobody needs to reach it.
                    tracing::debug!("node {} cannot be answered{what}: {why}", self.id);
                } else {
                    tracing::warn!("node {} is not reachable{what}: {why}", self.id);
                }
                state.told.push(why.clone());
            }
            state.last_error = Some(why);
        }
        if was_up && kind == LinkKind::Main {
            inbound.link_changed(self.id, false);
        }
    }

    /// Ends everything about this peer. What is still running on its streams is
    /// returned to be waited for, by those who can.
    pub(super) fn remove(&self, inbound: &dyn Inbound) -> Vec<JoinHandle<()>> {
        self.target.send_replace(None);
        for queue in &self.queues {
            queue.close();
        }
        let mut links = lock(&self.links);
        links.removed = true;
        if std::mem::take(&mut links.main.up) {
            inbound.link_changed(self.id, false);
        }
        drop(links);
        let mut incoming = lock(&self.incoming);
        incoming.removed = true;
        let readers: Vec<_> = incoming.readers.iter_mut().filter_map(Option::take).collect();
        readers.iter().for_each(JoinHandle::abort);
        readers
    }

    /// The task that reads what this peer sends on `lane`, to be replaced.
    pub(super) fn take_reader(&self, lane: Lane) -> Option<JoinHandle<()>> {
        lock(&self.incoming).readers[place(lane)].take()
    }

    /// The task that reads what this peer sends on `lane` from now on.
    pub(super) fn put_reader(&self, lane: Lane, reader: JoinHandle<()>) {
        let mut incoming = lock(&self.incoming);
        if incoming.removed {
            reader.abort();
        } else if let Some(older) = incoming.readers[place(lane)].replace(reader) {
            older.abort();
        }
    }

    pub(super) fn received(&self, lane: Lane) {
        lock(&self.incoming).received[place(lane)] += 1;
    }

    /// Counts what was refused, and logs why when that is news.
    pub(super) fn refused(&self, count: u64, why: String) {
        self.note_refusal("a message", why, |counts| counts.refused += count);
    }

    /// Counts a batch that arrived damaged, and logs why when that is news.
    pub(super) fn damaged(&self, why: String) {
        self.note_refusal("a damaged batch", why, |counts| counts.damaged += 1);
    }

    /// Counts a call that was refused, and logs why when that is news.
    pub(super) fn turned_away(&self, why: String) {
        self.note_refusal("a call", why, |counts| counts.refused += 1);
    }

    fn note_refusal(&self, what: &str, why: String, count: impl FnOnce(&mut Incoming)) {
        let mut incoming = lock(&self.incoming);
        count(&mut incoming);
        if incoming.last_refusal.as_ref() != Some(&why) {
            tracing::warn!("refused {what} of node {}: {why}", self.id);
            incoming.last_refusal = Some(why);
        }
    }

    pub(super) fn describe(&self) -> PeerLink {
        let links = lock(&self.links);
        let last_error = links.main.last_error.clone().or(links.snapshot.last_error.clone());
        drop(links);
        let incoming = lock(&self.incoming);
        let lanes = LANES.map(|lane| {
            let counts = self.queue(lane).counts();
            LaneLink {
                lane,
                connected: counts.up,
                queued: counts.envelopes,
                queued_bytes: counts.bytes,
                dropped: counts.dropped,
                sent: counts.sent,
                received: incoming.received[place(lane)],
            }
        });
        PeerLink {
            id: self.id,
            address: self.target.borrow().clone().unwrap_or_default(),
            last_error,
            lanes,
            refused: incoming.refused,
            damaged: incoming.damaged,
            last_refusal: incoming.last_refusal.clone(),
        }
    }
}

impl Links {
    fn of(&mut self, kind: LinkKind) -> &mut LinkState {
        match kind {
            LinkKind::Main => &mut self.main,
            LinkKind::Snapshot => &mut self.snapshot,
        }
    }
}

fn place(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Append => 1,
        Lane::Snapshot => 2,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
