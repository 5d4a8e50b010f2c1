//! What a run has done, added up.

use super::clients::ClientCounts;
use super::fault_counts::FaultCounts;
use super::node::{SimNode, add};
use super::report::{Extent, Report};
use super::world::{BEGINS, World};

impl World {
    pub(super) fn extent(&self) -> Extent {
        Extent {
            steps: self.steps,
            length: self.now.since(BEGINS),
            healed: self.healed,
            faults: self.luck.faults_drawn,
            changes: self.luck.changes_drawn,
        }
    }

    /// Adds what a node that leaves has done.
    pub(super) fn retire(&mut self, node: &SimNode) {
        let (segments, flushes) = self.retired;
        self.retired = (segments.plus(node.segments), add(flushes, node.flushes()));
        self.retired_faults.add(&node.disk_faults());
    }

    /// What has gone wrong on purpose, wherever it is counted.
    fn all_faults(&self) -> FaultCounts {
        let mut all = self.counts;
        all.add(&self.network.counts);
        all.add(&self.retired_faults);
        self.nodes.iter().for_each(|node| all.add(&node.disk_faults()));
        all
    }

    pub(super) fn report(&self) -> Report {
        let (segments, flushes) = self.retired;
        Report {
            lease_reads: self.lease_reads,
            stale_reads: self.stale_reads,
            members: self.admin.counts,
            trace_hash: (self.hash ^ self.steps).wrapping_mul(0x0100_0000_01b3),
            steps: self.steps,
            acknowledged: self.clients.acknowledged,
            unknown: self.clients.unknown,
            elections: self.checks.elections(),
            installed: self.installed,
            flushes: self.nodes.iter().fold(flushes, |sum, node| add(sum, node.flushes())),
            held: self.held,
            kept: self.kept,
            clients: ClientCounts { stale: self.checks.stale(), ..self.clients.counts },
            segments: self.nodes.iter().fold(segments, |sum, node| sum.plus(node.segments)),
            simulated_ms: self.now.since(BEGINS).as_millis() as u64,
            faults: self.all_faults(),
        }
    }
}
