//! Snapshots: taking them, sending them, receiving them.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Body, GroupId, Index, Instant, Message, NodeId, Position, SnapshotMeta, Token};
use raft_log::{LogError, SnapshotError, SnapshotReader};
use raft_state::Input;

use super::effect::Effect;
use super::engine::Engine;
use super::group::{Group, ReceivingSnapshot, SendingSnapshot};
use super::job::{Job, ReadFor, SnapshotTrouble, Stored, survivable};
use super::machine::MachineTask;

/// A transfer without progress for this many election timeouts is given up and begun
/// again; the receiver goes on from what it has.
const PATIENCE: u32 = 3;

/// A snapshot that failed is tried again after this long: each try costs an image of
/// the whole state.
const RETRY_SNAPSHOT_AFTER: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks the state machine for an image, unless a snapshot is being taken already.
    pub(crate) fn take_snapshot(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let idle = state.snapshotting.is_none() && now >= state.snapshot_not_before;
        let applied = state.applying.applied;
        if idle && applied > Index::ZERO && state.knows_members_at(applied) {
            state.snapshotting = Some(applied);
            self.effects.push_back(Effect::Machine(MachineTask::Image { group }));
            // The log is let go only below what is durable in the state machine as well.
            self.flush_machine(group);
        }
    }

    pub(crate) fn on_image(
        &mut self,
        now: Instant,
        group: GroupId,
        index: Index,
        image: Box<dyn Read + Send>,
    ) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let log = state.replica.log();
        // A snapshot from the leader may have overtaken this one.
        let Some(term) = log.term_at(index) else {
            state.snapshotting = None;
            return;
        };
        let membership = log.membership_at(index).clone();
        match self.snapshots.writer(group, Position { term, index }, membership) {
            Ok(writer) => {
                let job = Job::WriteSnapshot { group, image, writer };
                self.effects.push_back(Effect::Run(Box::new(job)));
            }
            Err(why) => self.snapshot_trouble(now, group, "cannot be begun", &why),
        }
    }

    pub(crate) fn on_entries_read(
        &mut self,
        now: Instant,
        group: GroupId,
        purpose: ReadFor,
        outcome: Result<Vec<raft_core::Entry>, LogError>,
    ) {
        match (purpose, outcome) {
            (ReadFor::Sending(request), Ok(entries)) => {
                self.send_append(now, group, request, entries);
                self.drain(now, group);
            }
            (ReadFor::Sending(request), Err(why)) => {
                let why = format!("entries of group {group} could not be read for sending: {why}");
                self.effects.push_back(Effect::Trouble { why });
                self.entries_gone(now, group, request);
                self.drain(now, group);
            }
            (ReadFor::Applying { from }, outcome) => self.on_page_read(now, group, from, outcome),
        }
    }

    pub(crate) fn on_snapshot_written(
        &mut self,
        now: Instant,
        group: GroupId,
        outcome: Result<SnapshotMeta, SnapshotTrouble>,
    ) -> Result<(), LogError> {
        match outcome {
            Ok(meta) => {
                self.snapshots.add(group, meta);
                self.drop_old_snapshots();
                if let Some(state) = self.groups.get_mut(&group) {
                    state.snapshotting = None;
                    state.figures.snapshots_taken += 1;
                    state.applying.bytes_since_snapshot = 0;
                }
                self.keep_house(now, group);
            }
            Err(SnapshotTrouble::Snapshot(why)) => {
                let why = survivable(why)?;
                self.snapshot_trouble(now, group, "could not be written", &why);
            }
            Err(why) => self.snapshot_trouble(now, group, "could not be written", &why),
        }
        Ok(())
    }

    /// Lets old snapshots go, unless a newer one still waits to be installed: should
    /// the node stop before that, the older one is what its state is made from.
    pub(crate) fn drop_old_snapshots(&mut self) {
        let waits = |(group, state): (&GroupId, &Group)| {
            let newest = self.snapshots.newest(*group).map(|meta| meta.position.index);
            newest > Some(state.applying.applied)
        };
        if !self.groups.iter().any(waits) {
            let excess = self.snapshots.excess();
            self.effects.extend(excess.map(|job| Effect::Run(Box::new(Job::DropSnapshots(job)))));
        }
    }

    fn snapshot_trouble(
        &mut self,
        now: Instant,
        group: GroupId,
        what: &str,
        why: &dyn std::error::Error,
    ) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.snapshotting = None;
            state.snapshot_not_before = now.after(RETRY_SNAPSHOT_AFTER);
        }
        let why = format!("a snapshot of group {group} {what}: {why}");
        self.effects.push_back(Effect::Trouble { why });
    }

    /// Begins to send the newest snapshot; where there is none, one is taken and the
    /// replica asks again.
    pub(crate) fn send_snapshot(&mut self, now: Instant, group: GroupId, to: NodeId, token: Token) {
        let Some(replica) = self.groups.get(&group).map(|state| &state.replica) else { return };
        // One below the floor would leave the follower where it is.
        let (floor, commit) = (replica.log().floor().index, replica.commit());
        let newest = self.snapshots.newest_up_to(group, commit);
        let Some(meta) = newest.filter(|meta| meta.position.index >= floor).cloned() else {
            self.take_snapshot(now, group);
            return self.transfer_failed(now, group, to, token.number);
        };
        match self.snapshots.reader(group, meta.position.index) {
            Ok(reader) => {
                let Some(state) = self.groups.get_mut(&group) else { return };
                let sending =
                    SendingSnapshot { token, meta, reader: Some(reader), progress_at: now };
                state.sending.insert(to, sending);
                self.read_piece(group, to, 0);
            }
            Err(why) => {
                let why = format!("the snapshot for node {to} cannot be read: {why}");
                self.effects.push_back(Effect::Trouble { why });
                self.take_snapshot(now, group);
                self.transfer_failed(now, group, to, token.number);
            }
        }
    }

    fn read_piece(&mut self, group: GroupId, to: NodeId, offset: u64) {
        let max_bytes = self.config.snapshot_piece_bytes;
        let Some(sending) = self.sending(group, to) else { return };
        let number = sending.token.number;
        // A piece is being read already; its answer will ask for the next.
        let Some(reader) = sending.reader.take() else { return };
        let job = Job::ReadPiece { group, to, number, reader, offset, max_bytes };
        self.effects.push_back(Effect::Run(Box::new(job)));
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one job's end")]
    pub(crate) fn on_piece_read(
        &mut self,
        now: Instant,
        group: GroupId,
        to: NodeId,
        number: u64,
        reader: SnapshotReader,
        offset: u64,
        outcome: Result<(Bytes, u32), SnapshotError>,
    ) {
        let from = self.me;
        let Some(state) = self.groups.get_mut(&group) else { return };
        let term = state.replica.term();
        let sending = state.sending.get_mut(&to).filter(|sending| sending.token.number == number);
        let Some(sending) = sending else { return };
        match outcome {
            Ok((data, checksum)) => {
                sending.reader = Some(reader);
                let (token, meta) = (sending.token, Box::new(sending.meta.clone()));
                let body = Body::SnapshotChunk { token, meta, offset, data, checksum };
                self.send(Message { group, from, to, term, body });
            }
            Err(why) => {
                state.sending.remove(&to);
                let why = format!("the snapshot for node {to} cannot be read: {why}");
                self.effects.push_back(Effect::Trouble { why });
                self.transfer_failed(now, group, to, number);
                self.drain(now, group);
            }
        }
    }

    pub(crate) fn on_chunk_reply(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        token: Token,
        next_offset: u64,
    ) {
        let current = self.sending(group, from).filter(|sending| sending.token == token);
        let Some(sending) = current else { return };
        sending.progress_at = now;
        if next_offset < sending.meta.bytes {
            self.read_piece(group, from, next_offset);
        }
    }

    pub(crate) fn end_transfer(&mut self, group: GroupId, to: NodeId, token: Token) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        if state.sending.get(&to).is_some_and(|sending| sending.token == token) {
            state.sending.remove(&to);
            state.figures.snapshots_sent += 1;
        }
    }

    fn sending(&mut self, group: GroupId, to: NodeId) -> Option<&mut SendingSnapshot> {
        self.groups.get_mut(&group)?.sending.get_mut(&to)
    }

    fn patience(&self) -> Duration {
        self.config.replica.election_timeout * PATIENCE
    }

    /// When the first transfer will have been without progress for too long.
    pub(crate) fn transfer_deadline(&self) -> Option<Instant> {
        let transfers = self.groups.values().flat_map(|state| state.sending.values());
        transfers.map(|sending| sending.progress_at.after(self.patience())).min()
    }

    pub(crate) fn give_up_transfers(&mut self, now: Instant) {
        let patience = self.patience();
        let mut overdue = Vec::new();
        for (group, state) in &mut self.groups {
            state.sending.retain(|to, sending| {
                let keep = now < sending.progress_at.after(patience);
                if !keep {
                    overdue.push((*group, *to, sending.token.number));
                }
                keep
            });
        }
        for (group, to, number) in overdue {
            self.transfer_failed(now, group, to, number);
            self.drain(now, group);
        }
    }

    fn transfer_failed(&mut self, now: Instant, group: GroupId, to: NodeId, number: u64) {
        if let Some(state) = self.groups.get_mut(&group).filter(|state| state.halted.is_none()) {
            state.replica.handle(now, Input::SnapshotFailed { to, number });
        }
    }

    /// Takes in a piece from the leader.
    pub(crate) fn on_chunk(&mut self, now: Instant, message: Message) {
        let Message { group, from, term, .. } = message;
        let body = message.body.clone();
        self.step(now, group, Input::Message(message));
        let Body::SnapshotChunk { token, meta, offset, data, checksum } = body else { return };
        let Some(state) = self.groups.get_mut(&group).filter(|state| state.halted.is_none()) else {
            return;
        };
        if state.replica.leader() != Some(from) || state.replica.term() != term {
            return;
        }
        if meta.position.index <= state.replica.commit() {
            // Nothing in it is new: say so, and replication goes on from there.
            let input = Input::SnapshotReceived { from, term, token, meta };
            return self.step(now, group, input);
        }
        let same = state
            .receiving
            .as_ref()
            .is_some_and(|receiving| receiving.from == from && receiving.meta == *meta);
        if !same {
            match self.snapshots.receiver(group, (*meta).clone()) {
                Ok(receiver) => {
                    let receiver = Some(receiver);
                    let meta = (*meta).clone();
                    state.receiving = Some(ReceivingSnapshot { from, token, meta, receiver });
                }
                Err(why) => {
                    let why = format!("a snapshot from node {from} cannot be stored: {why}");
                    return self.effects.push_back(Effect::Trouble { why });
                }
            }
        }
        let Some(receiving) = &mut state.receiving else { return };
        receiving.token = token;
        // While a piece is being stored others are dropped; the leader asks again.
        if let Some(receiver) = receiving.receiver.take() {
            let total = meta.bytes;
            let job = Job::StorePiece { group, from, receiver, offset, data, checksum, total };
            self.effects.push_back(Effect::Run(Box::new(job)));
        }
    }

    pub(crate) fn on_piece_stored(
        &mut self,
        now: Instant,
        group: GroupId,
        from: NodeId,
        outcome: Result<Stored, SnapshotError>,
    ) -> Result<(), LogError> {
        let me = self.me;
        let Some(state) = self.groups.get_mut(&group) else { return Ok(()) };
        let term = state.replica.term();
        // Another leader's snapshot may have taken the place of the one that this piece
        // belongs to.
        let of = match &outcome {
            Ok(Stored::Partly { receiver, .. }) => Some(receiver.meta()),
            Ok(Stored::Whole(meta)) => Some(meta),
            Err(_) => None,
        };
        let current = state.receiving.as_mut().filter(|receiving| {
            receiving.from == from && of.is_none_or(|of| *of == receiving.meta)
        });
        match outcome {
            Ok(Stored::Partly { receiver, next_offset }) => {
                let Some(receiving) = current else { return Ok(()) };
                receiving.receiver = Some(*receiver);
                let (to, token) = (receiving.from, receiving.token);
                let body = Body::SnapshotChunkReply { token, next_offset };
                self.send(Message { group, from: me, to, term, body });
            }
            Ok(Stored::Whole(meta)) => {
                let token = current.map(|receiving| receiving.token);
                self.snapshots.add(group, meta.clone());
                if let Some(token) = token {
                    state.receiving = None;
                    let meta = Box::new(meta);
                    let input = Input::SnapshotReceived { from, term, token, meta };
                    self.step(now, group, input);
                }
            }
            Err(why) => {
                if current.is_some() {
                    state.receiving = None;
                }
                let why = survivable(why)?;
                let why = format!("a snapshot of group {group} cannot be stored: {why}");
                self.effects.push_back(Effect::Trouble { why });
            }
        }
        Ok(())
    }
}
