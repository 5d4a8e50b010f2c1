//! The same store in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;
use raft_core::Index;

use super::command::{KvAnswer, KvCommand};
use super::image::{ImageReader, ImageWriter, state_hash};
use crate::{Command, StateMachine};

/// A key-value store that keeps nothing on disk. After a restart it is empty and is
/// given the newest snapshot and the log above it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    pairs: BTreeMap<Bytes, Bytes>,
    applied: Index,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.pairs.get(key)
    }

    /// A hash of the contents: equal on replicas that hold the same.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let pairs = self.pairs.iter().map(|(key, value)| Ok((key.clone(), value.clone())));
        state_hash(pairs).expect("memory is always readable")
    }

    fn apply_one(&mut self, payload: Bytes) -> KvAnswer {
        match KvCommand::decode(payload) {
            Ok(KvCommand::Put { key, value }) => {
                self.pairs.insert(key, value);
                KvAnswer::Stored
            }
            Ok(KvCommand::Delete { key }) => {
                KvAnswer::Deleted { existed: self.pairs.remove(&key).is_some() }
            }
            Err(why) => KvAnswer::Refused { why: why.to_string() },
        }
    }
}

impl StateMachine for MemoryStore {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        let answers = commands
            .iter()
            .map(|command| self.apply_one(command.payload.clone()).encode())
            .collect();
        self.applied = up_to;
        Ok(answers)
    }

    fn flush(&mut self) -> io::Result<Index> {
        Ok(self.applied)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(ImageWriter::new(self.applied, self.pairs.clone().into_iter().map(Ok))))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        let mut reader = ImageReader::new(index, image)?;
        let mut pairs = BTreeMap::new();
        while let Some((key, value)) = reader.next()? {
            pairs.insert(key, value);
        }
        self.pairs = pairs;
        self.applied = index;
        Ok(())
    }
}
