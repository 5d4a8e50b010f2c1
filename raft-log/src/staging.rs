//! From what is to be written to staged frames.

use std::sync::Arc;

use raft_core::{Entry, GroupId, HardState, LogChange, Membership, Position, Write, WriteNumber};

use crate::checkpoint::Seal;
use crate::frame::frame_bytes;
use crate::group_log::GroupLog;
use crate::record::{Body, entries_len};
use crate::wal::WriteAheadLog;

/// A frame that no job has taken yet.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) ticket: u64,
    pub(crate) group: GroupId,
    pub(crate) number: Option<WriteNumber>,
    pub(crate) hard_state: HardState,
    pub(crate) last: Position,
    pub(crate) body: Body,
    /// The length of the body.
    pub(crate) body_len: usize,
}

/// What is staged in one frame at most, where it comes in several writes: a frame is what
/// is read and checked as a whole, even where a single entry of it is wanted.
pub(crate) const MERGED_BYTES: usize = 64 << 10;

impl WriteAheadLog {
    /// Stages the making of a group with nothing in its log. Its record is ordered
    /// before every later write of the group, so nobody needs to wait for it alone.
    ///
    /// An id stands for one Raft group for ever: what a group was before damage is put
    /// together with what it was after by index and term alone.
    ///
    /// # Panics
    /// Where the group exists.
    pub fn create_group(&mut self, group: GroupId, membership: Membership) {
        assert!(self.poisoned || !self.groups.contains_key(&group), "group {group} exists");
        self.stage_reset(group, None, HardState::default(), Position::ZERO, membership);
    }

    /// Stages that a snapshot takes the place of a group's log, as [`LogChange::Reset`] says,
    /// where nobody waits for it: it is ordered before every later write of the group.
    ///
    /// # Panics
    /// Where there is no such group.
    pub fn reset_group(&mut self, group: GroupId, floor: Position, membership: Membership) {
        let known = self.hard_state(group).unwrap_or_else(|| panic!("no group {group}"));
        self.stage_reset(group, None, known, floor, membership);
    }

    /// Stages the removal of a group. Its entries can be collected from then on.
    pub fn remove_group(&mut self, group: GroupId) {
        if self.poisoned {
            return;
        }
        if let Some(mut log) = self.groups.remove(&group) {
            self.cached_bytes -= log.evict_all();
            self.push(group, None, log.hard_state, log.shape.last(), Body::Removed);
            self.leaving.insert((group, self.staged_ticket), log);
        }
    }

    /// Stages a write. Its entries can be read at once; they are durable when
    /// [`WriteAheadLog::complete`] names its number, or a higher one.
    ///
    /// After a failed write or sync this does nothing: no promise can be made any more.
    ///
    /// # Panics
    /// Where the entries do not fit the log (they are checked when they are taken in), or are
    /// of a later term than the hard state that they come with, in which the node would vote
    /// again after a crash (thesis, section 3.8); or the group does not exist and the write is
    /// no reset.
    pub fn stage(&mut self, group: GroupId, write: Write) {
        if self.poisoned {
            return;
        }
        let number = Some(write.number);
        let entries = match write.change {
            Some(LogChange::Reset { floor, membership }) => {
                return self.stage_reset(group, number, write.hard_state, floor, *membership);
            }
            Some(LogChange::Append(entries)) => entries,
            None => Vec::new(),
        };
        if let Some(last) = entries.last() {
            let (known, of) = (write.hard_state.term, last.position());
            assert!(known >= of.term, "group {group}: entry {of} is written in term {known}");
        }
        let entries = Arc::new(entries);
        if self.extend_staged(group, write.number, write.hard_state, &entries) {
            return;
        }
        let ticket = self.staged_ticket + 1;
        let log = self.groups.get_mut(&group).unwrap_or_else(|| panic!("no group {group}"));
        log.hard_state = write.hard_state;
        if !entries.is_empty() {
            let (gained, lost) = log.append(ticket, &entries);
            self.cached_bytes = self.cached_bytes + gained - lost;
            self.cache_order.push_back((ticket, group));
        }
        let last = log.shape.last();
        self.push(group, number, write.hard_state, last, Body::Append(vec![entries]));
        self.shrink_cache();
    }

    /// Puts entries into the frame that was staged last, where that is one of the group
    /// that they simply follow: then they cost no frame of their own, on disk, in the
    /// index and at recovery. Both become durable together anyway, or neither.
    fn extend_staged(
        &mut self,
        group: GroupId,
        number: WriteNumber,
        hard_state: HardState,
        entries: &Arc<Vec<Entry>>,
    ) -> bool {
        let (Some(staged), Some(first)) = (self.staged.back_mut(), entries.first()) else {
            return false;
        };
        let Body::Append(writes) = &mut staged.body else { return false };
        let Some(log) = self.groups.get_mut(&group) else { return false };
        let more = entries_len(entries);
        let follows = staged.group == group
            && staged.hard_state == hard_state
            && staged.last.index.next() == first.index
            && staged.body_len + more <= MERGED_BYTES
            && log.extends(staged.ticket);
        if !follows {
            return false;
        }
        self.cached_bytes += log.extend(staged.ticket, entries);
        staged.last = log.shape.last();
        staged.number = Some(number);
        writes.push(Arc::clone(entries));
        self.staged_bytes -= frame_bytes(staged.body_len) as usize;
        staged.body_len += more;
        self.staged_bytes += frame_bytes(staged.body_len) as usize;
        self.shrink_cache();
        true
    }

    fn stage_reset(
        &mut self,
        group: GroupId,
        number: Option<WriteNumber>,
        hard_state: HardState,
        floor: Position,
        membership: Membership,
    ) {
        if self.poisoned {
            return;
        }
        let log = self.groups.entry(group).or_insert_with(|| GroupLog::new(group));
        log.hard_state = hard_state;
        let (reset, lost) = log.reset(floor, membership);
        let last = log.shape.last();
        self.cached_bytes -= lost;
        self.push(group, number, hard_state, last, Body::Reset(reset));
    }

    pub(crate) fn push(
        &mut self,
        group: GroupId,
        number: Option<WriteNumber>,
        hard_state: HardState,
        last: Position,
        body: Body,
    ) {
        self.staged_ticket += 1;
        let body_len = body.len();
        self.staged_bytes += frame_bytes(body_len) as usize;
        let ticket = self.staged_ticket;
        self.staged.push_back(Staged { ticket, group, number, hard_state, last, body, body_len });
    }

    /// Stages a seal where something durable is covered by no later frame yet: until
    /// then, damage to it would pass for a write that a crash has torn. It also says how every
    /// group stands, without which nobody could go on from damage to what was written last. To
    /// be called
    /// when nothing has been written for a second, and before closing, each time once
    /// all jobs are complete; the seal needs a job like everything else.
    pub fn seal(&mut self) {
        let idle = self.staged.is_empty() && self.out.is_none() && !self.poisoned;
        if idle && self.durable.content > self.durable.covered {
            let groups = self.groups.values().filter_map(GroupLog::change_since_head).collect();
            let gone = |group: &&GroupId| !self.groups.contains_key(group);
            let removed = self.removed_since_head.iter().filter(gone).copied().collect();
            let seal = Body::Seal(Seal { removed, groups });
            self.push(GroupId(0), None, HardState::default(), Position::ZERO, seal);
        }
    }
}
