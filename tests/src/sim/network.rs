//! The simulated network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Envelope, Instant, Lane, NodeId, Random};

use super::echo::Echo;
use super::fault_counts::{FaultCounts, FaultKind};
use super::later::with_later_fields;

/// What is wrong with the network in one run, and for how much of it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) loss_per_mille: u64,
    pub(crate) repeat_per_mille: u64,
    pub(crate) slow_per_mille: u64,
    /// Whether messages of one lane keep their order, as streams do.
    pub(crate) ordered: bool,
    /// Pairs between which nothing is carried, from the first to the second.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Links on which nothing arrives before this moment.
    pub(crate) clogged: BTreeMap<(NodeId, NodeId), Instant>,
    /// Links on which everything takes so much longer.
    pub(crate) lag: BTreeMap<(NodeId, NodeId), Duration>,
    /// What one node hears is to come again.
    pub(super) echo: Option<Echo>,
    pub(crate) counts: FaultCounts,
    /// How many of a thousand are not what was sent when they arrive.
    pub(crate) damage_per_mille: u64,
    /// How many of a thousand come once more after seconds, where order is not kept.
    pub(crate) replayed_per_mille: u64,
    /// Which nodes have a later version, in which of their lives: a bit for each.
    pub(crate) later_versions: u64,
    /// How many messages of a lane may be on their way over a link; more are lost.
    pub(crate) queue: Option<usize>,
    /// When those that are on their way arrive; kept only where queues are bounded.
    queued: BTreeMap<(NodeId, NodeId, Lane), Vec<Instant>>,
    last_arrival: BTreeMap<(NodeId, NodeId, Lane), Instant>,
}

impl Network {
    /// Draws a network; some are good.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut rate = |most| if random.chance(500) { random.below(most) } else { 0 };
        let (loss, repeat, slow, replayed) = (rate(100), rate(50), rate(100), rate(20));
        let damaged = rate(20);
        let ordered = random.chance(700);
        let later_versions = if random.chance(300) { random.next_u64() } else { 0 };
        let queue = match random.below(10) {
            0..2 => Some(2 + random.below(30) as usize),
            2..4 => Some(20 + random.below(60) as usize),
            _ => None,
        };
        Self {
            loss_per_mille: loss,
            repeat_per_mille: repeat,
            slow_per_mille: slow,
            ordered,
            replayed_per_mille: replayed,
            damage_per_mille: damaged,
            later_versions,
            queue,
            queued: BTreeMap::new(),
            cut: BTreeSet::new(),
            clogged: BTreeMap::new(),
            lag: BTreeMap::new(),
            echo: None,
            counts: FaultCounts::default(),
            last_arrival: BTreeMap::new(),
        }
    }

    /// Ends everything that is wrong.
    pub(crate) fn heal(&mut self) {
        self.loss_per_mille = 0;
        self.repeat_per_mille = 0;
        self.slow_per_mille = 0;
        self.replayed_per_mille = 0;
        self.damage_per_mille = 0;
        self.queue = None;
        self.ordered = true;
        self.echo = None;
        self.mend();
    }

    /// Ends what is wrong with links.
    pub(crate) fn mend(&mut self) {
        self.cut.clear();
        self.clogged.clear();
        self.lag.clear();
    }

    /// When the copies of a message arrive that leaves now: none, one, or several.
    pub(crate) fn arrivals(
        &mut self,
        now: Instant,
        (from, to): (NodeId, NodeId),
        lane: Lane,
        random: &mut Random,
    ) -> Vec<Instant> {
        if self.cut.contains(&(from, to)) {
            return Vec::new();
        }
        if random.chance(self.loss_per_mille) {
            self.counts.count(FaultKind::Lost);
            return Vec::new();
        }
        if self.is_full(now, (from, to, lane)) {
            self.counts.count(FaultKind::QueueFull);
            return Vec::new();
        }
        let mut arrivals = vec![self.arrival(now, (from, to), lane, random)];
        if self.queue.is_some() {
            self.queued.entry((from, to, lane)).or_default().extend(&arrivals);
        }
        if random.chance(self.repeat_per_mille) {
            self.counts.count(FaultKind::Repeated);
            arrivals.push(self.arrival(now, (from, to), lane, random));
        }
        if random.chance(self.replayed_per_mille) && !self.ordered {
            self.counts.count(FaultKind::Replayed);
            arrivals.push(now.after(Duration::from_millis(500 + random.below(5000))));
        }
        arrivals
    }

    /// The bytes of a batch as this node sends it in this life, when its version may be a later
    /// one.
    pub(crate) fn said_by(&mut self, from: NodeId, life: u64, bytes: Bytes) -> Bytes {
        let bit = (from.get() * 11 + life) % 64;
        if self.later_versions >> bit & 1 == 0 {
            return bytes;
        }
        self.counts.count(FaultKind::LaterVersion);
        with_later_fields(&bytes)
    }

    /// What arrives of these bytes, where it is not what was sent: bits of one byte are
    /// flipped, which a checksum of 32 bits finds without exception.
    pub(crate) fn damages(&mut self, sent: &Bytes, random: &mut Random) -> Option<Bytes> {
        if !random.chance(self.damage_per_mille) {
            return None;
        }
        self.counts.count(FaultKind::Damaged);
        let mut arrives = sent.to_vec();
        let at = random.below(arrives.len() as u64) as usize;
        arrives[at] ^= 1 + random.below(255) as u8;
        Some(arrives.into())
    }

    /// Whether nothing more finds room on its way.
    fn is_full(&mut self, now: Instant, way: (NodeId, NodeId, Lane)) -> bool {
        let Some(most) = self.queue else { return false };
        let queued = self.queued.entry(way).or_default();
        queued.retain(|arrives| *arrives > now);
        queued.len() >= most
    }

    fn arrival(
        &mut self,
        now: Instant,
        link: (NodeId, NodeId),
        lane: Lane,
        random: &mut Random,
    ) -> Instant {
        let slow = random.chance(self.slow_per_mille);
        self.counts.count_all(FaultKind::Delayed, u64::from(slow));
        let most_us = if slow { 1_000_000 } else { 500 };
        let mut at = now.after(Duration::from_micros(50 + random.below(most_us)));
        if let Some(lag) = self.lag.get(&link) {
            self.counts.count(FaultKind::Lagging);
            at = at.after(*lag);
        }
        if let Some(until) = self.clogged.get(&link).filter(|until| **until > at) {
            self.counts.count(FaultKind::Clogged);
            at = *until;
        }
        let last = self.last_arrival.entry((link.0, link.1, lane)).or_default();
        if at < *last {
            if self.ordered {
                at = *last;
            } else {
                self.counts.count(FaultKind::Overtaken);
            }
        }
        *last = at.max(*last);
        at
    }
}

/// Splits envelopes by lane, keeping the order within each, as the transport does.
pub(crate) fn by_lane(envelopes: Vec<Envelope>) -> BTreeMap<Lane, Vec<Envelope>> {
    let mut lanes: BTreeMap<Lane, Vec<Envelope>> = BTreeMap::new();
    for envelope in envelopes {
        lanes.entry(envelope.lane()).or_default().push(envelope);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_on_its_way_is_lost_and_counted() {
        let mut random = Random::new(1);
        let mut network = Network::draw(&mut random);
        network.heal();
        network.queue = Some(2);
        let link = (NodeId::new(1).unwrap(), NodeId::new(2).unwrap());
        let mut arrive = |network: &mut Network, ms, lane| {
            let now = Instant(0).after(Duration::from_millis(ms));
            network.arrivals(now, link, lane, &mut random).len()
        };
        assert_eq!([0, 0, 0].map(|ms| arrive(&mut network, ms, Lane::Append)), [1, 1, 0]);
        assert_eq!(arrive(&mut network, 0, Lane::Control), 1, "a lane of its own");
        assert_eq!(arrive(&mut network, 1, Lane::Append), 1, "those before have arrived");
        assert_eq!(network.counts.of(FaultKind::QueueFull), 1);
        network.heal();
        assert_eq!([1, 1, 1].map(|ms| arrive(&mut network, ms, Lane::Append)), [1, 1, 1]);
    }
}
