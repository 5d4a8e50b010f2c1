//! Receiving snapshots.

use raft_core::{Body, GroupId, Instant, Message};
use raft_log::{LogError, SnapshotError};
use raft_state::Input;

use super::effect::Effect;
use super::engine::Engine;
use super::group::ReceivingSnapshot;
use super::job::{Job, Stored, survivable};

impl Engine {
    /// Takes in a piece from the leader.
    pub(crate) fn on_chunk(&mut self, now: Instant, message: Message) {
        let Message { group, from, term, .. } = message;
        let (body, meant) = (message.body.clone(), message.means(self.incarnation));
        self.step(now, group, Input::Message(message));
        if !meant {
            return;
        }
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
        if self.snapshots.newest_up_to(group, meta.position.index) == Some(&*meta) {
            // All of it came from an earlier leader, too late to be installed then.
            let input = Input::SnapshotReceived { from, term, token, meta };
            return self.step(now, group, input);
        }
        // Whoever sends the same goes on where another has stopped.
        let same = state.receiving.as_ref().is_some_and(|receiving| receiving.meta == *meta);
        if !same {
            match self.snapshots.receiver(group, (*meta).clone()) {
                Ok(receiver) => {
                    let (receiver, meta) = (Some(receiver), (*meta).clone());
                    state.receptions += 1;
                    let number = state.receptions;
                    let receiving = ReceivingSnapshot { number, from, token, meta, receiver };
                    state.receiving = Some(receiving);
                }
                Err(why) => {
                    let why = format!("a snapshot from node {from} cannot be stored: {why}");
                    return self.effects.push_back(Effect::Trouble { why });
                }
            }
        }
        let Some(receiving) = &mut state.receiving else { return };
        (receiving.from, receiving.token) = (from, token);
        // While a piece is being stored others are dropped; the leader is told then what is
        // wanted next, whoever leads.
        if let Some(receiver) = receiving.receiver.take() {
            let (number, total) = (receiving.number, meta.bytes);
            let job = Job::StorePiece { group, number, receiver, offset, data, checksum, total };
            self.effects.push_back(Effect::Run(Box::new(job)));
        }
    }

    /// Lets go of what is being received where the state here has come as far by itself. A
    /// part of it goes with the next snapshot.
    pub(crate) fn drop_overtaken(&mut self, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let commit = state.replica.commit();
        state.receiving.take_if(|receiving| receiving.meta.position.index <= commit);
    }

    pub(crate) fn on_piece_stored(
        &mut self,
        now: Instant,
        group: GroupId,
        number: u64,
        outcome: Result<Stored, SnapshotError>,
    ) -> Result<(), LogError> {
        let me = self.me;
        let Some(state) = self.groups.get_mut(&group) else { return Ok(()) };
        let term = state.replica.term();
        // Another snapshot may have taken the place of the one that this piece belongs to.
        let current = state.receiving.as_mut().filter(|receiving| receiving.number == number);
        match outcome {
            Ok(Stored::Partly { receiver, next_offset }) => {
                let Some(receiving) = current else { return Ok(()) };
                receiving.receiver = Some(*receiver);
                let (to, token) = (receiving.from, receiving.token);
                let body = Body::SnapshotChunkReply { token, next_offset };
                self.send(Message::new(group, me, to, term, body));
            }
            Ok(Stored::Whole(meta)) => {
                let whom = current.map(|receiving| (receiving.from, receiving.token));
                self.snapshots.add(group, meta.clone());
                if let Some((from, token)) = whom {
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
