//! The state machine of one group in the node's database.

use std::io::{self, Read};

use bytes::Bytes;
use raft_core::{GroupId, Index};
use redb::Table;

use super::command::{KvAnswer, KvCommand};
use super::database::{
    DATA, GroupRecord, KvDatabase, after, data_key, prefix, set_record, to_io, up_to,
};
use super::image::{ImageReader, ImageWriter, Pair, state_hash};
use crate::{Command, StateMachine};

/// How much of an image is stored in one transaction.
const RESTORED_AT_ONCE_BYTES: usize = 16 * 1024 * 1024;

/// The key-value store of one group. See [`KvDatabase::group`].
///
/// Invariants:
/// - `record` is what the database holds for the group, as last committed.
/// - `flushed <= record.applied`.
#[derive(Debug)]
pub struct KvStore {
    database: KvDatabase,
    group: GroupId,
    record: GroupRecord,
    flushed: Index,
}

impl KvStore {
    pub(super) const fn new(database: KvDatabase, group: GroupId, record: GroupRecord) -> Self {
        // Another store of the same database may have committed what this one reads
        // without making it durable, so nothing counts as flushed yet.
        Self { database, group, record, flushed: Index::ZERO }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.database.reader().get(self.group, key)
    }

    /// A hash of the contents: equal on replicas that hold the same.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn state_hash(&self) -> io::Result<u64> {
        state_hash(self.pairs()?)
    }

    /// All pairs, in the order of keys, as they are now.
    fn pairs(&self) -> io::Result<impl Iterator<Item = io::Result<Pair>> + Send + use<>> {
        let low = prefix(self.group, self.record.generation);
        let end = after(low);
        let data = self.database.begin_read()?.open_table(DATA).map_err(to_io)?;
        let range = data.range_owned::<&[u8]>(up_to(&low, &end)).map_err(to_io)?;
        Ok(range.map(move |pair| {
            let (key, value) = pair.map_err(to_io)?;
            let key = Bytes::copy_from_slice(&key.value()[low.len()..]);
            Ok((key, Bytes::copy_from_slice(value.value())))
        }))
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

impl StateMachine for KvStore {
    fn applied(&self) -> Index {
        self.record.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        let record = GroupRecord { applied: up_to, ..self.record };
        let low = prefix(self.group, record.generation);
        let txn = self.database.begin_volatile()?;
        let mut answers = Vec::with_capacity(commands.len());
        {
            let mut data = txn.open_table(DATA).map_err(to_io)?;
            for command in commands {
                answers.push(apply_one(&mut data, low, command.payload.clone())?.encode());
            }
        }
        set_record(&txn, self.group, record)?;
        txn.commit().map_err(to_io)?;
        self.record = record;
        Ok(answers)
    }

    fn flush(&mut self) -> io::Result<Index> {
        if self.flushed < self.record.applied {
            self.database.begin_durable()?.commit().map_err(to_io)?;
            self.flushed = self.record.applied;
        }
        Ok(self.flushed)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(ImageWriter::new(self.record.applied, self.pairs()?)))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        let old = self.record.generation;
        let fresh = GroupRecord { generation: old + 1, applied: index };
        // An attempt that failed may have left pairs there.
        self.database.remove_generation(self.group, fresh.generation)?;
        self.fill(fresh.generation, &mut ImageReader::new(index, image)?)?;

        let txn = self.database.begin_durable()?;
        set_record(&txn, self.group, fresh)?;
        txn.commit().map_err(to_io)?;
        self.record = fresh;
        self.flushed = index;

        // The restore is done and must not be reported as failed any more. What cannot
        // be removed now is removed when the database is opened again.
        let _ = self.database.remove_generation(self.group, old);
        Ok(())
    }
}

fn apply_one(
    data: &mut Table<'_, &[u8], &[u8]>,
    low: [u8; 16],
    payload: Bytes,
) -> io::Result<KvAnswer> {
    match KvCommand::decode(payload) {
        Ok(KvCommand::Put { key, value }) => {
            data.insert(&data_key(low, &key)[..], &value[..]).map_err(to_io)?;
            Ok(KvAnswer::Stored)
        }
        Ok(KvCommand::Delete { key }) => {
            let removed = data.remove(&data_key(low, &key)[..]).map_err(to_io)?;
            Ok(KvAnswer::Deleted { existed: removed.is_some() })
        }
        Err(why) => Ok(KvAnswer::Refused { why: why.to_string() }),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
