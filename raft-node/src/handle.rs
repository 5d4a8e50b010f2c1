//! How the rest of a process talks to the node inside it.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{GroupId, Index, MemberChange, Membership, NodeId, Term};
use raft_state::Unheard;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::engine::{Collection, GroupFigures, SnapshotOutcome};
use crate::members::{ChangeMembersError, TransferError};
use crate::room::{Place, Room};
use crate::shell::{Observer, Stage};

/// How long to wait before a second attempt; doubled after each, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// What came of a command that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where the command stands in the log.
    pub index: Index,
    /// What the state machine answered.
    pub answer: Bytes,
}

/// Why a request was not carried out. [`Outcome::of`] says whether it may have been.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Ask the leader; nothing happened here.
    #[error("this node does not lead the group{}", .leader.map_or_else(
        || "; no leader is known".to_owned(),
        |id| format!("; node {id} does")
    ))]
    NotLeader {
        /// The leader, where one is known.
        leader: Option<NodeId>,
    },
    /// Too much is waiting already; nothing happened. Slow down and retry.
    #[error("overloaded: too much waits at this node already, slow down and try again")]
    Overloaded,
    /// The disk of the node that leads is full, and nobody else could take over; nothing
    /// happened. Somebody has to make room; reads go on.
    #[error(
        "the disk of the node that leads is full: nothing was written; make room there, and \
         writes are taken again; reads go on"
    )]
    NoRoom,
    /// The command is larger than the node takes; nothing happened.
    #[error("the command has {bytes} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// This node has no such group; nothing happened.
    #[error("group {0} does not exist on this node")]
    NoSuchGroup(GroupId),
    /// The command was under way when leadership ended, or the leader's answer did not
    /// come: it may have happened or may still happen. Read before you write again.
    #[error("leadership ended while the command was under way; it may have happened")]
    LeadershipLost,
    /// The group or the node stopped; a command under way may have happened.
    #[error("the node is stopping")]
    Stopped,
    /// The node has stopped; nothing happened.
    #[error("the node has stopped")]
    Closed,
}

/// What is certain about a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing happened: safe to retry.
    Refused,
    /// It may have happened.
    Unknown,
}

impl Outcome {
    /// What is certain after `error`.
    #[must_use]
    pub const fn of(error: &RequestError) -> Self {
        match error {
            RequestError::LeadershipLost | RequestError::Stopped => Self::Unknown,
            RequestError::NotLeader { .. }
            | RequestError::Overloaded
            | RequestError::NoRoom
            | RequestError::TooLarge { .. }
            | RequestError::NoSuchGroup(_)
            | RequestError::Closed => Self::Refused,
        }
    }
}

/// What a replica is at the moment, in lower case for people and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

impl Role {
    /// The role's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

/// One peer as a leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// How far its log is known to agree, durably.
    pub matched: Index,
    /// How long ago the peer was last heard; `None` where it never was.
    pub heard: Option<Duration>,
}

/// How a group stands on this node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GroupStatus {
    /// What the replica is.
    pub role: Role,
    /// The term it is in.
    pub term: Term,
    /// Who leads in that term, where that is known.
    pub leader: Option<NodeId>,
    /// The last index in the log.
    pub last: Index,
    /// The last committed index.
    pub commit: Index,
    /// The last applied index.
    pub applied: Index,
    /// Where the log ended before the disk lost a part of it, until the leader has sent that
    /// again; the node does not stand for election meanwhile.
    pub damaged_up_to: Option<Index>,
    /// How long ago the leader was heard; zero on the leader itself, `None` where no
    /// leader is known.
    pub leader_heard: Option<Duration>,
    /// The other members; empty on a node that does not lead.
    pub peers: Vec<PeerStatus>,
    /// The membership in force: the latest in the log here, committed or not.
    pub members: Arc<Membership>,
    /// Where it stands in the log.
    pub members_index: Index,
    /// Where the membership without this node stands in the log, once the group has stopped
    /// here because of it.
    pub removed: Option<Index>,
    /// Why the group stopped on this node, where it did.
    pub halted: Option<String>,
    /// Why this node takes no writes, and what to do, where its disk is full.
    pub no_room: Option<String>,
    /// Whether this node lets go of what it does not need; the same for all its groups.
    pub collection: Collection,
    /// What the group has counted on this node.
    pub figures: GroupFigures,
}

/// Where the answer to a proposal goes, with when it was given.
pub(crate) type ProposalAnswer =
    oneshot::Sender<(Result<Applied, RequestError>, std::time::Instant)>;

/// A request to the engine, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Request {
    Propose {
        group: GroupId,
        payload: Bytes,
        since: std::time::Instant,
        answer: ProposalAnswer,
        place: Place,
    },
    Read {
        group: GroupId,
        answer: oneshot::Sender<Result<Index, RequestError>>,
        place: Place,
    },
    Change {
        group: GroupId,
        changes: Vec<MemberChange>,
        unheard: Unheard,
        answer: oneshot::Sender<Result<Index, ChangeMembersError>>,
        place: Place,
    },
    Transfer {
        group: GroupId,
        to: Option<NodeId>,
        answer: oneshot::Sender<Result<(), TransferError>>,
        place: Place,
    },
    Campaign {
        group: GroupId,
    },
    Snapshot {
        group: GroupId,
        answer: oneshot::Sender<SnapshotOutcome>,
        place: Place,
    },
    Collect {
        collection: Collection,
        answer: oneshot::Sender<()>,
    },
}

/// The statuses of all groups as the engine last published them.
pub(crate) type Statuses = Arc<RwLock<BTreeMap<GroupId, GroupStatus>>>;

/// A node's groups, for the process they live in. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    requests: mpsc::Sender<Request>,
    statuses: Statuses,
    observer: Arc<dyn Observer>,
    room: Room,
}

/// What a request takes up besides its command, in bytes, as far as room is counted.
const REQUEST_BYTES: usize = 1024;

impl NodeHandle {
    /// Commands and reads that wait take up `max_waiting_bytes` at most.
    pub(crate) fn new(
        requests: mpsc::Sender<Request>,
        statuses: Statuses,
        observer: Arc<dyn Observer>,
        max_waiting_bytes: usize,
    ) -> Self {
        Self { requests, statuses, observer, room: Room::new(max_waiting_bytes) }
    }

    pub(crate) fn statuses(&self) -> Statuses {
        Arc::clone(&self.statuses)
    }

    /// Proposes a command and waits until it is committed, and applied by the leader. A
    /// node that does not lead passes the command on to the leader; it may itself apply it
    /// a little later, so [`read_index`](Self::read_index) comes before a read of the
    /// state here. Dropping the future does not take the command back.
    ///
    /// Nobody looks into the payload before it is committed. The key-value store stops the group,
    /// on every node, at a command that only a later build may know: hand it what
    /// [`KvCommand::encode`](crate::kv::KvCommand) makes, and nothing else.
    ///
    /// # Errors
    /// [`RequestError`]; [`Outcome::of`] tells whether the command may have happened.
    pub async fn propose(&self, group: GroupId, payload: Bytes) -> Result<Applied, RequestError> {
        let place = self.place(payload.len())?;
        let (answer, answered) = oneshot::channel();
        let since = std::time::Instant::now();
        self.send(Request::Propose { group, payload, since, answer, place })?;
        let (answer, told) = answered.await.map_err(|_| RequestError::Stopped)?;
        self.observer.stage(Stage::Reply, told.elapsed(), 1);
        answer
    }

    /// Waits until this node's state reflects every write that was acknowledged
    /// before the call, and returns the index it reaches: a read of the state is
    /// linearizable then (Raft thesis, section 6.4). A node that does not lead asks the
    /// leader up to which index that is.
    ///
    /// # Errors
    /// [`RequestError`]; nothing happened in any case.
    pub async fn read_index(&self, group: GroupId) -> Result<Index, RequestError> {
        let place = self.place(0)?;
        let (answer, answered) = oneshot::channel();
        self.send(Request::Read { group, answer, place })?;
        answered.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// Like [`propose`](Self::propose), and tries again for up to `patience` while no
    /// leader takes it: during an election, for example. Tries again only where nothing
    /// has happened, so that a command is never proposed twice.
    ///
    /// # Errors
    /// [`RequestError`]: what was last said, or what trying again does not mend. Where
    /// `patience` ends while an answer is awaited, the outcome is
    /// [`RequestError::LeadershipLost`]: nobody knows it.
    pub async fn propose_within(
        &self,
        group: GroupId,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Applied, RequestError> {
        let attempt = || self.propose(group, payload.clone());
        within(patience, RequestError::LeadershipLost, attempt).await
    }

    /// Like [`read_index`](Self::read_index), and tries again for up to `patience` while
    /// no leader answers.
    ///
    /// # Errors
    /// [`RequestError`]: what was last said, or what trying again does not mend.
    pub async fn read_index_within(
        &self,
        group: GroupId,
        patience: Duration,
    ) -> Result<Index, RequestError> {
        let unled = RequestError::NotLeader { leader: None };
        within(patience, unled, || self.read_index(group)).await
    }

    /// How a group stands, as of the engine's last step; `None` for an unknown group.
    #[must_use]
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        let statuses = self.statuses.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        statuses.get(&group).cloned()
    }

    /// Room for a request until it is answered.
    pub(crate) fn place(&self, bytes: usize) -> Result<Place, RequestError> {
        let place = self.room.take(REQUEST_BYTES + bytes).ok_or(RequestError::Overloaded);
        place.inspect_err(|why| self.observer.refused(why))
    }

    /// Counts a request that is refused before it comes here.
    #[cfg(feature = "server")]
    pub(crate) fn refused(&self, why: RequestError) -> RequestError {
        self.observer.refused(&why);
        why
    }

    pub(crate) fn send(&self, request: Request) -> Result<(), RequestError> {
        let sent = self.requests.try_send(request).map_err(|why| match why {
            mpsc::error::TrySendError::Full(_) => RequestError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => RequestError::Closed,
        });
        sent.inspect_err(|why| self.observer.refused(why))
    }
}

/// Attempts with growing pauses, while nobody leads or everyone is busy.
async fn within<T, F: Future<Output = Result<T, RequestError>>>(
    patience: Duration,
    unanswered: RequestError,
    attempt: impl Fn() -> F,
) -> Result<T, RequestError> {
    let mut pauses = Pauses::within(patience);
    loop {
        let answer = timeout_at(pauses.deadline, attempt()).await;
        let answer = answer.unwrap_or_else(|_| Err(unanswered.clone()));
        let again =
            matches!(answer, Err(RequestError::NotLeader { .. } | RequestError::Overloaded));
        match pauses.next_attempt().filter(|_| again) {
            Some(at) => sleep_until(at).await,
            None => return answer,
        }
    }
}

/// When to attempt something again, until a deadline. Each pause is twice as long as the
/// one before it, up to a limit.
#[derive(Debug)]
pub(crate) struct Pauses {
    pub(crate) deadline: Instant,
    pause: Duration,
}

impl Pauses {
    pub(crate) fn within(patience: Duration) -> Self {
        Self { deadline: Instant::now() + patience, pause: FIRST_PAUSE }
    }

    /// When to try again; `None` where that leaves an attempt less time than the pause
    /// took: one that the deadline cuts off would leave it open what became of it.
    pub(crate) fn next_attempt(&mut self) -> Option<Instant> {
        let pause = self.pause;
        self.pause = (pause * 2).min(LAST_PAUSE);
        let at = Instant::now() + pause;
        (at + pause < self.deadline).then_some(at)
    }
}
