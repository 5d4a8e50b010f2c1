//! One heartbeat between two nodes, for all the groups one of them leads.
//!
//! A group is named in a beat until the follower has confirmed (group, term, run of
//! the sender); from then on every beat vouches for it without a word, and a group
//! that has nothing to say costs nothing. A node that stops leading a group says so
//! in its beats until that is acknowledged. An answer names each group that does not
//! follow the sender, and counts for none of those. So contact, check-quorum and reads
//! stay per group and term while beats stay per node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use raft_core::{Beat, BeatReply, Boot, Envelope, GroupBeat, GroupId, Instant, NodeId, Term};

use super::outgoing::Outgoing;

/// An answer to a beat counts for this many intervals. By time and not by number: reads
/// on many groups may put hundreds of beats under way at once.
const REMEMBERED_INTERVALS: u32 = 64;

/// A peer that answered nothing for so many intervals was away.
const SILENT_INTERVALS: u32 = 10;

/// All links of one node.
#[derive(Debug)]
pub(crate) struct Liveness {
    boot: Boot,
    interval: Duration,
    links: BTreeMap<NodeId, Link>,
    answering: Option<(NodeId, BeatReply)>,
}

/// The beats from and to one peer.
///
/// Invariants:
/// - `confirmed` holds only for a (group, term) that the peer's present run has said
///   to follow, and that it has not refused since.
/// - An entry of `vouched` is dropped only when the peer says that it stopped, or
///   comes back as another run: until then it may count our silence as consent, so
///   a group that does not follow must be refused in every answer.
#[derive(Debug, Default)]
struct Link {
    // As the one who leads.
    sequence: u64,
    next_beat: Option<Instant>,
    named: Vec<GroupBeat>,
    led: BTreeMap<GroupId, Led>,
    stopped: BTreeMap<GroupId, Term>,
    sent: VecDeque<(u64, Instant)>,
    answered: u64,
    answered_sent_at: Option<Instant>,
    round_trip: Option<Duration>,
    /// The run that answered, and how often it had forgotten whom it follows by then.
    answered_by: Option<(Boot, u64)>,
    // As the one who follows.
    heard_boot: Option<Boot>,
    resets: u64,
    heard_sequence: u64,
    heard_at: Instant,
    vouched: BTreeMap<GroupId, Vouched>,
}

#[derive(Debug)]
struct Led {
    term: Term,
    confirmed: bool,
    /// The last beat that was sent before the peer belonged to the group: what answers that one
    /// is of another life of it.
    since: u64,
}

#[derive(Debug)]
struct Vouched {
    term: Term,
    follows: bool,
}

impl Liveness {
    pub(crate) const fn new(boot: Boot, interval: Duration) -> Self {
        Self { boot, interval, links: BTreeMap::new(), answering: None }
    }

    /// When the next beat is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.next_beat).min()
    }

    /// This node leads a group in this term, to which these peers belong now: they hear so,
    /// and who belonged to it before hears that it is led no longer, unless nothing else is
    /// led there: silence says it too, and who has left may never answer.
    pub(crate) fn lead(&mut self, peers: &BTreeSet<NodeId>, group: GroupId, term: Term) {
        for (_, link) in self.links.iter_mut().filter(|(peer, _)| !peers.contains(peer)) {
            if link.led.contains_key(&group) {
                link.stop(group);
                link.next_beat = link.next_beat.filter(|_| !link.led.is_empty());
            }
        }
        for peer in peers {
            let link = self.links.entry(*peer).or_default();
            if link.led.get(&group).is_none_or(|led| led.term != term) {
                link.stopped.remove(&group);
                link.led.insert(group, Led { term, confirmed: false, since: link.sequence });
                link.next_beat.get_or_insert(Instant::default());
            }
        }
    }

    /// This node leads the group no longer.
    pub(crate) fn stop(&mut self, group: GroupId) {
        self.links.values_mut().for_each(|link| link.stop(group));
    }

    /// Names a group in the next beat to `peer`, which leaves at once.
    pub(crate) fn name(&mut self, peer: NodeId, beat: GroupBeat) {
        let link = self.links.entry(peer).or_default();
        link.named.retain(|named| named.group != beat.group || named.token != beat.token);
        link.named.push(beat);
    }

    /// Groups whose beat is due and that the peer has not confirmed yet.
    pub(crate) fn unconfirmed(&self, now: Instant) -> Vec<(NodeId, GroupId)> {
        let due = self.links.iter().filter(|(_, link)| link.is_due(now));
        let open = due.flat_map(|(peer, link)| {
            let groups = link.led.iter().filter(|(_, led)| !led.confirmed);
            groups.map(|(group, _)| (*peer, *group))
        });
        open.collect()
    }

    /// Puts every beat that is due, or that names a group, into the post.
    pub(crate) fn send(&mut self, now: Instant, outgoing: &mut Outgoing) {
        for (peer, link) in &mut self.links {
            if link.is_due(now) || !link.named.is_empty() {
                outgoing.push(*peer, Envelope::Beat(link.next(now, self.interval)));
            }
        }
    }

    /// Notes a beat; `false` for a stale one, which is not to be answered.
    pub(crate) fn begin_answer(
        &mut self,
        now: Instant,
        from: NodeId,
        boot: Boot,
        beat: &Beat,
    ) -> bool {
        let link = self.links.entry(from).or_default();
        if link.heard_boot != Some(boot) {
            link.heard_boot = Some(boot);
            link.heard_sequence = 0;
            link.vouched.clear();
            link.resets += 1;
        }
        if beat.sequence <= link.heard_sequence {
            return false;
        }
        link.heard_sequence = beat.sequence;
        link.heard_at = now;
        for (group, term) in &beat.stopped {
            if link.vouched.get(group).is_some_and(|vouched| vouched.term <= *term) {
                link.vouched.remove(group);
            }
        }
        let (sequence, stopped, resets) = (beat.sequence, beat.stopped.clone(), link.resets);
        let reply = BeatReply { to_boot: boot, sequence, resets, stopped, ..BeatReply::default() };
        self.answering = Some((from, reply));
        true
    }

    /// True while a beat of `peer` is being answered.
    pub(crate) fn is_answering(&self, peer: NodeId) -> bool {
        self.answering.as_ref().is_some_and(|(from, _)| *from == peer)
    }

    /// Adds what a replica says to the answer.
    pub(crate) fn answer(&mut self, says: GroupBeat) {
        if let Some((_, reply)) = &mut self.answering {
            reply.follows.push(says);
        }
    }

    /// Notes whether a named group follows.
    pub(crate) fn named_by(&mut self, from: NodeId, group: GroupId, term: Term, follows: bool) {
        let link = self.links.entry(from).or_default();
        link.vouched.insert(group, Vouched { term, follows });
    }

    /// Ends the answer: refusals for all groups that do not follow, each with the
    /// term its replica is in.
    pub(crate) fn end_answer(&mut self, term_of: impl Fn(GroupId) -> Term) -> Option<BeatReply> {
        let (from, mut reply) = self.answering.take()?;
        let link = self.links.get(&from)?;
        let refused = link.vouched.iter().filter(|(_, vouched)| !vouched.follows);
        reply.refuses = refused.map(|(group, _)| (*group, term_of(*group))).collect();
        // What a replica said in another term is a refusal, and named as one.
        reply.follows.retain(|GroupBeat { group, term, .. }| {
            link.vouched.get(group).is_some_and(|vouched| vouched.follows && vouched.term == *term)
        });
        Some(reply)
    }

    /// A replica's leader or term changed: whom it does not follow any more must hear so.
    pub(crate) fn leader_changed(&mut self, group: GroupId, leader: Option<NodeId>, term: Term) {
        for (peer, link) in &mut self.links {
            if let Some(vouched) = link.vouched.get_mut(&group) {
                vouched.follows &= leader == Some(*peer) && vouched.term == term;
            }
        }
    }

    /// When `leader` was last heard on behalf of a group that follows it in `term`.
    pub(crate) fn leader_heard(
        &self,
        leader: NodeId,
        group: GroupId,
        term: Term,
    ) -> Option<Instant> {
        let link = self.links.get(&leader)?;
        let vouched = link.vouched.get(&group)?;
        (vouched.follows && vouched.term == term).then_some(link.heard_at)
    }

    /// Notes an answer; `false` for one that counts for nothing: it is for another run of
    /// this node, was overtaken by a later one, or comes too late.
    pub(crate) fn answered(&mut self, from: NodeId, boot: Boot, reply: &BeatReply) -> bool {
        let Some(link) = self.links.get_mut(&from) else { return false };
        if reply.to_boot != self.boot || reply.sequence < link.answered {
            return false;
        }
        let Some(sent_at) = link.sent_at(reply.sequence) else { return false };
        let by = Some((boot, reply.resets));
        let silence = self.interval * SILENT_INTERVALS;
        let was_silent = link.answered_sent_at.is_some_and(|at| sent_at >= at.after(silence));
        if link.answered_by != by || was_silent {
            // It knows nothing of what was confirmed before; or it was away, and every
            // group is named once so that its leader hears that it is back.
            link.answered_by = by;
            link.led.values_mut().for_each(|led| led.confirmed = false);
        }
        link.answered = reply.sequence;
        link.answered_sent_at = Some(sent_at);
        true
    }

    /// Notes how long the beat took that was answered last.
    pub(crate) fn time_answer(&mut self, now: Instant, from: NodeId) {
        if let Some(link) = self.links.get_mut(&from) {
            link.round_trip = link.answered_sent_at.map(|at| now.since(at));
        }
    }

    /// How long each peer took to answer last.
    pub(crate) fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        self.links.iter().filter_map(|(peer, link)| Some((*peer, link.round_trip?))).collect()
    }

    /// The peer follows in this term.
    pub(crate) fn confirm(&mut self, from: NodeId, group: GroupId, term: Term) {
        let link = self.links.entry(from).or_default();
        let answered = link.answered;
        let asked = |led: &&mut Led| led.term == term && answered > led.since;
        if let Some(led) = link.led.get_mut(&group).filter(asked) {
            led.confirmed = true;
        }
    }

    /// The peer does not follow; the group is named again.
    pub(crate) fn refuse(&mut self, from: NodeId, group: GroupId) {
        let link = self.links.entry(from).or_default();
        if let Some(led) = link.led.get_mut(&group) {
            led.confirmed = false;
        }
    }

    /// The peer has heard that the group is led no longer.
    pub(crate) fn stop_heard(&mut self, from: NodeId, group: GroupId, term: Term) {
        let link = self.links.entry(from).or_default();
        if link.stopped.get(&group).is_some_and(|stopped| *stopped <= term) {
            link.stopped.remove(&group);
        }
        if link.led.is_empty() && link.stopped.is_empty() {
            link.next_beat = None;
        }
    }

    /// The followers that vouch for a group in this term, with when the beat left that
    /// they last answered.
    pub(crate) fn followers_heard(&self, group: GroupId, term: Term) -> Vec<(NodeId, Instant)> {
        let confirmed = self.links.iter().filter(|(_, link)| {
            link.led.get(&group).is_some_and(|led| led.confirmed && led.term == term)
        });
        confirmed.filter_map(|(peer, link)| Some((*peer, link.answered_sent_at?))).collect()
    }
}

impl Link {
    fn stop(&mut self, group: GroupId) {
        if let Some(Led { term, .. }) = self.led.remove(&group) {
            self.stopped.insert(group, term);
        }
        self.named.retain(|named| named.group != group);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next_beat.is_some_and(|at| now >= at)
    }

    /// When the beat with this number left. Numbers follow one another without a gap.
    fn sent_at(&self, sequence: u64) -> Option<Instant> {
        let (first, _) = self.sent.front()?;
        let place = usize::try_from(sequence.checked_sub(*first)?).ok()?;
        self.sent.get(place).map(|(_, at)| *at)
    }

    fn next(&mut self, now: Instant, interval: Duration) -> Beat {
        self.sequence += 1;
        self.sent.push_back((self.sequence, now));
        let forget = |(sequence, at): &(u64, Instant)| {
            *sequence < self.answered || now > at.after(interval * REMEMBERED_INTERVALS)
        };
        while self.sent.front().is_some_and(forget) {
            self.sent.pop_front();
        }
        let something = !self.led.is_empty() || !self.stopped.is_empty();
        self.next_beat = something.then(|| now.after(interval));
        Beat {
            sequence: self.sequence,
            groups: std::mem::take(&mut self.named),
            stopped: self.stopped.iter().map(|(group, term)| (*group, *term)).collect(),
        }
    }
}

#[cfg(test)]
#[path = "liveness_tests.rs"]
mod tests;
