//! A Raft node as a library.

mod state_machine;
pub use state_machine::{Command, StateMachine};

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
