//! Elections, as components that decide and never act.
//!
//! [`Voter`] decides about requests for votes, [`Ballots`] counts the answers to
//! one's own, [`ElectionManager`] knows when to stand, and [`HeartbeatController`]
//! knows, on the leader, when to be heard and whether a quorum still listens.
//!
//! What is deliberately absent: messages (the replica writes them), the log (a
//! position is all an election needs), and any clock: every method is told the time.
//!
//! ```
//! use raft_core::{NodeId, Position, Term};
//! use raft_election::{Request, VoteVerdict, Voter};
//!
//! let candidate = NodeId::new(2).unwrap();
//! let request = Request {
//!     candidate,
//!     term: Term(1),
//!     last: Position::new(1, 5),
//!     own_last: Position::new(1, 4),
//!     leader_alive: false,
//! };
//! let mut voter = Voter::default();
//! voter.enter(Term(1));
//! assert_eq!(voter.decide(request), VoteVerdict::Granted);
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod ballots;
mod election_manager;
mod heartbeat_controller;
mod voter;

pub use ballots::Ballots;
pub use election_manager::{Candidacy, ElectionManager, ElectionVerdict, Loyalty, Priority};
pub use heartbeat_controller::{Contact, HeartbeatController, HeartbeatVerdict};
pub use voter::{Refusal, Request, VoteVerdict, Voter};
