//! Groups of whose log the disk has lost a part.
//!
//! The log and the replica know what to do ([`raft_state`], "a log that is damaged"); here
//! what is lost is taken from a snapshot where there is one, and people are told.

use raft_core::{GroupId, LogShape, RecoveredGroup};

use super::effect::Effect;
use super::engine::Engine;
use super::machine::Machines;

/// Whether the disk has lost a part of a group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    Whole,
    Damaged,
}

impl Engine {
    /// Lets the newest snapshot take the place of a damaged log that does not reach it. A
    /// snapshot, even one that was received and never installed, is of what is committed; what
    /// is left of the log need not be.
    pub(super) fn begin_at_snapshot(
        &mut self,
        group: GroupId,
        recovered: &mut RecoveredGroup,
        machines: &mut Machines,
    ) {
        let (shape, term) = (&recovered.shape, recovered.hard_state.term);
        let Some(ended) = recovered.damaged_up_to else { return };
        let newest = self.snapshots.newest(group).filter(|meta| meta.position.term <= term);
        let useful = newest.filter(|meta| {
            meta.position.index > shape.floor().index && !shape.holds(meta.position)
        });
        let (Some(meta), Some(machine)) = (useful.cloned(), machines.get_mut(group)) else {
            return;
        };
        let (at, membership) = (meta.position, meta.membership);
        if machine.applied() < at.index {
            let image = self.snapshots.reader(group, at.index);
            let restored = image
                .map_err(std::io::Error::from)
                .and_then(|mut image| machine.restore(at.index, &mut image));
            if let Err(why) = restored {
                let why = format!(
                    "the log of group {group} is damaged, and the snapshot at {at} cannot stand in \
                     for it: {why}"
                );
                return self.effects.push_back(Effect::Trouble { why });
            }
        }
        self.log.reset_group(group, at, membership.clone());
        recovered.shape = LogShape::new(at, membership);
        recovered.damaged_up_to = Some(ended).filter(|ended| at < *ended);
    }

    /// Says where the disk has lost something.
    pub(super) fn report_places(&mut self) {
        let places: Vec<String> = self.log.damage().iter().map(ToString::to_string).collect();
        self.effects.extend(places.into_iter().map(|why| Effect::Trouble { why }));
    }

    /// Says what a group has lost, and what becomes of it.
    pub(super) fn report_damage(&mut self, group: GroupId, recovered: &RecoveredGroup) {
        let Some(ended) = recovered.damaged_up_to else { return };
        let (left, membership) = (recovered.shape.last(), recovered.shape.membership());
        let others = membership.voters().iter().filter(|voter| **voter != self.me).count();
        let remedy = match others {
            0 if membership.is_voter(self.me) && !membership.is_joint() => {
                "no other voter has it, so that this group cannot go on: restore the file, or a \
                 backup"
            }
            1 => {
                "it is fetched from the other voter, where that has all of it; until then this \
                 node does not stand for election"
            }
            _ => "it is fetched from the leader; until then this node does not stand for election",
        };
        let why = format!(
            "the log of group {group} has lost what stood after {left}, up to {ended}: {remedy}"
        );
        self.effects.push_back(Effect::Trouble { why });
    }

    pub(crate) fn is_damaged(&self, group: GroupId) -> Log {
        let replica = self.replica(group);
        let damaged = replica.is_some_and(|replica| replica.damaged_up_to().is_some());
        if damaged { Log::Damaged } else { Log::Whole }
    }

    /// Says that nothing is missing any more, where something was `before`.
    pub(crate) fn report_healing(&mut self, group: GroupId, before: Log) {
        if before == Log::Damaged && self.is_damaged(group) == Log::Whole {
            let why = format!("the log of group {group} is whole again");
            self.effects.push_back(Effect::Trouble { why });
        }
    }
}
