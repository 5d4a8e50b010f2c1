//! The vocabulary that every other crate of the workspace speaks.
//!
//! What it is: ids, terms, indexes, entries, membership with its quorum rules,
//! the shape of a log, and the messages replicas exchange. All of it is plain
//! data with its invariants asserted.
//!
//! What is deliberately absent: input and output of any kind, clocks, threads,
//! global randomness, serialisation for the wire (`raft-rpc`) and for the disk
//! (`raft-log`). Time is an argument ([`Instant`] is a number) and randomness is
//! a seeded value ([`Random`]).
//!
//! ```
//! use raft_core::{Membership, NodeId, quorum};
//!
//! let ids = [1, 2, 3].map(|id| NodeId::new(id).unwrap());
//! let membership = Membership::of_voters(ids);
//! let granted = |id: NodeId| (id.get() != 3).then_some(true);
//! assert_eq!(quorum::tally(&membership, granted), quorum::Outcome::Won);
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod id;
mod position;
mod time;

mod entry;
mod group_time;
mod membership;
mod membership_change;
mod membership_codec;

pub mod quorum;

mod durable;
mod forward;
mod log_shape;
mod message;
mod random;

pub use durable::{HardState, LogChange, RecoveredGroup, Write, WriteNumber};
pub use entry::{Entry, EntryKind};
pub use forward::{Forward, ForwardOutcome, ForwardReply};
pub use group_time::{GroupTime, GroupTimeLength};
pub use id::{Boot, ClusterId, GroupId, Incarnation, NodeId};
pub use log_shape::{LogShape, TermRun};
pub use membership::{Member, Membership, MembershipError, WhenCaughtUp};
pub use membership_change::{ChangeError, MemberChange};
pub use membership_codec::MembershipDecodeError;
pub use message::{
    AppendOutcome, Beat, BeatReply, Body, Envelope, GroupBeat, Lane, Message, SnapshotMeta, Token,
};
pub use position::{Index, Position, Term};
pub use random::Random;
pub use time::Instant;
