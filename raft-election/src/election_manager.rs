//! When to stand for election.

use core::time::Duration;

use raft_core::{Instant, Random};

/// What a follower or candidate does when time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionVerdict {
    /// The deadline has not come.
    Wait,
    /// It has, and the replica may stand.
    Campaign,
    /// It has, but the replica may not stand; the timer runs anew.
    Abstain,
}

/// What part a replica may take in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// It does not stand: it has no vote, or is installing a snapshot.
    None,
    /// It stands once the others have had their turn and no leader was heard: it has lost its
    /// vote, as far as its log goes, and may yet be the only one that can win.
    AfterOthers,
    /// It stands.
    Full,
}

/// How early a replica stands for election, compared with the others: 0, the default, is
/// the first, and with each step more it waits one election timeout longer. So those with
/// a lower number lead wherever one of them can be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Priority(pub u8);

/// Whether followers promise a leader their loyalty for reads under its lease
/// (thesis, section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Loyalty {
    /// A vote is refused while the leader of the current term is alive; nothing rests on it.
    #[default]
    Polite,
    /// Leaders may answer reads for as long as no vote can have been given: none is given
    /// within an election timeout of the last contact with a leader of any term, nor of
    /// the replica's own start, before which it may have heard one.
    Bound,
}

/// The randomised election timer of a replica that does not lead.
///
/// Each wait lies between one and two election timeouts, so that rivals seldom
/// stand at once (thesis, section 3.4); a lower [`Priority`] adds to it.
///
/// Invariants:
/// - Unless the wait is ended on purpose, the deadline is never earlier than the last
///   contact plus one election timeout.
/// - What loyalty has bound until a moment stays bound until then, also in later terms.
#[derive(Clone, Debug)]
pub struct ElectionManager {
    timeout: Duration,
    priority: Priority,
    wait: Duration,
    deadline: Instant,
    heard: Option<Instant>,
    /// No vote is given before this moment; `None` where nothing rests on that.
    bound_until: Option<Instant>,
    /// Whether a wait has ended without standing since a leader was heard.
    gave_way: bool,
}

impl ElectionManager {
    /// A timer that starts now and has heard from nobody.
    #[must_use]
    pub fn new(
        timeout: Duration,
        priority: Priority,
        loyalty: Loyalty,
        now: Instant,
        random: &mut Random,
    ) -> Self {
        let bound_until = match loyalty {
            Loyalty::Polite => None,
            Loyalty::Bound => Some(now.after(timeout)),
        };
        let wait = Duration::ZERO;
        let (heard, gave_way) = (None, false);
        let mut manager =
            Self { timeout, priority, wait, deadline: now, heard, bound_until, gave_way };
        manager.restart(now, random);
        manager
    }

    /// Notes that the current leader was heard at `at`.
    pub fn leader_heard(&mut self, at: Instant) {
        self.heard = self.heard.max(Some(at));
        self.gave_way = false;
        self.deadline = self.deadline.max(at.after(self.wait));
        if let Some(bound_until) = &mut self.bound_until {
            *bound_until = (*bound_until).max(at.after(self.timeout));
        }
    }

    /// Draws a new wait from now. Contact with a leader stays what it was: granting a
    /// vote delays one's own campaign, but is no sign of life of a leader.
    pub fn restart(&mut self, now: Instant, random: &mut Random) {
        let patience = self.timeout * u32::from(self.priority.0);
        self.wait = random.up_to_twice(self.timeout) + patience;
        self.deadline = now.after(self.wait);
    }

    /// Lets the wait end now, or as soon as its own vote is not bound any more: the only
    /// voter of a group has no rival to wait for, but a leader of an earlier membership may
    /// still rely on it.
    pub fn hasten(&mut self, now: Instant) {
        self.deadline = self.bound_until.map_or(now, |until| until.max(now));
    }

    /// Forgets the leader that was heard: its term is over.
    pub const fn forget_leader(&mut self) {
        self.heard = None;
    }

    /// When a leader was last heard.
    #[must_use]
    pub const fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// True within one election timeout of the last contact with a leader, and for as long
    /// as a leader may rely on that nobody gets this replica's vote.
    #[must_use]
    pub fn leader_alive(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now < heard.after(self.timeout)) || self.is_bound(now)
    }

    /// True while a leader may answer reads because this replica gives its vote to nobody,
    /// itself included.
    #[must_use]
    pub fn is_bound(&self, now: Instant) -> bool {
        self.bound_until.is_some_and(|until| now < until)
    }

    /// When to ask for a verdict.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What to do now.
    pub fn verdict(
        &mut self,
        now: Instant,
        candidacy: Candidacy,
        random: &mut Random,
    ) -> ElectionVerdict {
        if now < self.deadline {
            return ElectionVerdict::Wait;
        }
        self.restart(now, random);
        match candidacy {
            Candidacy::Full => ElectionVerdict::Campaign,
            Candidacy::AfterOthers if self.gave_way => ElectionVerdict::Campaign,
            Candidacy::AfterOthers | Candidacy::None => {
                self.gave_way = true;
                ElectionVerdict::Abstain
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(1000);

    fn at_ms(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn polite(random: &mut Random) -> ElectionManager {
        ElectionManager::new(TIMEOUT, Priority(0), Loyalty::Polite, at_ms(0), random)
    }

    #[test]
    fn a_lower_priority_waits_until_the_others_have_had_their_turn() {
        for seed in 0..200 {
            let random = &mut Random::new(seed);
            let mut last =
                ElectionManager::new(TIMEOUT, Priority(2), Loyalty::Polite, at_ms(0), random);
            assert_eq!(last.verdict(at_ms(2999), Candidacy::Full, random), ElectionVerdict::Wait);
            assert_eq!(
                last.verdict(at_ms(4000), Candidacy::Full, random),
                ElectionVerdict::Campaign
            );
        }
    }

    #[test]
    fn a_bound_vote_outlives_the_term_of_the_leader_that_relies_on_it() {
        let random = &mut Random::new(1);
        let mut manager =
            ElectionManager::new(TIMEOUT, Priority(0), Loyalty::Bound, at_ms(0), random);
        assert!(manager.leader_alive(at_ms(999)), "it may have heard a leader before it started");
        assert!(!manager.leader_alive(at_ms(1000)));
        manager.leader_heard(at_ms(500));
        manager.leader_heard(at_ms(400));
        manager.forget_leader();
        assert!(manager.is_bound(at_ms(1499)) && manager.leader_alive(at_ms(1499)));
        assert!(!manager.is_bound(at_ms(1500)) && !manager.leader_alive(at_ms(1500)));
    }

    #[test]
    fn the_wait_lies_between_one_and_two_timeouts() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut manager = polite(&mut random);
            assert_eq!(
                manager.verdict(at_ms(999), Candidacy::Full, &mut random),
                ElectionVerdict::Wait
            );
            assert_eq!(
                manager.verdict(at_ms(2000), Candidacy::Full, &mut random),
                ElectionVerdict::Campaign
            );
            assert!(manager.deadline() >= at_ms(3000), "the timer runs anew");
        }
    }

    #[test]
    fn who_has_lost_its_vote_stands_after_the_others() {
        let mut random = Random::new(1);
        let mut manager = polite(&mut random);
        let late = Candidacy::AfterOthers;
        assert_eq!(manager.verdict(at_ms(2000), late, &mut random), ElectionVerdict::Abstain);
        assert_eq!(manager.verdict(at_ms(4000), late, &mut random), ElectionVerdict::Campaign);
        manager.leader_heard(at_ms(4000));
        assert_eq!(manager.verdict(at_ms(6000), late, &mut random), ElectionVerdict::Abstain);
    }

    #[test]
    fn the_only_voter_waits_while_its_vote_is_bound() {
        let mut random = Random::new(1);
        let mut manager =
            ElectionManager::new(TIMEOUT, Priority(0), Loyalty::Bound, at_ms(0), &mut random);
        manager.hasten(at_ms(0));
        let full = Candidacy::Full;
        assert_eq!(manager.verdict(at_ms(999), full, &mut random), ElectionVerdict::Wait);
        assert_eq!(manager.verdict(at_ms(1000), full, &mut random), ElectionVerdict::Campaign);
    }

    #[test]
    fn contact_delays_the_deadline_and_is_forgotten_with_its_term() {
        let mut random = Random::new(1);
        let mut manager = polite(&mut random);
        assert!(!manager.leader_alive(at_ms(0)), "nobody was heard at the start");
        manager.leader_heard(at_ms(500));
        assert!(manager.deadline() >= at_ms(1500));
        assert!(manager.leader_alive(at_ms(1499)) && !manager.leader_alive(at_ms(1500)));
        manager.leader_heard(at_ms(100));
        assert_eq!(manager.heard(), Some(at_ms(500)), "an older contact changes nothing");
        manager.forget_leader();
        assert!(!manager.leader_alive(at_ms(501)));
    }

    #[test]
    fn the_only_voter_need_not_wait() {
        let mut random = Random::new(1);
        let mut manager = polite(&mut random);
        manager.hasten(at_ms(5));
        assert_eq!(
            manager.verdict(at_ms(5), Candidacy::Full, &mut random),
            ElectionVerdict::Campaign
        );
    }

    #[test]
    fn a_restart_is_no_contact() {
        let mut random = Random::new(1);
        let mut manager = polite(&mut random);
        manager.restart(at_ms(800), &mut random);
        assert!(manager.deadline() >= at_ms(1800));
        assert!(!manager.leader_alive(at_ms(801)));
    }

    #[test]
    fn who_may_not_stand_abstains_and_waits_on() {
        let mut random = Random::new(1);
        let mut manager = polite(&mut random);
        assert_eq!(
            manager.verdict(at_ms(2000), Candidacy::None, &mut random),
            ElectionVerdict::Abstain
        );
        assert_eq!(
            manager.verdict(at_ms(2001), Candidacy::Full, &mut random),
            ElectionVerdict::Wait
        );
    }
}
