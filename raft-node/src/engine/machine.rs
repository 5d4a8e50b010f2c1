//! The state machines, and what is asked of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use bytes::Bytes;
use raft_core::{GroupId, GroupTime, Index};
use raft_log::SnapshotReader;

#[cfg(feature = "shell")]
use crate::state_machine::GiveUp;
use crate::state_machine::{Command, Flush, StateMachine, Timekeeping};

/// One thing a state machine is to do. Tasks of a group are done in the order given.
#[derive(Debug)]
pub enum MachineTask {
    /// Apply these commands and times, in the order of the log, and move to `up_to`.
    Apply {
        /// The group.
        group: GroupId,
        /// The commands, in order.
        commands: Vec<Command>,
        /// What the group's time is, and where that stands; in order.
        times: Vec<(Index, GroupTime)>,
        /// The index reached with them.
        up_to: Index,
    },
    /// Make what is applied durable.
    Flush {
        /// The group.
        group: GroupId,
    },
    /// Give an image of what is applied.
    Image {
        /// The group.
        group: GroupId,
    },
    /// Take the state from a snapshot.
    Restore {
        /// The group.
        group: GroupId,
        /// The index of the snapshot.
        index: Index,
        /// Its content.
        image: SnapshotReader,
    },
}

/// What a state machine has done.
pub enum MachineDone {
    /// The commands are applied.
    Applied {
        /// The group.
        group: GroupId,
        /// The index reached.
        up_to: Index,
        /// One answer per command.
        answers: Vec<Bytes>,
        /// What the state machine knows of the time and waits for.
        time: Timekeeping,
    },
    /// What is applied is durable, or will be by a job.
    Flushing {
        /// The group.
        group: GroupId,
        /// The index reached, or the job.
        flush: Flush,
    },
    /// An image of the state.
    Image {
        /// The group.
        group: GroupId,
        /// The index of the image.
        index: Index,
        /// Its content.
        image: Box<dyn Read + Send>,
    },
    /// The state is that of the snapshot.
    Restored {
        /// The group.
        group: GroupId,
        /// The index of the snapshot.
        index: Index,
        /// What the state machine knows of the time and waits for.
        time: Timekeeping,
    },
    /// The task could not be done; the group stops.
    Failed {
        /// The group.
        group: GroupId,
        /// What failed, for people.
        why: String,
    },
}

/// The state machines of a node, by group. Lives on one thread.
#[derive(Default)]
pub struct Machines {
    by_group: BTreeMap<GroupId, Box<dyn StateMachine>>,
}

impl Machines {
    /// Adds the state machine of a group; replaces the one it has.
    pub fn insert(&mut self, group: GroupId, machine: Box<dyn StateMachine>) {
        self.by_group.insert(group, machine);
    }

    /// What is to be called when the node stops, so that nothing waits for long.
    #[cfg(feature = "shell")]
    pub(crate) fn give_up(&self) -> Vec<GiveUp> {
        self.by_group.values().filter_map(|machine| machine.give_up()).collect()
    }

    /// The state machine of a group.
    pub fn get_mut(&mut self, group: GroupId) -> Option<&mut (dyn StateMachine + 'static)> {
        self.by_group.get_mut(&group).map(Box::as_mut)
    }

    /// Makes everything durable, in every group; for a clean stop.
    ///
    /// # Errors
    /// The first failure; the others are flushed all the same.
    pub fn flush_all(&mut self) -> std::io::Result<()> {
        let mut outcome = Ok(());
        for machine in self.by_group.values_mut() {
            let flushed = machine.flush().map(drop);
            outcome = outcome.and(flushed);
        }
        outcome
    }

    /// Does one task.
    pub fn run(&mut self, task: MachineTask) -> MachineDone {
        let group = task.group();
        let Some(machine) = self.by_group.get_mut(&group) else {
            return MachineDone::Failed {
                group,
                why: format!("group {group} has no state machine"),
            };
        };
        let (what, outcome) = match task {
            MachineTask::Apply { commands, times, up_to, .. } => {
                let answers = apply(machine.as_mut(), &commands, &times, up_to);
                let time = machine.timekeeping();
                let done = |answers| MachineDone::Applied { group, up_to, answers, time };
                ("apply", answers.map(done))
            }
            MachineTask::Flush { .. } => {
                let flush = machine.begin_flush();
                ("flush", flush.map(|flush| MachineDone::Flushing { group, flush }))
            }
            MachineTask::Image { .. } => ("take an image", image(group, machine.as_mut())),
            MachineTask::Restore { index, mut image, .. } => {
                let restored = machine.restore(index, &mut image);
                let time = machine.timekeeping();
                ("restore", restored.map(|()| MachineDone::Restored { group, index, time }))
            }
        };
        outcome.unwrap_or_else(|why| MachineDone::Failed {
            group,
            why: format!(
                "the state machine of group {group} could not {what}: {why}: mend that, and start \
                 this node again: its log has what is missing"
            ),
        })
    }
}

/// Hands over what lies between two times in one piece. Times are rare.
fn apply(
    machine: &mut dyn StateMachine,
    commands: &[Command],
    times: &[(Index, GroupTime)],
    up_to: Index,
) -> std::io::Result<Vec<Bytes>> {
    let (mut answers, mut rest) = (Vec::new(), commands);
    for (at, time) in times {
        let (before, after) = rest.split_at(rest.partition_point(|command| command.index < *at));
        if !before.is_empty() {
            answers.extend(machine.apply(before, at.prev())?);
        }
        machine.advance(*at, *time)?;
        rest = after;
    }
    let last = machine.apply(rest, up_to)?;
    Ok(if answers.is_empty() { last } else { [answers, last].concat() })
}

fn image(group: GroupId, machine: &mut dyn StateMachine) -> std::io::Result<MachineDone> {
    let index = machine.applied();
    Ok(MachineDone::Image { group, index, image: machine.snapshot()? })
}

impl MachineTask {
    /// How many commands it applies.
    #[must_use]
    pub fn commands(&self) -> usize {
        match self {
            Self::Apply { commands, .. } => commands.len(),
            Self::Flush { .. } | Self::Image { .. } | Self::Restore { .. } => 0,
        }
    }

    /// The group it is for.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        match self {
            Self::Apply { group, .. }
            | Self::Flush { group }
            | Self::Image { group }
            | Self::Restore { group, .. } => *group,
        }
    }
}

impl MachineDone {
    /// The group it is about.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        match self {
            Self::Applied { group, .. }
            | Self::Flushing { group, .. }
            | Self::Image { group, .. }
            | Self::Restored { group, .. }
            | Self::Failed { group, .. } => *group,
        }
    }
}

impl fmt::Debug for MachineDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { group, up_to, .. } => write!(f, "Applied({group}, {up_to})"),
            Self::Flushing { group, flush } => write!(f, "Flushing({group}, {flush:?})"),
            Self::Image { group, index, .. } => write!(f, "Image({group}, {index})"),
            Self::Restored { group, index, .. } => write!(f, "Restored({group}, {index})"),
            Self::Failed { group, why } => write!(f, "Failed({group}, {why})"),
        }
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_group.keys()).finish()
    }
}
