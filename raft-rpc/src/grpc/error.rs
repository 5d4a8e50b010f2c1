//! What can go wrong between nodes.

use std::error::Error;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};

/// Why a node was not reached, or could not be served.
#[derive(Debug, Error)]
pub enum TransportError {
    /// Correct the address.
    #[error("{address:?} is not an address of the form host:port")]
    Address {
        /// What was given.
        address: String,
    },
    /// The node is down or cannot be reached; try again later.
    #[error("cannot connect to {address}")]
    Connect {
        /// The node's address.
        address: String,
        /// What happened.
        source: tonic::transport::Error,
    },
    /// Somebody listens there and does not answer; try again later.
    #[error("{address} did not answer within {waited:?}")]
    Timeout {
        /// The node's address.
        address: String,
        /// How long it was given.
        waited: Duration,
    },
    /// The node answered that it will not talk to this one; do what it says.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// The node's address.
        address: String,
        /// Its words.
        reason: String,
    },
    /// The address belongs to somebody else, or to a program that speaks otherwise;
    /// correct the address.
    #[error("{address} does not answer as expected: {problem}")]
    WrongPeer {
        /// The address that was dialed.
        address: String,
        /// What differs.
        problem: String,
    },
    /// The connection was there and ended; try again.
    #[error("the connection to {address} ended")]
    Ended {
        /// The node's address.
        address: String,
        /// What happened, or nothing where the node closed it in good order.
        source: Option<Status>,
    },
    /// The listening socket failed; the node cannot be reached by others.
    #[error("cannot serve other nodes")]
    Serve(#[source] tonic::transport::Error),
}

impl TransportError {
    /// What a failed call of the node at `address` means.
    pub(super) fn of_status(address: &str, status: Status) -> Self {
        let address = address.to_owned();
        match status.code() {
            Code::FailedPrecondition => {
                Self::Refused { address, reason: status.message().to_owned() }
            }
            // A node whose cluster is being formed answers who it is, and nothing else.
            Code::Unimplemented => Self::WrongPeer {
                address,
                problem: "it does not offer this service: its cluster is still being formed, or \
                          it is no Raft node"
                    .to_owned(),
            },
            _ => Self::Ended { address, source: Some(status) },
        }
    }

    /// The error with all its causes on one line, each said once.
    pub(super) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = match error.downcast_ref::<Status>() {
                Some(status) => format!("{} ({})", status.message(), status.code()),
                None => error.to_string(),
            };
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = error.source();
        }
        text
    }
}
