//! What judges the workspace from outside: a linearizability checker, a
//! simulator, a model checker, and clusters of real processes.
//!
//! Deliberately absent: anything the product itself uses. Nothing depends on this
//! crate, and what it says of the other crates it learns through their public
//! interfaces or through the sockets of running nodes.
//!
//! ```
//! use tests::linearizability::{History, check};
//!
//! assert!(check(&History::<u64, u64>::new()).is_linearizable());
//! ```

pub mod integration;
pub mod linearizability;
pub mod model;
pub mod sim;
