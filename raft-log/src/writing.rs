//! From staged frames to durable ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft_core::{GroupId, WriteNumber};

use crate::checkpoint::{Checkpoint, Seal};
use crate::frame::{ALIGN, BLOCK, FrameHeader, HEADER, align_up, frame_bytes};
use crate::frames::Place;
use crate::group_log::GroupLog;
use crate::jobs::{LaidOut, Moved, Outcome, Target, WriteDone, WriteJob};
use crate::new_segment::Created;
use crate::opening;
use crate::record::Body;
use crate::recovery::segment_path;
use crate::relocating::{Relocated, Relocation};
use crate::staging::Staged;
use crate::wal::{Durable, Outstanding, Segment, Tail, WriteAheadLog};
use crate::{LogError, LogOptions};

impl Tail {
    /// Where a frame with a body of this length stands that is written here.
    fn place(self, body_len: usize) -> Place {
        let length = u32::try_from(HEADER + body_len).expect("a frame below 4 GiB");
        Place { epoch: self.epoch, offset: self.offset, length }
    }
}

impl WriteAheadLog {
    /// The job that makes staged frames durable: as many as fit into the current
    /// segment, or else into a new one. `None` where nothing is staged, a job is out,
    /// or one has failed.
    pub fn next_job(&mut self) -> Option<WriteJob> {
        if self.poisoned {
            return None;
        }
        if self.out.is_some() {
            return self.next_attempt();
        }
        let first = frame_bytes(self.staged.front()?.body_len);
        let mut tail = Tail { offset: align_up(self.tail.offset, BLOCK), ..self.tail };
        let mut durable_upto = self.durable.sequence;
        let switches = tail.offset + first > tail.bytes;
        let target = if switches {
            let size = self.options.segment_bytes;
            let (new, at) = opening::new_segment(self, tail.epoch, durable_upto, first, size);
            tail = at;
            // The head is synced before the frames of this job are written.
            durable_upto = self.next_sequence - 1;
            Target::Create(new, self.take_ready(tail.bytes))
        } else {
            let file = Arc::clone(&self.segments[&tail.epoch].file);
            Target::Open { path: segment_path(&self.dir, tail.epoch), file }
        };
        let offset = tail.offset;
        let mut numbers = BTreeMap::new();
        let mut frames = Vec::new();
        let mut relocations = Vec::new();
        let mut content = if switches { durable_upto } else { self.durable.content };
        while let Some(mut staged) = self.take_staged(tail) {
            if let (Body::Seal(seal), true) = (&mut staged.body, switches) {
                // The head that comes into being with this job says it all.
                *seal = Seal::default();
                staged.body_len = staged.body.len();
            }
            let kind = staged.body.kind();
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            let header = FrameHeader {
                kind,
                group: staged.group,
                epoch: tail.epoch,
                salt: self.salt,
                sequence,
                durable_upto,
                hard_state: staged.hard_state,
                last: staged.last,
            };
            let place = tail.place(staged.body_len);
            relocations.extend(self.note_built(&staged, place));
            tail.offset += frame_bytes(staged.body_len);
            if !matches!(staged.body, Body::Seal(_)) {
                content = sequence;
            }
            numbers.extend(staged.number.map(|number| (staged.group, number)));
            frames.push(LaidOut { header, body: staged.body, place });
        }
        let durable = Durable {
            sequence: self.next_sequence - 1,
            covered: durable_upto,
            content,
            ticket: self.built_ticket,
        };
        let created = switches.then(|| self.needed(tail.epoch));
        let path = segment_path(&self.dir, tail.epoch);
        self.out =
            Some(Outstanding { numbers, durable, tail, created, relocations, path, since: None });
        let bytes = (tail.offset - offset) as usize;
        let buffer = std::mem::take(&mut self.buffer);
        let LogOptions { sync_method, compress_above_bytes, .. } = self.options;
        Some(WriteJob { target, offset, bytes, frames, buffer, sync_method, compress_above_bytes })
    }

    /// The next staged frame, where it fits.
    fn take_staged(&mut self, tail: Tail) -> Option<Staged> {
        let bytes = frame_bytes(self.staged.front()?.body_len);
        if tail.offset + bytes > tail.bytes {
            return None;
        }
        self.staged_bytes -= bytes as usize;
        self.staged.pop_front()
    }

    /// Takes note of where a frame will stand; answers what it relocates, to be noted when it
    /// is durable.
    fn note_built(&mut self, staged: &Staged, place: Place) -> Option<Relocation> {
        self.built_ticket = staged.ticket;
        let (group, ticket) = (staged.group, staged.ticket);
        let mut relocation = None;
        let reset = match &staged.body {
            Body::Seal(_) => return None,
            Body::Removed => {
                self.leaving.remove(&(group, ticket));
                self.removed_since_head.push(group);
                return None;
            }
            Body::Reset(reset) => Some(reset),
            Body::Append(_) => None,
            Body::Relocate(Relocated { from, entries }) => {
                let ends = entries.first().zip(entries.last());
                relocation = ends.map(|(first, last)| {
                    let entries = (first.index, last.index);
                    Relocation { group, from: Arc::clone(from), entries, to: place }
                });
                None
            }
        };
        // Frames staged before a removal belong to the group that is leaving, even
        // where another one has been made in its place.
        let leaving = self.leaving.range_mut((group, ticket)..=(group, u64::MAX)).next();
        let log = leaving.map(|(_, log)| log).or_else(|| self.groups.get_mut(&group));
        let log = log.expect("a group with staged frames is here or leaving");
        log.built(ticket, place, staged.hard_state, staged.last, reset);
        relocation
    }

    /// What the head of the segment `head` restates: every group that the frames built
    /// so far have made.
    pub(crate) fn checkpoints(&mut self, head: u64) -> Vec<Checkpoint> {
        let built = self.built_ticket;
        self.removed_since_head.clear();
        let logs = self.leaving.values_mut().chain(self.groups.values_mut());
        logs.filter_map(|log| log.checkpoint(built, head)).collect()
    }

    /// The earliest segment that is needed, going by the checkpoints of the head of
    /// `epoch`.
    fn needed(&self, epoch: u64) -> u64 {
        if !self.staged.is_empty() {
            // What the groups look like in memory is not what is about to be durable.
            return self.segments.values().next_back().map_or(0, |segment| segment.needs);
        }
        self.groups.values().map(GroupLog::needs).fold(epoch, u64::min)
    }

    /// Takes note of the places of frames that were compressed, or that stand behind such.
    fn take_moved(&mut self, moved: &[Moved], relocations: &mut [Relocation]) {
        for Moved { group, from, to } in moved {
            if let Some(log) = self.groups.get_mut(group) {
                log.moved(*from, *to);
            }
            let mut here = relocations.iter_mut().filter(|relocation| relocation.to == *from);
            if let Some(relocation) = here.next() {
                relocation.to = *to;
            }
        }
    }

    /// Takes note of a finished job; answers, per group, the highest number of the
    /// writes that are durable now: none where there was no room for a new segment. Such a
    /// job waits, and everything that is staged behind it, until
    /// [`try_again`](Self::try_again). Whoever cannot wait asks
    /// [`give_up_waiting`](Self::give_up_waiting).
    ///
    /// # Errors
    /// The job's. This is final: what the disk holds is unknown, so the process must
    /// stop and open the log anew. Until then nothing is staged or promised any more.
    ///
    /// # Panics
    /// Where no job is out.
    pub fn complete(&mut self, done: WriteDone) -> Result<Vec<(GroupId, WriteNumber)>, LogError> {
        let out = self.out.take().expect("a job is out when one is complete");
        let created = match done.outcome {
            Outcome::Durable(created) => created,
            Outcome::NoRoom(mut job, why) => {
                job.buffer = done.buffer;
                self.no_room(job, why, out);
                return Ok(Vec::new());
            }
            Outcome::Failed(why) => {
                self.poisoned = true;
                return Err(why);
            }
        };
        self.buffer = done.buffer;
        self.durable = out.durable;
        self.tail = out.tail;
        let mut relocations = out.relocations;
        if let Some(last) = done.moved.last() {
            // Everything behind the first one has moved.
            self.tail.offset = last.to.offset + align_up(last.to.length.into(), ALIGN);
            self.saved_bytes += out.tail.offset - self.tail.offset;
            self.take_moved(&done.moved, &mut relocations);
        }
        if let (Some(created), Some(needs)) = (created, out.created) {
            let Created { file, origin, named } = created;
            self.preparation.begun(origin, named);
            let bytes = out.tail.bytes;
            let segment = Segment { file, bytes, needs, lacks_head: false, is_unreadable: false };
            self.segments.insert(out.tail.epoch, segment);
        }
        self.take_relocations(relocations);
        self.shrink_cache();
        Ok(out.numbers.into_iter().collect())
    }
}
