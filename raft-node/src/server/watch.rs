//! What a person is told about the cluster while a node runs: that there is no leader and
//! who is missing, that this node is still to be made a member, and that this process
//! stood still.
//!
//! Looking once a second at what the parts of the node publish anyway costs the requests
//! nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use raft_core::{Membership, NodeId};
use raft_rpc::grpc::GrpcTransport;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::context::DATA_GROUP;
use super::lifecycle::{ComponentError, Lifecycle};
use crate::NodeHandle;
use crate::shell::Clock;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// That there is no leader is said after so many election timeouts, and no sooner than
/// this: an ordinary election is over by then, and whoever is there was heard.
const PATIENCE_TIMEOUTS: u32 = 3;
const LEAST_PATIENCE: Duration = Duration::from_secs(2);

/// And again after this long while it lasts, or after this long where others are missing.
const SAY_AGAIN: Duration = Duration::from_secs(60);
const SAY_MORE: Duration = Duration::from_secs(5);

/// Looks at the cluster for as long as the node runs.
pub(super) struct WatchComponent {
    node: NodeHandle,
    transport: GrpcTransport,
    watch: Watch,
    no_quorum: watch::Sender<Option<String>>,
    task: Option<JoinHandle<()>>,
}

impl WatchComponent {
    /// `no_quorum` is kept at what clients are told while there is no leader.
    pub(super) const fn new(
        node: NodeHandle,
        me: NodeId,
        transport: GrpcTransport,
        election_timeout: Duration,
        no_quorum: watch::Sender<Option<String>>,
    ) -> Self {
        let watch = Watch::new(me, election_timeout);
        Self { node, transport, watch, no_quorum, task: None }
    }
}

#[async_trait]
impl Lifecycle for WatchComponent {
    fn name(&self) -> &str {
        "watch"
    }

    async fn start(&mut self) -> Result<(), ComponentError> {
        let (node, transport) = (self.node.clone(), self.transport.clone());
        let (mut watch, no_quorum) = (self.watch.clone(), self.no_quorum.clone());
        self.task = Some(tokio::spawn(async move {
            // Who is missing is told by a clock that stands still with the machine: after
            // that others get as long to be heard as always.
            let (began, clock) = (Instant::now(), Clock::start());
            loop {
                let asleep = clock.now();
                tokio::time::sleep(LOOK_EVERY).await;
                if let Some(line) = watch.stood_still(clock.now().since(asleep)) {
                    tracing::warn!("{line}");
                }
                let status = node.status(DATA_GROUP).unwrap_or_default();
                // Who else is there makes no difference to a group that has stopped here.
                if status.halted.is_some() {
                    continue;
                }
                let said =
                    watch.look(began.elapsed(), status.leader, &status.members, &peers(&transport));
                match said {
                    Some(Said::NoLeader(line)) => tracing::warn!("{line}"),
                    Some(Said::Leader(line) | Said::NoMember(line)) => tracing::info!("{line}"),
                    None => {}
                }
                no_quorum.send_if_modified(|told| {
                    let news = *told != watch.missing;
                    told.clone_from(&watch.missing);
                    news
                });
            }
        }));
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), ComponentError> {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        Ok(())
    }
}

fn peers(transport: &GrpcTransport) -> Vec<Peer> {
    let links = transport.peers().into_iter();
    links
        .map(|link| Peer {
            id: link.id,
            address: link.address,
            received: link.lanes.iter().map(|lane| lane.received).sum(),
            error: link.last_error,
        })
        .collect()
}

/// A peer as the transport shows it.
#[derive(Clone, Debug)]
struct Peer {
    id: NodeId,
    address: String,
    /// How much was received from it so far.
    received: u64,
    /// Why it is not connected.
    error: Option<String>,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    NoLeader(String),
    Leader(String),
    NoMember(String),
}

/// What was seen so far. All times are those of one clock, from any moment on.
#[derive(Clone, Debug)]
struct Watch {
    me: NodeId,
    election_timeout: Duration,
    /// How much was received from each peer, and when that was last more than before.
    heard: BTreeMap<NodeId, (u64, Option<Duration>)>,
    leaderless_since: Option<Duration>,
    /// When that was said last, and who was missing then.
    said: Option<(Duration, Vec<NodeId>)>,
    /// What clients are told while there is no leader.
    missing: Option<String>,
}

impl Watch {
    const fn new(me: NodeId, election_timeout: Duration) -> Self {
        Self {
            me,
            election_timeout,
            heard: BTreeMap::new(),
            leaderless_since: None,
            said: None,
            missing: None,
        }
    }

    /// What to say of the time between two looks, where it was far more than was asked for.
    fn stood_still(&self, slept: Duration) -> Option<String> {
        let lost = slept.saturating_sub(LOOK_EVERY);
        (lost >= self.election_timeout).then(|| {
            format!(
                "this process stood still for {:.1} s: it was paused, its machine was suspended, \
                 or it got no processor time; the others may have elected another leader \
                 meanwhile, and no data is at risk",
                lost.as_secs_f64()
            )
        })
    }

    /// Takes in how things stand, and says what is news.
    fn look(
        &mut self,
        now: Duration,
        leader: Option<NodeId>,
        members: &Membership,
        peers: &[Peer],
    ) -> Option<Said> {
        for peer in peers {
            let (received, at) = self.heard.entry(peer.id).or_default();
            if *received != peer.received {
                (*received, *at) = (peer.received, Some(now));
            }
        }
        if let Some(leader) = leader {
            self.missing = None;
            let since = self.leaderless_since.take();
            let said = self.said.take().is_some();
            let away = since.filter(|_| said).map(|since| (now - since).as_secs())?;
            return Some(Said::Leader(format!(
                "there is a leader again after {away} s, node {leader}"
            )));
        }
        let since = *self.leaderless_since.get_or_insert(now);
        if now - since < self.patience() {
            return None;
        }
        if !members.is_member(self.me) {
            let line = self.outside();
            self.missing = Some(line.clone());
            return self.is_due(now, Vec::new()).then_some(Said::NoMember(line));
        }
        let is_heard = |peer: &&Peer| self.is_heard(now, since, peer);
        let voters: Vec<&Peer> = peers.iter().filter(|peer| members.is_voter(peer.id)).collect();
        let silent: Vec<&Peer> = voters.iter().copied().filter(|peer| !is_heard(peer)).collect();
        let ids: Vec<NodeId> = silent.iter().map(|peer| peer.id).collect();
        let own = usize::from(members.is_voter(self.me));
        let quorum = quorum(own, voters.len(), silent.len());
        self.missing = Some(format!("{quorum}; {}", self.named(now, &silent, false)));
        if !self.is_due(now, ids) {
            return None;
        }
        Some(Said::NoLeader(format!(
            "no leader for {} s: {quorum}; {}",
            (now - since).as_secs(),
            self.named(now, &silent, true)
        )))
    }

    /// Whether it is time to say who is missing; if so, that is noted.
    fn is_due(&mut self, now: Duration, missing: Vec<NodeId>) -> bool {
        let due = self.said.as_ref().is_none_or(|(at, before)| {
            now >= *at + if *before == missing { SAY_AGAIN } else { SAY_MORE }
        });
        if due {
            self.said = Some((now, missing));
        }
        due
    }

    fn outside(&self) -> String {
        let me = self.me;
        format!(
            "this node is not a member of its cluster and waits to be made one; run on any \
             member: raft-node member add {me}=PEER/CLIENT, with its addresses, as others reach \
             it; where node {me} lost its disk, first raft-node member remove {me}"
        )
    }

    /// Whether a peer was heard lately, and since there is no leader: everyone asks
    /// everyone then, and what the leader said before it went away is no sign of it.
    fn is_heard(&self, now: Duration, leaderless_since: Duration, peer: &Peer) -> bool {
        let at = self.heard.get(&peer.id).and_then(|(_, at)| *at);
        at.is_some_and(|at| at > leaderless_since && now - at <= self.patience())
    }

    fn patience(&self) -> Duration {
        (self.election_timeout * PATIENCE_TIMEOUTS).max(LEAST_PATIENCE)
    }

    /// Who is not heard and since when, and why where that is wanted.
    fn named(&self, now: Duration, silent: &[&Peer], why: bool) -> String {
        let each = silent.iter().map(|peer| {
            let (id, address) = (peer.id, &peer.address);
            let when = match self.heard.get(&id).and_then(|(_, at)| *at) {
                Some(at) => format!("for {} s", (now - at).as_secs()),
                None => "since this node started".to_owned(),
            };
            match peer.error.as_ref().filter(|_| why) {
                Some(error) => format!("node {id} {when} ({error})"),
                None => format!("node {id} at {address} {when}"),
            }
        });
        match each.collect::<Vec<_>>().join(", ") {
            all if all.is_empty() => "all are heard, an election is under way".to_owned(),
            names => format!("not heard: {names}"),
        }
    }
}

/// How a node stands that has `own` votes, among `others` that have one each and of whom
/// so many are silent.
fn quorum(own: usize, others: usize, silent: usize) -> String {
    let (heard, needed) = (others - silent, (own + others) / 2 + 1 - own);
    let verdict = if heard < needed { "no quorum, " } else { "" };
    format!("{verdict}this node hears {heard} of the {others} other members and needs {needed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn peer(n: u64, received: u64, error: Option<&str>) -> Peer {
        let error = error.map(ToOwned::to_owned);
        Peer { id: id(n), address: format!("host-{n}:1"), received, error }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn who_is_missing_is_said_once_a_minute_and_that_a_leader_is_back() {
        let mut watch = Watch::new(id(1), seconds(1));
        let alone = [peer(2, 7, Some("refused")), peer(3, 0, None)];
        let all = Membership::of_voters([1, 2, 3].map(id));
        assert_eq!(watch.look(seconds(0), Some(id(2)), &all, &alone), None);
        for second in 1..=4 {
            // A moment without a leader is nothing.
            let said = watch.look(seconds(second), None, &all, &alone);
            assert_eq!(said.is_some(), second == 4, "{said:?}");
            assert_eq!(watch.missing.is_some(), second == 4);
            if let Some(Said::NoLeader(line)) = said {
                assert_eq!(
                    line,
                    "no leader for 3 s: no quorum, this node hears 0 of the 2 other members and \
                     needs 1; not heard: node 2 for 4 s (refused), node 3 at host-3:1 since this \
                     node started"
                );
            }
        }
        let again = (5..=64).filter(|n| watch.look(seconds(*n), None, &all, &alone).is_some());
        assert_eq!(again.collect::<Vec<_>>(), [64]);
        let back = watch.look(seconds(70), Some(id(3)), &all, &alone);
        let line = "there is a leader again after 69 s, node 3".to_owned();
        assert_eq!(back, Some(Said::Leader(line)));
        assert_eq!(watch.missing, None);
    }

    #[test]
    fn an_election_that_goes_on_is_no_lost_quorum() {
        let mut watch = Watch::new(id(1), seconds(1));
        let both = Membership::of_voters([1, 2].map(id));
        let mut look = |n| watch.look(seconds(n), None, &both, &[peer(2, n, None)]);
        let said = (1..=4).find_map(&mut look);
        let Some(Said::NoLeader(line)) = said else { panic!("{said:?}") };
        assert!(
            line.contains("hears 1 of the 1 other members and needs 1; all are heard"),
            "{line}"
        );
    }

    #[test]
    fn a_node_that_is_no_member_says_how_to_make_it_one_and_a_learner_needs_no_vote_of_its_own() {
        let mut watch = Watch::new(id(4), seconds(1));
        let peers = [peer(2, 0, None), peer(3, 0, None)];
        let others = Membership::of_voters([2, 3].map(id));
        let mut look = |n: u64| watch.look(seconds(n), None, &others, &peers);
        let Some(Said::NoMember(line)) = (1..=4).find_map(&mut look) else { panic!() };
        assert!(line.contains("raft-node member add 4=PEER/CLIENT"), "{line}");
        assert_eq!((5..=64).filter(|n| look(*n).is_some()).collect::<Vec<_>>(), [64]);
        assert_eq!(watch.missing, Some(line));
        assert_eq!(
            quorum(0, 2, 1),
            "no quorum, this node hears 1 of the 2 other members and needs 2"
        );
    }

    #[test]
    fn only_time_that_nobody_asked_for_is_a_standstill() {
        let watch = Watch::new(id(1), seconds(1));
        assert_eq!(watch.stood_still(Duration::from_millis(1999)), None);
        let line = watch.stood_still(Duration::from_millis(4500)).unwrap();
        assert!(line.starts_with("this process stood still for 3.5 s: "), "{line}");
    }
}
