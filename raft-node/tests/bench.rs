//! `raft-node bench` against a node of its own.
#![cfg(feature = "server")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn raft_node(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-node"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAFT_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// An address at which nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A single node that serves; it ends with the test.
struct Node {
    process: Child,
    endpoint: String,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (endpoint, peer) = (nobody(), nobody());
        let data = folder.path().join("data");
        let mut serve = raft_node(&["serve", "--data-dir", data.to_str().unwrap()]);
        serve.args(["--listen-client", &endpoint, "--listen-peer", &peer]);
        let process = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut node = Self { process, endpoint, _folder: folder };
        let began = Instant::now();
        let put = ["put", "k", "v", "--endpoints", &node.endpoint];
        while !raft_node(&put).output().unwrap().status.success() {
            assert_eq!(node.process.try_wait().unwrap(), None, "the node ended");
            assert!(began.elapsed() < Duration::from_secs(30), "the node does not serve");
        }
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `raft-node bench` for a second with these arguments.
fn bench(arguments: &str) -> (i32, String, String) {
    let words: Vec<_> = arguments.split(' ').collect();
    let short = ["--seconds", "1", "--warm-up-seconds", "0"];
    let output = raft_node(&[&["bench"], &words[..], &short].concat()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_node_is_measured_over_both_versions_of_http() {
    let node = Node::start();
    for version in ["--connections 2", "--http1"] {
        let line = format!(
            "mixed --json --prefill --keys 20 --clients 1,4 --endpoints {} {version}",
            node.endpoint
        );
        let (code, out, err) = bench(&line);
        assert_eq!((code, &err[..]), (0, ""), "{out}");
        let rows = rows(&out);
        let told = rows.iter().map(|row| (&row["operation"], row["clients"].as_u64().unwrap()));
        let told: Vec<_> = told.map(|(kind, clients)| (kind.as_str().unwrap(), clients)).collect();
        assert_eq!(told, [("put", 1), ("get", 1), ("put", 4), ("get", 4)]);
        for row in rows {
            assert!(row["ops"].as_u64() > Some(0), "{row}");
            let [p50, p99, max] =
                ["p50_ms", "p99_ms", "max_ms"].map(|name| row[name].as_f64().unwrap());
            assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{row}");
            for trouble in ["refused", "unknown", "failed"] {
                assert_eq!(row[trouble], 0, "{row}");
            }
        }
    }
}

#[test]
fn answers_that_are_not_what_they_must_be_are_failures() {
    let node = Node::start();
    let get = format!("get --keys 20 --clients 2 --endpoints {}", node.endpoint);
    let (code, out, err) = bench(&get);
    assert_eq!(code, 3, "{out}{err}");
    assert!(err.contains("--prefill"), "{err}");
    let (code, out, err) = bench(&format!("{get} --prefill --csv"));
    assert_eq!((code, &err[..]), (0, ""), "{out}");
    assert!(out.starts_with("target,operation,clients"), "{out}");
    let (code, _, err) = bench(&format!("{get} --value-size 300"));
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("256 bytes in place of 300"), "{err}");
}

#[test]
fn endpoints_that_do_not_answer_are_named() {
    let (first, second) = (nobody(), nobody());
    for target in ["raft", "etcd"] {
        let (code, out, err) =
            bench(&format!("put --target {target} --endpoints {first},{second}"));
        assert_eq!((code, &out[..]), (3, ""), "{err}");
        assert!(err.contains("no endpoint answers"), "{err}");
        assert!(err.contains(&first) && err.contains(&second), "{err}");
    }
    let node = Node::start();
    let endpoints = format!("{first},{}", node.endpoint);
    let (code, out, err) = bench(&format!("put --clients 2 --endpoints {endpoints}"));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains(&format!("no answer from {first}")), "{err}");
    assert!(out.contains("clients") && out.lines().count() == 2, "{out}");
}

#[test]
fn a_wrong_argument_is_named() {
    for (line, named) in [("put --clients 0", "--clients"), ("get --endpoints here", "\"here\"")] {
        let (code, _, err) = bench(line);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(named), "{err}");
    }
}
