//! What a cluster of real nodes says about itself, against the table in docs/metrics.md.
#![cfg(feature = "server")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use raft_core::NodeId;
use raft_node::config::{MemberAddress, NodeConfig};
use raft_node::server::{Context, prepare};
use raft_node::{Role, server::DATA_GROUP};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Type and labels of a family, by its name in the table.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

struct Cluster {
    nodes: Vec<(SocketAddr, Context)>,
    _folder: tempfile::TempDir,
}

/// Three nodes with a leader, which is the first of them.
async fn cluster() -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
    let holders: Vec<_> = (0..3).map(|_| (bind(), bind())).collect();
    let of = |listener: &TcpListener| listener.local_addr().unwrap();
    let addresses: Vec<_> = holders.iter().map(|(c, p)| (of(c), of(p))).collect();
    drop(holders);
    let members: BTreeMap<NodeId, MemberAddress> = addresses
        .iter()
        .zip(1..)
        .map(|((client, peer), n)| {
            let (client, peer) = (client.to_string(), peer.to_string());
            (NodeId::new(n).unwrap(), MemberAddress { peer, client, name: None })
        })
        .collect();
    let starting = addresses.iter().zip(1..).map(|((client, peer), n)| {
        let config = NodeConfig {
            node_id: NodeId::new(n).unwrap(),
            data_dir: folder.path().join(n.to_string()),
            listen_client: *client,
            listen_peer: *peer,
            members: members.clone(),
            segment_bytes: 1 << 20,
            ..NodeConfig::default()
        };
        let client = *client;
        tokio::spawn(async move {
            let mut context = Context::build(prepare(config, drop).await.unwrap()).await.unwrap();
            context.start().await.unwrap();
            (client, context)
        })
    });
    let starting: Vec<_> = starting.collect();
    let mut nodes = Vec::new();
    for one in starting {
        nodes.push(one.await.unwrap());
    }
    let leads = |(_, node): &(SocketAddr, Context)| {
        node.handle().status(DATA_GROUP).is_some_and(|status| status.role == Role::Leader)
    };
    while !nodes.iter().any(leads) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    nodes.sort_by_key(|node| !leads(node));
    Cluster { nodes, _folder: folder }
}

/// Head and body of an answer.
async fn ask(node: SocketAddr, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(node).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// The table that people read.
fn documented() -> Families {
    let text = include_str!("../../docs/metrics.md");
    let rows =
        text.lines().filter(|line| line.starts_with("| `raft_") || line.starts_with("| `process_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
        let (name, kind) = (cells[0].trim_matches('`').to_owned(), cells[1].to_owned());
        // A cell without labels is empty, and then the row has nothing between two bars.
        let labels = if row.contains("| | ") { "" } else { cells[2] };
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
        (name, (kind, labels.collect()))
    })
    .collect()
}

/// Reads a scrape by the rules of the format, and says what it holds.
fn scraped(text: &str) -> (Families, BTreeMap<String, f64>) {
    let (mut families, mut samples) = (Families::new(), BTreeMap::new());
    let mut helped = BTreeSet::new();
    let mut current: Option<(String, String)> = None;
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name), "{name} is not explained");
            let known = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            assert!(!families.contains_key(&known), "{name} is there twice");
            families.insert(known.clone(), (kind.to_owned(), BTreeSet::new()));
            current = Some((known, kind.to_owned()));
        } else {
            let (known, kind) = current.as_ref().expect("a family before its samples");
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match &kind[..] {
                "histogram" => {
                    let suffix = name.strip_prefix(&known[..]).unwrap();
                    assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}");
                }
                _ => assert_eq!(name, known, "{line}"),
            }
            let labels = labels.strip_suffix('}').unwrap_or(labels);
            let names = labels.split("\",").filter(|label| !label.is_empty());
            let names = names.map(|label| label.split_once("=\"").unwrap().0.to_owned());
            families.get_mut(known).unwrap().1.extend(names.filter(|name| name != "le"));
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} is there twice");
        }
    }
    (families, samples)
}

/// Buckets grow, the last has no limit and is the count.
fn check_histograms(families: &Families, samples: &BTreeMap<String, f64>) {
    for (name, _) in families.iter().filter(|(_, (kind, _))| kind == "histogram") {
        let count = |series: &&String| series.split('{').next() == Some(&format!("{name}_count"));
        let counts: Vec<&String> = samples.keys().filter(count).collect();
        assert!(!counts.is_empty(), "{name} has no series");
        for counted in counts {
            let labels = counted.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
            let more = if labels.is_empty() { String::new() } else { format!(",{labels}") };
            let all = samples[&format!("{name}_bucket{{le=\"+Inf\"{more}}}")];
            assert_eq!(all, samples[counted], "{counted}");
            let sum = counted.replacen("_count", "_sum", 1);
            assert!(samples[&sum] >= 0.0, "{sum}");
            let of = |series: &&String| {
                series.starts_with(&format!("{name}_bucket{{"))
                    && series.ends_with(&format!("{more}}}"))
            };
            let bounds = samples.keys().filter(of).count();
            assert!(bounds > 5, "{counted}: {bounds} buckets");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_tells_is_what_the_table_says() {
    let cluster = cluster().await;
    let (leader, follower) = (cluster.nodes[0].0, cluster.nodes[1].0);
    for n in 0..20 {
        let put = format!("{{\"k\": \"key {n}\", \"v\": \"value\"}}");
        let (head, _) = ask([leader, follower][n % 2], "POST", "/v1/data", &put).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
    }
    ask(leader, "GET", "/v1/data/key%201", "").await;
    ask(leader, "GET", "/v1/data/nothing", "").await;
    // Figures of a group are published a little later than they change.
    let text = loop {
        let (head, text) = ask(leader, "GET", "/metrics", "").await;
        assert!(
            head.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            "{head}"
        );
        let (_, samples) = scraped(&text);
        let asked = |name: &str| samples.get(name).is_some_and(|value| *value > 0.0);
        if asked("raft_read_rounds_total{group=\"1\"}")
            && asked("raft_http_requests_total{route=\"/metrics\",method=\"GET\",status=\"200\"}")
            && samples.keys().any(|series| series.starts_with("raft_peer_round_trip_seconds"))
        {
            break text;
        }
    };
    let (families, samples) = scraped(&text);
    assert_eq!(families, documented(), "left: a scrape; right: docs/metrics.md");
    check_histograms(&families, &samples);

    let of = |series: &str| *samples.get(series).unwrap_or_else(|| panic!("no {series}: {text}"));
    assert_eq!(of("raft_is_leader{group=\"1\"}"), 1.0);
    assert_eq!(of("raft_proposals_total{group=\"1\"}"), 20.0, "both nodes' commands came here");
    assert!(of("raft_entries_applied_total{group=\"1\"}") >= 20.0);
    let posts = "raft_http_requests_total{route=\"/v1/data\",method=\"POST\",status=\"200\"}";
    assert_eq!(of(posts), 10.0);
    assert_eq!(
        of("raft_http_requests_total{route=\"/v1/data/{key}\",method=\"GET\",status=\"404\"}"),
        1.0
    );
    for stage in ["queue", "log", "sync", "replicate", "commit", "apply", "reply"] {
        let count = of(&format!("raft_write_stage_duration_seconds_count{{stage=\"{stage}\"}}"));
        assert!(count >= 1.0, "{stage}");
    }
    let committed = of("raft_write_stage_duration_seconds_count{stage=\"commit\"}");
    assert_eq!(committed, 20.0, "each command is timed once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_a_sample_for_what_was_written_and_an_event_for_the_leader() {
    let cluster = cluster().await;
    let leader = cluster.nodes[0].0;
    ask(leader, "POST", "/v1/data", r#"{"k": "a", "v": "b"}"#).await;
    let wrote = |history: &Value| {
        let samples = history["samples"].as_array().unwrap().clone();
        samples.into_iter().find(|sample| sample["commit_p50_ms"].is_f64())
    };
    let (sample, history) = loop {
        let (head, body) = ask(leader, "GET", "/status/history", "").await;
        assert!(head.contains("content-type: application/json"), "{head}");
        let history: Value = serde_json::from_str(&body).unwrap();
        if let Some(sample) = wrote(&history) {
            break (sample, history);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for rate in ["writes_per_s", "http_requests_per_s", "sync_mean_ms", "applied", "log_bytes"] {
        assert!(sample[rate].as_f64().unwrap() > 0.0, "{rate}: {sample}");
    }
    assert!(sample["sync_max_ms"].as_f64() >= sample["sync_mean_ms"].as_f64(), "{sample}");

    let after = sample["time_ms"].as_u64().unwrap();
    let (_, body) = ask(leader, "GET", &format!("/status/history?since_ms={after}"), "").await;
    let later: Value = serde_json::from_str(&body).unwrap();
    let mut times = later["samples"].as_array().unwrap().iter().map(|one| &one["time_ms"]);
    assert!(times.all(|time| time.as_u64().unwrap() > after), "{later}");
    for query in ["since_ms=now", "after=1"] {
        let (head, _) = ask(leader, "GET", &format!("/status/history?{query}"), "").await;
        assert!(head.contains("400"), "{head}");
    }

    let kinds: BTreeSet<&str> = history["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["kind"].as_str())
        .collect();
    assert!(kinds.contains("role") && kinds.contains("leader_seen"), "{kinds:?}");
}
