//! One simulated node: a disk that survives, and an engine that does not.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{ClusterId, GroupId, Index, Instant, Membership, NodeId};
use raft_log::gc::GcPolicy;
use raft_log::{Disk, LogOptions, SimDisk};
use raft_node::engine::{Engine, EngineConfig, EngineSetup, Machines, OpenError};
use raft_node::kv::MemoryStore;
use raft_node::{Command, StateMachine};

/// The groups that every node has.
pub(crate) const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];

const CLUSTER: ClusterId = ClusterId(0xc1a5);

/// A store in memory that the world can look into while a node uses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedStore(Arc<Mutex<MemoryStore>>);

impl SharedStore {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut MemoryStore) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StateMachine for SharedStore {
    fn applied(&self) -> Index {
        self.with(|store| store.applied())
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        self.with(|store| store.apply(commands, up_to))
    }

    fn flush(&mut self) -> io::Result<Index> {
        self.with(MemoryStore::flush)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        self.with(MemoryStore::snapshot)
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        self.with(|store| store.restore(index, image))
    }
}

/// A node of the world.
#[derive(Debug)]
pub(crate) struct SimNode {
    pub(crate) id: NodeId,
    pub(crate) disk: SimDisk,
    pub(crate) running: Option<Running>,
    /// Counts the starts; what belongs to an earlier life is void.
    pub(crate) life: u64,
    formed: bool,
    /// Segments that its log has begun in all lives, and those in prepared files.
    pub(crate) segments: (u64, u64),
    /// The same for the lives before this one.
    segments_before: (u64, u64),
}

/// What a crash takes away.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) machines: Machines,
    pub(crate) stores: Vec<SharedStore>,
    /// When the last task of the state machines will be done: they are done in order.
    pub(crate) machines_busy_until: Instant,
    pub(crate) timer: Option<Instant>,
    /// A paused process does nothing before this moment.
    pub(crate) paused_until: Instant,
}

impl SimNode {
    pub(crate) fn new(id: NodeId, disk_seed: u64) -> Self {
        let disk = SimDisk::new(disk_seed);
        let (segments, segments_before) = Default::default();
        Self { id, disk, running: None, life: 0, formed: false, segments, segments_before }
    }

    /// Starts the node on what its disk holds.
    pub(crate) fn start(
        &mut self,
        members: &Membership,
        seed: u64,
        now: Instant,
    ) -> Result<(), OpenError> {
        self.life += 1;
        self.segments_before = self.segments;
        let mut machines = Machines::default();
        let stores = GROUPS.map(|group| {
            let store = SharedStore::default();
            machines.insert(group, Box::new(store.clone()));
            store
        });
        let setup = EngineSetup {
            cluster: CLUSTER,
            node: self.id,
            dir: PathBuf::from("data"),
            seed,
            config: EngineConfig { forward: !seed.is_multiple_of(4), ..config() },
        };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let mut engine = Engine::open(setup, &disk, &mut machines, now)?;
        for group in GROUPS {
            // A crash may have come between opening and the first write; a node that
            // has once answered anything holds the group for ever.
            if engine.view(group).is_none() {
                assert!(!self.formed, "node {} lost group {group}", self.id);
                engine.create_group(group, members.clone(), &mut machines, now)?;
            }
        }
        self.running = Some(Running {
            engine,
            machines,
            stores: stores.to_vec(),
            machines_busy_until: now,
            timer: None,
            paused_until: now,
        });
        Ok(())
    }

    /// Notes that the node has promised something: its groups are durable.
    pub(crate) fn promised(&mut self) {
        self.formed = true;
        if let Some(running) = &self.running {
            let stats = running.engine.log_stats();
            let in_this_life = (stats.begun_segments, stats.prepared_segments);
            self.segments = add(self.segments_before, in_this_life);
        }
    }

    pub(crate) fn store(&self, group: GroupId) -> Option<&SharedStore> {
        let place = GROUPS.iter().position(|known| *known == group)?;
        self.running.as_ref().map(|running| &running.stores[place])
    }
}

pub(crate) const fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}

/// Small sizes, so that segments, snapshots and pages turn over within seconds.
fn config() -> EngineConfig {
    let defaults = EngineConfig::default();
    EngineConfig {
        replica: raft_state::Config {
            election_timeout: Duration::from_millis(1000),
            heartbeat_interval: Duration::from_millis(100),
            max_append_bytes: 2048,
            ..raft_state::Config::default()
        },
        log: LogOptions { segment_bytes: 32 << 10, cache_bytes: 4 << 10 },
        gc: GcPolicy { snapshot_every_entries: 25, keep_entries: 5, ..defaults.gc },
        flush_every_entries: 10,
        apply_page_bytes: 2048,
        snapshot_piece_bytes: 256,
        ..defaults
    }
}
