//! Carrying out what a replica wants.

use raft_core::{Body, Envelope, GroupBeat, GroupId, Instant, Message};
use raft_state::{Output, RoleChange, RoleName};

use super::effect::{Answer, Effect};
use super::engine::Engine;
use super::under_way::is_foreign;

impl Engine {
    pub(crate) fn route(&mut self, now: Instant, group: GroupId, output: Output) {
        match output {
            Output::Persist(write) => {
                self.timings.staged(now);
                self.log.stage(group, write);
            }
            Output::Send(message) => self.send(message),
            Output::SendEntries(request) => self.send_entries(now, group, request),
            Output::SendSnapshot { to, token, .. } => {
                self.send_snapshot(now, group, to, token);
            }
            Output::Apply { up_to } => self.apply_to(now, group, up_to),
            Output::Restore(meta) => self.restore(now, group, &meta),
            Output::Proposed { first, term, ids } => {
                if let Some(state) = self.groups.get_mut(&group) {
                    state.figures.proposals += ids.len() as u64;
                    state.under_way.proposed(now, first, ids.len() as u64);
                    state.pending.proposed(first, term, ids);
                }
            }
            Output::ProposalsRefused { ids, why } => {
                self.count(group, |figures| figures.refused(why, ids.len() as u64));
                let refused = ids.into_iter().map(|id| Answer::ProposalRefused { id, why });
                self.answers.extend(refused);
            }
            Output::ReadsReady { ids, index } => {
                // The reads of other nodes wait there until that much is applied.
                let (there, ids): (Vec<_>, _) = ids.into_iter().partition(|id| is_foreign(*id));
                self.answers.extend(there.into_iter().map(|id| Answer::ReadReady { id, index }));
                if let Some(state) = self.groups.get_mut(&group) {
                    let applied = state.applying.applied;
                    state.figures.reads += ids.len() as u64;
                    state.figures.read_rounds += 1;
                    state.pending.reading(ids, index, applied, &mut self.answers);
                }
            }
            Output::ReadsRefused { ids, why } => {
                self.count(group, |figures| {
                    figures.reads += ids.len() as u64;
                    figures.reads_refused += ids.len() as u64;
                });
                self.answers.extend(ids.into_iter().map(|id| Answer::ReadRefused { id, why }));
            }
            // Nobody on this node can ask for these yet.
            Output::ChangeRefused { .. } | Output::TransferEnded { .. } => {}
            Output::MembershipChanged => self.note_membership(group),
            Output::Removed { at } => {
                let why = format!("the membership at {at} is committed, and has this node no more");
                self.halt(now, group, why);
            }
            Output::RoleChanged(change) => self.on_role_changed(group, change),
            Output::PeerBroken { peer, evidence } => {
                self.effects.push_back(Effect::PeerBroken { group, peer, evidence });
            }
            Output::Halt(evidence) => {
                let why = format!("a leader contradicts what is committed: {evidence:?}");
                self.halt(now, group, why);
            }
        }
    }

    /// Sends a message, a heartbeat as part of the beat between the two nodes.
    pub(crate) fn send(&mut self, message: Message) {
        let Message { group, to, term, ref body, .. } = message;
        match *body {
            Body::Heartbeat { token, commit } => {
                self.liveness.name(to, GroupBeat { group, term, token, commit });
            }
            Body::HeartbeatReply { token, commit } if self.liveness.is_answering(to) => {
                self.liveness.answer(GroupBeat { group, term, token, commit });
            }
            _ => {
                if let Body::SnapshotChunk { data, .. } = &message.body {
                    let bytes = data.len() as u64;
                    self.count(group, |figures| figures.snapshot_bytes_sent += bytes);
                }
                self.outgoing.push(to, Envelope::Group(message));
            }
        }
    }

    fn on_role_changed(&mut self, group: GroupId, change: RoleChange) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let led = state.role == RoleName::Leader;
        state.role = change.role;
        state.figures.leader_changes += u64::from(state.under_way.is_new_leader(change.leader));
        if led {
            state.figures.lost += state.pending.waiting().0;
            state.under_way.leadership_lost();
            state.clock.stop();
            state.pending.leadership_lost(&mut self.answers);
            state.sending.clear();
            self.liveness.stop(group);
        }
        if state.receiving.as_ref().is_some_and(|receiving| Some(receiving.from) != change.leader) {
            state.receiving = None;
        }
        self.forwarding.leader_changed(group, change, &mut self.answers);
        self.liveness.leader_changed(group, change.leader, change.term);
        self.lead_members(group);
        self.effects.push_back(Effect::RoleChanged { group, change });
    }

    /// A leader is heard by those who are members now, and by nobody else.
    pub(crate) fn lead_members(&mut self, group: GroupId) {
        let Some(state) = self.groups.get(&group) else { return };
        let replica = &state.replica;
        if replica.is_leader() {
            let members = replica.membership().members().keys();
            let others = members.copied().filter(|id| *id != self.me).collect();
            self.liveness.lead(&others, group, replica.term());
        }
    }

    /// Stops a group on this node for good, and says why.
    pub(crate) fn halt(&mut self, now: Instant, group: GroupId, why: String) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        if state.halted.is_some() {
            return;
        }
        state.halted = Some(why.clone());
        state.replica.stop();
        state.pending.stopped(&mut self.answers);
        state.sending.clear();
        state.receiving = None;
        self.forwarding.stopped(group, &mut self.answers);
        self.liveness.stop(group);
        self.liveness.leader_changed(group, None, state.replica.term());
        self.effects.push_back(Effect::Halted { group, why });
        self.drain(now, group);
    }
}
