//! The simulated network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Envelope, Instant, Lane, NodeId, Random};

use super::echo::Echo;
use super::fault_counts::{FaultCounts, FaultKind};

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
    last_arrival: BTreeMap<(NodeId, NodeId, Lane), Instant>,
}

impl Network {
    /// Draws a network; some are good.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut rate = |most| if random.chance(500) { random.below(most) } else { 0 };
        let (loss, repeat, slow, replayed) = (rate(100), rate(50), rate(100), rate(20));
        let damaged = rate(20);
        let ordered = random.chance(700);
        Self {
            loss_per_mille: loss,
            repeat_per_mille: repeat,
            slow_per_mille: slow,
            ordered,
            replayed_per_mille: replayed,
            damage_per_mille: damaged,
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
        let mut arrivals = vec![self.arrival(now, (from, to), lane, random)];
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
