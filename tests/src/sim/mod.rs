//! A deterministic world: production engines on simulated disks, a simulated network
//! and simulated clients, all decided by one seed.
//!
//! The engine, the write-ahead log, the snapshots and the wire codec are the production
//! ones; only clock, network, disk and clients are simulated, and in nine runs of ten the
//! stores. Such a store obeys the same commands as production's and is flushed in the same
//! way, by jobs beside the commands; a crash leaves what was flushed last, or nothing in
//! some runs. In the tenth run most nodes have the production store.
//!
//! A run first breaks things (messages lost, delayed, repeated and reordered, disks that
//! stall, fail to sync and lose frames of the log, processes killed, power cut at any change
//! of the disk, recoveries included, clocks that drift), then heals and demands progress. In
//! most runs members come and go meanwhile: nodes join with an empty disk, are promoted, demoted,
//! replaced and removed, several at once, and lose their disks; leadership is handed over.
//!
//! What every client saw goes through the linearizability checker; in half of the runs
//! leaders answer reads by their leases. Some clients write in sessions and send a write
//! again until it is answered: it must have been applied once. After every event each
//! replica is compared with all that is known of its group (`ledger`): one leader and one
//! vote per term, committed entries that never change and are durable on a quorum, leaders
//! that have them all, one change of the members at a time.

mod campaign;
mod happening;
mod invariant;
mod luck;
mod page;
mod recording;
mod report;
mod running;
mod said;
mod shrink;
mod story;
mod totals;
mod trace;
mod without;
mod world;

mod acting;
mod asking;
mod echo;
mod ending;
mod forgetting;
mod members;
mod recognising;
mod rot;
mod starting;
mod striking;
mod trial;
mod watching;

mod admin;
mod asked;
mod attempt;
mod checks;
mod clients;
mod clock;
mod contact;
mod damage;
mod database;
mod disk_pace;
mod fault_counts;
mod fault_words;
mod faults;
mod later;
mod ledger;
mod network;
mod node;
mod plan;
mod promises;
mod stale;
mod store;
mod words;

pub use admin::{MemberCounts, RefusalCounts};
pub use campaign::{Campaign, run_campaign};
pub use clients::ClientCounts;
pub use fault_counts::{FaultCounts, FaultKind};
pub use invariant::Check;
pub use page::Heading;
pub use recording::Recording;
pub use report::{Broken, Disks, Extent, Failure, Options, Report, SegmentCounts};
pub use running::{run, run_recorded};
pub use shrink::{Shrunk, shrink};
pub use story::Topic;
pub use trace::Filter;
pub use without::{Condition, Numbers, Without};

#[cfg(test)]
mod sim_tests;
