//! Asking nodes who leads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A node that does not answer in this time is passed over.
const LIMIT: Duration = Duration::from_millis(500);

/// The leader, if one of the nodes at these client addresses says that it leads.
/// Where several say so, the one of the latest term does.
pub(crate) fn leader(clients: &[String]) -> Option<u64> {
    let mut newest = None;
    for client in clients {
        if let Some(claim) = ask(client).ok().as_ref().and_then(claim) {
            newest = newest.max(Some(claim));
        }
    }
    newest.map(|(_, leader)| leader)
}

/// Term and id of a node that leads.
fn claim(status: &Value) -> Option<(u64, u64)> {
    (status["role"] == "leader").then_some((status["term"].as_u64()?, status["node"].as_u64()?))
}

/// What `GET /status` says.
pub(crate) fn ask(client: &str) -> Result<Value> {
    serde_json::from_str(&get(client, "/status")?).context("the status is no JSON")
}

/// The body of the answer to a `GET`, over a connection of its own.
pub(crate) fn get(client: &str, path: &str) -> Result<String> {
    let address: SocketAddr = client.parse().context("an address and a port")?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {client}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no HTTP answer") };
    if head.split(' ').nth(1) != Some("200") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers each of `bodies` once, on ports of their own.
    fn nodes(bodies: &[&str]) -> Vec<String> {
        let listen = |body: &&str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let answer = format!("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n{body}");
            thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [b' '; 200];
                let mut length = 0;
                while !asked[..length].ends_with(b"\r\n\r\n") {
                    length += stream.read(&mut asked[length..]).unwrap();
                }
                assert!(asked.starts_with(b"GET /status HTTP/1."));
                stream.write_all(answer.as_bytes()).unwrap();
            });
            address
        };
        bodies.iter().map(listen).collect()
    }

    #[test]
    fn the_latest_claim_counts() {
        let old = r#"{"node": 3, "role": "leader", "term": 4, "leader": 3}"#;
        let new = r#"{"node": 1, "role": "leader", "term": 5, "leader": 1}"#;
        let follower = r#"{"node": 2, "role": "follower", "term": 9, "leader": 3}"#;
        assert_eq!(leader(&nodes(&[old, follower, new])), Some(1));
        assert_eq!(leader(&nodes(&[follower, "nonsense"])), None);
    }

    #[test]
    fn a_node_that_is_down_claims_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert_eq!(leader(&[address]), None);
    }
}
