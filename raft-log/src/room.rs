//! Whether there is room for what is still to be written, and how long the disk takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::Instant;

use crate::LogError;
use crate::disk::{Disk, Space};
use crate::error::io_error;
use crate::frame::{BLOCK, align_up};
use crate::jobs::{Target, WriteJob};
use crate::wal::{self, WriteAheadLog};

/// How much room the log has for what is still to be written, where no file for another
/// segment can be made. The log refuses nothing itself: whoever owns it keeps to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Room {
    /// There is enough, or files for more segments can be made.
    #[default]
    Plenty,
    /// Little more than the reserve is left: nothing new should be taken in. What a leader
    /// sends still fits.
    Low,
    /// Half of the reserve is used up, or a write waits for room: only what is small and
    /// cannot be done without should be written, such as terms and votes.
    Exhausted,
}

/// Where so many parts of a segment are left beside the reserve, room is low: what is
/// under way must still fit without it.
const LOW_PARTS: u64 = 8;

/// A write that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// The file it goes to.
    pub path: PathBuf,
    /// Since when, as far as [`WriteAheadLog::outstanding`] was told.
    pub since: Instant,
}

/// A job for which there was no room.
#[derive(Debug)]
pub(crate) struct Stuck {
    job: Box<WriteJob>,
    why: LogError,
    again: bool,
}

/// Asks the file system of the log's folder how much room it has.
#[derive(Debug)]
pub struct SpaceJob {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl SpaceJob {
    /// Asks.
    ///
    /// # Errors
    /// [`LogError::Io`] where the operating system does not say.
    pub fn run(self) -> Result<Space, LogError> {
        self.disk.space(&self.dir).map_err(io_error("cannot ask for the room in", &self.dir))
    }
}

impl WriteAheadLog {
    /// How much room there is for what is still to be written.
    #[must_use]
    pub fn room(&self) -> Room {
        if self.stuck.is_some() {
            return Room::Exhausted;
        }
        if !self.preparation.is_failing() {
            return Room::Plenty;
        }
        let tail = self.out.as_ref().map_or(self.tail, |out| out.tail);
        let in_tail = tail.bytes.saturating_sub(align_up(tail.offset, BLOCK));
        let left = in_tail + self.preparation.spare_bytes();
        let left = left.saturating_sub(self.staged_bytes as u64);
        let segment = self.options.segment_bytes;
        let reserve = u64::from(self.options.reserve_segments) * segment;
        if left < reserve / 2 {
            Room::Exhausted
        } else if left < reserve + segment / LOW_PARTS {
            Room::Low
        } else {
            Room::Plenty
        }
    }

    /// Lets the log try again at once what it had no room for: to make a file for a segment
    /// to come, and the write that waits for one. Both are then handed out as before, by
    /// [`prepare`](Self::prepare) and [`next_job`](Self::next_job). The log knows no time;
    /// whoever owns it decides how often.
    pub fn try_again(&mut self) {
        self.preparation.try_again();
        if let Some(stuck) = &mut self.stuck {
            stuck.again = true;
        }
    }

    /// Ends the waiting of a write that had no room, for whoever has nothing to do meanwhile:
    /// nothing more can be written then.
    ///
    /// # Errors
    /// Why there was no room, where a write waits.
    pub fn give_up_waiting(&mut self) -> Result<(), LogError> {
        let Some(stuck) = self.stuck.take() else { return Ok(()) };
        self.poisoned = true;
        Err(stuck.why)
    }

    /// The write that is under way; one that waits for room is none. The first call after
    /// it was handed out says since when, so it is to be asked for after each
    /// [`next_job`](Self::next_job), and after that whether it takes too long.
    pub fn outstanding(&mut self, now: Instant) -> Option<Outstanding> {
        if self.stuck.is_some() {
            return None;
        }
        let out = self.out.as_mut()?;
        let since = *out.since.get_or_insert(now);
        Some(Outstanding { path: out.path.clone(), since })
    }

    /// Since when a write is under way, where that was noted.
    #[must_use]
    pub fn outstanding_since(&self) -> Option<Instant> {
        self.out.as_ref().filter(|_| self.stuck.is_none())?.since
    }

    /// The job that asks how much room there is.
    #[must_use]
    pub fn ask_for_space(&self) -> SpaceJob {
        SpaceJob { disk: Arc::clone(&self.disk), dir: self.dir.clone() }
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps a job for which there was no room, with what it will achieve.
    pub(crate) fn no_room(&mut self, job: Box<WriteJob>, why: LogError, out: wal::Outstanding) {
        self.out = Some(wal::Outstanding { since: None, ..out });
        self.stuck = Some(Stuck { job, why, again: false });
    }

    /// The job that had no room, once it is to be tried again or there is a file for it.
    pub(crate) fn next_attempt(&mut self) -> Option<WriteJob> {
        let stuck = self.stuck.as_ref()?;
        let Target::Create(new, _) = &stuck.job.target else {
            unreachable!("only a new segment needs room");
        };
        let bytes = new.bytes;
        if !stuck.again {
            return None;
        }
        let mut job = *self.stuck.take()?.job;
        // Segments that were collected meanwhile may have left one.
        if let Target::Create(_, ready) = &mut job.target {
            *ready = self.take_ready(bytes);
        }
        Some(job)
    }
}
