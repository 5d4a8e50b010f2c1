//! A Raft node: the engine that serves many groups, and around it a replicated
//! key-value server.
//!
//! Without default features it is the library for embedding: [`engine`] and
//! [`StateMachine`], no runtime, no server. The feature `shell` adds what turns the
//! engine on tokio and a node in a few lines, `kv` the key-value store on redb, `server`
//! the whole server with its configuration, its transport, its HTTP API and the binary.
//!
//! [`conformance`] checks a state machine of your own against the rules that the engine counts
//! on.
//!
//! What is deliberately absent: any rule of Raft. Those live in `raft-election`,
//! `raft-replication` and `raft-state`; what becomes durable in `raft-log`; what
//! travels in `raft-rpc`.
//!
//! Who embeds a node begins with `shell::Node`: `examples/embedded_cluster.rs` runs three
//! of them in one process with a state machine of its own, `examples/axum_embedded.rs` one
//! inside an axum server, with its API beside routes of the server's own.
//!
//! An engine of one node, driven by hand on a simulated disk:
//!
//! ```
//! use std::{path::PathBuf, sync::Arc};
//! # use std::io::{Read, Result};
//! # use bytes::Bytes;
//! use raft_core::{ClusterId, GroupId, Incarnation, Index, Instant, Membership, NodeId};
//! use raft_log::{Disk, SimDisk};
//! use raft_node::engine::{Effect, Engine, EngineConfig, EngineSetup, Event, Machines};
//! use raft_node::{Command, StateMachine};
//! use raft_state::{Proposal, ProposalId};
//!
//! /// Remembers the length of everything it was ever told.
//! struct Length(Index, usize);
//!
//! impl StateMachine for Length {
//! #   fn applied(&self) -> Index { self.0 }
//!     fn apply(&mut self, commands: &[Command], up_to: Index) -> Result<Vec<Bytes>> {
//!         self.0 = up_to;
//!         let answer = |command: &Command| {
//!             self.1 += command.payload.len();
//!             Bytes::from(self.1.to_string())
//!         };
//!         Ok(commands.iter().map(answer).collect())
//!     }
//!     // and applied, flush, snapshot, restore
//! #   fn flush(&mut self) -> Result<Index> { Ok(self.0) }
//! #   fn snapshot(&mut self) -> Result<Box<dyn Read + Send>> { Ok(Box::new(std::io::empty())) }
//! #   fn restore(&mut self, _: Index, _: &mut dyn Read) -> Result<()> { Ok(()) }
//! }
//!
//! let (node, group) = (NodeId::new(1).unwrap(), GroupId(1));
//! let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
//! let mut machines = Machines::default();
//! machines.insert(group, Box::new(Length(Index(0), 0)));
//! let (dir, config) = (PathBuf::from("data"), EngineConfig::default());
//! let (cluster, incarnation) = (ClusterId(1), Incarnation(0));
//! let setup = EngineSetup { cluster, node, incarnation, dir, seed: 1, config };
//! let mut engine = Engine::open(setup, &disk, &mut machines, Instant(0)).unwrap();
//! engine.create_group(group, Membership::of_voters([node]), &mut machines, Instant(0)).unwrap();
//!
//! let payload = Bytes::from_static(b"hello");
//! let proposal = Event::Propose { group, proposals: vec![Proposal { id: ProposalId(1), payload }] };
//! // The timer first: the only voter elects itself, once its vote is durable.
//! let (mut events, mut answers) = (vec![Event::Timeout], Vec::new());
//! let mut proposal = Some(proposal);
//! while let Some(event) = events.pop().or_else(|| proposal.take()) {
//!     engine.handle(Instant(0), event).unwrap();
//!     engine.flush(Instant(0));
//!     while let Some(effect) = engine.poll_effect() {
//!         match effect {
//!             Effect::Write(job) => events.push(Event::Written(job.run())),
//!             Effect::Machine(task) => events.push(Event::Machine(machines.run(task))),
//!             Effect::Answer(some) => answers.extend(some),
//!             _ => {}
//!         }
//!     }
//! }
//! assert!(format!("{answers:?}").contains(r#"answer: b"5""#), "{answers:?}");
//! ```

pub mod engine;

mod state_machine;
pub use state_machine::{Command, Flush, FlushWork, GiveUp, StateMachine, Timekeeping, WantsTime};

pub mod conformance;
pub mod sessions;

#[cfg(feature = "shell")]
pub mod shell;

#[cfg(feature = "shell")]
mod room;

#[cfg(feature = "shell")]
mod handle;
#[cfg(feature = "shell")]
pub use handle::{Applied, GroupStatus, NodeHandle, Outcome, PeerStatus, RequestError, Role};

#[cfg(feature = "shell")]
mod maintenance;
#[cfg(feature = "shell")]
pub use maintenance::SnapshotWishError;

#[cfg(feature = "shell")]
mod members;
#[cfg(feature = "shell")]
pub use members::{ChangeMembersError, TransferError};

#[cfg(feature = "kv")]
pub mod kv;

#[cfg(feature = "server")]
pub mod config;

#[cfg(feature = "server")]
pub mod api;

#[cfg(feature = "server")]
pub mod metrics;

#[cfg(feature = "server")]
pub mod server;
