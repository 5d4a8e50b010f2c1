//! What replicas do together, told as stories.

mod chaos;
mod damage;
mod durability;
mod elections;
mod identity;
mod invariants;
mod leases;
mod liveness;
mod members;
mod peers;
mod reads;
mod replication;
mod snapshots;
mod transfers;
mod unreadable;
