//! A Raft node: the engine that serves many groups, and around it a replicated
//! key-value server.
//!
//! Without default features it is the library for embedding: [`engine`] and
//! [`StateMachine`], no runtime, no server. The feature `shell` adds what turns the
//! engine on tokio, `kv` the key-value store on redb, `server` the whole node with its
//! configuration, its transport, its HTTP API and the binary.
//!
//! What is deliberately absent: any rule of Raft. Those live in `raft-election`,
//! `raft-replication` and `raft-state`; what becomes durable in `raft-log`; what
//! travels in `raft-rpc`.

pub mod engine;

mod state_machine;
pub use state_machine::{Command, StateMachine};

#[cfg(feature = "shell")]
pub mod shell;

#[cfg(feature = "shell")]
mod handle;
#[cfg(feature = "shell")]
pub use handle::{Applied, GroupStatus, NodeHandle, Outcome, PeerStatus, RequestError, Role};

#[cfg(feature = "kv")]
pub mod kv;

#[cfg(feature = "server")]
pub mod config;

#[cfg(feature = "server")]
pub mod api;

#[cfg(feature = "server")]
pub mod server;
