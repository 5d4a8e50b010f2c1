//! The same store in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{GroupTime, Index};

use super::image::{ImageReader, ImageWriter, state_hash};
use super::performing::{Pairs, decode, no_sessions, perform};
use crate::sessions::Sessions;
use crate::{Command, StateMachine, Timekeeping};

/// A key-value store that keeps nothing on disk. After a restart it is empty and is
/// given the newest snapshot and the log above it.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    pairs: BTreeMap<Bytes, Bytes>,
    sessions: Arc<Sessions>,
    applied: Index,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { pairs: BTreeMap::new(), sessions: no_sessions(), applied: Index::ZERO }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.pairs.get(key)
    }

    /// The clients' sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A hash of the contents, sessions included: equal on replicas that hold the same.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let pairs = self.pairs.iter().map(|(key, value)| Ok((key.clone(), value.clone())));
        state_hash(&self.sessions, pairs).expect("memory is always readable")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Pairs for BTreeMap<Bytes, Bytes> {
    fn get(&self, key: &Bytes) -> Option<Bytes> {
        self.get(key).cloned()
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        match value {
            Some(value) => drop(self.insert(key, value)),
            None => drop(self.remove(&key)),
        }
    }
}

impl StateMachine for MemoryStore {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        let commands = decode(commands)?;
        let Self { pairs, sessions, .. } = self;
        let perform = |(index, command)| perform(index, command, sessions, pairs).encode();
        let answers = commands.into_iter().map(perform).collect();
        self.applied = up_to;
        Ok(answers)
    }

    fn advance(&mut self, index: Index, time: GroupTime) -> io::Result<()> {
        Arc::make_mut(&mut self.sessions).advance(time);
        self.applied = index;
        Ok(())
    }

    fn timekeeping(&self) -> Timekeeping {
        self.sessions.timekeeping()
    }

    fn flush(&mut self) -> io::Result<Index> {
        Ok(self.applied)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        let pairs = self.pairs.clone().into_iter().map(Ok);
        Ok(Box::new(ImageWriter::new(self.applied, &self.sessions, pairs)))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        let mut reader = ImageReader::new(index, image)?;
        let mut pairs = BTreeMap::new();
        while let Some((key, value)) = reader.next()? {
            pairs.insert(key, value);
        }
        let sessions = Arc::new(reader.into_sessions());
        *self = Self { pairs, sessions, applied: index };
        Ok(())
    }
}
