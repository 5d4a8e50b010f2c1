//! The seam between consensus and what it is for.

use std::io::{self, Read};

use bytes::Bytes;
use raft_core::{GroupTime, Index};

/// A committed command on its way into a state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it stands in the group's log.
    pub index: Index,
    /// What was proposed.
    pub payload: Bytes,
}

/// What came of [`StateMachine::begin_flush`].
pub enum Flush {
    /// Everything up to here is durable.
    Done(Index),
    /// The work, which returns up to where everything is durable once it is done.
    Job(FlushWork),
}

/// Work that makes what is applied durable.
pub type FlushWork = Box<dyn FnOnce() -> io::Result<Index> + Send>;

/// What a stop calls: see [`StateMachine::give_up`].
pub type GiveUp = Box<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Flush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(index) => write!(f, "Done({index})"),
            Self::Job(_) => f.write_str("Job"),
        }
    }
}

/// What a state machine knows of its group's time, and whether it waits for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timekeeping {
    /// The time that it was told last.
    pub reached: GroupTime,
    /// What it waits for.
    pub wants: WantsTime,
}

/// Whether a state machine waits for its group's time to go on. The leader's engine then
/// puts the time into the log; otherwise it spares the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WantsTime {
    /// Nothing here depends on it.
    #[default]
    Never,
    /// Something has happened since it was told last, and is to have a time.
    Soon,
    /// Something expires then.
    At(GroupTime),
}

/// The state of one group, changed only by committed commands.
///
/// Calls come from one thread at a time, in the order of the log, without a gap.
/// Everything here must be deterministic: the same commands give the same state
/// and the same answers on every replica.
///
/// Invariants that an implementation keeps:
/// - [`applied`](Self::applied) never decreases while it lives. After a restart it
///   may be as old as the last [`flush`](Self::flush), never older; what follows is
///   applied again.
/// - A state is never visible with another's applied index.
///
/// [`crate::conformance`] checks an implementation against all this.
///
/// An error is final: the group stops and says why, since a replica that skipped a
/// command would no longer equal the others.
pub trait StateMachine: Send {
    /// The last index whose effect is in the state.
    fn applied(&self) -> Index;

    /// Applies `commands` in order and moves [`applied`](Self::applied) to `up_to`,
    /// which is at or above the last of them (entries that are not commands move it
    /// too). Returns one answer per command. Need not be durable.
    ///
    /// # Errors
    /// Where the state cannot be changed; nothing of the batch may be visible then.
    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>>;

    /// Takes in the group's time, which the entry at `index` states, and moves
    /// [`applied`](Self::applied) to `index`. Whatever expires does so here and not by a
    /// clock: here it happens at the same place on every replica (Raft thesis, section
    /// 6.3). Should a time lie before the one told last, that one holds.
    /// A state machine in which nothing expires leaves this as it is.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn advance(&mut self, index: Index, time: GroupTime) -> io::Result<()> {
        let _ = time;
        self.apply(&[], index).map(drop)
    }

    /// What the state knows of the group's time and waits for. Asked after each batch.
    fn timekeeping(&self) -> Timekeeping {
        Timekeeping::default()
    }

    /// Makes everything applied so far durable and returns the index it reaches. A
    /// state machine that keeps nothing on disk returns the applied index: after a
    /// restart it is given the newest snapshot and the log above it.
    ///
    /// # Errors
    /// Where durability cannot be promised.
    fn flush(&mut self) -> io::Result<Index>;

    /// Like [`flush`](Self::flush), for use while commands go on: a state machine for
    /// which that takes long returns the work as a job that is done on another thread,
    /// so that it holds no command up. There is at most one job under way at a time. One
    /// that has not begun when the node stops is dropped; a stop ends with
    /// [`flush`](Self::flush) in any case.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    fn begin_flush(&mut self) -> io::Result<Flush> {
        self.flush().map(Flush::Done)
    }

    /// What is called, on any thread, when the node stops: whatever this state machine does
    /// and may wait long for, as for room on a full disk, is to fail then instead. `None`
    /// where nothing waits.
    fn give_up(&self) -> Option<GiveUp> {
        None
    }

    /// A consistent image of the state at [`applied`](Self::applied). It must stay
    /// what it is while later commands are applied, and is read on another thread.
    ///
    /// # Errors
    /// Where the state cannot be read.
    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>>;

    /// Replaces the state by an image that [`snapshot`](Self::snapshot) made at `index`,
    /// durably and in one step: a crash leaves the old state or the new one.
    ///
    /// # Errors
    /// Where the image cannot be read or stored; the old state stays.
    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()>;
}
