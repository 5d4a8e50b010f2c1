//! All followers of one leader.

use alloc::collections::BTreeMap;

use core::time::Duration;

use raft_core::{Index, Instant, Membership, NodeId};

use crate::catch_up::{CatchUp, CatchUpVerdict};
use crate::progress::Progress;
use crate::serving::State;
use crate::window::Limits;

/// The progress of every member other than the leader itself.
///
/// Invariant: after [`follow`](Self::follow) there is a progress for each member of
/// the membership except the leader, a round of catching up for each such learner, and
/// neither for anybody else.
#[derive(Clone, Debug)]
pub struct ReplicationController {
    me: NodeId,
    limits: Limits,
    peers: BTreeMap<NodeId, Progress>,
    learners: BTreeMap<NodeId, CatchUp>,
}

impl ReplicationController {
    /// A new leader's controller: each follower is offered the entry `next` first, in a
    /// request with a number above `number`.
    #[must_use]
    pub fn new(
        me: NodeId,
        limits: Limits,
        membership: &Membership,
        next: Index,
        number: u64,
        now: Instant,
    ) -> Self {
        let (peers, learners) = (BTreeMap::new(), BTreeMap::new());
        let mut controller = Self { me, limits, peers, learners };
        controller.follow(membership, next, number, now);
        controller
    }

    /// Follows a change of the membership; new members are offered `next` first, in a
    /// request with a number above `number`.
    pub fn follow(&mut self, membership: &Membership, next: Index, number: u64, now: Instant) {
        self.peers.retain(|id, _| membership.is_member(*id));
        for id in membership.members().keys().filter(|id| **id != self.me) {
            self.peers.entry(*id).or_insert_with(|| Progress::new(next, number));
        }
        let others = |id: &NodeId| *id != self.me && membership.learners().contains(id);
        self.learners.retain(|id, _| others(id));
        for id in membership.learners().iter().filter(|id| others(id)) {
            self.learners.entry(*id).or_insert_with(|| CatchUp::new(now, next.prev()));
        }
    }

    /// Notes how far each learner is, where the leader's log ends at `last`. A round of
    /// catching up must not take longer than `within`.
    pub fn note_learners(&mut self, now: Instant, last: Index, within: Duration) {
        for (id, learner) in &mut self.learners {
            let matched = self.peers.get(id).map_or(Index::ZERO, Progress::matched);
            learner.note(now, matched, last, within);
        }
    }

    /// A learner has lost what it had: it has yet to catch up with a log that ends at `last`.
    pub fn learner_lost(&mut self, id: NodeId, now: Instant, last: Index) {
        if let Some(learner) = self.learners.get_mut(&id) {
            *learner = CatchUp::new(now, last);
        }
    }

    /// Whether this learner keeps up; `None` where it is not one.
    #[must_use]
    pub fn catch_up(&self, id: NodeId) -> Option<CatchUpVerdict> {
        self.learners.get(&id).map(CatchUp::verdict)
    }

    /// What bounds the traffic to each follower.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The followers, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        self.peers.iter().map(|(id, progress)| (*id, progress))
    }

    /// One follower.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<&Progress> {
        self.peers.get(&id)
    }

    /// One follower, to note something about it.
    pub fn peer_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.peers.get_mut(&id)
    }

    /// What a follower counts for in commitment: zero for strangers, and for those
    /// that broke their promises, since what they acknowledged may be gone.
    #[must_use]
    pub fn matched(&self, id: NodeId) -> Index {
        let trusted = self.peer(id).filter(|peer| *peer.state() != State::Quarantined);
        trusted.map_or(Index::ZERO, Progress::matched)
    }

    /// The match of the slowest follower that is served from the log; `None` where there
    /// is none. Who gets a snapshot, or nothing, needs no entries.
    #[must_use]
    pub fn slowest(&self) -> Option<Index> {
        let needs_log = |peer: &&Progress| {
            matches!(peer.state(), State::Probe { .. } | State::Replicate { .. })
        };
        self.peers.values().filter(needs_log).map(Progress::matched).min()
    }

    /// Goes back to probing wherever a request is overdue; `heard` says which followers
    /// were heard lately.
    pub fn resend_overdue(&mut self, now: Instant, heard: impl Fn(NodeId) -> bool) {
        for (id, progress) in &mut self.peers {
            progress.resend_overdue(now, heard(*id), &self.limits);
        }
    }

    /// When something must happen although nothing is heard.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(|progress| progress.deadline(&self.limits)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    #[test]
    fn members_come_and_go_with_the_membership() {
        let limits =
            Limits { max_flights: 1, max_flight_bytes: 1, resend_after: Duration::from_secs(1) };
        let three = Membership::of_voters([id(1), id(2), id(3)]);
        let mut leader = ReplicationController::new(id(1), limits, &three, Index(5), 0, Instant(0));
        let ids = |leader: &ReplicationController| leader.peers().map(|(id, _)| id.get()).collect();
        let before: Vec<u64> = ids(&leader);
        assert_eq!(before, [2, 3]);
        leader.follow(&Membership::of_voters([id(1), id(3), id(4)]), Index(9), 7, Instant(0));
        let after: Vec<u64> = ids(&leader);
        assert_eq!(after, [3, 4]);
        assert_eq!(leader.peer(id(3)).map(Progress::next), Some(Index(5)), "kept as it was");
        assert_eq!(leader.peer(id(4)).map(Progress::next), Some(Index(9)));
        assert_eq!(leader.matched(id(2)), Index::ZERO);
    }

    /// Removed and added again in one term, with another disk: what its predecessor
    /// acknowledged late counts for nothing.
    #[test]
    fn an_acknowledgement_from_before_a_member_was_added_does_not_count() {
        let limits =
            Limits { max_flights: 1, max_flight_bytes: 1, resend_after: Duration::from_secs(1) };
        let two = Membership::of_voters([id(1), id(2)]);
        let mut leader = ReplicationController::new(id(1), limits, &two, Index(5), 0, Instant(0));
        leader.follow(&Membership::of_voters([id(1)]), Index(8), 6, Instant(1));
        leader.follow(&two, Index(9), 7, Instant(2));
        leader.peer_mut(id(2)).unwrap().acknowledged(7, Index(4), Index(9));
        assert_eq!(leader.matched(id(2)), Index::ZERO);
        leader.peer_mut(id(2)).unwrap().acknowledged(8, Index(4), Index(9));
        assert_eq!(leader.matched(id(2)), Index(4));
    }

    #[test]
    fn learners_are_watched_for_as_long_as_they_are_learners() {
        let limits =
            Limits { max_flights: 1, max_flight_bytes: 1, resend_after: Duration::from_secs(1) };
        let learner = Membership::new(
            [id(1), id(2)].into(),
            [].into(),
            [id(3)].into(),
            [1, 2, 3].map(|n| (id(n), raft_core::Member::default())).into(),
        )
        .unwrap();
        let mut leader =
            ReplicationController::new(id(1), limits, &learner, Index(5), 0, Instant(0));
        assert_eq!(leader.catch_up(id(2)), None, "a voter");
        assert_eq!(leader.catch_up(id(3)), Some(CatchUpVerdict::Behind));
        leader.peer_mut(id(3)).unwrap().acknowledged(1, Index(4), Index(9));
        leader.note_learners(Instant(1), Index(9), Duration::from_secs(1));
        assert_eq!(leader.catch_up(id(3)), Some(CatchUpVerdict::CaughtUp));
        leader.learner_lost(id(3), Instant(2), Index(9));
        leader.learner_lost(id(2), Instant(2), Index(9));
        let verdicts = [2, 3].map(|n| leader.catch_up(id(n)));
        assert_eq!(verdicts, [None, Some(CatchUpVerdict::Behind)], "it has lost what it had");
        leader.follow(&Membership::of_voters([id(1), id(2), id(3)]), Index(9), 7, Instant(2));
        assert_eq!(leader.catch_up(id(3)), None);
    }

    #[test]
    fn who_broke_a_promise_counts_for_nothing_and_holds_nothing_up() {
        let limits =
            Limits { max_flights: 1, max_flight_bytes: 1, resend_after: Duration::from_secs(1) };
        let three = Membership::of_voters([id(1), id(2), id(3)]);
        let mut leader = ReplicationController::new(id(1), limits, &three, Index(5), 0, Instant(0));
        leader.peer_mut(id(2)).unwrap().acknowledged(1, Index(3), Index(4));
        leader.peer_mut(id(3)).unwrap().acknowledged(1, Index(4), Index(4));
        assert_eq!((leader.matched(id(2)), leader.slowest()), (Index(3), Some(Index(3))));
        leader.peer_mut(id(2)).unwrap().quarantine();
        assert_eq!((leader.matched(id(2)), leader.slowest()), (Index::ZERO, Some(Index(4))));
    }
    /// Node 2 is alive behind a slow link, node 3 is down: only the former gets more time.
    #[test]
    fn whatever_is_overdue_is_sent_again_to_each() {
        let resend_after = Duration::from_nanos(100);
        let limits = Limits { max_flights: 1, max_flight_bytes: 1, resend_after };
        let three = Membership::of_voters([id(1), id(2), id(3)]);
        let mut leader = ReplicationController::new(id(1), limits, &three, Index(5), 0, Instant(0));
        assert_eq!(leader.deadline(), None, "nothing is under way");
        let send_all = |leader: &mut ReplicationController, number, at: [u64; 2]| {
            for (to, at) in [id(2), id(3)].into_iter().zip(at) {
                let peer = leader.peer_mut(to).unwrap();
                peer.read_started(number, Index(4));
                peer.sent(number, Index(5), 1, Instant(at));
            }
        };
        send_all(&mut leader, 1, [20, 10]);
        assert_eq!(leader.deadline(), Some(Instant(110)), "the first one to be given up");
        leader.resend_overdue(Instant(119), |_| true);
        assert_eq!(leader.deadline(), Some(Instant(120)));
        leader.resend_overdue(Instant(120), |_| true);
        assert_eq!(leader.deadline(), None);
        send_all(&mut leader, 2, [200, 200]);
        leader.resend_overdue(Instant(400), |peer| peer == id(2));
        send_all(&mut leader, 3, [400, 400]);
        assert_eq!(leader.deadline(), Some(Instant(500)), "node 3 is not waited for longer");
        leader.peer_mut(id(3)).unwrap().quarantine();
        assert_eq!(leader.deadline(), Some(Instant(800)), "node 2 is");
    }
}
