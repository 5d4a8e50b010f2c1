//! Whom this node talks to: the members, as its log names them.
//!
//! The configuration names members only to form a new cluster. From then on the log does,
//! by the latest membership in it, committed or not (Raft thesis, section 4.1), with the
//! addresses and the disk of each.

use std::collections::BTreeMap;

use raft_core::{Envelope, GroupId, Incarnation, Membership, NodeId, Position};
use raft_rpc::grpc::{GrpcTransport, Pinned, Standing};

use super::formation::IdentityBoard;
use crate::config::MemberAddress;
use crate::shell::Outbound;

/// Carries what the engine sends, and keeps the transport and the board in step with the
/// membership in force.
#[derive(Clone)]
pub(super) struct Roster {
    transport: GrpcTransport,
    board: IdentityBoard,
    me: NodeId,
    incarnation: Incarnation,
    /// Where this node is reached as long as no membership says so.
    own: MemberAddress,
}

impl Roster {
    pub(super) const fn new(
        transport: GrpcTransport,
        board: IdentityBoard,
        me: NodeId,
        incarnation: Incarnation,
        own: MemberAddress,
    ) -> Self {
        Self { transport, board, me, incarnation, own }
    }
}

impl Outbound for Roster {
    fn send(&self, to: NodeId, envelopes: Vec<Envelope>) {
        self.transport.send(to, envelopes);
    }

    fn members_changed(&self, _group: GroupId, at: Position, members: &Membership) {
        for link in self.transport.peers() {
            if !members.is_member(link.id) {
                // It may still have to hear that it is no member any more.
                self.transport.dismiss_peer(link.id);
            }
        }
        let addresses = addresses(members);
        for (id, member) in members.members().iter().filter(|(id, _)| **id != self.me) {
            match addresses.get(id) {
                Some(address) => {
                    let pinned = Pinned { incarnation: member.incarnation, since: at };
                    self.transport.set_pinned_peer(*id, address.peer.clone(), pinned);
                }
                None => tracing::error!(
                    "nobody knows where node {id} is reached: the membership at {at} says \
                     nothing that this version understands"
                ),
            }
        }
        let own = members.members().get(&self.me);
        let named = own.is_some_and(|member| member.incarnation == self.incarnation);
        let address = addresses.get(&self.me).unwrap_or(&self.own).peer.clone();
        let named_at = if named { at } else { Position::ZERO };
        self.transport.set_standing(Standing { address, named_at });
        if !members.members().is_empty() {
            let disks = members.members().iter().map(|(id, member)| (*id, member.incarnation));
            self.board.set_members(disks.collect());
        }
    }
}

/// Where the members are reached, as the membership says.
pub(super) fn addresses(members: &Membership) -> BTreeMap<NodeId, MemberAddress> {
    let members = members.members().iter();
    members
        .filter_map(|(id, member)| Some((*id, MemberAddress::from_data(&member.data)?)))
        .collect()
}

/// What is to be said where a node is configured with other members, or other addresses of
/// them, than its cluster has.
pub(super) fn difference(
    configured: &BTreeMap<NodeId, MemberAddress>,
    members: &Membership,
) -> Option<String> {
    let known = addresses(members);
    // A node that joins is told of nobody, and one that has just joined knows nobody.
    if configured.is_empty() || members.members().is_empty() {
        return None;
    }
    let text = |all: &BTreeMap<NodeId, MemberAddress>| {
        let each = all.iter().map(|(id, at)| format!("{id}={}/{}", at.peer, at.client));
        each.collect::<Vec<_>>().join(",")
    };
    let (ours, theirs) = (text(configured), text(&known));
    (ours != theirs).then(|| {
        format!(
            "the configuration lists the members {ours}, and the cluster has {theirs}: the \
             cluster's own list counts; change it with raft-node member, and correct the \
             configuration when you like"
        )
    })
}

#[cfg(test)]
mod tests {
    use raft_core::Member;

    use super::*;

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn at(host: &str) -> MemberAddress {
        MemberAddress { peer: format!("{host}:1"), client: format!("{host}:2"), name: None }
    }

    fn membership(of: &[(u64, &str)]) -> Membership {
        let member = |host| Member { data: at(host).to_data(), ..Member::default() };
        let members = of.iter().map(|(n, host)| (id(*n), member(host))).collect();
        let voters = of.iter().map(|(n, _)| id(*n)).collect();
        Membership::new(voters, [].into(), [].into(), members).unwrap()
    }

    #[test]
    fn a_configuration_that_differs_from_the_cluster_is_told_and_no_more() {
        let configured = [(id(1), at("a")), (id(2), at("b"))].into();
        assert_eq!(difference(&configured, &membership(&[(1, "a"), (2, "b")])), None);
        assert_eq!(difference(&BTreeMap::new(), &membership(&[(1, "a")])), None);
        assert_eq!(difference(&configured, &Membership::empty()), None);
        let said = difference(&configured, &membership(&[(1, "a"), (3, "c")])).unwrap();
        assert!(said.contains("1=a:1/a:2,2=b:1/b:2") && said.contains("3=c:1/c:2"), "{said}");
        let moved = difference(&configured, &membership(&[(1, "a"), (2, "c")]));
        assert!(moved.is_some(), "another address is a difference too");
    }
}
