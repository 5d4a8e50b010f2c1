//! The composition of a node: what it is made of, and in which order.
//!
//! | Part | Where it lives |
//! |---|---|
//! | membership, voter, election manager, heartbeat controller, replication controller | in the engine's replicas, one of each per group |
//! | log, metadata and snapshot persistence, garbage collector | in the engine, on the data folder |
//! | store | [`KvDatabase`]; its writes on the engine's state machine thread |
//! | transport | [`GrpcTransport`] on the peer port |
//! | API | [`api`] on the client port |
//!
//! The engine starts first, then the transport, then the API; they stop the other way
//! round, so that nothing is asked of a part that is gone. Pausing and freezing are
//! commands to the engine, not phases of a life.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{GroupId, Incarnation, Index, Member, Membership, NodeId};
use raft_election::Priority;
use raft_log::{Disk, RealDisk};
use raft_rpc::grpc::{GrpcTransport, LocalIdentity, TransportOptions};
use raft_state::TransferRefusal;
use tokio::sync::watch;

use super::ServeError;
use super::components::{
    ApiComponent, EngineComponent, HistoryComponent, TransportComponent, inbound,
};
use super::data_dir::{DataDir, FormedCluster, Identity};
use super::lifecycle::{ContextLifecycleError, Lifecycles};
use super::prepare::Prepared;
use super::roster::{Roster, difference};
use super::watch::WatchComponent;
use crate::api::{self, ApiState};
use crate::config::{MemberAddress, NodeConfig};
use crate::engine::{Effect, Engine, EngineConfig, EngineSetup, Event, Machines};
use crate::kv::{KvCommand, KvDatabase, KvOptions, KvReader};
use crate::metrics::{self, Metrics, Recorder};
use crate::shell::{Clock, Queues, ShellOptions};
use crate::{NodeHandle, TransferError};

/// The group that holds the key-value data.
pub const DATA_GROUP: GroupId = GroupId(1);

/// So many nodes that this one does not know may talk to it at once: leaders that were added
/// while it was away, and members that were removed and are to be told.
const MAX_GUESTS: usize = 16;

/// The file of the store in the data folder.
pub(super) const STORE_FILE: &str = "store.redb";

/// Owns every component of a node.
#[derive(Debug)]
pub struct Context {
    lifecycles: Lifecycles,
    handle: NodeHandle,
    me: NodeId,
    election_timeout: Duration,
    metrics: Arc<Metrics>,
    ended: watch::Receiver<bool>,
    /// Locks the folder for as long as anything may write to it.
    dir: DataDir,
}

impl Context {
    /// Opens what the folder holds and puts the components together; nothing runs yet.
    /// Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Where the log, the snapshots or the store cannot be opened, or do not belong
    /// together. Nothing was promised to anybody.
    pub async fn build(prepared: Prepared) -> Result<Self, ServeError> {
        let Prepared { config, dir, cluster, boot, board, client, peer } = prepared;
        let clock = Clock::start();
        let (config_too, cluster_too) = (config.clone(), cluster.clone());
        let opened = tokio::task::spawn_blocking(move || {
            open(&config_too, dir, &cluster_too, boot.0, clock)
        });
        let Opened { engine, machines, reader, dir } =
            opened.await.map_err(|_| ServeError::Opening)??;
        let members = engine.replica(DATA_GROUP).map(raft_state::Replica::membership);
        if let Some(line) = members.and_then(|members| difference(&config.members, members)) {
            tracing::warn!("{line}");
        }

        let recorder = Arc::new(Recorder::default());
        let queues = Queues::observed(shell_options(&config), recorder.clone());
        let handle = queues.handle();
        let (boot, me) = (engine.boot(), config.node_id);
        let incarnation = dir.identity().map_or(Incarnation(0), |identity| identity.incarnation);
        let identity = LocalIdentity { cluster: cluster.id, node: me, incarnation, boot };
        let options = TransportOptions { guests: MAX_GUESTS, ..TransportOptions::default() };
        let transport = GrpcTransport::new(identity, options, inbound(queues.inbox()));
        transport.set_identity_provider(Arc::new(board.clone()));
        let roster = Roster::new(transport.clone(), board, me, incarnation, config.own_address());

        let (stopping, stopped_api) = watch::channel(false);
        let (missing, no_quorum) = watch::channel(None);
        let state = ApiState {
            node: handle.clone(),
            group: DATA_GROUP,
            reader,
            me,
            members: config.members.clone(),
            cluster: config.cluster.clone(),
            cluster_id: cluster.id,
            boot,
            forward: config.forward,
            request_timeout: config.request_timeout,
            max_body_bytes: config.max_body_bytes,
            max_waiting_bytes: api::MAX_WAITING_BYTES.max(4 * config.max_body_bytes),
            stopping: stopped_api,
            no_quorum,
        };
        let store = dir.path().join(STORE_FILE);
        let metrics = Arc::new(Metrics::new(recorder, &handle, transport.clone(), store));
        let (ending, ended) = watch::channel(false);
        let mut lifecycles = Lifecycles::new();
        lifecycles.add(EngineComponent::new(engine, machines, clock, queues, roster, ending));
        lifecycles.add(TransportComponent::new(transport.clone(), peer));
        let router = api::router(state).map_err(ServeError::Thread)?;
        let router = router.merge(metrics::router(Arc::clone(&metrics)));
        let requests = metrics.http_requests();
        lifecycles.add(ApiComponent::new(client, router, requests, stopping));
        lifecycles.add(HistoryComponent::new(Arc::clone(&metrics)));
        let election_timeout = config.election_timeout;
        let watch = WatchComponent::new(handle.clone(), me, transport, election_timeout, missing);
        lifecycles.add(watch);
        Ok(Self { lifecycles, handle, me, election_timeout, metrics, ended, dir })
    }

    /// Starts the components in order; where one fails, those before it are stopped.
    ///
    /// # Errors
    /// All failures together.
    pub async fn start(&mut self) -> Result<(), ContextLifecycleError> {
        self.lifecycles.start().await
    }

    /// Completes when the engine has stopped by itself: because this node was
    /// [removed](Self::removed) from its cluster, or for a reason that [`stop`](Self::stop)
    /// tells.
    pub async fn ended(&mut self) {
        // An engine that is gone without a word has ended too.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Where the membership without this node stands in the log, once it has stopped because
    /// of that.
    #[must_use]
    pub fn removed(&self) -> Option<Index> {
        self.handle.status(DATA_GROUP).and_then(|status| status.removed)
    }

    /// Makes the folder say that this node is no member any more, so that it is not taken
    /// for one again.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn note_removal(&mut self) -> Result<(), ServeError> {
        if let Some(identity) = self.dir.identity().cloned() {
            self.dir.write_identity(Identity { removed: true, ..identity })?;
        }
        Ok(())
    }

    /// Hands leadership over where this node has it, so that nobody has to wait until it is
    /// missed; gives up after an election timeout.
    pub async fn hand_over(&self) {
        let status = self.handle.status(DATA_GROUP).unwrap_or_default();
        let mut voters = status.members.voters().iter().chain(status.members.outgoing());
        let alone = voters.all(|voter| *voter == self.me);
        if status.leader != Some(self.me) || alone {
            return;
        }
        match self.handle.transfer(DATA_GROUP, None).await {
            Ok(()) => {}
            // One that is under way does as well, where it succeeds.
            Err(TransferError::Refused(TransferRefusal::Transferring { .. })) => {}
            Err(why) => return tracing::info!("leadership is not handed over: {why}"),
        }
        // What is asked of this node in the meantime is passed on, once there is a leader.
        let elected = self.handle.led_by_another(DATA_GROUP, self.me);
        if tokio::time::timeout(self.election_timeout, elected).await.is_err() {
            tracing::info!("leadership was handed over, and nobody has it yet");
        }
    }

    /// Stops the components, the last one first.
    ///
    /// # Errors
    /// All failures together.
    pub async fn stop(&mut self) -> Result<(), ContextLifecycleError> {
        self.lifecycles.stop().await
    }

    /// The node's groups, for the process they live in.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// The node's figures.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }
}

struct Opened {
    engine: Engine,
    machines: Machines,
    reader: KvReader,
    dir: DataDir,
}

/// Opens everything on the disk; may block for as long as recovery takes.
fn open(
    config: &NodeConfig,
    mut dir: DataDir,
    cluster: &FormedCluster,
    seed: u64,
    clock: Clock,
) -> Result<Opened, ServeError> {
    let path = dir.path().to_owned();
    let store_path = path.join(STORE_FILE);
    let store_failed = |source| ServeError::Store { path: store_path.clone(), source };
    let options = KvOptions { cache_bytes: config.cache_bytes };
    let store = KvDatabase::open_with(&store_path, &options).map_err(store_failed)?;
    let mut machines = Machines::default();
    machines.insert(DATA_GROUP, Box::new(store.group(DATA_GROUP).map_err(store_failed)?));

    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let setup = EngineSetup {
        cluster: cluster.id,
        node: config.node_id,
        incarnation: dir.identity().map_or(Incarnation(0), |identity| identity.incarnation),
        dir: path.clone(),
        seed,
        config: engine_config(config),
    };
    let mut engine = Engine::open(setup, &disk, &mut machines, clock.now())?;
    if engine.replica(DATA_GROUP).is_none() {
        begin_log(&mut engine, &mut machines, &dir, config, cluster, clock)?;
    }
    // Also where a crash came between the group's record and this.
    if let Some(identity) = dir.identity().filter(|identity| !identity.log_begun).cloned() {
        dir.write_identity(Identity { log_begun: true, ..identity })?;
    }
    Ok(Opened { engine, machines, reader: store.reader(), dir })
}

/// Creates the group of a node that has promised nothing yet, and makes that durable
/// before the folder says so: from then on a missing group is a loss.
fn begin_log(
    engine: &mut Engine,
    machines: &mut Machines,
    dir: &DataDir,
    config: &NodeConfig,
    cluster: &FormedCluster,
    clock: Clock,
) -> Result<(), ServeError> {
    if dir.identity().is_some_and(|identity| identity.log_begun) {
        return Err(ServeError::LogLost(dir.path().join("log")));
    }
    let membership = initial_membership(&config.members, &cluster.members);
    engine.create_group(DATA_GROUP, membership, machines, clock.now())?;
    engine.flush(clock.now());
    // What nobody has to wait for is left to whoever runs the engine.
    let mut later = Vec::new();
    while let Some(effect) = engine.poll_effect() {
        if let Effect::Write(job) = effect {
            engine.handle(clock.now(), Event::Written(job.run()))?;
            engine.flush(clock.now());
        } else {
            later.push(effect);
        }
    }
    engine.put_back(later);
    Ok(engine.give_up_waiting()?)
}

/// The first membership: everyone votes, each with the incarnation it was formed with
/// and its addresses. Nobody is a member on a node that joins: the leader tells it.
///
/// # Panics
/// Where the cluster was formed of other members than are configured, which [`prepare`]
/// refuses.
///
/// [`prepare`]: super::prepare
fn initial_membership(
    addresses: &BTreeMap<NodeId, MemberAddress>,
    incarnations: &BTreeMap<NodeId, Incarnation>,
) -> Membership {
    if incarnations.is_empty() {
        return Membership::empty();
    }
    assert!(
        addresses.keys().eq(incarnations.keys()),
        "the cluster was formed of {incarnations:?}, and {addresses:?} are configured"
    );
    let members: BTreeMap<NodeId, Member> = incarnations
        .iter()
        .map(|(id, incarnation)| {
            let data = addresses[id].to_data();
            (*id, Member { incarnation: *incarnation, data, ..Member::default() })
        })
        .collect();
    let voters = members.keys().copied().collect();
    Membership::new(voters, Default::default(), Default::default(), members)
        .expect("all members are voters and described")
}

/// What the API takes, the engine takes: a command is never larger than the body that
/// brought it, apart from one that deletes a key.
fn shell_options(config: &NodeConfig) -> ShellOptions {
    let largest_delete = KvCommand::Delete { key: Bytes::from(vec![0; api::MAX_KEY_BYTES]) };
    let max_command_bytes = config.max_body_bytes.max(largest_delete.encode().len());
    let max_waiting_bytes = api::MAX_WAITING_BYTES.max(4 * max_command_bytes);
    ShellOptions { max_command_bytes, max_waiting_bytes, ..ShellOptions::default() }
}

fn engine_config(config: &NodeConfig) -> EngineConfig {
    let mut engine = EngineConfig::default();
    engine.replica.election_timeout = config.election_timeout;
    engine.replica.heartbeat_interval = config.heartbeat;
    engine.forward = config.forward;
    engine.replica.lease_drift = config.lease_drift;
    engine.replica.priority = Priority(config.priority);
    engine.replica.commit_notice = config.heartbeat / 10;
    engine.log.segment_bytes = config.segment_bytes;
    engine.min_free_bytes = config.min_free_bytes;
    engine.gc.snapshot_every_entries = config.snapshot_every_entries;
    engine.gc.keep_entries = config.keep_entries;
    engine.gc.snapshot_every_bytes = config.snapshots.every_bytes;
    engine.gc.snapshot_every = config.snapshots.every;
    engine.keep_snapshots = config.snapshots.keep;
    engine.snapshot_send_bytes_per_s = config.snapshots.send_bytes_per_s;
    engine.snapshot_write_bytes_per_s = config.snapshots.write_bytes_per_s;
    engine
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
