//! The program as a person meets it: what it says, and how it ends.
#![cfg(feature = "server")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn raft_node(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-node"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAFT_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (i32, String) {
    ended(&raft_node(arguments).stdin(Stdio::null()).output().unwrap())
}

fn ended(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

/// A node that answers one request with `status` and `body`, and tells what was asked.
fn node(status: &'static str, body: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head += &line;
        }
        let mut sent = vec![0; length];
        reader.read_exact(&mut sent).unwrap();
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        head + &String::from_utf8(sent).unwrap()
    });
    (address, asked)
}

/// An address at which nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

const REFUSED: &str = r#"{"error": "no leader is known", "outcome": "refused"}"#;
const UNKNOWN: &str = r#"{"error": "leadership ended", "outcome": "unknown"}"#;

#[test]
fn help_and_version_are_there_for_a_stranger() {
    let (code, help) = run(&["--help"]);
    assert_eq!(code, 0);
    for word in ["serve", "put", "get", "delete", "status", "./raft-data", "Exit codes"] {
        assert!(help.contains(word), "{word} is missing: {help}");
    }
    let (code, version) = run(&["--version"]);
    assert_eq!((code, &version[..]), (0, "raft-node 0.1.0\n"));
    let (code, help) = run(&["serve", "--help"]);
    assert_eq!(code, 0);
    assert!(help.contains("1=10.0.0.1:2380/10.0.0.1:2379"), "{help}");
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    for arguments in [&["dance"][..], &["put", "k"], &["serve", "--nodes", "3"], &["get"]] {
        let (code, said) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(said.contains("Usage"), "{said}");
    }
}

#[test]
fn a_flag_of_serve_without_the_command_is_told_where_it_belongs() {
    for typed in [&["--config", "n.yaml"][..], &["--node-id=3", "--config", "n.yaml"]] {
        let (code, said) = run(typed);
        assert_eq!(code, 2, "{said}");
        let says = format!("is a flag of the command serve: raft-node serve {}", typed.join(" "));
        assert!(said.contains(&says), "{said}");
    }
}

#[test]
fn endpoints_are_taken_as_people_write_them_and_faults_are_named() {
    let (endpoint, _asked) = node("200 OK", r#"{"k": "a", "v": "one"}"#);
    assert_eq!(run(&["get", "a", "--endpoints", &format!("http://{endpoint}/")]).0, 0);
    for (wrong, says) in [
        ("127.0.0.1", "\"127.0.0.1\" is not host:port: there is no port"),
        ("host:port", "the port is no number"),
        ("https://127.0.0.1:2379", "no TLS"),
        ("127.0.0.1:2379/v1", "the port is no number"),
    ] {
        let (code, said) = run(&["get", "a", "--endpoints", &format!("127.0.0.1:1,{wrong}")]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(says) && said.contains("--endpoints"), "{said}");
    }
}

#[test]
fn a_wrong_configuration_names_every_field_and_ends_with_two() {
    let serve = ["serve", "--node-id", "0", "--heartbeat-ms", "x", "--data-dir", "/nowhere"];
    let (code, said) = run(&serve);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("node_id (from --node-id)"), "{said}");
    assert!(said.contains("heartbeat_ms (from --heartbeat-ms)"), "{said}");
    let output = raft_node(&["serve"]).env("RAFT_LISTEN_PEER", "here").output().unwrap();
    let (code, said) = ended(&output);
    assert_eq!(code, 2);
    assert!(said.contains("listen_peer (from RAFT_LISTEN_PEER)"), "{said}");
}

#[test]
fn a_node_that_cannot_start_says_why_and_ends_with_five() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letters"), "dear").unwrap();
    let path = folder.path().to_str().unwrap();
    let (client, peer) = (nobody(), nobody());
    let addresses = ["--listen-client", &client, "--listen-peer", &peer];
    let (code, said) = run(&[&["serve", "--data-dir", path][..], &addresses].concat());
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("letters") && said.contains(path), "{said}");

    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let new = folder.path().join("new");
    let serve = ["serve", "--data-dir", new.to_str().unwrap(), "--listen-client", &taken];
    let (code, said) = run(&serve);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains(&taken), "{said}");
    assert!(!said.contains("data folder  "), "it introduced itself before it had its ports");
    assert!(!new.exists());
}

#[test]
fn a_value_is_put_through_the_first_node_that_takes_it() {
    let (second, asked) = node("200 OK", r#"{"index": 7}"#);
    let (refuses, _refused) = node("503 Service Unavailable", REFUSED);
    let endpoints = [nobody(), refuses, second].join(",");
    let (code, said) = run(&["put", "a b", "1\n2", "--endpoints", &endpoints]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("index 7"), "{said}");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /v1/data HTTP/1.1"), "{asked}");
    assert!(asked.ends_with(r#"{"k":"a b","v":"1\n2"}"#), "{asked}");
}

#[test]
fn a_value_may_come_from_the_standard_input_as_bytes() {
    let (endpoint, asked) = node("200 OK", r#"{"index": 7}"#);
    let mut child = raft_node(&["put", "k", "-", "--endpoints", &endpoint])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\x00").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(asked.join().unwrap().ends_with(r#"{"k":"k","v64":"/wA="}"#));
}

#[test]
fn a_write_whose_outcome_is_unknown_is_not_tried_elsewhere() {
    for body in [UNKNOWN, "not JSON"] {
        let (unclear, _asked) = node("504 Gateway Timeout", body);
        let never = TcpListener::bind("127.0.0.1:0").unwrap();
        never.set_nonblocking(true).unwrap();
        let endpoints = format!("{unclear},{}", never.local_addr().unwrap());
        let (code, said) = run(&["delete", "k", "--endpoints", &endpoints]);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("the outcome is unknown"), "{said}");
        assert!(never.accept().is_err(), "the second node was asked too");
    }
}

#[test]
fn a_value_is_got_and_printed() {
    let (endpoint, asked) = node("200 OK", r#"{"k": "a/b", "v": "one"}"#);
    let output = raft_node(&["get", "a/b c", "--endpoints", &endpoint]).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"one\n"[..]));
    assert!(asked.join().unwrap().starts_with("GET /v1/data/a/b%20c HTTP/1.1"));

    let (endpoint, asked) =
        node("200 OK", r#"{"k": "a", "v64": "/w==", "applied": 1, "leader_heard_ms": 70}"#);
    let output = raft_node(&["get", "a", "--stale", "--endpoints", &endpoint]).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"\xff\n"[..]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("70 ms ago"));
    assert!(asked.join().unwrap().starts_with("GET /v1/data/a?consistency=stale "));
}

#[test]
fn a_key_that_is_not_there_ends_with_one_and_nobody_there_with_three() {
    let absent = r#"{"error": "there is no key", "outcome": "refused"}"#;
    let (endpoint, _asked) = node("404 Not Found", absent);
    assert_eq!(run(&["get", "k", "--endpoints", &endpoint]).0, 1);
    let (code, said) = run(&["get", "k", "--endpoints", &nobody()]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("refused"), "{said}");
    let (endpoint, _asked) = node("400 Bad Request", REFUSED);
    assert_eq!(run(&["put", "k", "v", "--endpoints", &endpoint]).0, 2);
}

#[test]
fn the_status_has_a_line_for_each_node() {
    let (up, _asked) = node(
        "200 OK",
        r#"{"node": 2, "role": "leader", "term": 3, "leader": 2, "commit": 9, "applied": 8}"#,
    );
    let down = nobody();
    let (code, said) = run(&["status", "--endpoints", &format!("{up},{down}")]);
    assert_eq!(code, 3, "{said}");
    let line = said.lines().find(|line| line.starts_with(&up)).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>()[1..],
        ["2", "leader", "3", "2", "9", "8"]
    );
    assert!(said.contains(&format!("{down} ")) && said.contains("no answer"), "{said}");
}

/// Starts a node of its own; the addresses are its client's and its folder's.
fn serve(folder: &std::path::Path, stdout: Stdio, stderr: Stdio) -> (Child, String) {
    let (client, peer) = (nobody(), nobody());
    let serve = ["serve", "--log", "debug", "--data-dir", folder.to_str().unwrap()];
    let addresses = ["--listen-client", &client, "--listen-peer", &peer];
    let mut node = raft_node(&[&serve[..], &addresses].concat());
    (node.stdout(stdout).stderr(stderr).spawn().unwrap(), client)
}

fn terminate(node: &Child) {
    let kill = format!("kill -TERM {}", node.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// The write end of a pipe that nobody reads any more.
fn broken_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_node_whose_log_nobody_reads_serves_and_stops_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, endpoint) = serve(folder.path(), broken_pipe(), broken_pipe());
    let began = Instant::now();
    let put = ["put", "k", "v", "--endpoints", &endpoint];
    while run(&put).0 != 0 {
        assert_eq!(node.try_wait().unwrap(), None, "the node ended");
        assert!(began.elapsed() < Duration::from_secs(30), "the node does not serve");
    }
    terminate(&node);
    assert_eq!(node.wait().unwrap().code(), Some(0));
}

#[test]
fn a_node_that_fails_unheard_still_ends_with_five() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letters"), "dear").unwrap();
    let (mut node, _) = serve(folder.path(), broken_pipe(), broken_pipe());
    assert_eq!(node.wait().unwrap().code(), Some(5));
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let (endpoint, _asked) = node("200 OK", r#"{"k": "a", "v": "one"}"#);
    for command in [&["get", "a"][..], &["status"]] {
        let mut command = raft_node(&[command, &["--endpoints", &endpoint]].concat());
        let output = command.stdout(broken_pipe()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(ended(&output), (0, String::new()));
    }
}

#[test]
fn members_are_changed_with_one_request_and_listed_in_a_table() {
    let add = ["4=h:1/h:2", "--name", "four"];
    let changes = [
        (
            &["add", add[0], add[1], add[2]][..],
            r#"{"add":{"as":"voter","client":"h:2","id":4,"name":"four","peer":"h:1"}}"#,
        ),
        (
            &["replace", "3", "4=h:1/h:2"],
            r#"{"add":{"client":"h:2","id":4,"name":null,"peer":"h:1","replaces":3}}"#,
        ),
        (&["remove", "3"], r#"{"remove":3}"#),
        (&["demote", "3"], r#"{"demote":3}"#),
        (&["promote", "3"], r#"{"promote":3}"#),
        (
            &["update", "4=h:1/h:2"],
            r#"{"update":{"client":"h:2","id":4,"name":null,"peer":"h:1"}}"#,
        ),
    ];
    for (arguments, step) in changes {
        let (endpoint, asked) = node("200 OK", r#"{"index": 7}"#);
        let rest = ["--wait-ms", "0", "--endpoints", &endpoint];
        let (code, said) = run(&[&["member"], arguments, &rest].concat());
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("changed at index 7"), "{said}");
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("POST /v1/members HTTP/1.1"), "{asked}");
        let body = format!(r#"{{"changes":[{step}],"dangerously_ignore_silent":false}}"#);
        assert!(asked.ends_with(&body), "{asked}\n{body}");
    }

    let list = r#"{"index": 9, "joint": false, "leader": 2, "last": 9, "members": [
        {"id": 2, "as": "voter", "peer": "h:1", "client": "h:2", "name": "two"},
        {"id": 3, "as": "learner", "peer": "h:3", "client": "h:4", "replaces": 1}]}"#;
    let (endpoint, _asked) = node("200 OK", list);
    let output = raft_node(&["member", "list", "--endpoints", &endpoint]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("two        leads\n"), "{text}");
    assert!(text.contains("-          replaces node 1 once it has caught up\n"), "{text}");
}

#[test]
fn a_refused_change_ends_with_three_and_a_transfer_says_who_leads() {
    let refused = r#"{"error": "an earlier change is under way", "outcome": "refused"}"#;
    let (endpoint, _asked) = node("409 Conflict", refused);
    let (code, said) = run(&["member", "remove", "3", "--wait-ms", "0", "--endpoints", &endpoint]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("under way"), "{said}");

    let (endpoint, asked) = node("200 OK", r#"{"leader": 2}"#);
    let (code, said) = run(&["transfer", "2", "--endpoints", &endpoint]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("node 2 leads"), "{said}");
    assert!(asked.join().unwrap().ends_with(r#"{"to":2}"#));

    for wrong in [&["member", "remove", "zero"][..], &["member", "add", "4"], &["transfer", "0"]] {
        let (code, said) = run(wrong);
        assert_eq!(code, 2, "{said}");
    }
}

#[test]
fn a_cluster_is_recovered_only_by_who_says_what_it_costs() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let [from, to] = [&old, &new].map(|path| path.to_str().unwrap());
    let (code, said) = run(&["recover", "--from", from, "--to", to]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--dangerously-forget-the-others"), "{said}");
    let sure = "--dangerously-forget-the-others";
    let (code, said) = run(&["recover", "--from", from, "--to", to, sure]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("holds no log") && !new.exists(), "{said}");
}
