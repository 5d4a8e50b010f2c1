//! Reading beside the thread that applies.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use bytes::Bytes;
use raft_core::{GroupId, Index};

use super::database::{DATA, KvDatabase, data_key, prefix, to_io};

/// The table of all pairs, as one transaction sees it.
type Below = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

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
        let mut overlays = BTreeMap::new();
        for (group, _) in keys {
            if let Entry::Vacant(new) = overlays.entry(*group) {
                new.insert(self.database.overlay(*group)?);
            }
        }
        // The locks come before the transaction: what a flush drops from a layer later
        // is in the database already.
        let overlays: BTreeMap<_, _> = overlays.iter().map(|(id, of)| (id, of.read())).collect();
        let mut below: Option<Below> = None;
        let mut found = Vec::with_capacity(keys.len());
        for (group, key) in keys {
            let overlay = &overlays[group];
            let value = match overlay.get(key) {
                Some(value) => value.clone(),
                None => {
                    let table = match &mut below {
                        Some(below) => below,
                        none => none.insert(self.below()?),
                    };
                    let value = table.get(&data_key(prefix(*group, overlay.generation), key)[..]);
                    value.map_err(to_io)?.map(|value| Bytes::copy_from_slice(value.value()))
                }
            };
            found.push((value, overlay.applied));
        }
        Ok(found)
    }

    fn below(&self) -> io::Result<Below> {
        self.database.begin_read()?.open_table(DATA).map_err(to_io)
    }

    /// The last index whose effect a read of `group` sees.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn applied(&self, group: GroupId) -> io::Result<Index> {
        Ok(self.database.overlay(group)?.read().applied)
    }
}
