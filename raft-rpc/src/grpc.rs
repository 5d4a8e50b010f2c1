//! The transport over gRPC: every node dials every other one and speaks on what it
//! dialed; answers come on what the other one dialed.
//!
//! [`GrpcTransport`] keeps, for each peer, one connection with a stream for each of
//! [`raft_core::Lane::Control`] and [`raft_core::Lane::Append`], and another
//! connection for [`raft_core::Lane::Snapshot`], so that a lane never waits for a
//! lower one. Connections that break are dialed again for ever ([`crate::Backoff`]).
//!
//! What may be lost, and is counted in [`LaneLink::dropped`]:
//! - a batch for which its lane's queue has no room, and
//! - what had waited longer than [`TransportOptions::stale_after`] when a lane comes
//!   up: votes, heartbeats and appends of that age are answered by newer ones, and a
//!   peer that returns must not read through a backlog first.
//!
//! What a broken connection had taken from the queue is lost too, and not counted:
//! nobody knows how much of it arrived. Within a lane nothing is repeated and nothing
//! overtakes; across a reconnection nothing of the old stream is delivered after
//! something of the new one.
//!
//! ```
//! use std::sync::Arc;
//!
//! use raft_core::{Boot, ClusterId, Envelope, Incarnation, NodeId};
//! use raft_rpc::grpc::{GrpcTransport, Inbound, LocalIdentity, TransportOptions};
//!
//! struct Print;
//!
//! impl Inbound for Print {
//!     fn receive(&self, from: NodeId, _: Boot, envelopes: Vec<Envelope>) {
//!         println!("node {from} says {envelopes:?}");
//!     }
//!
//!     fn link_changed(&self, peer: NodeId, up: bool) {
//!         println!("node {peer} is {}", if up { "up" } else { "down" });
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let (me, other) = (NodeId::new(1).unwrap(), NodeId::new(2).unwrap());
//! let (cluster, incarnation, boot) = (ClusterId(7), Incarnation(11), Boot(1));
//! let identity = LocalIdentity { cluster, node: me, incarnation, boot };
//! let transport = GrpcTransport::new(identity, TransportOptions::default(), Arc::new(Print));
//! transport.set_peer(other, "127.0.0.1:7002".into());
//! transport.send(other, vec![Envelope::Beat(Default::default())]);
//! transport.close().await;
//! # });
//! ```

mod transport;

mod error;
mod identify;
mod options;

mod connect;
mod hello;
mod known;
mod link;
mod peer;
mod queue;
mod server;

mod generated;
mod wire;

pub use error::TransportError;
pub use generated::{identity_server::IdentityServer, peer_server::PeerServer};
pub use identify::{
    Identification, IdentityProvider, IdentityService, identify, identity_service, serve_identity,
};
pub use options::TransportOptions;
pub use peer::{LaneLink, PeerLink};
pub use server::PeerService;
pub use transport::{GrpcTransport, Inbound, LocalIdentity, Pinned, Standing};

#[cfg(test)]
#[path = "grpc/wire_tests.rs"]
mod wire_tests;
