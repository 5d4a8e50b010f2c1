//! The state machine of one group in the node's database.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{GroupId, GroupTime, Index};

use super::database::{
    DATA, GroupRecord, KvDatabase, after, data_key, prefix, record_of, set_record, to_io, up_to,
};
use super::image::{ImageReader, ImageWriter, Pair, state_hash};
use super::overlay::{Layer, Layers, Merged, Overlay, SharedOverlay};
use super::performing::{KvResult, Pairs, asks_for, decode, perform};
use crate::sessions::Sessions;
use crate::state_machine::GiveUp;
use crate::{Command, Flush, StateMachine, Timekeeping};

/// How much of an image is stored in one transaction.
const RESTORED_AT_ONCE_BYTES: usize = 16 * 1024 * 1024;

/// The key-value store of one group. See [`KvDatabase::group`].
///
/// Commands are applied in memory, and a flush writes what came together into the
/// database. Everything here shows both as one state.
#[derive(Debug)]
pub struct KvStore {
    database: KvDatabase,
    group: GroupId,
    overlay: SharedOverlay,
}

impl KvStore {
    pub(super) const fn new(database: KvDatabase, group: GroupId, overlay: SharedOverlay) -> Self {
        Self { database, group, overlay }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.database.reader().get(self.group, key)
    }

    /// A hash of the contents, sessions included: equal on replicas that hold the same.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn state_hash(&self) -> io::Result<u64> {
        let (_, sessions, pairs) = self.pairs()?;
        state_hash(&sessions, pairs)
    }

    /// All pairs, in the order of keys, and the sessions, as they are now, and at which
    /// index that is.
    fn pairs(
        &self,
    ) -> io::Result<(Index, Arc<Sessions>, impl Iterator<Item = io::Result<Pair>> + Send + use<>)>
    {
        // Under the lock no flush can drop a layer that the transaction does not see yet.
        let mut overlay = self.overlay.write();
        let layers = overlay.layers.seal();
        let low = prefix(self.group, overlay.generation);
        let end = after(low);
        let data = self.database.begin_read()?.open_table(DATA).map_err(to_io)?;
        let range = data.range_owned::<&[u8]>(up_to(&low, &end)).map_err(to_io)?;
        let below = range.map(move |pair| {
            let (key, value) = pair.map_err(to_io)?;
            let key = Bytes::copy_from_slice(&key.value()[low.len()..]);
            Ok((key, Bytes::copy_from_slice(value.value())))
        });
        Ok((overlay.applied, Arc::clone(&overlay.sessions), Merged::new(layers, below)))
    }

    /// What the database holds for the keys whose values the commands depend on. A flush may
    /// move them from a layer into the database at any time, so both count.
    fn held(&self, commands: &[KvResult]) -> io::Result<BTreeMap<Bytes, Bytes>> {
        let asked = commands.iter().flatten().filter_map(asks_for);
        // Each once: many may swap the value of one key.
        let asked: BTreeSet<&[u8]> = asked.map(|key| &key[..]).collect();
        let asked: Vec<_> = asked.into_iter().map(|key| (self.group, key)).collect();
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = self.database.reader().get_all(&asked)?;
        let pairs =
            asked.iter().zip(found).filter_map(|((_, key), (value, _))| Some((key, value?)));
        Ok(pairs.map(|(key, value)| (Bytes::copy_from_slice(key), value)).collect())
    }

    fn fill(&self, generation: u64, image: &mut ImageReader<'_>) -> io::Result<()> {
        let low = prefix(self.group, generation);
        loop {
            let txn = self.database.begin_durable()?;
            let mut filled = 0;
            let mut data = txn.open_table(DATA).map_err(to_io)?;
            while filled < RESTORED_AT_ONCE_BYTES {
                let Some((key, value)) = image.next()? else {
                    drop(data);
                    return txn.commit().map_err(to_io);
                };
                filled += key.len() + value.len();
                data.insert(&data_key(low, &key)[..], &value[..]).map_err(to_io)?;
            }
            drop(data);
            txn.commit().map_err(to_io)?;
        }
    }
}

/// What is not in the database yet, over what commands may ask of the database.
struct Pending<'a> {
    layers: &'a mut Layers,
    held: BTreeMap<Bytes, Bytes>,
}

impl Pairs for Pending<'_> {
    fn get(&self, key: &Bytes) -> Option<Bytes> {
        self.layers.get(key).map_or_else(|| self.held.get(key), Option::as_ref).cloned()
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        self.layers.set(copy(&key), value.as_ref().map(copy));
    }
}

impl StateMachine for KvStore {
    fn applied(&self) -> Index {
        self.overlay.read().applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        let (indexes, commands): (Vec<Index>, Vec<KvResult>) =
            decode(commands)?.into_iter().unzip();
        // Whatever can fail comes first, so that no half of a batch is ever seen.
        let held = self.held(&commands)?;
        let mut overlay = self.overlay.write();
        let Overlay { layers, sessions, applied, .. } = &mut *overlay;
        let mut pairs = Pending { layers, held };
        let answers = indexes
            .into_iter()
            .zip(commands)
            .map(|(index, command)| perform(index, command, sessions, &mut pairs).encode());
        let answers = answers.collect();
        *applied = up_to;
        Ok(answers)
    }

    fn advance(&mut self, index: Index, time: GroupTime) -> io::Result<()> {
        let mut overlay = self.overlay.write();
        Arc::make_mut(&mut overlay.sessions).advance(time);
        overlay.applied = index;
        Ok(())
    }

    fn timekeeping(&self) -> Timekeeping {
        self.overlay.read().sessions.timekeeping()
    }

    fn flush(&mut self) -> io::Result<Index> {
        match self.begin_flush()? {
            Flush::Done(index) => Ok(index),
            Flush::Job(job) => job(),
        }
    }

    fn begin_flush(&mut self) -> io::Result<Flush> {
        let mut overlay = self.overlay.write();
        let job = FlushJob {
            layers: overlay.layers.seal(),
            record: GroupRecord { generation: overlay.generation, applied: overlay.applied },
            sessions: Arc::clone(&overlay.sessions),
            database: self.database.clone(),
            group: self.group,
            overlay: self.overlay.clone(),
        };
        Ok(Flush::Job(Box::new(move || job.run())))
    }

    fn give_up(&self) -> Option<GiveUp> {
        let patience = self.database.patience().clone();
        Some(Box::new(move || patience.end()))
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        let (applied, sessions, pairs) = self.pairs()?;
        Ok(Box::new(ImageWriter::new(applied, &sessions, pairs)))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        let old = self.overlay.read().generation;
        let fresh = GroupRecord { generation: old + 1, applied: index };
        // An attempt that failed may have left pairs there.
        self.database.remove_generation(self.group, fresh.generation)?;
        let mut image = ImageReader::new(index, image)?;
        self.fill(fresh.generation, &mut image)?;
        let sessions = Arc::new(image.into_sessions());

        let txn = self.database.begin_durable()?;
        set_record(&txn, self.group, fresh, &sessions)?;
        txn.commit().map_err(to_io)?;
        *self.overlay.write() = Overlay::new(fresh.generation, index, sessions);

        // The restore is done and must not be reported as failed any more. What cannot
        // be removed now is removed when the database is opened again.
        let _ = self.database.remove_generation(self.group, old);
        Ok(())
    }
}

/// Layers on their way into the database.
struct FlushJob {
    database: KvDatabase,
    group: GroupId,
    overlay: SharedOverlay,
    layers: Vec<Arc<Layer>>,
    /// What the group's record and sessions are once they are there.
    record: GroupRecord,
    sessions: Arc<Sessions>,
}

impl FlushJob {
    /// Writes the layers and the index they reach in one durable transaction.
    fn run(self) -> io::Result<Index> {
        let txn = self.database.begin_durable()?;
        let known = record_of(&txn, self.group)?;
        // A restore may have replaced the state, or a later flush have been faster.
        if known.generation == self.record.generation && known.applied < self.record.applied {
            let low = prefix(self.group, known.generation);
            let mut data = txn.open_table(DATA).map_err(to_io)?;
            for (key, value) in self.layers.iter().flat_map(|layer| layer.iter()) {
                let at = data_key(low, key);
                match value {
                    Some(value) => drop(data.insert(&at[..], &value[..]).map_err(to_io)?),
                    None => drop(data.remove(&at[..]).map_err(to_io)?),
                }
            }
            drop(data);
            set_record(&txn, self.group, self.record, &self.sessions)?;
            txn.commit().map_err(to_io)?;
        } else {
            txn.abort().map_err(to_io)?;
        }
        self.overlay.write().layers.flushed(&self.layers);
        Ok(self.record.applied)
    }
}

/// A copy of its own: what is kept for long must not hold on to the frame it came in.
fn copy(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
