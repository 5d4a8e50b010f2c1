//! When a leader must be heard, and whether a quorum still listens.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use raft_core::{Instant, Membership, NodeId, quorum};

/// What a leader does when time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatVerdict {
    /// Nothing yet.
    Wait,
    /// Send every member a heartbeat.
    Beat,
    /// No quorum was heard for an election timeout: step down (thesis, section 6.2).
    QuorumLost,
}

/// What contact with a member means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It was heard a moment ago as well.
    Continued,
    /// It had not been heard for an election timeout: it was down, or cut off, and what
    /// was sent to it meanwhile is lost.
    AfterSilence,
}

/// How many heartbeats may be unanswered before the oldest is forgotten. An answer
/// to a forgotten one counts for nothing, which is safe and, at several election
/// timeouts, harmless.
const REMEMBERED: usize = 64;

/// The heartbeats of one leader and the contact it has with its members.
///
/// Contact counts from when the request was *sent*, not from when the answer came:
/// what the member said, it said no earlier than that.
///
/// Invariants:
/// - A member's contact never goes back.
/// - A leader that has just begun, and a member that has just been added, are given
///   one election timeout of grace; grace is never reported as contact.
#[derive(Clone, Debug)]
pub struct HeartbeatController {
    interval: Option<Duration>,
    timeout: Duration,
    next_beat: Instant,
    graces: BTreeMap<NodeId, Instant>,
    contacts: BTreeMap<NodeId, Instant>,
    sent: VecDeque<(u64, Instant)>,
}

impl HeartbeatController {
    /// A leader's controller from the moment it leads. Without an interval somebody
    /// else carries the heartbeats, for many groups at once.
    #[must_use]
    pub fn new(
        interval: Option<Duration>,
        timeout: Duration,
        now: Instant,
        membership: &Membership,
    ) -> Self {
        let graces = membership.members().keys().map(|id| (*id, now)).collect();
        let contacts = BTreeMap::new();
        Self { interval, timeout, next_beat: now, graces, contacts, sent: VecDeque::new() }
    }

    /// Follows a change of the membership: grace for who is new, nothing kept of
    /// who is gone.
    pub fn follow(&mut self, membership: &Membership, now: Instant) {
        for id in membership.members().keys() {
            self.graces.entry(*id).or_insert(now);
        }
        self.graces.retain(|id, _| membership.is_member(*id));
        self.contacts.retain(|id, _| membership.is_member(*id));
    }

    /// Notes that heartbeats with this number leave now.
    pub fn beat_sent(&mut self, number: u64, now: Instant) {
        self.sent.push_back((number, now));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        if let Some(interval) = self.interval {
            self.next_beat = now.after(interval);
        }
    }

    /// When the heartbeats with this number left, unless that is forgotten.
    #[must_use]
    pub fn sent_at(&self, number: u64) -> Option<Instant> {
        self.sent.iter().find(|(sent, _)| *sent == number).map(|(_, at)| *at)
    }

    /// Notes that a member answered, in this term, a request sent at `sent_at`, and
    /// says whether it had been silent before. What was sent before it was a member, another
    /// life of it may have answered.
    pub fn heard(&mut self, from: NodeId, sent_at: Instant) -> Contact {
        let Some(grace) = self.graces.get(&from).filter(|grace| sent_at >= **grace) else {
            return Contact::Continued;
        };
        let before = self.contact(from).unwrap_or_default().max(*grace);
        let contact = self.contacts.entry(from).or_insert(sent_at);
        *contact = sent_at.max(*contact);
        if sent_at >= before.after(self.timeout) {
            Contact::AfterSilence
        } else {
            Contact::Continued
        }
    }

    /// True where a member was heard within an election timeout.
    #[must_use]
    pub fn is_heard(&self, id: NodeId, now: Instant) -> bool {
        self.contact(id).is_some_and(|at| now < at.after(self.timeout))
    }

    /// The last contact with a member; grace is none.
    #[must_use]
    pub fn contact(&self, id: NodeId) -> Option<Instant> {
        self.contacts.get(&id).copied()
    }

    /// When to ask for a verdict.
    #[must_use]
    pub fn deadline(&self, me: NodeId, membership: &Membership) -> Instant {
        let lost = self.quorum_lost_at(me, membership);
        if self.interval.is_some() { lost.min(self.next_beat) } else { lost }
    }

    /// What to do now.
    #[must_use]
    pub fn verdict(&self, now: Instant, me: NodeId, membership: &Membership) -> HeartbeatVerdict {
        if now >= self.quorum_lost_at(me, membership) {
            HeartbeatVerdict::QuorumLost
        } else if self.interval.is_some() && now >= self.next_beat {
            HeartbeatVerdict::Beat
        } else {
            HeartbeatVerdict::Wait
        }
    }

    /// One election timeout after the latest moment since which a quorum was heard.
    fn quorum_lost_at(&self, me: NodeId, membership: &Membership) -> Instant {
        let heard = quorum::agreed(membership, |id| {
            if id == me {
                return Instant(u64::MAX);
            }
            let grace = self.graces.get(&id).copied().unwrap_or_default();
            self.contact(id).unwrap_or_default().max(grace)
        });
        heard.after(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(1000);
    const INTERVAL: Duration = Duration::from_millis(100);

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn at_ms(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn three() -> Membership {
        Membership::of_voters([id(1), id(2), id(3)])
    }

    #[test]
    fn beats_follow_the_interval() {
        let mut leader = HeartbeatController::new(Some(INTERVAL), TIMEOUT, at_ms(0), &three());
        assert_eq!(leader.verdict(at_ms(0), id(1), &three()), HeartbeatVerdict::Beat);
        leader.beat_sent(1, at_ms(0));
        assert_eq!(leader.verdict(at_ms(99), id(1), &three()), HeartbeatVerdict::Wait);
        assert_eq!(leader.deadline(id(1), &three()), at_ms(100));
        assert_eq!(leader.verdict(at_ms(100), id(1), &three()), HeartbeatVerdict::Beat);
    }

    #[test]
    fn a_leader_without_a_quorum_steps_down_after_an_election_timeout() {
        let mut leader = HeartbeatController::new(None, TIMEOUT, at_ms(0), &three());
        assert_eq!(leader.verdict(at_ms(999), id(1), &three()), HeartbeatVerdict::Wait);
        leader.heard(id(2), at_ms(600));
        leader.heard(id(2), at_ms(300));
        assert_eq!(leader.deadline(id(1), &three()), at_ms(1600), "counted from the latest");
        assert_eq!(leader.verdict(at_ms(1599), id(1), &three()), HeartbeatVerdict::Wait);
        assert_eq!(leader.verdict(at_ms(1600), id(1), &three()), HeartbeatVerdict::QuorumLost);
    }

    #[test]
    fn a_single_voter_never_loses_its_quorum() {
        let alone = Membership::of_voters([id(1)]);
        let leader = HeartbeatController::new(None, TIMEOUT, at_ms(0), &alone);
        assert_eq!(leader.verdict(at_ms(9_999_999), id(1), &alone), HeartbeatVerdict::Wait);
    }

    #[test]
    fn a_new_member_has_grace_but_no_contact() {
        let two = Membership::of_voters([id(1), id(2)]);
        let mut leader = HeartbeatController::new(None, TIMEOUT, at_ms(0), &two);
        leader.heard(id(3), at_ms(10));
        assert_eq!(leader.contact(id(3)), None, "strangers are not heard");
        leader.heard(id(2), at_ms(900));
        leader.follow(&three(), at_ms(1500));
        assert_eq!(leader.contact(id(3)), None);
        assert_eq!(leader.verdict(at_ms(2499), id(1), &three()), HeartbeatVerdict::Wait);
        assert_eq!(leader.verdict(at_ms(2500), id(1), &three()), HeartbeatVerdict::QuorumLost);
        leader.follow(&Membership::of_voters([id(1), id(3)]), at_ms(1600));
        assert_eq!(leader.contact(id(2)), None, "who left is forgotten");
    }

    #[test]
    fn a_member_that_comes_back_is_told_from_one_that_was_there() {
        let mut leader = HeartbeatController::new(None, TIMEOUT, at_ms(0), &three());
        assert_eq!(leader.heard(id(2), at_ms(100)), Contact::Continued, "grace is no silence");
        assert_eq!(leader.heard(id(2), at_ms(1099)), Contact::Continued);
        assert!(leader.is_heard(id(2), at_ms(2098)) && !leader.is_heard(id(2), at_ms(2099)));
        assert_eq!(leader.heard(id(2), at_ms(2099)), Contact::AfterSilence);
        assert_eq!(leader.heard(id(2), at_ms(2100)), Contact::Continued);
        assert_eq!(leader.heard(id(9), at_ms(9999)), Contact::Continued, "a stranger");
        assert!(!leader.is_heard(id(9), at_ms(9999)));
    }

    #[test]
    fn answers_to_forgotten_beats_count_for_nothing() {
        let mut leader = HeartbeatController::new(None, TIMEOUT, at_ms(0), &three());
        for number in 0..=REMEMBERED as u64 {
            leader.beat_sent(number, at_ms(number));
        }
        assert_eq!(leader.sent_at(0), None);
        assert_eq!(leader.sent_at(1), Some(at_ms(1)));
    }
}
