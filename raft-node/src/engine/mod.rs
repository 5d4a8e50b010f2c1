//! The engine: the one loop that joins replicas, log, network and state machines.
//!
//! It is synchronous and deterministic: [`Engine::handle`] takes one [`Event`],
//! [`Engine::flush`] ends a batch of them, [`Engine::poll_effect`] is drained, and
//! [`Engine::deadline`] says when to hand in [`Event::Timeout`]. There is no clock, no
//! thread, no runtime and no randomly ordered map in it. Production wraps it in a thin
//! shell; the simulator drives the very same code.
//!
//! Slow things leave as values: a [`raft_log::WriteJob`] for the log's thread, a
//! [`MachineTask`] for whoever holds the state machines, a [`Job`] for everything else.
//! Each comes back as an event.

mod config;
mod effect;
mod event;

#[expect(clippy::module_inception, reason = "the engine's own file stands beside its parts")]
mod engine;
mod open;

mod figures;
mod group;
mod pending;

mod applying;
mod clock;
mod damage;
mod disk_watch;
mod forwarding;
mod housekeeping;
mod liveness;
mod members;
mod outgoing;
mod pace;
mod routing;
mod sending;
mod snapshot_receiving;
mod snapshot_sending;
mod snapshots;
mod under_way;

mod job;
mod machine;

pub use config::EngineConfig;
pub use disk_watch::DiskFigures;
pub use effect::{Answer, Effect};
pub use engine::{Engine, GroupView};
pub use event::Event;
pub use figures::{EngineFigures, GroupFigures, TimedPart, Timing};
pub use group::Collection;
pub use job::{Job, JobDone, ReadFor, SnapshotTrouble, Stored, WriteSnapshot, Written};
pub use machine::{MachineDone, MachineTask, Machines};
pub use open::{EngineSetup, OpenError};
pub use snapshots::{SnapshotOutcome, SnapshotRefusal};

#[cfg(test)]
mod engine_tests;
