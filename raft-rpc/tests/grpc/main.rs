//! The gRPC transport over real sockets of this machine.

mod harness;

mod delivery;
mod faults;
mod identify;
mod refusals;
mod replicas;
