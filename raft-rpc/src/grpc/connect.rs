//! One connection to one address.

use std::future::Future;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::error::TransportError;

/// Where to dial, or that the address makes no sense.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, TransportError> {
    let bad = || TransportError::Address { address: address.to_owned() };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| bad())?;
    let uri = endpoint.uri();
    if uri.host().is_none_or(str::is_empty)
        || uri.port_u16().is_none()
        || uri.path() != "/"
        || uri.query().is_some()
    {
        return Err(bad());
    }
    Ok(endpoint.tcp_nodelay(true))
}

/// An open connection, or why there is none after `limit`.
pub(super) async fn connect(
    address: &str,
    endpoint: Endpoint,
    limit: Duration,
) -> Result<Channel, TransportError> {
    let connected = within(address, limit, endpoint.connect()).await?;
    connected.map_err(|source| TransportError::Connect { address: address.to_owned(), source })
}

/// What `future` gives, if it gives it soon enough.
pub(super) async fn within<T>(
    address: &str,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T, TransportError> {
    let timeout = |_| TransportError::Timeout { address: address.to_owned(), waited: limit };
    tokio::time::timeout(limit, future).await.map_err(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7001", "[::1]:7001", "node-1.example:7001"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in ["", "node-1", ":7001", "node 1:7001", "node-1:7001/raft", "http://node-1:7001"]
        {
            let error = endpoint(bad).unwrap_err();
            assert!(matches!(error, TransportError::Address { .. }), "{bad}: {error}");
        }
    }
}
