//! Sending snapshots, at a configured rate.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{Body, GroupId, Instant, NodeId, SnapshotMeta, Token};
use raft_log::{SnapshotError, SnapshotReader};
use raft_state::Input;

use super::effect::Effect;
use super::engine::Engine;
use super::group::SendingSnapshot;
use super::job::Job;
use super::snapshots::RETRY_SNAPSHOT_AFTER;

/// A transfer without progress for this many election timeouts is given up and begun
/// again; the receiver goes on from what it has.
const PATIENCE: u32 = 3;

impl Engine {
    /// Begins to send the newest snapshot; where there is none, one is taken and the
    /// replica asks again.
    pub(crate) fn send_snapshot(&mut self, now: Instant, group: GroupId, to: NodeId, token: Token) {
        let Some(state) = self.groups.get(&group) else { return };
        let (floor, commit) = (state.replica.log().floor().index, state.replica.commit());
        // One below the floor, or below what cannot be read, would leave the follower where it
        // is.
        let least = floor.max(state.unreadable.min(commit));
        // The follower has a part of what was sent to it before, and of nothing else.
        let begun = state.sent.get(&to);
        let begun = begun.and_then(|at| self.snapshots.newest_up_to(group, at.index));
        let newest = self.snapshots.newest_up_to(group, commit);
        let useful = |meta: &&SnapshotMeta| meta.position.index >= least;
        let Some(meta) = begun.filter(useful).or_else(|| newest.filter(useful)).cloned() else {
            // One that reaches no further would be as useless, and taken again and again.
            if state.applying.applied >= least {
                self.take_snapshot(now, group);
            }
            return self.transfer_failed(now, group, to, token.number);
        };
        match self.snapshots.reader(group, meta.position.index) {
            Ok(reader) => {
                let Some(state) = self.groups.get_mut(&group) else { return };
                state.sent.insert(to, meta.position);
                let reader = Some(reader);
                let sending =
                    SendingSnapshot { token, meta, reader, waits_at: None, progress_at: now };
                state.sending.insert(to, sending);
                self.send_piece(now, group, to, 0);
            }
            Err(why) => self.snapshot_unreadable(now, group, to, token.number, &why),
        }
    }

    /// Another snapshot than this one is to be tried next time: it may be the newest, so one is
    /// taken; and not at once again, should that turn out to be as bad.
    fn snapshot_unreadable(
        &mut self,
        now: Instant,
        group: GroupId,
        to: NodeId,
        number: u64,
        why: &SnapshotError,
    ) {
        let why = format!("the snapshot for node {to} cannot be read: {why}");
        self.effects.push_back(Effect::Trouble { why });
        self.take_snapshot(now, group);
        if let Some(state) = self.groups.get_mut(&group) {
            state.sent.remove(&to);
            // It fails again and again meanwhile, which must not put off the next one.
            if now >= state.snapshot_not_before {
                state.snapshot_not_before = now.after(RETRY_SNAPSHOT_AFTER);
            }
        }
        self.transfer_failed(now, group, to, number);
    }

    /// Sends the piece at `offset` once the rate allows it. The transfers that wait have
    /// their turns one after the other.
    fn send_piece(&mut self, now: Instant, group: GroupId, to: NodeId, offset: u64) {
        let Some(sending) = self.sending(group, to) else { return };
        // A piece is being read, or waits, already; its answer will ask for the next.
        if sending.reader.is_some() && sending.waits_at.replace(offset).is_none() {
            self.traffic.pieces.push_back((group, to));
        }
        self.go_on_sending(now);
    }

    /// Has the next pieces read, as far as the rate allows it.
    pub(crate) fn go_on_sending(&mut self, now: Instant) {
        let rate = self.config.snapshot_send_bytes_per_s;
        let max_bytes = self.config.snapshot_piece_bytes;
        while self.traffic.sending.is_free(now) {
            let Some((group, to)) = self.traffic.pieces.pop_front() else { return };
            // The transfer may be over by now.
            let Some(sending) = self.sending(group, to) else { continue };
            let Some(offset) = sending.waits_at.take() else { continue };
            let Some(reader) = sending.reader.take() else { continue };
            sending.progress_at = now;
            let (number, bytes) = (sending.token.number, sending.meta.bytes);
            let most = bytes.saturating_sub(offset).min(max_bytes as u64);
            self.traffic.sending.take(now, most, rate);
            let job = Job::ReadPiece { group, to, number, reader, offset, max_bytes };
            self.effects.push_back(Effect::Run(Box::new(job)));
        }
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
        if let Ok((data, _)) = &outcome {
            // Compressed it is smaller than what was reckoned with.
            let most = reader.meta().bytes.saturating_sub(offset);
            let reckoned = most.min(self.config.snapshot_piece_bytes as u64);
            let rate = self.config.snapshot_send_bytes_per_s;
            self.traffic.sending.give_back(reckoned.saturating_sub(data.len() as u64), rate);
        }
        let Some(state) = self.groups.get_mut(&group) else { return };
        let sending = state.sending.get_mut(&to).filter(|sending| sending.token.number == number);
        let Some(sending) = sending else { return };
        match outcome {
            Ok((data, checksum)) => {
                sending.reader = Some(reader);
                let (token, meta) = (sending.token, Box::new(sending.meta.clone()));
                let body = Body::SnapshotChunk { token, meta, offset, data, checksum };
                let message = state.replica.message(to, body);
                self.send(message);
            }
            Err(why) => {
                state.sending.remove(&to);
                self.snapshot_unreadable(now, group, to, number, &why);
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
            self.send_piece(now, group, from, next_offset);
        }
    }

    pub(crate) fn end_transfer(&mut self, group: GroupId, to: NodeId, token: Token) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        if state.sending.get(&to).is_some_and(|sending| sending.token == token) {
            state.sending.remove(&to);
            state.sent.remove(&to);
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
        let transfers = transfers.filter(|sending| sending.waits_at.is_none());
        transfers.map(|sending| sending.progress_at.after(self.patience())).min()
    }

    pub(crate) fn give_up_transfers(&mut self, now: Instant) {
        let patience = self.patience();
        let mut overdue = Vec::new();
        for (group, state) in &mut self.groups {
            state.sending.retain(|to, sending| {
                let waits = sending.waits_at.is_some();
                let keep = waits || now < sending.progress_at.after(patience);
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
}
