//! Disks that lose what they had confirmed.
//!
//! As in production only a minority may have lost something at a time; then nothing that was
//! acknowledged is lost, and what is missing comes back. What can be lost is in `damage`.

use raft_core::{GroupId, NodeId, Position};
use raft_log::{LogError, SimDisk, SnapshotError};
use raft_node::engine::OpenError;
use raft_state::Replica;

use super::damage::Damage;
use super::database::of_refusal;
use super::fault_counts::FaultKind;
use super::happening::Happening;
use super::invariant::Check;
use super::ledger::Kept;
use super::node::{GROUPS, faults_of};
use super::world::World;

/// A log may be refused where what it has lost cannot be told any more: these words say so.
const REFUSED: [&str; 3] = [
    "has voted, so that it can take part no more",
    "nothing later says who was in it",
    "the head of the segment cannot be read, and with it what came before",
];

/// And where its disk cannot read the last write, which nothing later tells.
const UNKNOWN_LAST: &str = "nothing says what that was";

/// A group may halt over what its node cannot read: these words say so.
const HALTS_UNREAD: [&str; 4] =
    ["could not be read", "cannot be read", "cannot read its entries", "could not restore"];

/// A group may halt over what the disk of its database refuses: these words say so.
const OF_DATABASE: [&str; 2] = ["the state machine of group", "could not be made durable"];

/// A node whose disk has lost something.
#[derive(Debug)]
pub(super) struct Rotten {
    id: NodeId,
    damage: Damage,
    /// The disk as it was before the log was opened the last time.
    before: Option<SimDisk>,
    /// Whether the log has opened since without it.
    opened: bool,
}

impl World {
    /// Kills a node and takes something from its disk, unless too few others have everything.
    pub(super) fn rot(&mut self, slot: usize, damage: Damage) -> Result<(), String> {
        if !self.may_rot(slot) {
            return Ok(());
        }
        let power = self.random.chance(500);
        self.crash(slot, power)?;
        if damage == Damage::StaleStore {
            if self.nodes[slot].set_stores_back() {
                self.counts.count(damage.kind());
                let id = self.nodes[slot].id;
                self.note(format_args!("node {id}: its stores are set back"));
            }
            return Ok(());
        }
        self.lose(slot, damage).map(drop)
    }

    /// Takes something from a disk in use: whoever reads it there must notice.
    pub(super) fn rot_while_running(&mut self, slot: usize, damage: Damage) -> Result<(), String> {
        let running = self.nodes[slot].running.is_some();
        if running && self.may_rot(slot) && self.lose(slot, damage)? {
            self.counts.count(FaultKind::RotWhileRunning);
        }
        Ok(())
    }

    fn may_rot(&mut self, slot: usize) -> bool {
        self.forget_rotten();
        let enough = GROUPS.iter().all(|group| self.all_know_three(*group));
        self.rotten.is_none() && self.dead.is_none() && self.nodes[slot].present && enough
    }

    fn lose(&mut self, slot: usize, damage: Damage) -> Result<bool, String> {
        let node = &self.nodes[slot];
        let (id, struck) = (node.id, damage.strike(&node.disk, &mut self.random));
        let Some(place) = struck.map_err(|why| Check::Assertion.fails(why))? else {
            return Ok(false);
        };
        self.counts.count(damage.kind());
        self.rotten = Some(Rotten { id, damage, before: None, opened: false });
        self.note(format_args!("node {id}: {damage:?}, {place}"));
        Ok(true)
    }

    /// Whether a node does not start because of what its disk has lost. Then its operator
    /// restores the file.
    pub(super) fn is_refused_for_rot(&mut self, slot: usize, why: &OpenError) -> bool {
        let node = &self.nodes[slot];
        let rotten = self.rotten.as_mut().filter(|rotten| rotten.id == node.id);
        let Some(rotten) = rotten else { return false };
        let of_snapshot = rotten.damage == Damage::Snapshot;
        let of_log = !of_snapshot;
        let damaged = match why {
            OpenError::Log(LogError::Io { .. }) => rotten.damage == Damage::Unreadable,
            // Before its checksum is looked at, for a later format may have another one.
            OpenError::Log(LogError::UnknownFormat { .. }) => {
                matches!(rotten.damage, Damage::BitFlip | Damage::Misplaced)
            }
            OpenError::Log(LogError::Damaged(found)) => {
                let unread =
                    rotten.damage == Damage::Unreadable && found.what.contains(UNKNOWN_LAST);
                unread || of_log && REFUSED.iter().any(|words| found.what.contains(words))
            }
            OpenError::MayHaveHad(_) => of_log,
            OpenError::Snapshots(SnapshotError::Io { .. }) => false,
            OpenError::Snapshots(_) | OpenError::Restore { .. } => of_snapshot,
            OpenError::StateBehind { .. } => of_snapshot,
            _ => false,
        };
        if damaged {
            if let Some(before) = rotten.before.take() {
                self.retired_faults.add(&faults_of(&node.disk));
                self.nodes[slot].disk = before;
            }
            self.nodes[slot].disk.mend();
            self.counts.count(FaultKind::Restored);
            self.rotten = None;
        }
        damaged
    }

    /// The disk may fail to read something while the node starts, which is damage like any
    /// other.
    pub(super) fn fail_reads_of_start(&mut self, slot: usize) {
        if self.may_rot(slot) {
            let (id, damage) = (self.nodes[slot].id, Damage::Unreadable);
            self.nodes[slot].disk.fail_reads_after(self.random.below(20), 1);
            self.rotten = Some(Rotten { id, damage, before: None, opened: false });
        }
    }

    /// A careful operator copies a disk that may have lost something before anything is
    /// written there again.
    pub(super) fn copy_rotten(&mut self, slot: usize) {
        let node = &self.nodes[slot];
        if let Some(rotten) = self.rotten.as_mut().filter(|rotten| rotten.id == node.id) {
            rotten.before = Some(node.disk.copy());
        }
    }

    /// The groups in which a node that is down knew of something that its disk has lost.
    pub(super) fn known_to_lack(&self, slot: usize) -> Vec<GroupId> {
        let disk = (self.nodes[slot].id, self.nodes[slot].incarnation);
        let lacks = |group: &GroupId| self.stored.get(disk, *group).is_some_and(Kept::lacks);
        GROUPS.into_iter().filter(lacks).collect()
    }

    /// A node has started: what it has lost is what its replicas say, and they say so where its
    /// disk has lost something, or they said so before.
    pub(super) fn note_started(&mut self, slot: usize, known: &[GroupId]) -> Result<(), String> {
        let id = self.nodes[slot].id;
        let excused = self.rotten.as_ref().is_some_and(|rotten| rotten.id == id);
        for group in GROUPS.into_iter().filter(|group| !excused && !known.contains(group)) {
            if let Some(up_to) = self.lost_up_to(id, group) {
                let what = format_args!(
                    "node {id}, group {group}: entries up to {up_to} count as lost, and its disk \
                     has lost nothing"
                );
                return Err(Check::Starts.fails(what));
            }
        }
        let harmed = GROUPS.iter().any(|group| self.lost_up_to(id, *group).is_some());
        if let Some(rotten) = self.rotten.as_mut().filter(|rotten| rotten.id == id)
            && !std::mem::replace(&mut rotten.opened, true)
        {
            self.counts.count_all(FaultKind::EntriesLost, u64::from(harmed));
        }
        self.forget_rotten();
        Ok(())
    }

    /// A process has stopped since its log has failed, which it may where the disk has refused
    /// something, or has lost it. What the log takes for damaged the disk must have lost, or read
    /// from elsewhere.
    pub(super) fn may_stop(&self, slot: usize, why: &LogError) -> Result<(), String> {
        let node = &self.nodes[slot];
        let (id, running) = (node.id, node.running.as_ref());
        let refused = running.is_some_and(|running| match why {
            LogError::Damaged(_) => {
                node.disk.counts().spoiled_reads() > running.spoiled_reads_before
            }
            _ => node.refusals() > running.refusals_before,
        });
        let rotten = self.rotten.as_ref().filter(|rotten| rotten.id == id);
        let damaged = matches!(why, LogError::Damaged(_));
        if refused || rotten.is_some_and(|it| damaged || it.damage == Damage::Unreadable) {
            return Ok(());
        }
        Err(Check::Halts
            .fails(format_args!("node {id} stops, and its disk refused nothing: {why}")))
    }

    /// A group has halted, which it may where its node cannot read what it has written, or where
    /// its database can write no more. Then the operator starts that node again.
    pub(super) fn halts(&mut self, slot: usize, group: GroupId, why: &str) -> Result<(), String> {
        let node = &self.nodes[slot];
        let (id, life) = (node.id, node.life);
        let rotten = self.rotten.as_ref().is_some_and(|rotten| rotten.id == id);
        // What is read and contradicts what is known is no fault of the disk.
        let unread = HALTS_UNREAD.iter().any(|words| why.contains(words));
        let spoiled = node.running.as_ref().is_some_and(|running| {
            node.disk.counts().spoiled_reads() > running.spoiled_reads_before
        });
        let database = OF_DATABASE.iter().any(|words| why.contains(words))
            && of_refusal(why)
            && node.database_is_refused();
        if !database && (!unread || !rotten && !spoiled) {
            let what = format_args!("node {id} halts group {group}: {why}");
            return Err(Check::Halts.fails(what));
        }
        self.note(format_args!("node {id} halts group {group}: {why}"));
        self.counts.count(FaultKind::Halted);
        let ms = 10 + self.random.below(1000);
        self.after_ms(ms, Happening::Restart(slot, life));
        Ok(())
    }

    /// Where a member's log had ended before a part of it was lost.
    pub(super) fn lost_up_to(&self, id: NodeId, group: GroupId) -> Option<Position> {
        let slot = self.nodes.iter().position(|node| node.id == id)?;
        self.replica(slot, group).and_then(Replica::damaged_up_to)
    }

    /// Another disk may lose something once this one has everything again.
    pub(super) fn forget_rotten(&mut self) {
        let Some(Rotten { id, damage, opened, .. }) = &self.rotten else { return };
        let healed = |group: &GroupId| self.lost_up_to(*id, *group).is_none();
        let over = match self.nodes.iter().find(|node| node.id == *id) {
            Some(node) => {
                // What is only found when it is read may stay for long, and a sector that cannot
                // be read even where its file becomes another one.
                let hides = matches!(damage, Damage::Snapshot | Damage::Unreadable);
                let known = *opened && !hides;
                let gone = || !node.disk.is_damaged();
                node.running.is_some() && (known || gone()) && GROUPS.iter().all(healed)
            }
            None => true,
        };
        if over {
            // The log has gone on without it: to put it back later would be one more fault.
            if let Some(node) = self.nodes.iter().find(|node| node.id == *id) {
                node.disk.accept_damage();
            }
            self.rotten = None;
        }
    }

    /// Whether three voters at least are left in a group, as far as anybody knows.
    fn all_know_three(&self, group: GroupId) -> bool {
        let three = |slot: usize| {
            let (id, incarnation) = (self.nodes[slot].id, self.nodes[slot].incarnation);
            // Who is down knows what it had when it went.
            let running = self.replica(slot, group).map(Replica::membership);
            let kept = || self.stored.get((id, incarnation), group);
            let down = || kept().map(|kept| kept.log.membership());
            let members = running.or_else(down);
            members.is_none_or(|members| !members.is_member(id) || members.voters().len() >= 3)
        };
        self.ledger.members(group).voters().len() >= 3 && (0..self.nodes.len()).all(three)
    }
}
