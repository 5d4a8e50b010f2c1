//! Reading beside the thread that applies.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use bytes::Bytes;
use raft_core::{GroupId, Index};

use super::database::{DATA, KvDatabase, data_key, prefix, to_io};
use super::overlay::SharedOverlay;

/// A value, if there is one, and the applied index of the state it was read from.
type Found = (Option<Bytes>, Index);

/// A state of the database, and what is wanted of it: the place of each key among those
/// asked for, and the key in the table of all pairs.
type LookUp = (Below, Vec<(usize, Vec<u8>)>);

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
        let (mut found, below) = self.look_above(keys, &overlays)?;
        // No lock is held while the disk is read: commands go on meanwhile.
        if let Some((table, wanted)) = below {
            for (place, at) in wanted {
                let value = table.get(&at[..]).map_err(to_io)?;
                found[place].0 = value.map(|value| Bytes::copy_from_slice(value.value()));
            }
        }
        Ok(found)
    }

    /// What the overlays say of the keys, and which keys are to be looked up in which
    /// state of the database: the places of the keys, and their keys there.
    fn look_above(
        &self,
        keys: &[(GroupId, &[u8])],
        overlays: &BTreeMap<GroupId, SharedOverlay>,
    ) -> io::Result<(Vec<Found>, Option<LookUp>)> {
        // The transaction begins under the locks: what a flush drops from a layer later
        // is in the database already.
        let overlays: BTreeMap<_, _> = overlays.iter().map(|(id, of)| (id, of.read())).collect();
        let mut wanted = Vec::new();
        let mut found = Vec::with_capacity(keys.len());
        for (place, (group, key)) in keys.iter().enumerate() {
            let overlay = &overlays[group];
            let value = overlay.layers.get(key).cloned().unwrap_or_else(|| {
                wanted.push((place, data_key(prefix(*group, overlay.generation), key)));
                None
            });
            found.push((value, overlay.applied));
        }
        let below = if wanted.is_empty() { None } else { Some((self.below()?, wanted)) };
        Ok((found, below))
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
