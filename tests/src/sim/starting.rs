//! Nodes starting, and what their disks and stores must hold then and later.

use raft_core::{GroupId, Index, Instant, NodeId};
use raft_log::{LogError, SnapshotError};
use raft_node::engine::{Event, OpenError};

use super::checks::Checks;
use super::clock::LocalClock;
use super::fault_counts::FaultKind;
use super::happening::Happening;
use super::invariant::Check;
use super::node::{GROUPS, SimNode};
use super::recording::Moment;
use super::world::World;

impl World {
    pub(super) fn start(&mut self, node: usize, id: NodeId) -> Result<(), String> {
        if self.nodes[node].running.is_some() || self.nodes[node].id != id {
            return Ok(());
        }
        if !self.healed && self.faults.crash_starts && self.random.chance(400) {
            let changes = 1 + self.random.below(8);
            self.nodes[node].stop_at(changes);
        } else if !self.healed && self.faults.unreadable_starts && self.random.chance(200) {
            self.fail_reads_of_start(node);
        }
        self.copy_rotten(node);
        let seed = self.random.next_u64();
        let now = self.now;
        let durable = self.nodes[node].durable();
        let shows = Instant(self.random.below(10_000_000_000));
        let clock = LocalClock::start(now, shows, self.drift.draw(&mut self.random));
        let refusals = |node: &SimNode| (node.refusals(), node.database_refusals());
        let failed_reads = |node: &SimNode| node.disk.counts().failed_reads;
        let (could_read, known) = (failed_reads(&self.nodes[node]), self.known_to_lack(node));
        let before = refusals(&self.nodes[node]);
        let opened = self.nodes[node].start(seed, now, clock);
        let unread = failed_reads(&self.nodes[node]) > could_read;
        self.counts.count_all(FaultKind::UnreadableStart, u64::from(unread));
        let refused = refusals(&self.nodes[node]);
        let refused = (refused.0 > before.0, refused.1 > before.1);
        match &opened {
            Ok(()) => self.remember(format_args!("node {id} starts")),
            Err(why) => self.note(format_args!("node {id} does not start: {why}")),
        }
        match opened {
            Ok(()) => {
                self.comes_back(node);
                self.check_start(node, &durable)?;
                self.note_started(node, &known)?;
                self.record(|_| Moment::Up(id));
                self.event(node, Event::Timeout)
            }
            Err(_) if self.nodes[node].is_stopped() => {
                self.try_again(node);
                Ok(())
            }
            Err(why) if self.is_refused_for_rot(node, &why) => {
                self.after_ms(50, Happening::Start(node, id));
                Ok(())
            }
            Err(why) if self.is_refused_as_forgetful(node, &why) => Ok(()),
            Err(why) if refused.0 && is_refused_by_disk(&why) => {
                self.try_again(node);
                Ok(())
            }
            Err(OpenError::Restore { .. }) if refused.1 => {
                self.try_again(node);
                Ok(())
            }
            Err(why) => Err(Check::Starts.fails(format_args!("node {id} does not start: {why}"))),
        }
    }

    /// The operating system refused, as it was told to; the operator tries again.
    fn try_again(&mut self, node: usize) {
        self.counts.count(FaultKind::CrashedStart);
        self.nodes[node].crash_disks(true);
        self.after_ms(50, Happening::Start(node, self.nodes[node].id));
    }

    fn check_start(
        &mut self,
        node: usize,
        durable: &[(GroupId, Option<Index>)],
    ) -> Result<(), String> {
        let (id, disk) = (self.nodes[node].id, self.nodes[node].incarnation);
        for replica in GROUPS.iter().filter_map(|group| self.replica(node, *group)) {
            if self.forgetting.has_forgotten(node) {
                continue;
            }
            self.promises.kept(id, replica)?;
            if let Some(before) = self.stored.get((id, disk), replica.group()) {
                before.is_still_there(id, replica)?;
            }
        }
        for (group, durable) in durable {
            self.kept += u64::from(*durable > Some(Index::ZERO));
            let durable = durable.unwrap_or(Index::ZERO);
            let Some(store) = self.nodes[node].store(*group) else { continue };
            let applied = store.applied();
            if let Some(hash) = self.told_by_store(node, store.state_hash())? {
                self.checks.holds(*group, id, applied, hash)?;
            }
            if let Some(engine) = self.engine_at(node, *group) {
                let at_least = self.nodes[node].has_database();
                // A database may have had more written than anybody was told.
                let durable = if at_least { durable.max(applied) } else { durable };
                Checks::restarts(id, *group, durable, applied, engine)?;
            }
        }
        Ok(())
    }

    /// Where a group's log begins and up to where it is applied, as the engine has it.
    fn engine_at(&self, node: usize, group: GroupId) -> Option<(Index, Index)> {
        let engine = &self.nodes[node].running.as_ref()?.engine;
        Some((engine.replica(group)?.log().floor().index, engine.view(group)?.applied))
    }

    /// What a log has let go of is in a snapshot, and in the store for good.
    pub(super) fn check_log(&mut self, node: usize) -> Result<(), String> {
        let id = self.nodes[node].id;
        for (place, (group, durable)) in self.nodes[node].durable().into_iter().enumerate() {
            let Some(engine) = self.engine_at(node, group) else { continue };
            let damaged = self.lost_up_to(id, group).is_some();
            let (floor, applied) = engine;
            let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
            let moved = std::mem::replace(&mut running.floors[place], floor) != floor;
            if moved && !self.nodes[node].has_snapshot_from(group, floor) {
                let what = format_args!(
                    "node {id}, group {group}: the log begins at {floor}, and no snapshot reaches \
                     so far"
                );
                return Err(Check::BoundsInOrder.fails(what));
            }
            // A store that is further than a snapshot which healed the log keeps what it has;
            // what it loses of that it takes from the snapshot.
            let kept = durable.is_none_or(|durable| floor <= durable);
            let healed = &mut self.nodes[node].healed_by_snapshot[place];
            *healed = damaged || *healed && !kept;
            // One that is behind the log is about to take the snapshot.
            if let Some(durable) = durable.filter(|_| !*healed && applied >= floor) {
                Checks::lets_go(id, group, durable, engine)?;
            }
        }
        Ok(())
    }
}

fn is_refused_by_disk(why: &OpenError) -> bool {
    match why {
        OpenError::Log(LogError::Io { .. }) | OpenError::Snapshots(SnapshotError::Io { .. }) => {
            true
        }
        OpenError::Restore { source, .. } => {
            let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
            matches!(inner, Some(SnapshotError::Io { .. }))
        }
        _ => false,
    }
}
