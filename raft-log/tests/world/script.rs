//! A workload that does everything a node does to its log, in an order of our choice.

use std::io::ErrorKind;

use raft_core::{GroupId, Index, Random};

use super::World;
use super::model::Group;

/// One thing that an engine does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Create(u64),
    /// So many writes of a few entries each.
    Append(u64, u32),
    /// Entries of a new term in the place of some.
    Overwrite(u64),
    /// A snapshot from elsewhere.
    Reset(u64),
    Vote(u64),
    Remove(u64),
    /// A snapshot of what is acknowledged, and the log below it is let go of.
    Save(u64),
    /// One job, with all that is staged.
    Write,
    Seal,
    /// Begins or ends the preparing of a file.
    Prepare,
    /// Begins or ends the collecting of segments.
    Collect,
    /// Begins or ends the relocating of entries.
    Relocate,
    /// The process ends, and another one begins.
    Reopen,
}

use Step::{
    Append, Collect, Create, Overwrite, Prepare, Relocate, Remove, Reopen, Reset, Save, Seal, Vote,
    Write,
};

/// Several groups, overwritten entries, resets, a group that is removed and made again,
/// votes, seals, and openings in the middle of it all.
const BEGINNING: [Step; 38] = [
    Create(1),
    Create(2),
    Write,
    Append(1, 3),
    Append(2, 2),
    Write,
    Vote(1),
    Write,
    Seal,
    Write,
    Append(1, 6),
    Write,
    Append(2, 9),
    Write,
    Create(3),
    Create(4),
    Append(3, 2),
    Append(4, 1),
    Write,
    Overwrite(1),
    Write,
    Reset(2),
    Write,
    Reopen,
    Append(2, 3),
    Append(1, 4),
    Write,
    Overwrite(2),
    Vote(3),
    Write,
    Append(3, 4),
    Remove(3),
    Create(3),
    Append(3, 2),
    Write,
    Seal,
    Write,
    Reopen,
];

/// Switches of segments with and without a prepared file, and with one that has its name;
/// snapshots, and collected segments whose files are used again. The last group does next to
/// nothing, and keeps all it has.
const ROUND: [Step; 28] = [
    Append(1, 9),
    Append(2, 5),
    Write,
    Prepare,
    Relocate,
    Save(1),
    Save(2),
    Prepare,
    Append(3, 3),
    Relocate,
    Write,
    Collect,
    Save(3),
    Relocate,
    Append(1, 9),
    Write,
    Relocate,
    Collect,
    Prepare,
    Prepare,
    Prepare,
    Prepare,
    Append(2, 9),
    Write,
    Prepare,
    Prepare,
    Seal,
    Relocate,
];

const ROUNDS: usize = 4;

fn script() -> impl Iterator<Item = Step> {
    BEGINNING.into_iter().chain([ROUND; ROUNDS].into_iter().flatten()).chain([Write, Reopen])
}

/// What goes wrong with the disk, at a change that is counted from the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// See [`raft_log::SimDisk::stop_at`].
    StopAt(u64),
    /// See [`raft_log::SimDisk::fail_at`].
    FailAt(u64, ErrorKind),
}

/// Why a script stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The log cannot be written any more, or not be opened: the process ends.
    Failed(String),
    /// It holds something else than it must.
    Wrong(String),
}

impl World {
    /// The whole script on a disk with this fault.
    pub(crate) fn play(seed: u64, fault: Fault) -> (Self, Result<(), Stop>) {
        let mut world = Self::new(seed);
        // What is written is the same whatever the disk does to it.
        world.random = Random::new(5);
        match fault {
            Fault::None => {}
            Fault::StopAt(change) => world.disk.stop_at(change),
            Fault::FailAt(change, error) => world.disk.fail_at(change, error),
        }
        let outcome = script().try_for_each(|step| world.perform(step, fault));
        (world, outcome)
    }

    fn perform(&mut self, step: Step, fault: Fault) -> Result<(), Stop> {
        let failed = |why: String| Stop::Failed(why);
        match step {
            Create(group) => self.create(GroupId(group)),
            Append(group, writes) => (0..writes).for_each(|_| self.append(GroupId(group))),
            Overwrite(group) => self.overwrite(GroupId(group)),
            Reset(group) => self.reset(GroupId(group)),
            Vote(group) => self.stage(GroupId(group), None),
            Remove(group) => self.remove(GroupId(group)),
            Save(group) => return self.save(GroupId(group)),
            Write => return self.run_job().map_err(|why| failed(why.to_string())),
            Seal => self.log.seal(),
            Prepare => return self.prepare().map_err(|why| failed(why.to_string())),
            Relocate => return self.relocate().map_err(|why| failed(why.to_string())),
            Collect => {
                // A failure is none of the log's.
                let collected = self.collect();
                return collected.or_else(|why| self.goes_on(why.to_string()));
            }
            Reopen => {
                // Nobody uses the old handles any more.
                let recovered = self.recover();
                return recovered.map_err(|why| match fault {
                    _ if self.disk.is_stopped() => failed(why),
                    Fault::FailAt(..) if !self.disk.is_to_fail() => failed(why),
                    _ => Stop::Wrong(why),
                });
            }
        }
        Ok(())
    }

    fn goes_on(&self, why: String) -> Result<(), Stop> {
        if self.disk.is_stopped() { Err(Stop::Failed(why)) } else { Ok(()) }
    }

    /// A snapshot of a group, as far as it is acknowledged, after which the log needs no more
    /// of it.
    fn save(&mut self, group: GroupId) -> Result<(), Stop> {
        let acknowledged = self.versions[self.acknowledged].get(&group);
        let Some(position) = acknowledged.map(Group::last) else { return Ok(()) };
        let shape = self.log.shape(group).expect("a group that is there");
        if position.index == Index::ZERO || !shape.holds(position) {
            return Ok(());
        }
        let membership = shape.membership_at(position.index).clone();
        match self.saved.save(group, position, membership) {
            Ok(()) => self.trim(group),
            Err(why) if why.is_final() => return Err(Stop::Failed(why.to_string())),
            Err(why) => return self.goes_on(why.to_string()),
        }
        Ok(())
    }
}
