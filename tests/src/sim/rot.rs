//! Disks that lose what they had confirmed.
//!
//! As in production only a minority may have lost something at a time; then nothing that was
//! acknowledged is lost, and what is missing comes back. What the last write of a log holds is
//! spared: nothing vouches for it, so that its loss passes for a write that was torn.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use raft_core::{GroupId, NodeId, Position};
use raft_log::inspect::for_each_frame;
use raft_log::{LogError, SimDisk};
use raft_node::engine::OpenError;
use raft_state::Replica;

use super::invariant::Check;
use super::node::GROUPS;
use super::world::World;

/// A node whose disk has lost something.
#[derive(Debug)]
pub(super) struct Rotten {
    id: NodeId,
    /// The disk as it was, until the log has opened without it.
    before: Option<SimDisk>,
}

/// A frame that something later vouches for.
struct Covered {
    file: PathBuf,
    bytes: std::ops::Range<u64>,
}

impl World {
    /// Kills a node and takes a frame of its log, unless too few others have everything.
    pub(super) fn rot(&mut self, slot: usize) -> Result<(), String> {
        self.forget_rotten();
        let enough = GROUPS.iter().all(|group| self.all_know_three(*group));
        if self.rotten.is_some() || self.dead.is_some() || !self.nodes[slot].present || !enough {
            return Ok(());
        }
        let power = self.random.chance(500);
        self.crash(slot, power)?;
        let disk = &self.nodes[slot].disk;
        let frames = covered(disk).map_err(|why| Check::Assertion.fails(why))?;
        if frames.is_empty() {
            return Ok(());
        }
        let (id, before) = (self.nodes[slot].id, Some(disk.copy()));
        let Covered { file, bytes } = &frames[self.random.below(frames.len() as u64) as usize];
        let length = bytes.end - bytes.start;
        let from = bytes.start + self.random.below(length);
        if self.random.chance(500) {
            disk.flip_bit(file, from, self.random.below(8) as u8);
        } else {
            disk.zero(file, from, 1 + self.random.below(bytes.end - from));
        }
        self.counts.rotten += 1;
        self.rotten = Some(Rotten { id, before });
        let what = format!("node {id} loses a frame: {} at {}", file.display(), bytes.start);
        self.note(format_args!("{what}"));
        Ok(())
    }

    /// Whether a node's log was refused because of what it has lost. Then its operator
    /// restores the file.
    pub(super) fn is_refused_for_rot(&mut self, slot: usize, why: &OpenError) -> bool {
        let damaged = match why {
            OpenError::Log(why) => {
                matches!(why, LogError::Damaged(_) | LogError::UnknownFormat { .. })
            }
            OpenError::MayHaveHad(_) => true,
            _ => false,
        };
        let node = &mut self.nodes[slot];
        let rotten = self.rotten.as_mut().filter(|rotten| rotten.id == node.id && damaged);
        let Some(before) = rotten.and_then(|rotten| rotten.before.take()) else { return false };
        node.disk = before;
        self.counts.restored += 1;
        self.rotten = None;
        true
    }

    /// A node has started: what it has lost is what its replicas say.
    pub(super) fn note_started(&mut self, slot: usize) {
        let id = self.nodes[slot].id;
        let harmed = GROUPS.iter().any(|group| self.lost_up_to(id, *group).is_some());
        if let Some(rotten) = self.rotten.as_mut().filter(|rotten| rotten.id == id)
            && rotten.before.take().is_some()
        {
            self.counts.damaged += u64::from(harmed);
        }
        self.forget_rotten();
    }

    /// Where a member's log had ended before a part of it was lost.
    pub(super) fn lost_up_to(&self, id: NodeId, group: GroupId) -> Option<Position> {
        let slot = self.nodes.iter().position(|node| node.id == id)?;
        self.replica(slot, group).and_then(Replica::damaged_up_to)
    }

    /// Another disk may lose something once this one has everything again.
    pub(super) fn forget_rotten(&mut self) {
        let Some(Rotten { id, before }) = &self.rotten else { return };
        let node = self.nodes.iter().find(|node| node.id == *id);
        let healed = |group: &GroupId| self.lost_up_to(*id, *group).is_none();
        let over = match node {
            Some(node) => node.running.is_some() && before.is_none() && GROUPS.iter().all(healed),
            None => true,
        };
        if over {
            self.rotten = None;
        }
    }

    /// Whether three voters at least are left in a group, as far as anybody knows.
    fn all_know_three(&self, group: GroupId) -> bool {
        let three = |slot: usize| {
            let replica = self.replica(slot, group);
            replica.is_none_or(|replica| {
                let members = replica.membership();
                !members.is_member(self.nodes[slot].id) || members.voters().len() >= 3
            })
        };
        self.ledger.members(group).voters().len() >= 3 && (0..self.nodes.len()).all(three)
    }
}

fn covered(disk: &SimDisk) -> Result<Vec<Covered>, LogError> {
    let mut frames = Vec::new();
    let mut durable_upto = 0;
    for_each_frame(disk, Path::new("data/log"), |frame| {
        durable_upto = durable_upto.max(frame.durable_upto);
        let bytes = frame.offset..frame.offset + u64::from(frame.bytes);
        frames.push((frame.sequence, Covered { file: frame.file, bytes }));
        ControlFlow::Continue(())
    })?;
    frames.retain(|(sequence, _)| *sequence <= durable_upto);
    Ok(frames.into_iter().map(|(_, frame)| frame).collect())
}
