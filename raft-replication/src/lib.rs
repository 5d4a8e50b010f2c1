//! Replication, as components that decide and never act.
//!
//! On the leader, [`Progress`] knows how far one follower is and what to send it
//! next, its [`Window`] what is under way, [`ReplicationController`] holds one of
//! them per member, [`CatchUp`] whether a learner keeps up, and [`Commitment`] decides
//! what is committed. On the follower,
//! [`accept`] decides what becomes of an append.
//!
//! What is deliberately absent: the entries themselves (a [`raft_core::LogShape`]
//! is all a decision needs), messages, and any clock: every method is told the time.
//!
//! ```
//! use raft_core::{Index, LogShape, Membership, NodeId, Position};
//! use raft_replication::{Acceptance, accept};
//!
//! let members = Membership::of_voters([1, 2, 3].map(|id| NodeId::new(id).unwrap()));
//! let log = LogShape::new(Position::ZERO, members);
//! // The leader's entry 5 follows entry 4, which this empty log does not hold.
//! let verdict = accept(&log, Index(0), Position::new(1, 4), &[]);
//! assert_eq!(verdict, Acceptance::Conflict { hint: Position::ZERO });
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod acceptor;
mod catch_up;
mod commitment;
mod controller;
mod hints;
mod progress;
mod serving;
mod verdicts;
mod window;

pub use acceptor::{Acceptance, accept};
pub use catch_up::{CatchUp, CatchUpVerdict};
pub use commitment::{CommitVerdict, Commitment};
pub use controller::ReplicationController;
pub use progress::Progress;
pub use serving::State;
pub use verdicts::{AckVerdict, ConflictVerdict, LossVerdict, SendVerdict};
pub use window::{Flight, Limits, Window};
