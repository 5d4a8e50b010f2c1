//! The list of members, as text and as a list in a file.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::NodeId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::MemberAddress;

/// A member in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    pub(crate) peer: String,
    pub(crate) client: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// The members in `value`: a list of `{id, peer, client, name?}`, or text such as
/// `1=127.0.0.1:2380/127.0.0.1:2379,2=...`. Everything wrong comes in one message.
pub(super) fn parse(value: &Value) -> Result<BTreeMap<NodeId, MemberAddress>, String> {
    let listed: Vec<Result<Listed, String>> = match value {
        Value::String(text) => text.split(',').map(|one| from_text(one.trim())).collect(),
        Value::Array(items) => items.iter().map(from_item).collect(),
        _ => return Err("expected a list of {id, peer, client}".to_owned()),
    };
    let mut members = BTreeMap::new();
    let mut wrong = Vec::new();
    for one in listed {
        match one.and_then(check) {
            Ok((id, _)) if members.contains_key(&id) => {
                wrong.push(format!("the id {id} is there twice"));
            }
            Ok((id, member)) => {
                members.insert(id, member);
            }
            Err(why) => wrong.push(why),
        }
    }
    wrong.extend(shared_addresses(&members));
    if members.is_empty() && wrong.is_empty() {
        wrong.push("there must be at least one member".to_owned());
    }
    if wrong.is_empty() { Ok(members) } else { Err(wrong.join("; ")) }
}

/// Addresses of nodes to ask, as a list or as text with commas in between.
pub(super) fn parse_addresses(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || "expected a list of addresses host:port".to_owned();
    let addresses: Vec<String> = match value {
        Value::String(text) => text.split(',').map(|one| one.trim().to_owned()).collect(),
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(ToOwned::to_owned));
            texts.collect::<Option<_>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    let bad: Vec<String> = addresses.iter().filter_map(|one| check_address(one).err()).collect();
    match (&bad[..], addresses.is_empty()) {
        ([], false) => Ok(addresses),
        ([], true) => Err("there must be at least one address".to_owned()),
        _ => Err(bad.join("; ")),
    }
}

impl MemberAddress {
    /// What a membership holds about a member at this address.
    #[must_use]
    pub fn to_data(&self) -> Bytes {
        let data = json!({ "peer": self.peer, "client": self.client, "name": self.name });
        Bytes::from(data.to_string())
    }

    /// The address in what a membership holds about a member; `None` where there is none,
    /// or not in this form.
    #[must_use]
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(data).ok()?;
        let text = |field: &str| value[field].as_str().map(ToOwned::to_owned);
        Some(Self { peer: text("peer")?, client: text("client")?, name: text("name") })
    }
}

/// Says what is wrong with an address `host:port`.
pub(super) fn check_address(address: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{address:?} is not host:port: {why}"));
    let Some((host, port)) = address.rsplit_once(':') else {
        return wrong("there is no port");
    };
    match port.parse::<u16>() {
        Ok(0) => return wrong("the port is zero"),
        Ok(_) if port.starts_with('+') => return wrong("the port is no number"),
        Ok(_) => {}
        Err(_) => return wrong("the port is no number up to 65535"),
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match v6.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => wrong("what is in brackets is no IPv6 address"),
        };
    }
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() {
        wrong("there is no host")
    } else if host.contains(':') {
        wrong("an IPv6 address must be in brackets")
    } else if !host.chars().all(usual) {
        wrong("the host is neither a name nor an address")
    } else {
        Ok(())
    }
}

fn from_text(text: &str) -> Result<Listed, String> {
    let parts = text.split_once('=').and_then(|(id, addresses)| {
        let (peer, client) = addresses.split_once('/')?;
        Some((id.trim(), peer.trim(), client.trim()))
    });
    let Some((id, peer, client)) = parts else {
        return Err(format!("{text:?} is not id=peer-address/client-address"));
    };
    let id = id.parse().map_err(|_| format!("{id:?} is no node id"))?;
    Ok(Listed { id, peer: peer.to_owned(), client: client.to_owned(), name: None })
}

/// One member as people write it, `4=127.0.0.1:2380/127.0.0.1:2379`.
pub(super) fn parse_one(text: &str) -> Result<(NodeId, MemberAddress), String> {
    from_text(text.trim()).and_then(check)
}

fn from_item(item: &Value) -> Result<Listed, String> {
    Listed::deserialize(item).map_err(|why| format!("the member {item}: {why}"))
}

/// What is listed, where it can be.
pub(crate) fn check(listed: Listed) -> Result<(NodeId, MemberAddress), String> {
    let Listed { id, peer, client, name } = listed;
    let named = |why: String| format!("member {id}: {why}");
    let node = NodeId::new(id).ok_or_else(|| named("an id is never zero".to_owned()))?;
    check_address(&peer).map_err(named)?;
    check_address(&client).map_err(named)?;
    Ok((node, MemberAddress { peer, client, name }))
}

fn shared_addresses(members: &BTreeMap<NodeId, MemberAddress>) -> Vec<String> {
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, member) in members {
        users.entry(&member.peer).or_default().push(format!("for peers of member {id}"));
        users.entry(&member.client).or_default().push(format!("for clients of member {id}"));
    }
    users.retain(|_, uses| uses.len() > 1);
    users
        .into_iter()
        .map(|(address, uses)| format!("the address {address} is used {}", uses.join(" and ")))
        .collect()
}
