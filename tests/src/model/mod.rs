//! A model checker: every state of small worlds, with the real replica in it.
//!
//! A simulation looks at long runs, one of each kind; this looks at all runs, of short ones.
//! A *world* bounds what may happen: how many terms, entries, crashes, duplicates, late
//! writes. Within those bounds everything happens in every order, and after each step the
//! properties of the thesis (figure 3.2) are checked.
//!
//! - **Messages** are a set; each may arrive at any time after it was sent, in any order, or
//!   never, which is how one is lost. A duplicate arrives and stays.
//! - **Disks** complete a write at once, or *late*: then whenever they like, and all that
//!   follows with it, or never, if the node crashes before.
//! - **Time** belongs to each node alone. A follower may give up its leader at any moment,
//!   may have forgotten it without standing itself, and a leader's clock goes on in steps of
//!   half an election timeout while all others stand still. So every order of timers that
//!   clocks can bring about is there, and others. Where leases are in use, which is where
//!   time decides what is true, clocks go on together, but for a bounded drift.
//! - **Healing** is tried from a sample of the states: some way leads back to agreement.
//!
//! What a node does depends on that node alone. So its steps are made once by the real
//! replica and then looked up (`tables.rs`); states of the world are a few numbers each.

mod action;
mod bounds;
mod bug;
mod canon;
mod facts;
mod heal;
mod ledger;
mod log;
mod node;
mod rules;
mod search;
mod spread;
mod state;
mod stimulus;
mod tables;
mod trace;
mod worlds;

pub use bounds::World;
pub use bug::Bug;
pub use search::{Limits, Report, Verdict, explore};
pub use worlds::{Size, worlds};

#[cfg(test)]
mod model_tests;
