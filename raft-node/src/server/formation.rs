//! Forming a new cluster: its initial members find one another.
//!
//! A member whose disk was lost must not vote as if it still had it, so every member
//! learns the *incarnation* of every other one, a number drawn once per disk, before
//! anybody votes. The map of all incarnations is the cluster; its hash is the
//! cluster's id. [`Formation`] holds the rules and does no input or output;
//! [`form`] drives it.
//!
//! Rules, each with its reason:
//! - A node with an empty disk asks everyone it reaches before it writes anything. If
//!   one of them is in a cluster already, the disk is new there and the node refuses.
//! - A node joins a formed peer's map only if its own incarnation is in it. Where the
//!   members have changed since, it takes the cluster's id alone, and learns from the log
//!   who they are.
//! - Otherwise a node forms the map itself, once two complete rounds of questions in a
//!   row brought the same answers. One round is not enough: its last answer may come
//!   from a disk that replaced another while the first answer grew old, and the first
//!   peer may since be in a cluster with the replaced disk. The second round was asked
//!   after all answers of the first, so a peer that has formed by then tells of its
//!   cluster in it. One whose own second round still waits for an answer says nothing of a
//!   cluster yet, and may end with another map; where one disk was lost, that map
//!   counts on the lost disk and on a member of the other cluster, and elects nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use raft_core::{ClusterId, Incarnation, NodeId};
use raft_rpc::grpc::Identification;
use thiserror::Error;

use super::data_dir::{DataDirError, FormedCluster};
use crate::kv::StableHash;

#[path = "formation_driver.rs"]
mod driver;

pub use driver::{IdentityBoard, Patience, form};
pub(super) use driver::{Waiting, ask_all, draw, found_in};

/// A cluster that is being formed, as one of its members sees it.
///
/// Invariants:
/// - `me` is one of `members`.
/// - `candidate` holds every member, and this node's own incarnation among them.
#[derive(Clone, Debug)]
pub struct Formation {
    me: NodeId,
    name: String,
    members: BTreeSet<NodeId>,
    /// Where they are asked, for messages.
    addresses: BTreeMap<NodeId, String>,
    incarnation: Option<Incarnation>,
    /// What the previous round brought, where it was complete.
    candidate: Option<BTreeMap<NodeId, Incarnation>>,
}

/// What to do after a round of questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Draw an incarnation, make it durable, [take it](Formation::drawn), ask again.
    Draw,
    /// Ask again after a while: these have not told their incarnation.
    Wait(BTreeSet<NodeId>),
    /// Ask again at once, to confirm what everyone said.
    Confirm,
    /// The cluster is formed; make that durable.
    Formed(FormedCluster),
}

/// Why a node takes no part in the cluster.
#[derive(Debug, Error)]
pub enum FormationError {
    /// Correct the address of the member.
    #[error(
        "{address} is configured as the address of node {expected}, and node {found} answers \
         there: correct the members"
    )]
    WrongNode {
        /// Who should have answered.
        expected: NodeId,
        /// The address that was asked.
        address: String,
        /// Who did.
        found: NodeId,
    },
    /// Correct the cluster's name here or there.
    #[error(
        "node {peer} at {address} is of cluster {theirs:?}, and this is node {me} of cluster \
         {ours:?}: correct the cluster's name of one of them, or the address of node {peer}"
    )]
    OtherCluster {
        /// Who answered.
        peer: NodeId,
        /// Where.
        address: String,
        /// Its cluster's name.
        theirs: String,
        /// This node.
        me: NodeId,
        /// The name configured here.
        ours: String,
    },
    /// Make the lists of members equal.
    #[error(
        "node {peer} at {address} knows the members {}, and this node {me} is configured with \
         {}: give all nodes the same members, and start this one again",
        listed(.theirs), listed(.ours)
    )]
    OtherMembers {
        /// Who answered.
        peer: NodeId,
        /// Where.
        address: String,
        /// The members it knows.
        theirs: BTreeSet<NodeId>,
        /// This node.
        me: NodeId,
        /// The members configured here.
        ours: BTreeSet<NodeId>,
    },
    /// Put the old disk back, or have the cluster replace this member.
    #[error(
        "the disk of node {me} is new: node {peer} is in cluster {cluster}, where node {me} has \
         another disk. A node that lost its disk must not come back under its old id as if it \
         had not. Put back the data folder that this node had; or leave the folder empty, start \
         this node with --join {address} in place of its members, and run on any node: raft-node \
         member remove {me}, and then raft-node member add {me}=PEER/CLIENT"
    )]
    NewDisk {
        /// This node.
        me: NodeId,
        /// Who says so.
        peer: NodeId,
        /// Where it answers.
        address: String,
        /// The cluster that exists.
        cluster: ClusterId,
    },
    /// Join the cluster instead of forming it.
    #[error(
        "node {me} is not a member of cluster {cluster}, which node {peer} is in: start this node \
         with --join {address} in place of its members, and run on any node: raft-node member add \
         {me}=PEER/CLIENT"
    )]
    NotMember {
        /// This node.
        me: NodeId,
        /// Who says so.
        peer: NodeId,
        /// Where it answers.
        address: String,
        /// The cluster that exists.
        cluster: ClusterId,
    },
    /// Use an empty folder, as for any new member.
    #[error(
        "the data folder {} belongs to a node that was removed from its cluster: give this node an \
         empty data_dir, start it with --join, and run on any node: raft-node member add \
         {me}=PEER/CLIENT",
        .dir.display()
    )]
    WasRemoved {
        /// This node.
        me: NodeId,
        /// The folder.
        dir: PathBuf,
    },
    /// Configure the members that the folder was formed with, or use another folder.
    #[error(
        "the data folder {} belongs to a cluster of {} that has not begun yet, and this node is \
         configured with {}: configure the members again that the cluster was formed with, or use \
         an empty folder for another cluster",
        .dir.display(), listed(.theirs), listed(.ours)
    )]
    FolderOfOthers {
        /// The folder.
        dir: PathBuf,
        /// The members its cluster was formed with.
        theirs: BTreeSet<NodeId>,
        /// The members configured here.
        ours: BTreeSet<NodeId>,
    },
    /// Decide which of the two to keep; empty the data folders of the other.
    #[error(
        "node {} is in cluster {}, and node {} in cluster {}: they were formed apart; decide which \
         one is to stay, and give the nodes of the other one empty data folders",
        .0.0, .0.1, .1.0, .1.1
    )]
    TwoClusters((NodeId, ClusterId), (NodeId, ClusterId)),
    /// The folder could not be written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

impl Formation {
    /// A formation of the cluster `name` from the members at `addresses`. `incarnation`
    /// is what this node's disk holds; `None` for an empty one.
    ///
    /// # Panics
    /// Where `me` is not a member.
    #[must_use]
    pub fn new(
        me: NodeId,
        name: String,
        addresses: BTreeMap<NodeId, String>,
        incarnation: Option<Incarnation>,
    ) -> Self {
        let members: BTreeSet<NodeId> = addresses.keys().copied().collect();
        assert!(members.contains(&me), "node {me} is not one of the members {members:?}");
        Self { me, name, members, addresses, incarnation, candidate: None }
    }

    /// Whom to ask in a round.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().copied().filter(|id| *id != self.me)
    }

    /// What this node says about itself meanwhile. It lists the members it is configured
    /// with, without incarnations, so that others notice where their list differs.
    #[must_use]
    pub fn identification(&self) -> Identification {
        Identification {
            cluster_name: self.name.clone(),
            cluster: None,
            node: self.me,
            incarnation: self.incarnation,
            members: self.members.iter().map(|id| (*id, Incarnation(0))).collect(),
        }
    }

    /// Takes the incarnation that was drawn, once it is durable.
    ///
    /// # Panics
    /// Where there was one already.
    pub fn drawn(&mut self, incarnation: Incarnation) {
        assert_eq!(self.incarnation, None, "a second incarnation was drawn for one disk");
        self.incarnation = Some(incarnation);
    }

    /// Takes what a round of questions brought: the answers of those that answered, all
    /// asked after the round before it was over.
    ///
    /// # Errors
    /// Where this node takes no part.
    pub fn round(
        &mut self,
        answers: &BTreeMap<NodeId, Identification>,
    ) -> Result<Step, FormationError> {
        for (peer, answer) in answers {
            self.check(*peer, answer)?;
        }
        if let Some(formed) = self.formed_by(answers)? {
            return Ok(Step::Formed(formed));
        }
        let Some(own) = self.incarnation else { return Ok(Step::Draw) };

        let told = answers.values().filter_map(|answer| Some((answer.node, answer.incarnation?)));
        let map: BTreeMap<NodeId, Incarnation> = told.chain([(self.me, own)]).collect();
        let missing: BTreeSet<NodeId> =
            self.members.iter().copied().filter(|id| !map.contains_key(id)).collect();
        if !missing.is_empty() {
            self.candidate = None;
            return Ok(Step::Wait(missing));
        }
        if self.members.len() > 1 && self.candidate.as_ref() != Some(&map) {
            self.candidate = Some(map);
            return Ok(Step::Confirm);
        }
        Ok(Step::Formed(FormedCluster { id: cluster_id(&self.name, &map), members: map }))
    }

    fn check(&self, peer: NodeId, answer: &Identification) -> Result<(), FormationError> {
        let me = self.me;
        let address = || self.addresses[&peer].clone();
        if answer.node != peer {
            let (address, found) = (address(), answer.node);
            return Err(FormationError::WrongNode { expected: peer, address, found });
        }
        if answer.cluster_name != self.name {
            let (theirs, ours) = (answer.cluster_name.clone(), self.name.clone());
            let address = address();
            return Err(FormationError::OtherCluster { peer, address, theirs, me, ours });
        }
        let theirs: BTreeSet<NodeId> = answer.members.keys().copied().collect();
        let forming = answer.cluster.is_none();
        if forming && theirs != self.members && !theirs.is_empty() {
            return Err(FormationError::OtherMembers {
                peer,
                address: address(),
                theirs,
                me,
                ours: self.members.clone(),
            });
        }
        Ok(())
    }

    /// The cluster that peers are in already, if this node's disk belongs to it.
    fn formed_by(
        &self,
        answers: &BTreeMap<NodeId, Identification>,
    ) -> Result<Option<FormedCluster>, FormationError> {
        let me = self.me;
        let formed: Vec<_> = answers
            .values()
            .filter_map(|answer| Some((answer.node, answer.cluster?, &answer.members)))
            .collect();
        let Some((peer, cluster, _)) = formed.first().copied() else { return Ok(None) };
        if let Some((other, another, _)) = formed.iter().find(|(_, id, _)| *id != cluster) {
            return Err(FormationError::TwoClusters((peer, cluster), (*other, *another)));
        }
        let own = self.incarnation.as_ref();
        let mut naming = formed.iter().filter(|(_, _, map)| own.is_some() && map.get(&me) == own);
        let Some((_, _, map)) = naming.next() else {
            let address = self.addresses[&peer].clone();
            let known = formed.iter().any(|(_, _, map)| map.contains_key(&me));
            return Err(if known {
                FormationError::NewDisk { me, peer, address, cluster }
            } else {
                FormationError::NotMember { me, peer, address, cluster }
            });
        };
        let initial = [*map].into_iter().chain(naming.map(|(_, _, map)| *map));
        let mut initial = initial.filter(|map| cluster_id(&self.name, map) == cluster);
        let members = initial.next().cloned().unwrap_or_default();
        Ok(Some(FormedCluster { id: cluster, members }))
    }
}

/// The id of the cluster with this name and these initial members; never zero, which
/// stands for "not formed" between nodes.
#[must_use]
pub fn cluster_id(name: &str, members: &BTreeMap<NodeId, Incarnation>) -> ClusterId {
    let mut hash = StableHash::new();
    hash.field(name.as_bytes());
    for (id, incarnation) in members {
        hash.field(&id.get().to_le_bytes());
        hash.field(&incarnation.0.to_le_bytes());
    }
    ClusterId(hash.value().max(1))
}

/// "1, 2 and 3".
fn listed(ids: &BTreeSet<NodeId>) -> String {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
#[path = "formation_tests.rs"]
mod tests;
