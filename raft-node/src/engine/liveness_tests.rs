use super::*;
use raft_core::{Incarnation, Index, Token};

const INTERVAL: Duration = Duration::from_millis(100);
const GROUP: GroupId = GroupId(1);
const OTHER: GroupId = GroupId(2);

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn at_ms(ms: u64) -> Instant {
    Instant(ms * 1_000_000)
}

/// Two nodes: 1 leads, 2 follows. What 1's replicas would say is said here.
struct Pair {
    leader: Liveness,
    follower: Liveness,
    leader_boot: Boot,
    follower_boot: Boot,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        Self {
            leader: Liveness::new(Boot(11), INTERVAL),
            follower: Liveness::new(Boot(22), INTERVAL),
            leader_boot: Boot(11),
            follower_boot: Boot(22),
            now: at_ms(1000),
        }
    }

    /// The beat that is due now, naming every group that is not confirmed.
    fn beat(&mut self, term: Term) -> Option<Beat> {
        for (peer, group) in self.leader.unconfirmed(self.now) {
            let token = Token::default();
            self.leader.name(
                peer,
                GroupBeat { group, to_disk: Incarnation(0), term, token, commit: Index(0) },
            );
        }
        let mut outgoing = Outgoing::default();
        self.leader.send(self.now, &mut outgoing);
        outgoing.drain().find_map(|effect| match effect {
            super::super::effect::Effect::Send { mut envelopes, .. } => match envelopes.pop() {
                Some(Envelope::Beat(beat)) => Some(beat),
                _ => None,
            },
            _ => None,
        })
    }

    /// The follower's answer, its replicas following in `term` where `follows` says so.
    fn answer(&mut self, beat: &Beat, follows: impl Fn(GroupId) -> bool) -> Option<BeatReply> {
        let boot = self.leader_boot;
        if !self.follower.begin_answer(self.now, id(1), boot, beat) {
            return None;
        }
        for named in &beat.groups {
            if follows(named.group) {
                self.follower.answer(*named);
            }
            self.follower.named_by(id(1), named.group, named.term, follows(named.group));
        }
        self.follower.end_answer(|_| Term(9))
    }

    fn take(&mut self, reply: &BeatReply) -> bool {
        if !self.leader.answered(id(2), self.follower_boot, reply) {
            return false;
        }
        for GroupBeat { group, term, .. } in &reply.follows {
            self.leader.confirm(id(2), *group, *term);
        }
        for (group, _) in &reply.refuses {
            self.leader.refuse(id(2), *group);
        }
        for (group, term) in &reply.stopped {
            self.leader.stop_heard(id(2), *group, *term);
        }
        true
    }

    /// A whole exchange, after an interval.
    fn exchange(&mut self, term: Term, follows: impl Fn(GroupId) -> bool) -> Option<Beat> {
        self.now = self.now.after(INTERVAL);
        let beat = self.beat(term)?;
        let reply = self.answer(&beat, follows)?;
        self.take(&reply);
        Some(beat)
    }

    fn heard(&self, group: GroupId, term: Term) -> Vec<(NodeId, Instant)> {
        self.leader.followers_heard(group, term)
    }
}

#[test]
fn a_group_is_named_until_it_is_confirmed_and_then_costs_nothing() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    let lost = pair.beat(Term(3)).unwrap();
    assert_eq!(lost.groups.len(), 1);
    assert_eq!(pair.heard(GROUP, Term(3)), []);
    let first = pair.exchange(Term(3), |_| true).unwrap();
    assert_eq!(first.groups.len(), 1, "the first one was lost");
    assert_eq!(pair.heard(GROUP, Term(3)), [(id(2), pair.now)]);
    let quiet = pair.exchange(Term(3), |_| true).unwrap();
    assert!(quiet.groups.is_empty());
    assert_eq!(pair.heard(GROUP, Term(3)), [(id(2), pair.now)], "silence vouches");
    assert_eq!(pair.follower.leader_heard(id(1), GROUP, Term(3)), Some(pair.now));
    assert_eq!(pair.heard(GROUP, Term(4)), [], "in that term only");
    assert_eq!(pair.follower.leader_heard(id(1), GROUP, Term(4)), None);
}

/// Fault 38: a node's heartbeat reply counted for a group it no longer follows.
#[test]
fn a_group_that_no_longer_follows_is_refused_in_every_answer_until_the_leader_stops() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    pair.leader.lead(&[id(2)].into(), OTHER, Term(3));
    pair.exchange(Term(3), |_| true);
    pair.follower.leader_changed(GROUP, Some(id(3)), Term(4));
    pair.now = pair.now.after(INTERVAL);
    let beat = pair.beat(Term(3)).unwrap();
    let lost = pair.answer(&beat, |_| true).unwrap();
    assert_eq!(lost.refuses, [(GROUP, Term(9))]);
    pair.now = pair.now.after(INTERVAL);
    let beat = pair.beat(Term(3)).unwrap();
    assert!(beat.groups.is_empty(), "the refusal was lost");
    let reply = pair.answer(&beat, |_| true).unwrap();
    assert_eq!(reply.refuses, [(GROUP, Term(9))], "so it is said again");
    pair.take(&reply);
    assert_eq!(pair.heard(GROUP, Term(3)), []);
    assert_eq!(pair.heard(OTHER, Term(3)), [(id(2), pair.now)], "the other group still follows");
    assert_eq!(pair.follower.leader_heard(id(1), GROUP, Term(3)), None);
}

#[test]
fn a_leader_that_stops_says_so_until_it_is_heard() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    pair.exchange(Term(3), |_| true);
    pair.leader.stop(GROUP);
    pair.now = pair.now.after(INTERVAL);
    let lost = pair.beat(Term(3)).unwrap();
    assert_eq!(lost.stopped, [(GROUP, Term(3))]);
    let said = pair.exchange(Term(3), |_| true).unwrap();
    assert_eq!(said.stopped, [(GROUP, Term(3))]);
    assert_eq!(pair.follower.leader_heard(id(1), GROUP, Term(3)), None);
    assert_eq!(pair.leader.deadline(), None, "there is nothing left to say");
}

#[test]
fn a_follower_that_restarted_has_confirmed_nothing() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    pair.exchange(Term(3), |_| true);
    (pair.follower, pair.follower_boot) = (Liveness::new(Boot(23), INTERVAL), Boot(23));
    let quiet = pair.exchange(Term(3), |_| true).unwrap();
    assert!(quiet.groups.is_empty());
    assert_eq!(pair.heard(GROUP, Term(3)), [], "its silence says nothing");
    let named = pair.exchange(Term(3), |_| true).unwrap();
    assert_eq!(named.groups.len(), 1);
    assert_eq!(pair.heard(GROUP, Term(3)), [(id(2), pair.now)]);
}

#[test]
fn a_leader_that_restarted_vouches_for_nothing() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    pair.exchange(Term(3), |_| true);
    (pair.leader, pair.leader_boot) = (Liveness::new(Boot(12), INTERVAL), Boot(12));
    pair.leader.lead(&[id(2)].into(), OTHER, Term(5));
    pair.exchange(Term(5), |_| true);
    assert_eq!(pair.follower.leader_heard(id(1), GROUP, Term(3)), None);
    assert_eq!(pair.follower.leader_heard(id(1), OTHER, Term(5)), Some(pair.now));
}

#[test]
fn stale_beats_and_stale_answers_count_for_nothing() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    let old = pair.beat(Term(3)).unwrap();
    let old_reply = pair.answer(&old, |_| true).unwrap();
    let sent_at = pair.now;
    pair.now = pair.now.after(INTERVAL);
    let new = pair.beat(Term(3)).unwrap();
    let new_reply = pair.answer(&new, |_| false).unwrap();
    assert!(pair.answer(&old, |_| true).is_none(), "a repeated beat is not answered");
    assert!(pair.take(&new_reply));
    assert!(!pair.take(&old_reply), "it was overtaken by a refusal");
    assert_eq!(pair.heard(GROUP, Term(3)), []);
    let to_boot = pair.leader_boot;
    let never_sent = BeatReply { to_boot, sequence: 99, ..BeatReply::default() };
    assert!(!pair.take(&never_sent));
    assert!(sent_at < pair.now);
}

#[test]
fn contact_counts_from_when_the_beat_was_sent() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    let sent_at = pair.now;
    let beat = pair.beat(Term(3)).unwrap();
    pair.now = at_ms(1700);
    let reply = pair.answer(&beat, |_| true).unwrap();
    pair.now = at_ms(1900);
    pair.take(&reply);
    assert_eq!(pair.heard(GROUP, Term(3)), [(id(2), sent_at)]);
}

/// Were beats remembered by number, answers would come too late as soon as many groups
/// read at once.
#[test]
fn hundreds_of_beats_may_be_under_way() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    let mut replies = Vec::new();
    for _ in 0..500 {
        pair.now = pair.now.after(Duration::from_micros(100));
        let named = GroupBeat {
            group: GROUP,
            to_disk: Incarnation(0),
            term: Term(3),
            token: Token::default(),
            commit: Index(0),
        };
        pair.leader.name(id(2), named);
        let beat = pair.beat(Term(3)).unwrap();
        replies.push(pair.answer(&beat, |_| true).unwrap());
    }
    assert!(replies.iter().all(|reply| pair.take(reply)));
    assert_eq!(pair.heard(GROUP, Term(3)), [(id(2), pair.now)]);
}

/// A late beat of the leader's former run makes the follower forget whom it follows. It
/// must not go on vouching by silence.
#[test]
fn a_beat_of_a_former_run_turns_no_silence_into_consent() {
    let mut pair = Pair::new();
    let late = Beat { sequence: 7, ..Beat::default() };
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    pair.exchange(Term(3), |_| true);
    assert!(pair.follower.begin_answer(pair.now, id(1), Boot(10), &late));
    let stray = pair.follower.end_answer(|_| Term(3)).unwrap();
    assert!(!pair.take(&stray), "it answers another run");
    pair.follower.leader_changed(GROUP, Some(id(3)), Term(4));
    let quiet = pair.exchange(Term(3), |_| false).unwrap();
    assert!(quiet.groups.is_empty());
    assert_eq!(pair.heard(GROUP, Term(3)), [], "the follower says that it has forgotten");
    let named = pair.exchange(Term(3), |_| false).unwrap();
    assert_eq!(named.groups.len(), 1);
    assert_eq!(pair.heard(GROUP, Term(3)), []);
}

#[test]
fn an_answer_to_a_former_run_counts_for_nothing() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    let beat = pair.beat(Term(3)).unwrap();
    let old = pair.answer(&beat, |_| true).unwrap();
    (pair.leader, pair.leader_boot) = (Liveness::new(Boot(12), INTERVAL), Boot(12));
    pair.leader.lead(&[id(2)].into(), GROUP, Term(4));
    pair.beat(Term(4)).unwrap();
    assert!(!pair.take(&old), "its number is that of a beat of this run, which was lost");
}

#[test]
fn a_peer_that_was_away_is_asked_for_every_group_again() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    pair.exchange(Term(3), |_| true);
    pair.now = pair.now.after(INTERVAL * SILENT_INTERVALS);
    let quiet = pair.exchange(Term(3), |_| true).unwrap();
    assert!(quiet.groups.is_empty());
    let named = pair.exchange(Term(3), |_| true).unwrap();
    assert_eq!(named.groups.len(), 1);
    assert!(pair.exchange(Term(3), |_| true).unwrap().groups.is_empty());
}

/// One that has nothing to say sends no beats; its followers would elect another.
#[test]
fn a_leader_that_was_silent_for_it_led_nothing_speaks_again_when_it_leads() {
    let mut pair = Pair::new();
    pair.leader.lead(&[id(2)].into(), GROUP, Term(3));
    pair.exchange(Term(3), |_| true);
    pair.leader.stop(GROUP);
    pair.exchange(Term(3), |_| true);
    assert_eq!(pair.leader.deadline(), None, "there is nothing left to say");
    pair.leader.lead(&[id(2)].into(), OTHER, Term(5));
    for named in [1, 0, 0] {
        let deadline = pair.leader.deadline().expect("it is to be woken");
        assert!(deadline <= pair.now.after(INTERVAL));
        assert_eq!(pair.exchange(Term(5), |_| true).unwrap().groups.len(), named);
    }
    assert_eq!(pair.heard(OTHER, Term(5)), [(id(2), pair.now)]);
}
