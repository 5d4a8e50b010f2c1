//! One Raft replica as a value.
//!
//! [`Replica`] composes the components of `raft-election` and `raft-replication`
//! into every transition a replica may make. It is driven by three calls:
//! [`Replica::handle`] takes one [`Input`], [`Replica::poll_output`] is drained after
//! it, and [`Replica::deadline`] says when to hand in [`Input::Timeout`].
//!
//! What is deliberately absent: the log (only its shape is kept; whoever owns the log
//! is asked to read and write), the network, the disk, any clock, any thread. Time
//! and randomness are arguments, so a run can be repeated to the bit.
//!
//! ```
//! use raft_core::{Boot, GroupId, Instant, LogShape, Membership, NodeId, Position};
//! use raft_state::{Config, Input, Output, Replica, Start};
//!
//! let me = NodeId::new(1).unwrap();
//! let shape = LogShape::new(Position::ZERO, Membership::of_voters([me]));
//! let start = Start::fresh(GroupId(1), me, Boot(7), shape);
//! let mut replica = Replica::new(Config::default(), start, Instant(0));
//!
//! // The only voter stands for election when its timer ends. It leads once its term
//! // and its vote for itself are durable, and not before.
//! let now = replica.deadline();
//! replica.handle(now, Input::Timeout);
//! let mut writes = Vec::new();
//! while let Some(output) = replica.poll_output() {
//!     if let Output::Persist(write) = output {
//!         writes.push(write.number);
//!     }
//! }
//! assert!(!replica.is_leader());
//! replica.handle(now, Input::Persisted(writes[0]));
//! assert!(replica.is_leader());
//! ```
//!
//! `examples/three_replicas.rs` goes on from there: three of them in one loop, up to a
//! command that all have committed.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod config;
mod input;
mod output;

mod replica;
mod role;
mod start;

mod campaign;
mod changing;
mod damage;
mod following;
mod leading;
mod reading;
mod transfer;
mod votes;

mod durability;
mod sanity;
mod uncommitted;
mod unreadable;

mod status;

pub use changing::ChangeRefusal;
pub use config::Config;
pub use input::{Input, Proposal, ProposalId, ReadId, Unheard};
pub use output::{Evidence, Output, Refusal, RoleChange, SendEntries};
pub use replica::Replica;
pub use role::RoleName;
pub use start::Start;
pub use status::{PeerStatus, Status};
pub use transfer::{TransferOutcome, TransferRefusal};

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod stories;
