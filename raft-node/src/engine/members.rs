//! The membership in force, and those who must know of it.

use std::sync::Arc;

use raft_core::{GroupId, Index, Membership, NodeId, Position};

use super::effect::Effect;
use super::engine::Engine;
use super::group::Group;

/// The membership in force as it was last told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Where it stands in the log; no other membership ever stands at the same position.
    at: Position,
    pub(crate) index: Index,
    pub(crate) members: Arc<Membership>,
}

impl Told {
    pub(crate) fn of(replica: &raft_state::Replica) -> Self {
        let (at, index) = place(replica);
        Self { at, index, members: Arc::new(replica.membership().clone()) }
    }
}

/// Where the membership in force stands.
fn place(replica: &raft_state::Replica) -> (Position, Index) {
    let log = replica.log();
    let index = log.membership_index();
    let term = log.term_at(index).expect("a membership stands at or above the floor");
    (Position { term, index }, index)
}

impl Engine {
    /// Tells of a membership that came into force, also of one that did because the one
    /// after it was cut away.
    pub(crate) fn note_membership(&mut self, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let (at, index) = place(&state.replica);
        if at == state.told.at {
            return;
        }
        state.told.at = at;
        // Trimming the log moves the place and changes nothing.
        if *state.told.members == *state.replica.membership() {
            return;
        }
        let members = Arc::new(state.replica.membership().clone());
        let before = std::mem::replace(&mut state.told.members, Arc::clone(&members));
        state.told.index = index;
        let gone = |id: &&NodeId| !members.is_member(**id);
        for peer in before.members().keys().filter(gone) {
            state.sending.remove(peer);
            self.liveness.dismiss(*peer, group);
        }
        self.lead_members(group);
        self.effects.push_back(Effect::MembersChanged { group, index, members });
    }
}

impl Group {
    /// Whether a snapshot of the state at `index` could say who the members were. A
    /// replica that joined does not know them below the first entry that names some.
    pub(crate) fn knows_members_at(&self, index: Index) -> bool {
        !self.replica.log().membership_at(index).voters().is_empty()
    }
}
