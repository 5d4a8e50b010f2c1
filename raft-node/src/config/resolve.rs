//! From settings to a checked configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use raft_core::NodeId;
use serde_json::Value;

use super::settings::Settings;
use super::{ConfigErrors, Loaded, MemberAddress, NodeConfig, SnapshotConfig, members};

const MIB: u64 = 1024 * 1024;

/// Above this a command would hold up the heartbeats that share its way to the peers.
const MAX_BODY_BYTES: u64 = 16 * MIB;

/// Makes a configuration of what was set, or says everything that is wrong.
pub(super) fn resolve(mut settings: Settings) -> Result<Loaded, ConfigErrors> {
    match config_of(&mut settings) {
        Some(config) if settings.errors.is_empty() => {
            Ok(Loaded { config, warnings: settings.warnings })
        }
        _ => Err(ConfigErrors(settings.errors)),
    }
}

/// Takes every field before giving up at the first bad one, so that all are noted.
fn config_of(settings: &mut Settings) -> Option<NodeConfig> {
    let node_id = settings.take("node_id", NodeId::new(1)?, node_id);
    let cluster = settings.take("cluster", "raft".to_owned(), cluster_name);
    let data_dir = settings.take("data_dir", PathBuf::from("./raft-data"), path);
    let listen_client = settings.take("listen_client", local(2379), listen);
    let listen_peer = settings.take("listen_peer", local(2380), listen);
    let members = settings.take("members", BTreeMap::new(), members::parse);
    let join = settings.take("join", Vec::new(), members::parse_addresses);
    let election_timeout = milliseconds(settings, "election_timeout_ms", 1000);
    let heartbeat = milliseconds(settings, "heartbeat_ms", 100);
    let drift = settings.take("lease_drift_ms", 0, |v| within(v, 0, 24 * 60 * 60 * 1000));
    let lease_drift = drift.map(|ms| (ms > 0).then(|| Duration::from_millis(ms)));
    let priority = settings.take("priority", 0, |v| within(v, 0, 10));
    let forward = settings.take("forward", true, yes_or_no);
    let request_timeout = milliseconds(settings, "request_timeout_ms", 5000);
    let max_body = settings.take("max_body_bytes", 3 * MIB / 2, |v| within(v, 1, MAX_BODY_BYTES));
    let every = settings.take("snapshot_every_entries", 400_000, |v| within(v, 1, u64::MAX));
    let snapshots = snapshots(settings);
    let keep = settings.take("keep_entries", 10_000, |v| within(v, 0, u64::MAX));
    let segment = settings.take("segment_bytes", 64 * MIB, |v| within(v, MIB, 1024 * MIB));
    let min_free = settings.take("min_free_bytes", None, |v| within(v, 0, u64::MAX).map(Some));
    let cache = settings.take("cache_bytes", 32 * MIB, |v| within(v, MIB, 1024 * 1024 * MIB));
    let log = settings.take("log", "info".to_owned(), log_filter);

    // What fits together is looked at also where another field is wrong.
    check_membership(node_id, members.as_ref(), settings);
    check_join(join.as_deref(), members.as_ref(), settings);
    check_addresses(listen_client, listen_peer, settings);
    check_times(heartbeat, election_timeout, settings);
    check_lease(lease_drift.flatten(), election_timeout, settings);
    check_sizes(max_body, segment, settings);

    let (node_id, listen_client, listen_peer) = (node_id?, listen_client?, listen_peer?);
    let (mut members, join) = (members?, join?);
    if members.is_empty() && join.is_empty() {
        members.insert(node_id, alone(listen_peer, listen_client));
    }
    Some(NodeConfig {
        node_id,
        cluster: cluster?,
        data_dir: data_dir?,
        listen_client,
        listen_peer,
        members,
        join,
        election_timeout: election_timeout?,
        heartbeat: heartbeat?,
        lease_drift: lease_drift?,
        priority: u8::try_from(priority?).ok()?,
        forward: forward?,
        request_timeout: request_timeout?,
        max_body_bytes: usize::try_from(max_body?).ok()?,
        snapshot_every_entries: every?,
        snapshots: snapshots?,
        keep_entries: keep?,
        segment_bytes: segment?,
        min_free_bytes: min_free?,
        cache_bytes: usize::try_from(cache?).ok()?,
        log: log?,
    })
}

fn snapshots(settings: &mut Settings) -> Option<SnapshotConfig> {
    let every_bytes = settings.take("snapshot_every_bytes", 128 * MIB, |v| within(v, 1, u64::MAX));
    let year_ms = 365 * 24 * 60 * 60 * 1000;
    let day_ms = 24 * 60 * 60 * 1000;
    let every_ms = settings.take("snapshot_every_ms", day_ms, |v| within(v, 0, year_ms));
    let mut rate = |field, default| settings.take(field, default, |v| within(v, 0, u64::MAX));
    let send = rate("snapshot_send_bytes_per_s", 64 * MIB);
    let write = rate("snapshot_write_bytes_per_s", 0);
    let keep = settings.take("keep_snapshots", 2, |v| within(v, 1, 1000));
    Some(SnapshotConfig {
        every_bytes: every_bytes?,
        every: Some(every_ms?).filter(|ms| *ms > 0).map(Duration::from_millis),
        send_bytes_per_s: NonZeroU64::new(send?),
        write_bytes_per_s: NonZeroU64::new(write?),
        keep: usize::try_from(keep?).ok()?,
    })
}

/// A node must be one of its members. Without any, it is its own only member.
fn check_membership(
    node_id: Option<NodeId>,
    members: Option<&BTreeMap<NodeId, MemberAddress>>,
    settings: &mut Settings,
) {
    let (Some(id), Some(members)) = (node_id, members) else { return };
    if !members.is_empty() && !members.contains_key(&id) {
        let ids: Vec<String> = members.keys().map(ToString::to_string).collect();
        let ids = ids.join(", ");
        let why = format!(
            "node {id} is not a member; the members are {ids}: correct node_id, or add node {id} \
             to the members on all nodes"
        );
        settings.wrong("node_id", why);
    }
}

/// A new cluster is formed by its members; a node that joins one is told of them by others.
fn check_join(
    join: Option<&[String]>,
    members: Option<&BTreeMap<NodeId, MemberAddress>>,
    settings: &mut Settings,
) {
    if join.is_some_and(|join| !join.is_empty()) && members.is_some_and(|all| !all.is_empty()) {
        let why = "members are given as well: give members to form a new cluster of them, or \
                   join to become a member of one that exists, and not both";
        settings.wrong("join", why);
    }
}

fn check_addresses(client: Option<SocketAddr>, peer: Option<SocketAddr>, settings: &mut Settings) {
    if let Some(address) = peer.filter(|_| peer == client) {
        settings.wrong("listen_peer", format!("{address} is taken by listen_client"));
    }
}

fn check_times(heartbeat: Option<Duration>, election: Option<Duration>, settings: &mut Settings) {
    let (Some(heartbeat), Some(election)) = (heartbeat, election) else { return };
    if heartbeat * 2 >= election {
        let (heartbeat, election) = (heartbeat.as_millis(), election.as_millis());
        settings.wrong(
            "heartbeat_ms",
            format!(
                "{heartbeat} is too long for an election_timeout_ms of {election}: one lost \
                 heartbeat would start an election; it must be less than half of it"
            ),
        );
    }
}

/// A lease lasts for what the drift leaves of the election timeout.
fn check_lease(drift: Option<Duration>, election: Option<Duration>, settings: &mut Settings) {
    let (Some(drift), Some(election)) = (drift, election) else { return };
    if drift >= election {
        let (drift, election) = (drift.as_millis(), election.as_millis());
        let why = format!(
            "{drift} leaves no lease of an election_timeout_ms of {election}; it must be less"
        );
        settings.wrong("lease_drift_ms", why);
    }
}

fn check_sizes(max_body: Option<u64>, segment: Option<u64>, settings: &mut Settings) {
    let (Some(room), Some(segment)) = (max_body.map(|bytes| bytes * 2), segment) else { return };
    if segment < room {
        settings.wrong(
            "segment_bytes",
            format!("{segment} is less than twice max_body_bytes, which is {room}"),
        );
    }
}

pub(super) fn alone(peer: SocketAddr, client: SocketAddr) -> MemberAddress {
    MemberAddress { peer: reachable(peer), client: reachable(client), name: None }
}

/// Nobody can connect to "any address"; the loopback is one of them.
fn reachable(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address.to_string()
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn milliseconds(settings: &mut Settings, field: &str, default: u64) -> Option<Duration> {
    let day_ms = 24 * 60 * 60 * 1000;
    settings.take(field, default, |value| within(value, 1, day_ms)).map(Duration::from_millis)
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("expected text, found {value}"))
}

/// A number, which flags and the environment bring as text.
fn within(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        Some(number) => Err(format!("{number} is not from {least} to {most}")),
        None => Err(format!("expected a whole number, found {value}")),
    }
}

/// True or false, which flags and the environment bring as text.
fn yes_or_no(value: &Value) -> Result<bool, String> {
    let text = value.as_str().and_then(|text| text.parse().ok());
    value.as_bool().or(text).ok_or_else(|| format!("expected true or false, found {value}"))
}

fn node_id(value: &Value) -> Result<NodeId, String> {
    NodeId::new(within(value, 0, u64::MAX)?).ok_or_else(|| "an id is never zero".to_owned())
}

fn cluster_name(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.len() {
        0 => Err("the name is empty".to_owned()),
        1..=64 if name.chars().all(usual) => Ok(name.to_owned()),
        1..=64 => Err(format!("{name:?} has other characters than letters, digits, '.', '_', '-'")),
        len => Err(format!("the name has {len} characters; 64 are allowed")),
    }
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match text(value)? {
        "" => Err("the path is empty".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

fn listen(value: &Value) -> Result<SocketAddr, String> {
    let given = text(value)?;
    match given.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(format!("the port of {given:?} is zero")),
        Ok(address) => Ok(address),
        Err(_) => Err(format!("{given:?} is not an IP address and port such as 127.0.0.1:2379")),
    }
}

fn log_filter(value: &Value) -> Result<String, String> {
    let filter = text(value)?;
    // A bare word may be a target too, which would silence everything else; a misspelt
    // level is likelier.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let bare = filter.split(',').map(str::trim).filter(|part| !part.contains(['=', '[']));
    if let Some(word) = bare
        .clone()
        .find(|word| !levels.contains(&word.to_lowercase().as_str()) && !word.starts_with("raft_"))
    {
        return Err(format!("{word:?} is no level; there are {}", levels.join(", ")));
    }
    match filter.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(filter.to_owned()),
        Err(why) => Err(format!("{filter:?} is neither a level nor a list of directives: {why}")),
    }
}
