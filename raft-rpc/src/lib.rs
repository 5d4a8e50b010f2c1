//! The wire format of Raft messages, and the transports that carry them.
//!
//! What it is: [`codec`] turns batches of [`raft_core::Envelope`]s into bytes and
//! back; [`Backoff`] says how long to wait before trying again. With the feature
//! `grpc`, the module of that name carries them between nodes over HTTP/2.
//!
//! What is deliberately absent: any reading of what the messages mean. A transport
//! loses, delays and repeats; Raft tolerates that, and so nothing here retries a
//! message or promises that one arrived. Without features the crate knows neither a
//! runtime nor a socket, so that a simulator can use the format of production.
//!
//! ```
//! use raft_core::{Beat, Envelope};
//! use raft_rpc::codec::{decode_batch, encode_batch};
//!
//! let batch = vec![Envelope::Beat(Beat { sequence: 7, ..Beat::default() })];
//! assert_eq!(decode_batch(encode_batch(&batch)), Ok(batch));
//! ```

mod backoff;
pub mod codec;

#[cfg(feature = "grpc")]
pub mod grpc;
mod wire;

#[cfg(test)]
mod random_envelopes;

pub use backoff::Backoff;
pub use codec::DecodeError;
