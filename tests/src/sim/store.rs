//! The stores of a simulated node: what they hold, and what of it a crash leaves.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use raft_core::{GroupTime, Index};
use raft_log::SimDisk;
use raft_node::kv::MemoryStore;
use raft_node::{Command, Flush, StateMachine, Timekeeping};

use super::database::{DatabaseDisk, SimDatabase};
use super::node::{GROUPS, add};

/// By so many flushes a store can be set back.
const SETS_BACK: usize = 3;

/// A state, and how often a snapshot has taken the place of the one before.
#[derive(Clone, Debug, Default)]
struct Contents {
    state: MemoryStore,
    generation: u64,
}

/// What is durable of a store.
#[derive(Debug, Default)]
struct Kept {
    contents: Contents,
    /// What was durable before, the oldest first.
    before: VecDeque<Contents>,
    /// Flushes that made something durable, and those that a restore overtook.
    flushes: (u64, u64),
}

/// Where a store keeps what it has flushed. It outlives the store's process.
#[derive(Debug)]
pub(crate) struct StoreDisk(Option<Arc<Mutex<Kept>>>);

/// A store that the world can look into while a node uses it. Like the one on redb it
/// applies in memory, makes that durable by a job that runs beside the commands, and is
/// durable at once where it takes a snapshot; or it keeps nothing at all.
#[derive(Clone, Debug)]
pub(crate) struct SimMemory {
    live: Arc<Mutex<Contents>>,
    kept: Option<Arc<Mutex<Kept>>>,
}

impl StoreDisk {
    /// `keeps` tells whether anything outlives a process.
    pub(crate) fn new(keeps: bool) -> Self {
        Self(keeps.then(Arc::default))
    }

    /// The store as it is after a start: at what was durable last, or empty.
    pub(crate) fn open(&self) -> SimMemory {
        let durable = self.0.as_deref().map(|kept| lock(kept).contents.clone());
        SimMemory { live: Arc::new(Mutex::new(durable.unwrap_or_default())), kept: self.0.clone() }
    }

    /// Up to where everything is durable; `None` where nothing is kept.
    pub(crate) fn durable(&self) -> Option<Index> {
        self.0.as_deref().map(|kept| lock(kept).contents.state.applied())
    }

    /// Makes it what it was some flushes ago, as if an old copy had been put there. False
    /// where there is none.
    pub(crate) fn set_back(&self) -> bool {
        let Some(mut kept) = self.0.as_deref().map(lock) else { return false };
        let Some(before) = kept.before.pop_front() else { return false };
        kept.before.clear();
        kept.contents = before;
        true
    }

    /// Flushes that made something durable, and those that a restore overtook.
    pub(crate) fn flushes(&self) -> (u64, u64) {
        self.0.as_deref().map_or((0, 0), |kept| lock(kept).flushes)
    }
}

impl SimMemory {
    fn with<T>(&self, look: impl FnOnce(&mut MemoryStore) -> T) -> T {
        look(&mut lock(&self.live).state)
    }
}

impl StateMachine for SimMemory {
    fn applied(&self) -> Index {
        self.with(|store| store.applied())
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        self.with(|store| store.apply(commands, up_to))
    }

    fn advance(&mut self, index: Index, time: GroupTime) -> io::Result<()> {
        self.with(|store| store.advance(index, time))
    }

    fn timekeeping(&self) -> Timekeeping {
        self.with(|store| store.timekeeping())
    }

    fn flush(&mut self) -> io::Result<Index> {
        match self.begin_flush()? {
            Flush::Done(index) => Ok(index),
            Flush::Job(work) => work(),
        }
    }

    fn begin_flush(&mut self) -> io::Result<Flush> {
        let Some(kept) = self.kept.clone() else { return Ok(Flush::Done(self.applied())) };
        let captured = lock(&self.live).clone();
        Ok(Flush::Job(Box::new(move || Ok(lock(&kept).flush(captured)))))
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        self.with(MemoryStore::snapshot)
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        let mut state = MemoryStore::new();
        state.restore(index, image)?;
        let mut live = lock(&self.live);
        *live = Contents { state, generation: live.generation + 1 };
        if let Some(kept) = &self.kept {
            lock(kept).contents = live.clone();
        }
        Ok(())
    }
}

impl Kept {
    /// Makes what was captured durable, unless a snapshot has taken its place.
    fn flush(&mut self, captured: Contents) -> Index {
        let index = captured.state.applied();
        if captured.generation != self.contents.generation {
            self.flushes = add(self.flushes, (0, 1));
        } else if index > self.contents.state.applied() {
            self.flushes = add(self.flushes, (1, 0));
            if self.before.len() == SETS_BACK {
                self.before.pop_front();
            }
            let before = std::mem::replace(&mut self.contents, captured);
            self.before.push_back(before);
        }
        index
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store of one group, which the world can look into while a node uses it.
#[derive(Clone, Debug)]
pub(crate) enum SimStore {
    Memory(SimMemory),
    Database(SimDatabase),
}

impl SimStore {
    pub(crate) fn machine(&self) -> Box<dyn StateMachine> {
        match self {
            Self::Memory(store) => Box::new(store.clone()),
            Self::Database(store) => Box::new(store.clone()),
        }
    }

    pub(crate) fn applied(&self) -> Index {
        match self {
            Self::Memory(store) => store.applied(),
            Self::Database(store) => store.applied(),
        }
    }

    pub(crate) fn state_hash(&self) -> io::Result<u64> {
        match self {
            Self::Memory(store) => Ok(store.with(|store| store.state_hash())),
            Self::Database(store) => store.state_hash(),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        match self {
            Self::Memory(store) => Ok(store.with(|store| store.get(key).cloned())),
            Self::Database(store) => store.get(key),
        }
    }
}

/// Where the stores of a node lie.
#[derive(Debug)]
pub(crate) enum Stores {
    /// In memory, and what they flush beside it, in the order of [`GROUPS`].
    Memory([StoreDisk; GROUPS.len()]),
    /// In the production database.
    Database(DatabaseDisk),
}

/// What the stores of a node had durable once.
#[derive(Debug)]
pub(crate) struct StoresImage([Option<Contents>; GROUPS.len()]);

impl Stores {
    pub(crate) fn open(&self) -> io::Result<[SimStore; GROUPS.len()]> {
        Ok(match self {
            Self::Memory(disks) => disks.each_ref().map(|disk| SimStore::Memory(disk.open())),
            Self::Database(disk) => disk.open()?.map(SimStore::Database),
        })
    }

    /// Up to where a group's store would outlive a crash, at least; `None` where it would not
    /// at all.
    pub(crate) fn durable(&self, place: usize) -> Option<Index> {
        match self {
            Self::Memory(disks) => disks[place].durable(),
            Self::Database(disk) => Some(disk.durable(place)),
        }
    }

    /// Sets all of them back by some flushes; false where they keep nothing.
    pub(crate) fn set_back(&self) -> bool {
        match self {
            Self::Memory(disks) => {
                disks.iter().map(StoreDisk::set_back).fold(false, |any, one| any | one)
            }
            Self::Database(_) => false,
        }
    }

    /// What is durable of each; nothing where they are in the production database.
    pub(crate) fn image(&self) -> Option<StoresImage> {
        let contents = |disk: &StoreDisk| disk.0.as_deref().map(|kept| lock(kept).contents.clone());
        match self {
            Self::Memory(disks) => Some(StoresImage(disks.each_ref().map(contents))),
            Self::Database(_) => None,
        }
    }

    /// Makes each what it was.
    pub(crate) fn put_back(&self, image: StoresImage) {
        let Self::Memory(disks) = self else { return };
        for (disk, was) in disks.iter().zip(image.0) {
            if let (Some(kept), Some(was)) = (disk.0.as_deref(), was) {
                lock(kept).contents = was;
            }
        }
    }

    /// Flushes that made something durable, and those that a restore overtook.
    pub(crate) fn flushes(&self) -> (u64, u64) {
        match self {
            Self::Memory(disks) => disks.iter().map(StoreDisk::flushes).fold((0, 0), add),
            Self::Database(disk) => (disk.flushes(), 0),
        }
    }

    /// The disk of the database, where there is one.
    pub(crate) fn disk(&self) -> Option<&SimDisk> {
        match self {
            Self::Memory(_) => None,
            Self::Database(disk) => Some(&disk.disk),
        }
    }
}
