//! Who may be added, and who may be said to have moved: the node itself is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use raft_core::{Incarnation, Member, Membership, NodeId};
use raft_rpc::grpc::{Identification, identify};

use super::Api;
use super::members::{Checked, conflict};
use super::passing_on::NotHere;
use crate::config::MemberAddress;

/// How long a node has to say who it is.
const IDENTIFIES_WITHIN: Duration = Duration::from_secs(1);

impl Api {
    /// The life of the disk of a node that is to be added, as it says itself. It stands in
    /// the entry that adds it, so that the node with another disk is none of the members.
    pub(super) async fn incarnation_of(
        &self,
        id: NodeId,
        address: &MemberAddress,
    ) -> Result<Incarnation, NotHere> {
        let remedy = "start it with --join and the peer addresses of members";
        let told = self.who_is_at(id, address, remedy).await?;
        let Some(incarnation) = told.incarnation.filter(|_| told.cluster.is_some()) else {
            // It may have been started this moment.
            let why = format!("node {id} has not found this cluster yet: {remedy}");
            return Err(NotHere::NotYet(why));
        };
        if told.members.get(&id) == Some(&incarnation) {
            // Who was removed, and does not know it yet, would stop when it hears of that.
            let why = format!(
                "node {id} takes itself for a member, by an earlier change: once it has stopped, \
                 give it an empty data folder, and {remedy}"
            );
            return Err(conflict(why, "not_there"));
        }
        Ok(incarnation)
    }

    /// Whether a member is at the address that it is said to have moved to. Nobody could
    /// tell it, or hear it, if it were not.
    pub(super) async fn check_moved(
        &self,
        id: NodeId,
        member: &Member,
        address: &MemberAddress,
    ) -> Result<(), NotHere> {
        let told = self.who_is_at(id, address, "start it there first").await?;
        if told.incarnation != Some(member.incarnation) {
            let why = format!("the node {id} at {} has another disk than the member", address.peer);
            return Err(conflict(why, "not_there"));
        }
        Ok(())
    }

    /// What node `id` says of itself at an address where it must be.
    async fn who_is_at(
        &self,
        id: NodeId,
        address: &MemberAddress,
        remedy: &str,
    ) -> Result<Identification, NotHere> {
        let state = &self.state;
        let asks = Identification {
            cluster_name: state.cluster.clone(),
            cluster: Some(state.cluster_id),
            node: state.me,
            incarnation: None,
            members: [].into(),
        };
        let (peer, not_there) = (&address.peer, |why| conflict(why, "not_there"));
        let told = identify(peer, &asks, IDENTIFIES_WITHIN).await;
        let told = told.map_err(|why| {
            not_there(format!("node {id} does not answer: {}: {remedy}", why.in_full()))
        })?;
        match told.cluster {
            _ if told.node != id => {
                Err(not_there(format!("node {} is at {peer}, and not node {id}", told.node)))
            }
            Some(cluster) if cluster != state.cluster_id => Err(not_there(format!(
                "node {id} belongs to another cluster, {} ({cluster}): give it an empty data \
                 folder, and {remedy}",
                told.cluster_name
            ))),
            _ => Ok(told),
        }
    }
}

/// Two members at one address would take each other's messages.
pub(super) fn check_addresses_differ(
    members: &Membership,
    steps: &[Checked],
) -> Result<(), NotHere> {
    let known = members.members().iter();
    let known =
        known.filter_map(|(id, member)| Some((*id, MemberAddress::from_data(&member.data)?)));
    let mut after: BTreeMap<NodeId, MemberAddress> = known.collect();
    for (id, address) in steps.iter().filter_map(Checked::moves) {
        after.insert(id, address.clone());
    }
    for (id, address) in steps.iter().filter_map(Checked::moves) {
        for (other, theirs) in after.iter().filter(|(other, _)| **other != id) {
            let both = [&theirs.peer, &theirs.client];
            let own = [&address.peer, &address.client];
            if let Some(used) = own.into_iter().find(|own| both.contains(own)) {
                let why = format!("{used} is the address of node {other}, not of node {id}");
                return Err(conflict(why, "invalid"));
            }
        }
    }
    Ok(())
}

/// The address with the name that the member has, unless it is given another.
pub(super) fn renamed(address: &MemberAddress, known: Option<&Member>) -> MemberAddress {
    let known = known.and_then(|member| MemberAddress::from_data(&member.data));
    let name = address.name.clone().or_else(|| known?.name);
    MemberAddress { name, ..address.clone() }
}
