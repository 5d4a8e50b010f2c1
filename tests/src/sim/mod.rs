//! A deterministic world: production engines on simulated disks, a simulated network
//! and simulated clients, all decided by one seed.
//!
//! The engine, the write-ahead log, the snapshots and the wire codec are the production
//! ones; only clock, network, disk, stores and clients are simulated. A store obeys the
//! same commands as production's and is flushed in the same way, by jobs beside the
//! commands; a crash leaves what was flushed last, or nothing in some runs.
//! A run first breaks things (messages lost, delayed, repeated and reordered, disks
//! that stall and fail to sync, processes killed, power cut at any change of the disk,
//! recoveries included), then heals and demands progress. What every client saw goes
//! through the linearizability checker. Some clients write in sessions and send a write
//! again until it is answered: it must have been applied once.

mod campaign;
mod happening;
mod world;

mod acting;
mod asking;
mod striking;

mod checks;
mod clients;
mod faults;
mod network;
mod node;
mod store;

pub use campaign::{Campaign, run_campaign};
pub use clients::SessionCounts;
pub use world::{Failure, Options, Report, run};

#[cfg(test)]
mod sim_tests;
