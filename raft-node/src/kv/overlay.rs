//! What is applied and not yet in the database.
//!
//! Commands are applied in memory: the log holds them durably, and a database that
//! wrote each batch by itself would copy its pages over and over. Now and then the
//! layer that commands go into is sealed and a flush writes all sealed layers into the
//! database in one transaction, while commands go on into a new layer.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use raft_core::Index;

use super::image::Pair;
use crate::sessions::Sessions;

/// Keys with their values; `None` where the key was deleted.
pub(super) type Layer = BTreeMap<Bytes, Option<Bytes>>;

/// The state of one group above the database.
///
/// Invariant: with the layers laid over the generation `generation` of the database, the
/// newest on top, and with `sessions`, the state is that at `applied`.
#[derive(Debug)]
pub(super) struct Overlay {
    pub(super) generation: u64,
    pub(super) applied: Index,
    /// All of them, whatever the database holds. Whoever shares them sees no change.
    pub(super) sessions: Arc<Sessions>,
    pub(super) layers: Layers,
}

/// The layers of one group.
///
/// Invariant: a sealed layer changes no more, and is dropped only once the database holds
/// it.
#[derive(Debug, Default)]
pub(super) struct Layers {
    active: Layer,
    /// The oldest first.
    sealed: Vec<Arc<Layer>>,
}

/// An overlay that one thread changes and others read.
#[derive(Clone, Debug)]
pub(super) struct SharedOverlay(Arc<RwLock<Overlay>>);

impl SharedOverlay {
    pub(super) fn new(generation: u64, applied: Index, sessions: Arc<Sessions>) -> Self {
        Self(Arc::new(RwLock::new(Overlay::new(generation, applied, sessions))))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Overlay> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Overlay {
    /// Nothing above the database.
    pub(super) fn new(generation: u64, applied: Index, sessions: Arc<Sessions>) -> Self {
        Self { generation, applied, sessions, layers: Layers::default() }
    }
}

impl Layers {
    /// What the layers say of a key; `None` where the database must be asked.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        let newest_first = self.sealed.iter().rev();
        self.active.get(key).or_else(|| newest_first.clone().find_map(|layer| layer.get(key)))
    }

    /// Sets or deletes a key.
    pub(super) fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        self.active.insert(key, value);
    }

    /// Seals what there is, and returns all sealed layers, the oldest first.
    pub(super) fn seal(&mut self) -> Vec<Arc<Layer>> {
        if !self.active.is_empty() {
            self.sealed.push(Arc::new(std::mem::take(&mut self.active)));
        }
        self.sealed.clone()
    }

    /// Drops layers that the database holds now.
    pub(super) fn flushed(&mut self, layers: &[Arc<Layer>]) {
        self.sealed.retain(|sealed| !layers.iter().any(|layer| Arc::ptr_eq(layer, sealed)));
    }
}

/// All pairs of a state in the order of keys: sealed layers laid over what the
/// database holds.
pub(super) struct Merged<I: Iterator> {
    /// The oldest first.
    layers: Vec<Arc<Layer>>,
    /// The last key of the layers that was looked at.
    last: Option<Bytes>,
    below: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = io::Result<Pair>>> Merged<I> {
    pub(super) fn new(layers: Vec<Arc<Layer>>, below: I) -> Self {
        Self { layers, last: None, below: below.peekable() }
    }

    /// The least key of the layers behind the last one, with what the newest layer that
    /// has it says.
    fn next_above(&self) -> Option<(&Bytes, &Option<Bytes>)> {
        let behind = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut least: Option<(&Bytes, &Option<Bytes>)> = None;
        for layer in &self.layers {
            let next = layer.range::<Bytes, _>((behind, Bound::Unbounded)).next();
            // Of equal keys that of the later layer wins.
            if next.is_some_and(|(key, _)| least.is_none_or(|(known, _)| key <= known)) {
                least = next;
            }
        }
        least
    }
}

impl<I: Iterator<Item = io::Result<Pair>>> Iterator for Merged<I> {
    type Item = io::Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let above = self.next_above().map(|(key, value)| (key.clone(), value.clone()));
            let Some((key, value)) = above else { return self.below.next() };
            match self.below.peek() {
                Some(Err(_)) => return self.below.next(),
                Some(Ok((below, _))) if *below < key => return self.below.next(),
                Some(Ok((below, _))) if *below == key => drop(self.below.next()),
                _ => {}
            }
            self.last = Some(key.clone());
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::Random;

    use super::*;

    fn bytes(text: impl Into<String>) -> Bytes {
        Bytes::from(text.into())
    }

    #[test]
    fn layers_lie_over_the_database_the_newest_on_top() {
        let mut random = Random::new(7);
        for _ in 0..200 {
            let mut overlay = Layers::default();
            let mut below = BTreeMap::new();
            for n in 0..random.below(20) {
                below.insert(bytes(format!("{:02}", random.below(30))), bytes(format!("b{n}")));
            }
            let mut expected = below.clone();
            for n in 0..random.below(60) {
                let key = bytes(format!("{:02}", random.below(30)));
                if random.chance(300) {
                    overlay.set(key.clone(), None);
                    expected.remove(&key);
                } else {
                    overlay.set(key.clone(), Some(bytes(format!("o{n}"))));
                    expected.insert(key, bytes(format!("o{n}")));
                }
                if random.chance(100) {
                    overlay.seal();
                }
            }
            for key in (0..30).map(|n| bytes(format!("{n:02}"))) {
                let above = overlay.get(&key).cloned();
                let seen = above.unwrap_or_else(|| below.get(&key).cloned());
                assert_eq!(seen.as_ref(), expected.get(&key));
            }
            let merged = Merged::new(overlay.seal(), below.into_iter().map(Ok));
            let merged: io::Result<BTreeMap<_, _>> = merged.collect();
            assert_eq!(merged.unwrap(), expected);
        }
    }

    #[test]
    fn only_what_was_flushed_is_dropped() {
        let mut overlay = Layers::default();
        overlay.set(bytes("a"), Some(bytes("1")));
        let first = overlay.seal();
        overlay.set(bytes("b"), None);
        overlay.seal();
        overlay.flushed(&first);
        assert_eq!(overlay.get(b"a"), None);
        assert_eq!(overlay.get(b"b"), Some(&None));
    }
}
