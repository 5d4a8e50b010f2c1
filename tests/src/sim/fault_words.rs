//! Faults in plain words.

use std::time::Duration;

use raft_core::NodeId;

use super::faults::Fault;

impl Fault {
    /// The place of the node it strikes, where it is one.
    pub(super) const fn place(self) -> Option<usize> {
        match self {
            Self::Kill(node)
            | Self::PowerCut(node)
            | Self::TearAt(node, _)
            | Self::FailSync(node)
            | Self::FailChange(node, _)
            | Self::Stall(node, _)
            | Self::SlowDisk(node, ..)
            | Self::Pause(node, _)
            | Self::CutOff(node)
            | Self::CutOneWay(node, _)
            | Self::Drift(node)
            | Self::Wipe(node)
            | Self::Rot(node, _)
            | Self::RotWhileRunning(node, _)
            | Self::Suspend(node, _)
            | Self::Bridge(node)
            | Self::Clog(node, ..)
            | Self::Lag(node, ..)
            | Self::HearsLate(node, _)
            | Self::Echo(node)
            | Self::Jump(node, _)
            | Self::FailReads(node, ..)
            | Self::MisdirectReads(node, _)
            | Self::FillDisk(node, ..) => Some(node),
            Self::Blackout
            | Self::CutOffLeader
            | Self::FadeLeader(..)
            | Self::Mend
            | Self::DriftApart => None,
        }
    }

    /// How long it lasts, where it is about one node and says so.
    pub(super) const fn lasts(self) -> Option<Duration> {
        match self {
            Self::Stall(_, long)
            | Self::Pause(_, long)
            | Self::Suspend(_, long)
            | Self::SlowDisk(_, _, long)
            | Self::FillDisk(_, _, long) => Some(long),
            _ => None,
        }
    }

    /// What it does, where `id` tells which node has a place.
    pub(super) fn words(self, id: impl Fn(usize) -> NodeId) -> String {
        match self {
            Self::Kill(node) => format!("the process of node {} is killed", id(node)),
            Self::PowerCut(node) => format!("the machine of node {} loses its power", id(node)),
            Self::Blackout => "all machines lose their power".to_owned(),
            Self::TearAt(node, change) => {
                format!("node {} loses its power in its write number {change} from now", id(node))
            }
            Self::FailSync(node) => format!("the next sync of node {} fails", id(node)),
            Self::FailChange(node, change) => {
                format!("write number {change} of node {} from now on fails", id(node))
            }
            Self::Stall(node, long) => {
                format!("the disk of node {} stalls for {} ms", id(node), long.as_millis())
            }
            Self::SlowDisk(node, more, long) => {
                let (more, ms) = (more.as_millis(), long.as_millis());
                format!(
                    "writes, flushes and reads of node {} take {more} ms more, for {ms} ms",
                    id(node)
                )
            }
            Self::Pause(node, long) => {
                format!("the process of node {} is paused for {} ms", id(node), long.as_millis())
            }
            Self::Suspend(node, long) => {
                format!("the machine of node {} is suspended for {} ms", id(node), long.as_millis())
            }
            Self::CutOff(node) => format!("node {} is cut off from all others", id(node)),
            Self::CutOffLeader => "a leader is cut off from all others".to_owned(),
            Self::CutOneWay(from, to) => {
                format!("nothing reaches node {} from node {}", id(to), id(from))
            }
            Self::Bridge(node) => {
                format!("two parts of the cluster hear only node {} of each other", id(node))
            }
            Self::Clog(from, to, long) => {
                format!("from node {} to node {} nothing arrives for {long:?}", id(from), id(to))
            }
            Self::Lag(from, to, more) => {
                let ms = more.as_millis();
                format!("from node {} to node {} all takes {ms} ms more", id(from), id(to))
            }
            Self::HearsLate(node, more) => {
                format!("all that node {} is told takes {} ms more", id(node), more.as_millis())
            }
            Self::FadeLeader(late, then) => {
                format!("all that a leader is told takes {late:?} more; in {then:?} it is silent")
            }
            Self::Echo(node) => {
                format!("node {} leads anew, and its next run hears the same again", id(node))
            }
            Self::Mend => "the network is whole again".to_owned(),
            Self::Drift(node) => format!("the clock of node {} changes its pace", id(node)),
            Self::DriftApart => "the clocks of leaders get slow and all others get fast".to_owned(),
            Self::Wipe(node) => format!("node {} is to lose its disk", id(node)),
            Self::Jump(node, by) => {
                format!("the clock of node {} jumps forward by {} ms", id(node), by.as_millis())
            }
            Self::Rot(..)
            | Self::RotWhileRunning(..)
            | Self::FailReads(..)
            | Self::MisdirectReads(..)
            | Self::FillDisk(..) => self.disk_words(id),
        }
    }

    /// The same of what a disk loses, or refuses when it is read or written.
    fn disk_words(self, id: impl Fn(usize) -> NodeId) -> String {
        match self {
            Self::Rot(node, damage) => {
                format!("node {} is to crash and its disk to be damaged: {damage:?}", id(node))
            }
            Self::RotWhileRunning(node, damage) => {
                format!("the disk of node {} is to be damaged in use: {damage:?}", id(node))
            }
            Self::FailReads(node, passing, count) => {
                format!("after {passing} reads of node {} the next {count} fail", id(node))
            }
            Self::MisdirectReads(node, count) => {
                format!("{count} reads of node {} return what stands elsewhere", id(node))
            }
            Self::FillDisk(node, left, long) => {
                let ms = long.as_millis();
                format!("the disk of node {} has room for {left} bytes only, for {ms} ms", id(node))
            }
            _ => unreachable!("{self:?} is no fault of a disk"),
        }
    }
}
