//! Reading beside the thread that applies.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use bytes::Bytes;
use raft_core::{GroupId, Index};

use super::database::{DATA, KvDatabase, data_key, prefix, record_in, to_io};

/// Reads what the stores of a [`KvDatabase`] have applied, from any thread. Every
/// call sees one consistent state. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct KvReader {
    database: KvDatabase,
}

impl KvReader {
    pub(super) const fn new(database: KvDatabase) -> Self {
        Self { database }
    }

    /// The value that `group` holds under `key`, as of the last applied batch.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn get(&self, group: GroupId, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.get_with_applied(group, key)?.0)
    }

    /// Like [`get`](Self::get), with the applied index of the state that was read.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn get_with_applied(
        &self,
        group: GroupId,
        key: &[u8],
    ) -> io::Result<(Option<Bytes>, Index)> {
        let found = self.get_all(&[(group, key)])?.pop();
        Ok(found.expect("one key was asked for"))
    }

    /// The values under all of these keys, in their order and of one state, each with
    /// the applied index of its group.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn get_all(&self, keys: &[(GroupId, &[u8])]) -> io::Result<Vec<(Option<Bytes>, Index)>> {
        let txn = self.database.begin_read()?;
        let data = txn.open_table(DATA).map_err(to_io)?;
        let mut records = BTreeMap::new();
        let mut found = Vec::with_capacity(keys.len());
        for (group, key) in keys {
            let record = match records.entry(*group) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(record_in(&txn, *group)?),
            };
            let at = data_key(prefix(*group, record.generation), key);
            let value = data.get(&at[..]).map_err(to_io)?;
            let value = value.map(|value| Bytes::copy_from_slice(value.value()));
            found.push((value, record.applied));
        }
        Ok(found)
    }

    /// The last index whose effect a read of `group` sees.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn applied(&self, group: GroupId) -> io::Result<Index> {
        Ok(self.database.record(group)?.applied)
    }
}
