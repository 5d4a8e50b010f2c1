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

    /// What it says at the moment.
    #[must_use]
    pub fn now(&self) -> Identification {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::server) fn set(&self, identification: Identification) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identification;
    }

    /// The members are these now, each with the disk that the cluster knows.
    pub(in crate::server) fn set_members(&self, members: BTreeMap<NodeId, Incarnation>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).members = members;
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
    if let Some(formed) = found_in(dir)? {
        let theirs: BTreeSet<NodeId> = formed.members.keys().copied().collect();
        let ours: BTreeSet<NodeId> = members.keys().copied().collect();
        let begun = dir.identity().is_some_and(|identity| identity.log_begun);
        // The log will name the members as they are configured now.
        if !begun && !theirs.is_empty() && theirs != ours {
            let dir = dir.path().to_owned();
            return Err(FormationError::FolderOfOthers { dir, theirs, ours });
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
        removed: false,
    };
    let mut waiting = Waiting::default();
    loop {
        board.set(formation.identification());
        let addresses = formation.peers().map(|peer| (peer, members[&peer].peer.clone()));
        let (answers, silent) = ask_all(addresses, &formation.identification(), patience).await;
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

/// The cluster that the folder belongs to, where it is formed.
///
/// # Errors
/// [`FormationError::WasRemoved`].
pub(in crate::server) fn found_in(dir: &DataDir) -> Result<Option<FormedCluster>, FormationError> {
    match dir.identity() {
        Some(Identity { removed: true, node, .. }) => {
            Err(FormationError::WasRemoved { me: *node, dir: dir.path().to_owned() })
        }
        identity => Ok(identity.and_then(|identity| identity.formed.clone())),
    }
}

/// What is said while others are waited for.
#[derive(Debug)]
pub(in crate::server) struct Waiting<K> {
    said: Option<(String, Instant)>,
    /// For whom it waited then.
    missing: BTreeSet<K>,
}

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self { said: None, missing: BTreeSet::new() }
    }
}

impl Waiting<NodeId> {
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
        self.due(line, missing, now)
    }
}

impl<K: Ord + Clone> Waiting<K> {
    /// The line, where it is time to say it.
    pub(in crate::server) fn due(
        &mut self,
        line: String,
        missing: &BTreeSet<K>,
        now: Instant,
    ) -> Option<String> {
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

/// Asks at every address at once and returns what came in time, and why nothing did.
pub(in crate::server) async fn ask_all<K: Ord + Send + 'static>(
    addresses: impl Iterator<Item = (K, String)>,
    me: &Identification,
    patience: Patience,
) -> (BTreeMap<K, Identification>, BTreeMap<K, String>) {
    let mut asked = JoinSet::new();
    for (key, address) in addresses {
        let me = me.clone();
        asked.spawn(async move { (key, identify(&address, &me, patience.answer).await) });
    }
    let (mut answers, mut silent) = (BTreeMap::new(), BTreeMap::new());
    for (key, answer) in asked.join_all().await {
        match answer {
            Ok(answer) => {
                answers.insert(key, answer);
            }
            Err(why) => {
                silent.insert(key, why.in_full());
            }
        }
    }
    (answers, silent)
}

/// Draws an incarnation; never zero, which stands for "none" between nodes. The keys of
/// a [`RandomState`] come from the operating system's randomness.
pub(in crate::server) fn draw() -> Incarnation {
    let drawn = RandomState::new().hash_one(std::time::SystemTime::now());
    Incarnation(drawn.max(1))
}

#[cfg(test)]
#[path = "formation_driver_tests.rs"]
mod tests;
