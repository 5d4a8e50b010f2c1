//! What can go wrong between nodes.

use std::error::Error;
use std::io::{self, ErrorKind};
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
    /// What this node sent there was damaged on its way, or the answer was; nothing of it
    /// was used. Try again, and look after the network, the network cards and the memory
    /// of both machines if it happens again.
    #[error("what was exchanged with {address} was damaged on its way: {problem}")]
    Damaged {
        /// The node's address.
        address: String,
        /// What does not fit, and between which nodes.
        problem: String,
    },
    /// The node there has another disk than the one that is meant; do what it says.
    #[error("{address} is not the replica that is meant: {problem}")]
    AnotherReplica {
        /// The address that was dialed.
        address: String,
        /// Which one it is, and what to do.
        problem: String,
    },
    /// The node is there and cannot be talked to yet, or not any more; try again later.
    #[error("{address} is not ready: {reason}")]
    NotReady {
        /// The node's address.
        address: String,
        /// Its words.
        reason: String,
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

/// Why what the other side says of itself is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Unacceptable {
    /// It is not what was sent.
    #[error("{0}")]
    Damaged(String),
    /// It does not fit this node; the text says what to do.
    #[error("{0}")]
    Unfit(String),
}

impl Unacceptable {
    /// What the caller is told.
    pub(super) fn into_status(self) -> Status {
        match self {
            Self::Damaged(problem) => Status::data_loss(problem),
            Self::Unfit(why) => Status::failed_precondition(why),
        }
    }

    /// What it means where the node at `address` answered so.
    pub(super) fn into_error(self, address: &str) -> TransportError {
        let address = address.to_owned();
        match self {
            Self::Damaged(problem) => TransportError::Damaged { address, problem },
            Self::Unfit(problem) => TransportError::WrongPeer { address, problem },
        }
    }
}

impl TransportError {
    /// What a failed call of the node at `address` means.
    pub(super) fn of_status(address: &str, status: Status) -> Self {
        let address = address.to_owned();
        let reason = status.message().to_owned();
        match status.code() {
            Code::FailedPrecondition => Self::Refused { address, reason },
            Code::DataLoss => Self::Damaged { address, problem: reason },
            // Without a cause on this side these are the node's own words.
            Code::Unavailable if status.source().is_none() && !reason.is_empty() => {
                Self::NotReady { address, reason }
            }
            Code::Unimplemented => Self::WrongPeer {
                address,
                problem: "what listens there is no Raft node, or not its port for peers".to_owned(),
            },
            _ => Self::Ended { address, source: Some(status) },
        }
    }

    /// What it means that the first call on a connection failed: who breaks off before
    /// a word was said is likely to be somebody else.
    pub(super) fn of_greeting(address: &str, status: Status) -> Self {
        match Self::of_status(address, status) {
            Self::Ended { address, source: Some(status) } => {
                let why = Self::Ended { address: address.clone(), source: Some(status) };
                let problem = format!("what listens there may be no Raft node ({})", why.causes());
                Self::WrongPeer { address, problem }
            }
            other => other,
        }
    }

    /// The error with its causes, each said once, and what to do, on one line.
    #[must_use]
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let causes = self.causes();
        // How HTTP/2 puts it that a connection broke says nothing more.
        if !causes.is_empty() && !causes.starts_with("h2 protocol error") {
            text = format!("{text}: {causes}");
        }
        match self.advice() {
            Some(advice) => format!("{text}: {advice}"),
            None => text,
        }
    }

    /// The causes, each said once. What the operating system said is enough where it
    /// said something.
    fn causes(&self) -> String {
        if let Some(said) = self.system_error() {
            return said.to_string();
        }
        let mut text = String::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = match error.downcast_ref::<Status>() {
                Some(status) => format!("{} ({})", status.message(), status.code()),
                None => error.to_string(),
            };
            if !text.contains(&more) {
                let colon = if text.is_empty() { "" } else { ": " };
                text = format!("{text}{colon}{more}");
            }
            cause = error.source();
        }
        text
    }

    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Connect { .. } => Some(match self.system_error().map(io::Error::kind) {
                Some(ErrorKind::ConnectionRefused) => {
                    "nobody listens there; start the node, or correct its address"
                }
                Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
                    "check the address, the network and the firewall"
                }
                _ => "check the address, and that its name can be resolved",
            }),
            Self::Timeout { .. } => Some(
                "a firewall may drop what is sent there, or the process or its machine stands \
                 still; check these, and the address",
            ),
            Self::WrongPeer { .. } => Some("correct the address"),
            Self::Damaged { .. } => Some(
                "if it happens again, look after the network cards, the memory and the cables \
                 of both machines",
            ),
            _ => None,
        }
    }

    fn system_error(&self) -> Option<&io::Error> {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(said) = error.downcast_ref::<io::Error>() {
                return Some(said);
            }
            cause = error.source();
        }
        None
    }
}
