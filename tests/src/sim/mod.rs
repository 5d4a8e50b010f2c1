//! A deterministic world: production engines on simulated disks, a simulated network
//! and simulated clients, all decided by one seed.
//!
//! The engine, the write-ahead log, the snapshots, the wire codec and the in-memory
//! store are the production ones; only clock, network, disk and clients are simulated.
//! A run first breaks things (messages lost, delayed, repeated and reordered, disks
//! that stall and fail to sync, processes killed, power cut at any change of the disk,
//! recoveries included), then heals and demands progress. What every client saw goes
//! through the linearizability checker.

mod campaign;
mod world;

mod acting;
mod asking;
mod striking;

mod checks;
mod clients;
mod faults;
mod network;
mod node;

pub use campaign::{Campaign, run_campaign};
pub use world::{Failure, Options, Report, run};

#[cfg(test)]
mod sim_tests;
