//! The simulated network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raft_core::{Envelope, Instant, Lane, NodeId, Random};

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
    last_arrival: BTreeMap<(NodeId, NodeId, Lane), Instant>,
}

impl Network {
    /// Draws a network; some are good.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut rate = |most| if random.chance(500) { random.below(most) } else { 0 };
        Self {
            loss_per_mille: rate(100),
            repeat_per_mille: rate(50),
            slow_per_mille: rate(100),
            ordered: random.chance(700),
            cut: BTreeSet::new(),
            last_arrival: BTreeMap::new(),
        }
    }

    /// Ends everything that is wrong.
    pub(crate) fn heal(&mut self) {
        self.loss_per_mille = 0;
        self.repeat_per_mille = 0;
        self.slow_per_mille = 0;
        self.ordered = true;
        self.cut.clear();
    }

    /// When the copies of a message arrive that leaves now: none, one, or two.
    pub(crate) fn arrivals(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        lane: Lane,
        random: &mut Random,
    ) -> Vec<Instant> {
        if self.cut.contains(&(from, to)) || random.chance(self.loss_per_mille) {
            return Vec::new();
        }
        let copies = if random.chance(self.repeat_per_mille) { 2 } else { 1 };
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let slow = random.chance(self.slow_per_mille);
            let most_us = if slow { 1_000_000 } else { 500 };
            let mut at = now.after(Duration::from_micros(50 + random.below(most_us)));
            if self.ordered {
                let last = self.last_arrival.entry((from, to, lane)).or_default();
                at = at.max(*last);
                *last = at;
            }
            arrivals.push(at);
        }
        arrivals
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
