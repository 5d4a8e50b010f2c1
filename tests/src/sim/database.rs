//! The production store of a simulated node: its database on a disk of its own.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use raft_core::{GroupTime, Index};
use raft_log::{Disk as _, DiskFile, SimDisk};
use raft_node::kv::{KvDatabase, KvOptions, KvStore};
use raft_node::{Command, Flush, StateMachine, Timekeeping};
use redb::StorageBackend;

use super::node::GROUPS;

const FOLDER: &str = "store";
const FILE: &str = "store/kv.redb";
/// Pages are read again rather than kept, as in production where memory is short.
const OPTIONS: KvOptions = KvOptions { cache_bytes: 256 << 10 };

/// Where a node's database lies. It outlives the process.
#[derive(Debug)]
pub(crate) struct DatabaseDisk {
    pub(crate) disk: SimDisk,
    /// Up to where each group was durable at least, in the order of [`GROUPS`].
    flushed: [Arc<AtomicU64>; GROUPS.len()],
    flushes: Arc<AtomicU64>,
}

/// Whether an error of a database is what its disk has refused, or comes of that.
pub(crate) fn of_refusal(why: &str) -> bool {
    ["input/output error (simulated)", "other error", "Previous I/O error"]
        .iter()
        .any(|words| why.contains(words))
}

/// A store that is shared with the world, which looks into it.
#[derive(Clone, Debug)]
pub(crate) struct SimDatabase {
    store: Arc<Mutex<KvStore>>,
    flushed: Arc<AtomicU64>,
    flushes: Arc<AtomicU64>,
}

impl DatabaseDisk {
    /// An empty database, which was made before anything goes wrong.
    pub(crate) fn new(seed: u64) -> io::Result<Self> {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new(FOLDER))?;
        let file = disk.create(Path::new(FILE))?;
        drop(KvDatabase::with_backend(FileOfDatabase(Arc::clone(&file)), &OPTIONS)?);
        file.sync()?;
        disk.sync_dir(Path::new(FOLDER))?;
        Ok(Self { disk, flushed: Default::default(), flushes: Arc::default() })
    }

    /// The stores of all groups, as the disk has them.
    pub(crate) fn open(&self) -> io::Result<[SimDatabase; GROUPS.len()]> {
        let file = self.disk.open(Path::new(FILE))?;
        let database = KvDatabase::with_backend(FileOfDatabase(file), &OPTIONS)?;
        let mut stores = Vec::new();
        for (group, flushed) in GROUPS.into_iter().zip(&self.flushed) {
            let store = database.group(group)?;
            // A crash may have come between a commit and the news of it.
            flushed.fetch_max(store.applied().0, Ordering::Relaxed);
            let store = Arc::new(Mutex::new(store));
            let (flushed, flushes) = (Arc::clone(flushed), Arc::clone(&self.flushes));
            stores.push(SimDatabase { store, flushed, flushes });
        }
        stores.try_into().map_err(|_| io::Error::other("not a store per group"))
    }

    /// Up to where a group is durable at least.
    pub(crate) fn durable(&self, place: usize) -> Index {
        Index(self.flushed[place].load(Ordering::Relaxed))
    }

    /// How often something was made durable.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }
}

impl SimDatabase {
    fn store(&self) -> MutexGuard<'_, KvStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.store().get(key)
    }

    pub(crate) fn state_hash(&self) -> io::Result<u64> {
        self.store().state_hash()
    }
}

impl StateMachine for SimDatabase {
    fn applied(&self) -> Index {
        self.store().applied()
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        self.store().apply(commands, up_to)
    }

    fn advance(&mut self, index: Index, time: GroupTime) -> io::Result<()> {
        self.store().advance(index, time)
    }

    fn timekeeping(&self) -> Timekeeping {
        self.store().timekeeping()
    }

    fn flush(&mut self) -> io::Result<Index> {
        match self.begin_flush()? {
            Flush::Done(index) => Ok(index),
            Flush::Job(work) => work(),
        }
    }

    fn begin_flush(&mut self) -> io::Result<Flush> {
        let (flushed, flushes) = (Arc::clone(&self.flushed), Arc::clone(&self.flushes));
        Ok(match self.store().begin_flush()? {
            Flush::Done(index) => Flush::Done(index),
            Flush::Job(work) => Flush::Job(Box::new(move || {
                let index = work()?;
                flushed.fetch_max(index.0, Ordering::Relaxed);
                flushes.fetch_add(1, Ordering::Relaxed);
                Ok(index)
            })),
        })
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn io::Read + Send>> {
        self.store().snapshot()
    }

    fn restore(&mut self, index: Index, image: &mut dyn io::Read) -> io::Result<()> {
        self.store().restore(index, image)?;
        self.flushed.fetch_max(index.0, Ordering::Relaxed);
        Ok(())
    }
}

#[derive(Debug)]
struct FileOfDatabase(Arc<dyn DiskFile>);

impl StorageBackend for FileOfDatabase {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.0.read_at(offset, out)? == out.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
