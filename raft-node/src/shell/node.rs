//! A whole node for embedding: log, snapshots, state machines, engine and network.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raft_core::{Boot, ClusterId, GroupId, Incarnation, Membership, NodeId};
use raft_log::{Disk, RealDisk};
use thiserror::Error;

use super::{Clock, Network, Queues, Shell, ShellError, ShellOptions};
use crate::engine::{Engine, EngineConfig, EngineSetup, Machines, OpenError};
use crate::{NodeHandle, StateMachine};

/// A node inside a process of one's own: any number of groups over one log, each with
/// its own [`StateMachine`].
///
/// ```
/// # use std::io::{Read, Result};
/// # use bytes::Bytes;
/// use raft_core::{ClusterId, GroupId, Index, Membership, NodeId};
/// use raft_node::shell::{LocalNetwork, Node};
/// use raft_node::{Command, StateMachine};
/// # use std::time::Duration;
/// # #[derive(Default)]
/// # struct Counter(Index, u64);
/// # impl StateMachine for Counter {
/// #   fn applied(&self) -> Index { self.0 }
/// #   fn apply(&mut self, commands: &[Command], up_to: Index) -> Result<Vec<Bytes>> {
/// #       self.0 = up_to;
/// #       let answer = |_: &Command| { self.1 += 1; Bytes::from(self.1.to_string()) };
/// #       Ok(commands.iter().map(answer).collect())
/// #   }
/// #   fn flush(&mut self) -> Result<Index> { Ok(self.0) }
/// #   fn snapshot(&mut self) -> Result<Box<dyn Read + Send>> { Ok(Box::new(std::io::empty())) }
/// #   fn restore(&mut self, _: Index, _: &mut dyn Read) -> Result<()> { Ok(()) }
/// # }
///
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// # runtime.block_on(async {
/// let (me, group) = (NodeId::new(1).unwrap(), GroupId(1));
/// let node = Node::builder(ClusterId(7), me, folder)
///     .group(group, Membership::of_voters([me]), Counter::default())
/// #   .configure(|config| config.log.segment_bytes = 1 << 20)
///     .start(&LocalNetwork::new())
///     .await?;
/// let patience = Duration::from_secs(5);
/// let applied = node.handle().propose_within(group, "increment".into(), patience).await?;
/// assert_eq!(applied.answer, "1");
/// node.stop().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    cluster: ClusterId,
    boot: Boot,
    handle: NodeHandle,
    shell: Shell,
}

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The folder cannot be made, opened or locked: correct it or its permissions.
    #[error("the folder {} cannot be used: {source}", .dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another node has the folder open: stop it, or use another folder.
    #[error("the folder {} is in use by another node", .0.display())]
    InUse(PathBuf),
    /// The folder lacks a group that was to be there already: it is the wrong folder, or
    /// what this node promised is lost. Put the right one back.
    #[error(
        "the folder {} does not hold group {group}: put the right one back; an empty one must not \
         take its place", .dir.display()
    )]
    GroupLost {
        /// The folder.
        dir: PathBuf,
        /// The group.
        group: GroupId,
    },
    /// What the folder holds cannot be opened; the cause says what to do.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The operating system has no thread left.
    #[error("the node's threads cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// Opening ended in a broken invariant, whose message has been printed.
    #[error("opening the folder failed; the cause is printed above")]
    Opening,
}

impl Node {
    /// What is to be said of a node before it starts. `dir` is its folder, made where it
    /// is missing; no other node may use it.
    #[must_use]
    pub fn builder(cluster: ClusterId, id: NodeId, dir: impl Into<PathBuf>) -> NodeBuilder {
        NodeBuilder {
            cluster,
            id,
            dir: dir.into(),
            disk: None,
            config: EngineConfig::default(),
            options: ShellOptions::default(),
            groups: BTreeMap::new(),
            machines: Machines::default(),
        }
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The cluster it belongs to.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// This run of it.
    #[must_use]
    pub const fn boot(&self) -> Boot {
        self.boot
    }

    /// Where its groups are asked; to be cloned freely.
    #[must_use]
    pub const fn handle(&self) -> &NodeHandle {
        &self.handle
    }

    /// Completes when the node has stopped by itself, because it failed or was removed from
    /// all of its groups; then nothing is served any more.
    ///
    /// # Errors
    /// [`ShellError`], the reason.
    pub async fn ended(&mut self) -> Result<(), ShellError> {
        self.shell.ended().await
    }

    /// Finishes what is being written, seals the log and flushes the state machines. A
    /// node that is dropped instead stops as well, and its last writes may be cut off,
    /// as by a crash.
    ///
    /// # Errors
    /// [`ShellError`] where any of that failed.
    pub async fn stop(self) -> Result<(), ShellError> {
        self.shell.stop().await
    }
}

/// What a node is made of; see [`Node::builder`].
#[derive(Debug)]
pub struct NodeBuilder {
    cluster: ClusterId,
    id: NodeId,
    dir: PathBuf,
    disk: Option<Arc<dyn Disk>>,
    config: EngineConfig,
    options: ShellOptions,
    /// With the membership to begin with, where it may begin.
    groups: BTreeMap<GroupId, Option<Membership>>,
    machines: Machines,
}

impl NodeBuilder {
    /// A group, which begins with `membership` where the folder does not hold it yet. It
    /// must be the same on all members.
    ///
    /// A member that has ever run must never begin again: with an empty folder in place
    /// of its own it breaks what it promised, and entries can be lost. Use
    /// [`existing_group`](Self::existing_group) from its second start on.
    #[must_use]
    pub fn group(
        mut self,
        group: GroupId,
        membership: Membership,
        machine: impl StateMachine + 'static,
    ) -> Self {
        self.groups.insert(group, Some(membership));
        self.machines.insert(group, Box::new(machine));
        self
    }

    /// A group that the folder must hold already; without it the node does not start.
    #[must_use]
    pub fn existing_group(mut self, group: GroupId, machine: impl StateMachine + 'static) -> Self {
        self.groups.insert(group, None);
        self.machines.insert(group, Box::new(machine));
        self
    }

    /// How often a leader is heard. The election timeout becomes ten times as long, and
    /// an idle follower is told of a commit within a tenth of it.
    #[must_use]
    pub const fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.replica.heartbeat_interval = interval;
        self.config.replica.election_timeout = interval.saturating_mul(10);
        self.config.replica.commit_notice = Duration::from_nanos((interval.as_nanos() / 10) as u64);
        self
    }

    /// Changes any other setting.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut EngineConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sizes of the queues between the node and its surroundings.
    #[must_use]
    pub const fn options(mut self, options: ShellOptions) -> Self {
        self.options = options;
        self
    }

    /// Another disk than that of the operating system, such as
    /// [`raft_log::SimDisk`]. Nobody locks the folder then.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Opens the folder, which may take as long as recovery does, and joins the network.
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], each saying what to do.
    pub async fn start(self, network: &impl Network) -> Result<Node, StartError> {
        let Self { cluster, id, options, .. } = self;
        let clock = Clock::start();
        let opening = tokio::task::spawn_blocking(move || self.open(clock));
        let (engine, machines, lock) = opening.await.map_err(|_| StartError::Opening)??;
        let (boot, queues) = (engine.boot(), Queues::new(options));
        let (handle, inbox) = (queues.handle(), queues.inbox());
        let outbound = network.join(id, boot, inbox);
        // Also a node that is dropped keeps others out until its last write has ended.
        let shell = Shell::start_holding(engine, machines, clock, queues, outbound, lock);
        let shell = shell.map_err(StartError::Thread)?;
        Ok(Node { id, cluster, boot, handle, shell })
    }

    fn open(self, clock: Clock) -> Result<(Engine, Machines, Option<File>), StartError> {
        let Self { cluster, id: node, dir, disk, config, groups, mut machines, .. } = self;
        let lock = disk.is_none().then(|| lock(&dir)).transpose()?;
        let disk = disk.unwrap_or_else(|| Arc::new(RealDisk));
        let seed = RandomState::new().hash_one(std::time::SystemTime::now());
        let (incarnation, dir_too) = (Incarnation(0), dir.clone());
        let setup = EngineSetup { cluster, node, incarnation, dir: dir_too, seed, config };
        let mut engine = Engine::open(setup, &disk, &mut machines, clock.now())?;
        for (group, membership) in groups {
            if engine.replica(group).is_none() {
                let lost = || StartError::GroupLost { dir: dir.clone(), group };
                let membership = membership.ok_or_else(lost)?;
                engine.create_group(group, membership, &mut machines, clock.now())?;
            }
        }
        Ok((engine, machines, lock))
    }
}

/// Makes the folder, and keeps other processes out of it for as long as the answer lives.
fn lock(dir: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Folder { dir: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    let folder = File::open(dir).map_err(failed)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(dir.to_owned())),
        Err(TryLockError::Error(why)) => Err(failed(why)),
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
