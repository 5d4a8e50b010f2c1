//! A replicated key-value store: byte keys, byte values.
//!
//! [`KvStore`] keeps one group's data in the node's [`KvDatabase`] (redb);
//! [`MemoryStore`] keeps it in memory. Both obey the same [`KvCommand`]s, give the
//! same [`KvAnswer`]s and write the same snapshot images, so replicas of one group
//! may use either and still hold equal contents ([`KvStore::state_hash`]).

mod database;
mod overlay;
mod patient;
mod store;

mod reader;

mod memory;

mod actual;
mod command;
mod performing;

mod image;

mod hash;

pub use actual::Actual;
pub use command::{KvAnswer, KvCommand, KvDecodeError};
pub use database::{DEFAULT_CACHE_BYTES, KvDatabase, KvOptions};
pub use image::{ImageSummary, check_image};
pub use memory::MemoryStore;
pub use reader::KvReader;
pub use store::KvStore;

#[cfg(feature = "server")]
pub(crate) use hash::StableHash;
