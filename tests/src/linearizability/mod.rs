//! Judges whether what clients saw can be explained by one register per key.
//!
//! A history is a list of operations, each with the time it was called, the
//! time its answer arrived, and what the answer was. It is linearizable if every
//! operation can be given one instant between call and return such that the
//! registers, changed in that order, would have given the same answers
//! (Herlihy and Wing 1990). The answer `unknown` means: took effect at some
//! instant after the call, or never.
//!
//! The search is the one of Wing and Gong (1993) with the memory of Lowe (2017),
//! one key at a time; `search` says what else keeps it short.
//!
//! ```
//! use tests::linearizability::{Action, History, Operation, Outcome, check};
//!
//! let mut history = History::new();
//! history.push(Operation {
//!     client: 1,
//!     key: "colour",
//!     action: Action::Put("red"),
//!     outcome: Outcome::Done,
//!     called_at: 0,
//!     returned_at: Some(10),
//! });
//! history.push(Operation {
//!     client: 2,
//!     key: "colour",
//!     action: Action::Get,
//!     outcome: Outcome::Read(None), // Stale: the write returned before this was called.
//!     called_at: 11,
//!     returned_at: Some(12),
//! });
//! assert!(!check(&history).is_linearizable());
//! ```

mod history;
mod verdict;

mod effects;
mod search;

pub use history::{Action, History, Operation, Outcome};
pub use verdict::{Verdict, Violation, check};
