//! How groups stand, for the rest of the process and for people.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_core::{Instant, Membership, NodeId};
use raft_state::RoleName;

use crate::engine::GroupView;
use crate::handle::{GroupStatus, PeerStatus, Role};

pub(super) fn status(view: GroupView, now: Instant) -> GroupStatus {
    let GroupView {
        status,
        applied,
        leader_heard,
        members,
        members_at,
        removed,
        halted,
        no_room,
        collection,
        figures,
    } = view;
    let leads = status.role == RoleName::Leader;
    let heard = leader_heard.map(|at| now.since(at)).filter(|_| status.leader.is_some());
    GroupStatus {
        role: role(status.role),
        term: status.term,
        leader: status.leader,
        last: status.last,
        commit: status.commit,
        applied,
        damaged_up_to: status.damaged_up_to.map(|up_to| up_to.index),
        leader_heard: if leads { Some(Duration::ZERO) } else { heard },
        peers: status
            .peers
            .into_iter()
            .map(|peer| PeerStatus {
                id: peer.id,
                matched: peer.matched,
                heard: peer.contact.map(|at| now.since(at)),
            })
            .collect(),
        members,
        members_index: members_at.index,
        removed,
        halted,
        no_room,
        collection,
        figures,
    }
}

/// Who the members are, for people.
pub(super) fn told(members: &Membership) -> String {
    let listed = |ids: &BTreeSet<NodeId>| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.join(", ")
    };
    let mut text = format!("the voters are {}", listed(members.voters()));
    if members.is_joint() {
        text = format!("{text}, together with those before, {}", listed(members.outgoing()));
    }
    if !members.learners().is_empty() {
        text = format!("{text}, the learners {}", listed(members.learners()));
    }
    text
}

pub(super) const fn role(name: RoleName) -> Role {
    match name {
        RoleName::Follower => Role::Follower,
        RoleName::PreCandidate => Role::PreCandidate,
        RoleName::Candidate => Role::Candidate,
        RoleName::Leader => Role::Leader,
    }
}
