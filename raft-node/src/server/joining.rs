//! Finding the cluster that a node is to join.
//!
//! A node that joins draws an incarnation of its own, takes the cluster's id from the
//! members that it was told of, and begins with a log in which nobody is a member. It
//! never campaigns, and learns everything from the leader, once it is made a member: its
//! incarnation stands in the entry that says so (Raft thesis, section 4.1).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use raft_core::{ClusterId, NodeId};
use raft_rpc::grpc::Identification;

use super::data_dir::{DataDir, FormedCluster, Identity};
use super::formation::{FormationError, IdentityBoard, Patience, Waiting, ask_all, draw, found_in};

/// Finds the cluster that the nodes at the addresses `join` are in, and makes the folder
/// this node's part of it, or finds in `dir` that it is. Waits until one of them answers;
/// dropping the future gives up.
///
/// # Errors
/// Where they are of another cluster, or of several, or the folder cannot be used.
pub async fn join(
    dir: &mut DataDir,
    board: &IdentityBoard,
    cluster: &str,
    join: &[String],
    patience: Patience,
) -> Result<FormedCluster, FormationError> {
    if let Some(formed) = found_in(dir)? {
        return Ok(formed);
    }
    let mut waiting = Waiting::default();
    let me = board.now().node;
    let id = loop {
        let addresses = join.iter().map(|address| (address.clone(), address.clone()));
        let (answers, mut silent) = ask_all(addresses, &board.now(), patience).await;
        match found(me, cluster, &answers)? {
            Some(id) => break id,
            None => silent.extend(answers.into_iter().map(|(address, answer)| {
                let why = match answer.node {
                    node if node == me => "it is this node itself".to_owned(),
                    node => format!("node {node} has not formed its cluster yet"),
                };
                (address, why)
            })),
        }
        let each = silent.iter().map(|(address, why)| format!("{address} ({why})"));
        let each = each.collect::<Vec<_>>().join(" and ");
        let line = format!("this node joins a cluster once one of its members answers: {each}");
        let asked: BTreeSet<String> = silent.into_keys().collect();
        if let Some(line) = waiting.due(line, &asked, Instant::now()) {
            tracing::info!("{line}");
        }
        tokio::time::sleep(patience.pause).await;
    };
    let incarnation = dir.identity().map_or_else(draw, |identity| identity.incarnation);
    let formed = FormedCluster { id, members: BTreeMap::new() };
    dir.write_identity(Identity {
        node: me,
        cluster: cluster.to_owned(),
        incarnation,
        formed: Some(formed.clone()),
        log_begun: false,
        removed: false,
    })?;
    board.set(Identification { cluster: Some(id), incarnation: Some(incarnation), ..board.now() });
    Ok(formed)
}

/// The cluster that the answers agree on; `None` where nobody else is in one.
fn found(
    me: NodeId,
    cluster: &str,
    answers: &BTreeMap<String, Identification>,
) -> Result<Option<ClusterId>, FormationError> {
    let mut found: Option<(NodeId, ClusterId)> = None;
    for (address, answer) in answers.iter().filter(|(_, answer)| answer.node != me) {
        let peer = answer.node;
        if answer.cluster_name != cluster {
            let (theirs, ours) = (answer.cluster_name.clone(), cluster.to_owned());
            let address = address.clone();
            return Err(FormationError::OtherCluster { peer, address, theirs, me, ours });
        }
        match (found, answer.cluster) {
            (Some((first, one)), Some(other)) if one != other => {
                return Err(FormationError::TwoClusters((first, one), (peer, other)));
            }
            (None, Some(id)) => found = Some((peer, id)),
            _ => {}
        }
    }
    Ok(found.map(|(_, id)| id))
}

#[cfg(test)]
#[path = "joining_tests.rs"]
mod tests;
