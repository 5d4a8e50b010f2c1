//! One embedded database per node, shared by the stores of all its groups.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use raft_core::{GroupId, Index};
use redb::backends::FileBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition,
    WriteTransaction,
};

use super::overlay::SharedOverlay;
use super::patient::{Patience, Patient};
use super::performing::{LIMITS, no_sessions};
use super::reader::KvReader;
use super::store::KvStore;
use crate::sessions::Sessions;

/// How much memory the database may use for caching, unless told otherwise.
pub const DEFAULT_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The pairs of all groups: group (64 bits), generation (64), key. Numbers are
/// big-endian, so that a generation is a range of keys.
pub(super) const DATA: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data.v1");

/// Per group its live generation and applied index.
const GROUPS: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("groups.v1");

/// Per group its clients' sessions, in their own encoding.
const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions.v1");

/// How many pairs of a dead generation are removed in one transaction.
const REMOVED_AT_ONCE: usize = 10_000;

/// How a [`KvDatabase`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvOptions {
    /// The memory that caches pages, in bytes.
    pub cache_bytes: usize,
}

impl Default for KvOptions {
    fn default() -> Self {
        Self { cache_bytes: DEFAULT_CACHE_BYTES }
    }
}

/// The database of a node's key-value stores. Cloning it is cheap; the file is closed
/// with the last clone, store, reader and snapshot.
///
/// Invariants:
/// - A group's live generation, its applied index and its sessions change in one
///   transaction with the data they describe.
/// - Once it is open, only the live generation of a group holds pairs, apart from one
///   that a [`restore`](crate::StateMachine::restore) is filling or removing.
#[derive(Clone, Debug)]
pub struct KvDatabase {
    db: Arc<Database>,
    patience: Patience,
    overlays: Arc<Mutex<BTreeMap<GroupId, SharedOverlay>>>,
}

/// What the database knows about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct GroupRecord {
    pub(super) generation: u64,
    pub(super) applied: Index,
}

impl KvDatabase {
    /// Opens the database in the file `path` and creates it where there is none.
    ///
    /// # Errors
    /// Where the file cannot be opened or is no such database, or another process has
    /// it open.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(path, &KvOptions::default())
    }

    /// Like [`open`](Self::open), with `options`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: &KvOptions) -> io::Result<Self> {
        let path = path.as_ref();
        let draft = draft_of(path);
        // A crash may have left one, in any state.
        if let Err(why) = fs::remove_file(&draft)
            && why.kind() != io::ErrorKind::NotFound
        {
            return Err(named(&draft, &why));
        }
        if !path.try_exists().map_err(|why| named(path, &why))? {
            create(path, &draft).map_err(|why| named(path, &why))?;
        }
        let file = File::options().read(true).write(true).open(path);
        let storage = file.map_err(Into::into).and_then(FileBackend::new);
        let storage = storage.map_err(|why| named(path, &to_io(why)))?;
        Self::with_backend(storage, options).map_err(|why| named(path, &why))
    }

    /// A database that lives in `backend` instead of a file.
    ///
    /// # Errors
    /// Where the backend fails or holds no such database.
    pub fn with_backend(backend: impl StorageBackend, options: &KvOptions) -> io::Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(options.cache_bytes);
        let patience = Patience::default();
        let backend = Patient::new(backend, patience.clone());
        Self::prepare(builder.create_with_backend(backend).map_err(to_io)?, patience)
    }

    /// The store of `group`, empty where the group is new. A group has at most one
    /// store at a time. From here on what is written waits where the disk is full, until
    /// there is room or the node that has the store stops.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn group(&self, group: GroupId) -> io::Result<KvStore> {
        let store = KvStore::new(self.clone(), group, self.overlay(group)?);
        self.patience.begin();
        Ok(store)
    }

    /// What lies over the data of `group`.
    pub(super) fn overlay(&self, group: GroupId) -> io::Result<SharedOverlay> {
        let mut overlays = self.overlays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = overlays.get(&group) {
            return Ok(known.clone());
        }
        let txn = self.begin_read()?;
        let record = record_in(&txn, group)?;
        let sessions = sessions_in(&txn, group)?;
        let overlay = SharedOverlay::new(record.generation, record.applied, sessions);
        overlays.insert(group, overlay.clone());
        Ok(overlay)
    }

    /// Whether what is written waits for room.
    pub(super) const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// A reader of all groups, for other threads.
    #[must_use]
    pub fn reader(&self) -> KvReader {
        KvReader::new(self.clone())
    }

    pub(super) fn begin_read(&self) -> io::Result<redb::ReadTransaction> {
        self.db.begin_read().map_err(to_io)
    }

    /// A transaction that survives a crash only once a durable one followed.
    pub(super) fn begin_volatile(&self) -> io::Result<WriteTransaction> {
        let mut txn = self.db.begin_write().map_err(to_io)?;
        txn.set_durability(Durability::None).map_err(to_io)?;
        Ok(txn)
    }

    /// A transaction that, once committed, survives a crash with all before it.
    pub(super) fn begin_durable(&self) -> io::Result<WriteTransaction> {
        let mut txn = self.db.begin_write().map_err(to_io)?;
        txn.set_durability(Durability::Immediate).map_err(to_io)?;
        // Otherwise opening after a crash walks over all the data. Durable commits are
        // rare enough to pay for that in advance.
        txn.set_quick_repair(true);
        Ok(txn)
    }

    /// Removes all pairs of a generation, in portions that let other groups in.
    pub(super) fn remove_generation(&self, group: GroupId, generation: u64) -> io::Result<()> {
        let low = prefix(group, generation);
        loop {
            let txn = self.begin_volatile()?;
            let finished = {
                let mut data = txn.open_table(DATA).map_err(to_io)?;
                let high = key_after(&data, &low, REMOVED_AT_ONCE)?;
                let end = high.as_deref().map_or_else(|| after(low), <[u8]>::to_vec);
                data.retain_in::<&[u8], _>(up_to(&low, &end), |_, _| false).map_err(to_io)?;
                high.is_none()
            };
            txn.commit().map_err(to_io)?;
            if finished {
                return Ok(());
            }
        }
    }

    fn prepare(db: Database, patience: Patience) -> io::Result<Self> {
        let this = Self { db: Arc::new(db), patience, overlays: Arc::default() };
        let txn = this.begin_durable()?;
        txn.open_table(DATA).map_err(to_io)?;
        txn.open_table(GROUPS).map_err(to_io)?;
        txn.open_table(SESSIONS).map_err(to_io)?;
        txn.commit().map_err(to_io)?;
        for (group, generation) in this.dead_generations()? {
            this.remove_generation(group, generation)?;
        }
        Ok(this)
    }

    /// Generations that hold pairs and are not live: a crash interrupted a restore.
    /// Looks at one pair per generation.
    fn dead_generations(&self) -> io::Result<Vec<(GroupId, u64)>> {
        let txn = self.begin_read()?;
        let data = txn.open_table(DATA).map_err(to_io)?;
        let mut dead = Vec::new();
        let mut from = Vec::new();
        while let Some(pair) = data.range::<&[u8]>(&from[..]..).map_err(to_io)?.next() {
            let (group, generation) = generation_of(pair.map_err(to_io)?.0.value())?;
            if record_in(&txn, group)?.generation != generation {
                dead.push((group, generation));
            }
            from = after(prefix(group, generation));
            if from.is_empty() {
                break;
            }
        }
        Ok(dead)
    }
}

/// What `txn` sees of `group`.
pub(super) fn record_in(txn: &redb::ReadTransaction, group: GroupId) -> io::Result<GroupRecord> {
    let groups = txn.open_table(GROUPS).map_err(to_io)?;
    record_of_table(&groups, group)
}

/// What `txn`, which may have changed it, sees of `group`.
pub(super) fn record_of(txn: &WriteTransaction, group: GroupId) -> io::Result<GroupRecord> {
    let groups = txn.open_table(GROUPS).map_err(to_io)?;
    record_of_table(&groups, group)
}

fn record_of_table(
    groups: &impl ReadableTable<u64, (u64, u64)>,
    group: GroupId,
) -> io::Result<GroupRecord> {
    let record = groups.get(group.0).map_err(to_io)?;
    Ok(record.map_or_else(GroupRecord::default, |found| {
        let (generation, applied) = found.value();
        GroupRecord { generation, applied: Index(applied) }
    }))
}

/// The sessions that `txn` sees of `group`.
fn sessions_in(txn: &redb::ReadTransaction, group: GroupId) -> io::Result<Arc<Sessions>> {
    let all = txn.open_table(SESSIONS).map_err(to_io)?;
    let Some(encoded) = all.get(group.0).map_err(to_io)? else { return Ok(no_sessions()) };
    let sessions = Sessions::decode(LIMITS, encoded.value());
    let unreadable = |why| io::Error::new(io::ErrorKind::InvalidData, format!("{why}"));
    sessions.map(Arc::new).map_err(unreadable)
}

/// Describes what `txn` makes of the data of `group`.
pub(super) fn set_record(
    txn: &WriteTransaction,
    group: GroupId,
    record: GroupRecord,
    sessions: &Sessions,
) -> io::Result<()> {
    let mut all = txn.open_table(SESSIONS).map_err(to_io)?;
    all.insert(group.0, &sessions.encode()[..]).map_err(to_io)?;
    let mut groups = txn.open_table(GROUPS).map_err(to_io)?;
    groups.insert(group.0, (record.generation, record.applied.0)).map_err(to_io)?;
    Ok(())
}

/// What all keys of a generation start with.
pub(super) fn prefix(group: GroupId, generation: u64) -> [u8; 16] {
    ((u128::from(group.0) << 64) | u128::from(generation)).to_be_bytes()
}

/// The least key behind all keys that start with `prefix`; empty where there is none.
pub(super) fn after(prefix: [u8; 16]) -> Vec<u8> {
    let next = u128::from_be_bytes(prefix).checked_add(1);
    next.map_or_else(Vec::new, |next| next.to_be_bytes().to_vec())
}

/// The keys from `low` up to `end`, or all of them where `end` is empty.
pub(super) fn up_to<'a>(low: &'a [u8], end: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    let high = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
    (Bound::Included(low), high)
}

/// Where a user's key stands in the table of all pairs.
pub(super) fn data_key(prefix: [u8; 16], key: &[u8]) -> Vec<u8> {
    [&prefix[..], key].concat()
}

/// The errors of the database as errors of input and output.
pub(super) fn to_io(why: impl Into<redb::Error>) -> io::Error {
    match why.into() {
        redb::Error::Io(why) => why,
        other => io::Error::other(other),
    }
}

/// Makes an empty database at `path`. It has that name only once it is whole: a crash
/// would otherwise leave a file there that is no database.
fn create(path: &Path, draft: &Path) -> io::Result<()> {
    drop(Database::builder().create(draft).map_err(to_io)?);
    File::open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    // A file whose name is not durable is lost in a crash, whatever is in it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// What the file is called while it is being made.
fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn named(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("the database {}: {why}", path.display()))
}

/// The key that follows the first `count` keys of a generation, if it has that many.
fn key_after(
    data: &Table<'_, &[u8], &[u8]>,
    low: &[u8; 16],
    count: usize,
) -> io::Result<Option<Vec<u8>>> {
    let end = after(*low);
    let mut range = data.range::<&[u8]>(up_to(low, &end)).map_err(to_io)?.skip(count);
    match range.next() {
        Some(pair) => Ok(Some(pair.map_err(to_io)?.0.value().to_vec())),
        None => Ok(None),
    }
}

fn generation_of(data_key: &[u8]) -> io::Result<(GroupId, u64)> {
    let numbers = data_key.split_first_chunk::<8>().and_then(|(group, rest)| {
        let (generation, _) = rest.split_first_chunk::<8>()?;
        Some((GroupId(u64::from_be_bytes(*group)), u64::from_be_bytes(*generation)))
    });
    numbers.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "a key of the database names no group")
    })
}
