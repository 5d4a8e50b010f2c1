//! The node's disk as its engine sees it: whether there is room, and whether it answers.
//!
//! Where room is low, nothing new is taken in and leadership goes to a node that has room;
//! terms, votes, reads, and trimming go on. Where it is exhausted, entries from leaders are
//! not taken in either: they are sent again. All of it ends by itself once there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raft_core::{Body, Entry, EntryKind, GroupId, Instant};
use raft_log::{LogError, Outstanding, Room, Space};
use raft_state::{Input, Proposal, ProposalId, Refusal};

use super::effect::{Answer, Effect};
use super::engine::Engine;
use super::job::Job;

/// How often the file system is asked how much room it has: while nothing is written, while
/// room is low, and at most.
const ASK_IDLE: Duration = Duration::from_secs(5);
const ASK_LOW: Duration = Duration::from_secs(1);
const ASK_AT_MOST: Duration = Duration::from_millis(500);

/// The log tries this often at most to make files that it had no room for.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// A group that comes back to a node without room is handed on after this long: where no
/// node has any, leadership must not go round.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(30);

/// Unless it is configured, so much must be free, and no more than this part of the whole.
const MIN_FREE_BYTES: u64 = 256 << 20;
const MIN_FREE_PART: u64 = 10;

/// A transfer that the engine itself has asked for.
pub(crate) const OWN_TRANSFER: ProposalId = ProposalId(u64::MAX);

/// What is known of the disk.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    space: Option<Space>,
    /// Whether the file system could not be asked the last time.
    unanswered: bool,
    asking: bool,
    asked_at: Instant,
    ask_at: Instant,
    try_at: Instant,
    /// Less is free than must be.
    scarce: bool,
    room: Room,
    /// The groups that are being handed over, and when others may be again.
    leaving: BTreeSet<GroupId>,
    pub(crate) not_before: BTreeMap<GroupId, Instant>,
    /// The write that has been under way for too long, once that was said.
    stalled: Option<Outstanding>,
    stalls: u64,
}

/// How the disk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DiskFigures {
    /// Whether there is room for what is still to be written.
    pub room: Room,
    /// What is free on its file system, in bytes, as far as that is known.
    pub free_bytes: Option<u64>,
    /// What must be free for writes to be taken, in bytes.
    pub min_free_bytes: u64,
    /// Writes of the log that took longer than [`super::EngineConfig::stall_after`].
    pub stalls: u64,
    /// Whether one does now.
    pub stalled: bool,
}

impl DiskWatch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            space: None,
            unanswered: false,
            asking: false,
            asked_at: now,
            ask_at: now,
            try_at: now,
            scarce: false,
            room: Room::Plenty,
            leaving: BTreeSet::new(),
            not_before: BTreeMap::new(),
            stalled: None,
            stalls: 0,
        }
    }

    /// Something was written: how much room there is now is asked soon.
    pub(crate) fn written(&mut self) {
        self.ask_at = self.ask_at.min(self.asked_at.after(ASK_AT_MOST));
    }

    /// A transfer that the engine has asked for is over.
    pub(crate) fn handed_over(&mut self, group: GroupId) {
        self.leaving.remove(&group);
    }

    pub(crate) const fn room(&self) -> Room {
        self.room
    }

    fn min_free(&self, configured: Option<u64>) -> u64 {
        let total = self.space.map_or(u64::MAX, |space| space.total_bytes);
        configured.unwrap_or_else(|| MIN_FREE_BYTES.min(total / MIN_FREE_PART))
    }
}

impl Engine {
    /// How the disk stands.
    pub(crate) fn disk_figures(&self) -> DiskFigures {
        let disk = &self.disk;
        DiskFigures {
            room: disk.room,
            free_bytes: disk.space.map(|space| space.free_bytes),
            min_free_bytes: disk.min_free(self.config.min_free_bytes),
            stalls: disk.stalls,
            stalled: disk.stalled.is_some(),
        }
    }

    /// Why nothing new is taken in here, and what to do; `None` where it is.
    pub(crate) fn no_room(&self) -> Option<String> {
        let dir = self.log.dir().parent().unwrap_or(self.log.dir()).display();
        let what = match self.disk.room {
            Room::Plenty => return None,
            Room::Low if self.disk.scarce => {
                let free = self.disk.space.map_or(0, |space| space.free_bytes) >> 20;
                let min = self.disk.min_free(self.config.min_free_bytes) >> 20;
                format!("{free} MiB are free in {dir}, and {min} MiB must be")
            }
            Room::Low => format!("no file for more of the log can be made in {dir}"),
            Room::Exhausted => format!("the log's reserve in {dir} is used up"),
        };
        Some(format!("the disk is full: {what}; make room there, and writes are taken again"))
    }

    /// When the disk has to be looked at next.
    pub(crate) fn disk_deadline(&self) -> Option<Instant> {
        let ask = (!self.disk.asking).then_some(self.disk.ask_at);
        let since = self.log.outstanding_since().filter(|_| self.disk.stalled.is_none());
        let stall = since.map(|since| since.after(self.config.stall_after));
        ask.into_iter().chain(stall).min()
    }

    /// Asks how much room there is where that is due, and says what has changed.
    pub(crate) fn watch_room(&mut self, now: Instant) {
        if !self.disk.asking && now >= self.disk.ask_at {
            (self.disk.asking, self.disk.asked_at) = (true, now);
            let job = Job::AskForSpace(self.log.ask_for_space());
            self.effects.push_back(Effect::Run(Box::new(job)));
        }
        let scarce = if self.disk.scarce { Room::Low } else { Room::Plenty };
        let room = self.log.room().max(scarce);
        if room == std::mem::replace(&mut self.disk.room, room) {
            return;
        }
        let why = match self.no_room() {
            Some(why) => format!(
                "{why}. Until then this node refuses writes and hands leadership over where it \
                 can; reads and elections go on"
            ),
            None => "there is room on the disk again: writes are taken".to_owned(),
        };
        self.effects.push_back(Effect::Trouble { why });
        if room == Room::Plenty {
            self.disk.not_before.clear();
        }
        self.leave_full_disk(now);
    }

    pub(crate) fn on_space(&mut self, now: Instant, outcome: Result<Space, LogError>) {
        self.disk.asking = false;
        let failed_before = std::mem::replace(&mut self.disk.unanswered, outcome.is_err());
        match outcome {
            Ok(space) => self.disk.space = Some(space),
            Err(why) if !failed_before => {
                self.effects.push_back(Effect::Trouble { why: why.to_string() });
            }
            Err(_) => {}
        }
        let min = self.disk.min_free(self.config.min_free_bytes);
        let free = self.disk.space.map_or(u64::MAX, |space| space.free_bytes);
        // With a little more than enough, so that it does not change all the time.
        let enough = if self.disk.scarce { min.saturating_add(min / 4) } else { min };
        self.disk.scarce = free < enough;
        if now >= self.disk.try_at && free >= self.config.log.segment_bytes {
            self.disk.try_at = now.after(TRY_AGAIN);
            self.log.try_again();
            self.prepare_segment();
        }
        let pause = if self.disk.room == Room::Plenty { ASK_IDLE } else { ASK_LOW };
        self.disk.ask_at = now.after(pause);
        self.watch_room(now);
        self.leave_full_disk(now);
    }

    /// Hands over what is led here while there is no room: others may have some.
    fn leave_full_disk(&mut self, now: Instant) {
        if self.disk.room == Room::Plenty {
            return;
        }
        let led = self.groups.iter().filter(|(_, state)| state.replica.is_leader());
        let not_before = &self.disk.not_before;
        let due = |group: &GroupId| not_before.get(group).is_none_or(|at| now >= *at);
        let groups: Vec<GroupId> = led.map(|(group, _)| *group).filter(due).collect();
        for group in groups {
            self.disk.not_before.insert(group, now.after(HAND_OVER_AGAIN));
            self.disk.leaving.insert(group);
            self.step(now, group, Input::Transfer { id: OWN_TRANSFER, to: None });
        }
    }

    /// Hands commands to a replica, where there is room for them if it leads.
    pub(crate) fn propose(&mut self, now: Instant, group: GroupId, proposals: Vec<Proposal>) {
        let leads = self.groups.get(&group).is_some_and(|state| state.replica.is_leader());
        // Of one that is being handed over the replica says that itself, and soon another
        // leader takes them.
        if self.disk.room == Room::Plenty || !leads || self.disk.leaving.contains(&group) {
            return self.step(now, group, Input::Propose(proposals));
        }
        let why = Refusal::NoRoom;
        self.count(group, |figures| figures.refused(why, proposals.len() as u64));
        let refused = |Proposal { id, .. }| Answer::ProposalRefused { id, why };
        self.answers.extend(proposals.into_iter().map(refused));
    }

    /// Whether a message has to be dropped for want of room, as if it had been lost: one
    /// with commands, which take as much room as clients like.
    pub(crate) fn has_no_room_for(&self, body: &Body) -> bool {
        let is_small =
            |entry: &Entry| matches!(entry.kind, EntryKind::Blank | EntryKind::Membership);
        match body {
            Body::Append { entries, .. } => {
                self.disk.room == Room::Exhausted && !entries.iter().all(is_small)
            }
            _ => false,
        }
    }

    /// Notices a write that takes too long, and its end.
    pub(crate) fn watch_writes(&mut self, now: Instant) {
        let outstanding = self.log.outstanding(now);
        if self.disk.stalled.is_some() && self.disk.stalled != outstanding {
            let ended = self.disk.stalled.take();
            let took = ended.map_or(Duration::ZERO, |write| now.since(write.since));
            let why = format!("the disk answers again, after {} ms", took.as_millis());
            self.effects.push_back(Effect::Trouble { why });
        }
        let Some(write) = outstanding.filter(|_| self.disk.stalled.is_none()) else { return };
        let waited = now.since(write.since);
        if waited >= self.config.stall_after {
            self.disk.stalls += 1;
            let why = format!(
                "the disk is stalled: a write to {} has been under way for {} ms; what rests on it \
                 waits, heartbeats and elections do not",
                write.path.display(),
                waited.as_millis()
            );
            self.effects.push_back(Effect::Trouble { why });
            self.disk.stalled = Some(write);
        }
    }
}
