//! Asking and answering, over a transport.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use raft_core::{Incarnation, NodeId};
use raft_rpc::grpc::{Identification, IdentityProvider, identify};
use tokio::task::JoinSet;

use super::{Formation, FormationError, FormedCluster, Step};
use crate::config::MemberAddress;
use crate::server::data_dir::{DataDir, Identity};

/// Who is waited for is said again after this long, and after this long where the reason
/// is another one.
const SAY_AGAIN: Duration = Duration::from_secs(60);
const SAY_MORE: Duration = Duration::from_secs(5);

/// How long things may take while a cluster is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a peer has to answer.
    pub answer: Duration,
    /// How long to wait before asking again.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(1), pause: Duration::from_millis(200) }
    }
}

/// What this node answers to those who ask who it is; it is kept up to date by
/// [`form`] and answers for as long as the node runs. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct IdentityBoard(Arc<RwLock<Identification>>);

impl IdentityBoard {
    /// What the folder `dir` of `node` lets it say before it has asked anyone.
    #[must_use]
    pub fn new(dir: &DataDir, node: NodeId, cluster: &str) -> Self {
        let identity = dir.identity();
        let formed = identity.and_then(|identity| identity.formed.clone());
        Self(Arc::new(RwLock::new(Identification {
            cluster_name: cluster.to_owned(),
            cluster: formed.as_ref().map(|formed| formed.id),
            node,
            incarnation: identity.map(|identity| identity.incarnation),
            members: formed.map(|formed| formed.members).unwrap_or_default(),
        })))
    }

    fn now(&self) -> Identification {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, identification: Identification) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identification;
    }
}

impl IdentityProvider for IdentityBoard {
    fn identify(&self, _asked_by: &Identification) -> Identification {
        self.now()
    }
}

/// Forms the cluster of `members`, or finds in `dir` that it is formed. Waits for as
/// long as it takes all members to be up; dropping the future gives up. `board` must be
/// served to the others meanwhile.
///
/// # Errors
/// Where this node takes no part in the cluster. If its folder was empty and a cluster
/// exists, nothing in the folder was created or changed.
pub async fn form(
    dir: &mut DataDir,
    board: &IdentityBoard,
    me: NodeId,
    cluster: &str,
    members: &BTreeMap<NodeId, MemberAddress>,
    patience: Patience,
) -> Result<FormedCluster, FormationError> {
    let drawn = dir.identity().map(|identity| identity.incarnation);
    let ids: BTreeSet<NodeId> = members.keys().copied().collect();
    if let Some(formed) = dir.identity().and_then(|identity| identity.formed.clone()) {
        // A list that lost its members would let this node decide alone what the others
        // decide too.
        let theirs: BTreeSet<NodeId> = formed.members.keys().copied().collect();
        if theirs != ids {
            let dir = dir.path().to_owned();
            return Err(FormationError::FolderOfOthers { dir, theirs, ours: ids });
        }
        return Ok(formed);
    }
    let addresses = members.iter().map(|(id, member)| (*id, member.peer.clone())).collect();
    let mut formation = Formation::new(me, cluster.to_owned(), addresses, drawn);
    let mut identity = Identity {
        node: me,
        cluster: cluster.to_owned(),
        incarnation: drawn.unwrap_or_else(draw),
        formed: None,
        log_begun: false,
    };
    let mut waiting = Waiting::default();
    loop {
        board.set(formation.identification());
        let (answers, silent) = ask_all(&formation, members, patience).await;
        match formation.round(&answers)? {
            Step::Draw => {
                dir.write_identity(identity.clone())?;
                formation.drawn(identity.incarnation);
            }
            Step::Confirm => {}
            Step::Wait(missing) => {
                if let Some(line) = waiting.line(&missing, &silent, Instant::now()) {
                    tracing::info!("{line}");
                }
                tokio::time::sleep(patience.pause).await;
            }
            Step::Formed(formed) => {
                identity.formed = Some(formed.clone());
                dir.write_identity(identity)?;
                board.set(Identification {
                    cluster: Some(formed.id),
                    members: formed.members.clone(),
                    ..formation.identification()
                });
                return Ok(formed);
            }
        }
    }
}

/// What is said while others are waited for.
#[derive(Debug, Default)]
struct Waiting {
    said: Option<(String, Instant)>,
    /// For whom it waited then.
    missing: BTreeSet<NodeId>,
}

impl Waiting {
    /// Who is waited for and why, where it is time to say so: whenever it is somebody
    /// else, soon where the reason is another one, and now and then.
    fn line(
        &mut self,
        missing: &BTreeSet<NodeId>,
        silent: &BTreeMap<NodeId, String>,
        now: Instant,
    ) -> Option<String> {
        let each = missing.iter().map(|id| match silent.get(id) {
            Some(why) => format!("node {id} ({why})"),
            None => format!("node {id} (it answers, and is starting itself)"),
        });
        let each = each.collect::<Vec<_>>().join(" and ");
        let line = format!("a new cluster starts once all its members are up: waiting for {each}");
        if let Some((said, at)) = &self.said {
            let pause = if *said == line { SAY_AGAIN } else { SAY_MORE };
            if *missing == self.missing && now < *at + pause {
                return None;
            }
        }
        self.said = Some((line.clone(), now));
        self.missing = missing.clone();
        Some(line)
    }
}

/// Asks every peer at once and returns what came in time, and why nothing did.
async fn ask_all(
    formation: &Formation,
    members: &BTreeMap<NodeId, MemberAddress>,
    patience: Patience,
) -> (BTreeMap<NodeId, Identification>, BTreeMap<NodeId, String>) {
    let mut asked = JoinSet::new();
    for peer in formation.peers() {
        let (address, me) = (members[&peer].peer.clone(), formation.identification());
        asked.spawn(async move { (peer, identify(&address, &me, patience.answer).await) });
    }
    let (mut answers, mut silent) = (BTreeMap::new(), BTreeMap::new());
    for (peer, answer) in asked.join_all().await {
        match answer {
            Ok(answer) => {
                answers.insert(peer, answer);
            }
            Err(why) => {
                silent.insert(peer, why.in_full());
            }
        }
    }
    (answers, silent)
}

/// Draws an incarnation; never zero, which stands for "none" between nodes. The keys of
/// a [`RandomState`] come from the operating system's randomness.
fn draw() -> Incarnation {
    let drawn = RandomState::new().hash_one(std::time::SystemTime::now());
    Incarnation(drawn.max(1))
}

#[cfg(test)]
#[path = "formation_driver_tests.rs"]
mod tests;
