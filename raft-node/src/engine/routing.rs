//! Carrying out what a replica wants.

use raft_core::{Body, Envelope, GroupBeat, GroupId, Instant, Message};
use raft_state::{Output, RoleChange, RoleName};

use super::disk_watch::OWN_TRANSFER;
use super::effect::{Answer, Effect};
use super::engine::Engine;
use super::pending::Proposed;
use super::snapshots::SnapshotRefusal;
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
                let Some(state) = self.groups.get_mut(&group) else { return };
                if state.pending.changing(first, term, &ids) == Proposed::Change {
                    return;
                }
                state.figures.proposals += ids.len() as u64;
                state.under_way.proposed(now, first, ids.len() as u64);
                state.pending.proposed(first, term, ids);
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
            Output::ChangeRefused { id, why } => {
                if let Some(state) = self.groups.get_mut(&group) {
                    state.pending.change_refused();
                }
                self.answers.push(Answer::ChangeRefused { id, why });
            }
            Output::TransferEnded { id: OWN_TRANSFER, .. } => self.disk.handed_over(group),
            Output::TransferEnded { id, outcome } => {
                self.answers.push(Answer::TransferEnded { id, outcome });
            }
            Output::MembershipChanged => self.on_membership_changed(group),
            Output::Removed { at } => self.on_removed(now, group, at),
            Output::RoleChanged(change) => self.on_role_changed(group, change),
            Output::PeerBroken { peer, evidence } => {
                self.effects.push_back(Effect::PeerBroken { group, peer, evidence });
            }
            Output::Halt(evidence) => {
                let why = format!("a leader contradicts what is committed: {evidence:?}");
                self.halt(now, group, why);
            }
            Output::Unreadable { from } => self.makes_way(now, group, from),
        }
    }

    /// Sends a message, a heartbeat as part of the beat between the two nodes.
    pub(crate) fn send(&mut self, message: Message) {
        let Message { group, to, to_disk, term, ref body, .. } = message;
        match *body {
            // A leader that leaves says how far it is; no beat speaks for it any more.
            Body::Heartbeat { token, commit } if self.leads(group, term) => {
                self.liveness.name(to, GroupBeat { group, to_disk, term, token, commit });
            }
            Body::HeartbeatReply { token, commit } if self.liveness.is_answering(to) => {
                self.liveness.answer(GroupBeat { group, to_disk, term, token, commit });
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
            let (replica, answers) = (&state.replica, &mut self.answers);
            let commit = replica.commit();
            // What is committed here will be applied here, whoever leads.
            state.pending.committed(commit, |at| replica.log().term_at(at), answers);
            state.figures.lost += state.pending.leadership_lost(commit, answers);
            state.under_way.leadership_lost();
            state.clock.stop();
            state.sending.clear();
            state.sent.clear();
            self.liveness.stop(group);
        }
        self.forwarding.leader_changed(group, change, &mut self.answers);
        self.liveness.leader_changed(group, change.leader, change.term);
        self.lead_members(group);
        self.effects.push_back(Effect::RoleChanged { group, change });
    }

    /// Stops a group on this node for good, and says why.
    pub(crate) fn halt(&mut self, now: Instant, group: GroupId, why: String) {
        if self.serves(group) {
            self.stop_group(now, group, why.clone());
            self.effects.push_back(Effect::Halted { group, why });
        }
    }

    /// Answers everybody who waits for a group, and takes it out of everything. Clients are
    /// told `why`.
    pub(crate) fn stop_group(&mut self, now: Instant, group: GroupId, why: String) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        state.halted = Some(why.clone());
        state.replica.stop();
        state.pending.stopped(&mut self.answers);
        state.sending.clear();
        state.receiving = None;
        let refusal = SnapshotRefusal::Halted(why);
        self.refuse_wanted(group, &refusal);
        self.forwarding.stopped(group, &mut self.answers);
        self.liveness.stop(group);
        let Some(term) = self.groups.get(&group).map(|state| state.replica.term()) else { return };
        self.liveness.leader_changed(group, None, term);
        self.drain(now, group);
    }
}
