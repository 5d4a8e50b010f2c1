//! One client: a request at a time, to whichever target.

use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::Authority;
use bytes::Bytes;
use tokio::time::timeout;

use super::connect::Link;
use super::plan::Plan;
use super::{Kind, Target, etcd, raft};

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The answer was what it must be.
    Done,
    /// Nothing happened, says the node, and to try again.
    Refused(String),
    /// It was a write, and may have happened.
    Unknown(String),
    /// There was no answer, or it was not what it must be.
    Failed(String),
}

/// The connections of one measurement.
#[derive(Clone, Debug)]
pub(super) enum Links {
    Raft(Vec<Arc<raft::Route>>),
    Etcd(Vec<Arc<etcd::Route>>),
}

/// A client on one of them.
#[derive(Debug)]
pub(super) enum Client {
    Raft(raft::Client),
    Etcd(etcd::Client),
}

impl Links {
    /// As many connections as `plan` says for `clients`, spread over the endpoints. They
    /// are opened when they are first used.
    pub(super) fn new(plan: &Plan, clients: usize) -> Self {
        let endpoints = spread(&plan.endpoints, plan.connections(clients));
        // Who finds no connection has sent nothing, and must be able to say so in time.
        let limit = plan.timeout / 2;
        match plan.target {
            Target::Raft => {
                let route = |endpoint: Authority| {
                    let link = Link::new(endpoint, plan.http1, limit);
                    Arc::new(raft::Route::new(link, plan.http1, plan.stale))
                };
                Self::Raft(endpoints.map(route).collect())
            }
            Target::Etcd => {
                let route = |endpoint: Authority| {
                    Arc::new(etcd::Route::new(Link::new(endpoint, false, limit), plan.stale))
                };
                Self::Etcd(endpoints.map(route).collect())
            }
        }
    }

    /// The client of that number; neighbours are on different connections.
    pub(super) fn client(&self, number: usize) -> Client {
        match self {
            Self::Raft(routes) => {
                Client::Raft(raft::Client::new(Arc::clone(&routes[number % routes.len()])))
            }
            Self::Etcd(routes) => {
                Client::Etcd(etcd::Client::new(Arc::clone(&routes[number % routes.len()])))
            }
        }
    }
}

impl Client {
    /// Connects, where that has not been done, or says why it cannot.
    pub(super) async fn connect(&mut self) -> Result<(), String> {
        match self {
            Self::Raft(client) => client.connect().await,
            Self::Etcd(client) => client.connect().await,
        }
    }

    /// Brings the target into the state in which its gets are what they usually are.
    pub(super) async fn prepare_gets(&mut self, limit: Duration) -> Outcome {
        let Self::Etcd(client) = self else { return Outcome::Done };
        match timeout(limit, client.grant_lease()).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failed("no lease was granted in time".to_owned()),
        }
    }

    /// Puts `value`, or gets a value of the same size.
    pub(super) async fn request(
        &mut self,
        kind: Kind,
        key: u32,
        value: &Bytes,
        limit: Duration,
    ) -> Outcome {
        let exchange = async {
            match (self, kind) {
                (Self::Raft(client), Kind::Put) => client.put(key, value).await,
                (Self::Raft(client), Kind::Get) => client.get(key, value.len()).await,
                (Self::Etcd(client), Kind::Put) => client.put(key, value).await,
                (Self::Etcd(client), Kind::Get) => client.get(key, value.len()).await,
            }
        };
        match timeout(limit, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => lost(kind, format!("no answer within {} ms", limit.as_millis())),
        }
    }
}

/// What a request that got no answer came to.
pub(super) fn lost(kind: Kind, why: String) -> Outcome {
    match kind {
        Kind::Put => Outcome::Unknown(why),
        Kind::Get => Outcome::Failed(why),
    }
}

/// Which endpoint each of `count` connections goes to.
fn spread(endpoints: &[Authority], count: usize) -> impl Iterator<Item = Authority> {
    endpoints.iter().cycle().take(count).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_evenly_over_the_endpoints() {
        let endpoints = ["a:1", "b:1", "c:1"].map(|e| e.parse::<Authority>().unwrap());
        let of = |count| spread(&endpoints, count).map(|e| e.to_string()).collect::<Vec<_>>();
        assert_eq!(of(1), ["a:1"]);
        assert_eq!(of(5), ["a:1", "b:1", "c:1", "a:1", "b:1"]);
        let twelve = of(12);
        for endpoint in ["a:1", "b:1", "c:1"] {
            assert_eq!(twelve.iter().filter(|e| *e == endpoint).count(), 4);
        }
    }
}
