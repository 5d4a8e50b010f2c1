//! The membership in force, who must know of it, and requests to change it.

use std::sync::Arc;

use raft_core::{GroupId, Index, Instant, MemberChange, Membership, NodeId, Position};
use raft_state::{
    ChangeRefusal, Input, ProposalId, Replica, TransferOutcome, TransferRefusal, Unheard,
};

use super::effect::{Answer, Effect};
use super::engine::Engine;
use super::group::Group;
use super::under_way::assert_own_name;

/// The membership in force as it was last told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) at: Position,
    pub(crate) members: Arc<Membership>,
}

impl Told {
    pub(crate) fn of(replica: &Replica) -> Self {
        let members = Arc::new(replica.membership().clone());
        Self { at: replica.log().membership_position(), members }
    }
}

impl Engine {
    /// True where every group of this node has stopped because the node is no member of it
    /// any more: nothing is left to do.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        let left = |group: &Group| group.removed.is_some() && group.halted.is_some();
        !self.groups.is_empty() && self.groups.values().all(left)
    }

    /// Carries out a change of the members, where this node leads. It is not passed on to
    /// another leader: changes are rare, and whoever asks can go there as well.
    pub(crate) fn on_change(
        &mut self,
        now: Instant,
        group: GroupId,
        id: ProposalId,
        changes: Vec<MemberChange>,
        unheard: Unheard,
    ) {
        assert_own_name([id.0].into_iter());
        if !self.serves(group) {
            let why = ChangeRefusal::NotLeader { leader: None };
            return self.answers.push(Answer::ChangeRefused { id, why });
        }
        if let Some(state) = self.groups.get_mut(&group) {
            state.pending.asked_to_change(id);
        }
        self.step(now, group, Input::ChangeMembers { id, changes, unheard });
    }

    /// Hands leadership over, where this node has it.
    pub(crate) fn on_transfer(
        &mut self,
        now: Instant,
        group: GroupId,
        id: ProposalId,
        to: Option<NodeId>,
    ) {
        assert_own_name([id.0].into_iter());
        if !self.serves(group) {
            let outcome = TransferOutcome::Refused(TransferRefusal::NotLeader { leader: None });
            return self.answers.push(Answer::TransferEnded { id, outcome });
        }
        self.step(now, group, Input::Transfer { id, to });
    }

    /// Answers the changes that are committed.
    pub(crate) fn note_changes(&mut self, group: GroupId) {
        if let Some(state) = self.groups.get_mut(&group) {
            let (replica, answers) = (&state.replica, &mut self.answers);
            state.pending.committed(replica.commit(), |at| replica.log().term_at(at), answers);
        }
    }

    /// Tells of a membership that came into force, also of one that did because the one
    /// after it was cut away.
    pub(crate) fn on_membership_changed(&mut self, group: GroupId) {
        self.lead_members(group);
        let Some(state) = self.groups.get_mut(&group) else { return };
        state.told = Told::of(&state.replica);
        let Told { at, ref members } = state.told;
        state.sending.retain(|peer, _| members.is_member(*peer));
        let members = Arc::clone(members);
        self.effects.push_back(Effect::MembersChanged { group, at, members });
    }

    /// A leader is heard by those who are members now, and by nobody else.
    pub(crate) fn lead_members(&mut self, group: GroupId) {
        let Some(state) = self.groups.get(&group) else { return };
        let replica = &state.replica;
        if replica.is_leader() {
            let members = replica.membership().members().keys();
            let others = members.copied().filter(|id: &NodeId| *id != self.me).collect();
            self.liveness.lead(&others, group, replica.term());
        }
    }

    /// This node is no member any more, by the membership at `at`.
    pub(crate) fn on_removed(&mut self, now: Instant, group: GroupId, at: Position) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.removed = Some(at.index);
        }
        self.leave_group(now, group);
    }

    /// Stops a group of which this node is no member any more, once everybody whose command
    /// is committed and durable here has been answered.
    pub(crate) fn leave_group(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get(&group).filter(|state| state.halted.is_none()) else {
            return;
        };
        let applying = &state.applying;
        // A snapshot that was being installed never will be.
        let cut_off = applying.handed < state.replica.log().floor().index;
        let done = cut_off || applying.applied >= applying.target;
        let Some(index) = state.removed.filter(|_| done) else { return };
        let why = format!("this node is no member any more, by entry {index}");
        self.stop_group(now, group, why);
        self.effects.push_back(Effect::Removed { group, index });
    }
}

impl Group {
    /// Whether a snapshot of the state at `index` could say who the members were. In a log
    /// that began before the first entry named them, one that joined does not know them
    /// below the first change; and while a snapshot of the leader is being installed, the log
    /// begins above the state.
    pub(crate) fn knows_members_at(&self, index: Index) -> bool {
        let log = self.replica.log();
        // What is applied and not in the log any more, since the disk has lost it, may have
        // had another membership than the latest one that is left.
        index <= self.replica.applied()
            && index >= log.floor().index
            && !log.membership_at(index).voters().is_empty()
    }
}
