//! Backups with real nodes: saved while a node runs and while none does, looked into, and
//! restored.
#![cfg(feature = "server")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(60);

fn raft_node(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-node"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAFT_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command; answers the exit code and all that was said.
fn run(arguments: &[&str]) -> (i32, String) {
    let output = raft_node(arguments).output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

/// A node that is killed when nobody needs it any more.
struct Node {
    child: Child,
    client: String,
    peer: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Node {
    /// Node 1 alone, or with more flags.
    fn start(data: &Path, client: String, peer: String, more: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let child = raft_node(&["serve", "--data-dir", data, "--listen-client", &client])
            .args(["--listen-peer", &peer])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, client, peer }
    }

    /// Starts a node, and waits until it serves.
    fn serving(data: &Path, client: String, peer: String) -> Self {
        let node = Self::start(data, client, peer, &[]);
        let begun = Instant::now();
        while get(&node.client, "/health").is_none_or(|(status, _)| status != 200) {
            assert!(begun.elapsed() < LIMIT, "the node does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        node
    }

    fn put(&self, key: &str, value: &str) {
        let (code, said) = run(&["put", key, value, "--endpoints", &self.client]);
        assert_eq!(code, 0, "{said}");
    }

    fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

/// The answer of a node; nothing where it does not answer.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: n\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some((answer.split(' ').nth(1)?.parse().ok()?, answer))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A stage with one node that holds two keys.
fn stage() -> (tempfile::TempDir, PathBuf, Node) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::serving(&data, free(), free());
    node.put("colour", "red");
    node.put("shape", "round");
    (folder, data, node)
}

#[test]
fn what_a_running_node_saves_becomes_a_new_cluster() {
    let (folder, _data, node) = stage();
    let file = folder.path().join("backup");
    let save = ["snapshot", "save", text(&file), "--endpoints", &node.client];
    let (code, said) = run(&save);
    assert!(code == 0 && said.contains("saved 2 keys"), "{said}");
    let (code, said) = run(&save);
    assert!(code == 2 && said.contains("exists already"), "{said}");

    let (code, said) = run(&["snapshot", "inspect", text(&file)]);
    assert_eq!(code, 0, "{said}");
    let members = format!("voters 1={}/{}", node.peer, node.client);
    for told in ["intact", "(raft)", "group       1", "keys        2", "checksum", &members] {
        assert!(said.contains(told), "{told} is missing: {said}");
    }

    let new = folder.path().join("new");
    let (client, peer) = (free(), free());
    let at = format!("1={peer}/{client}");
    let restore = ["snapshot", "restore", text(&file), "--to", text(&new), "--at", &at];
    let (code, said) = run(&restore);
    assert!(code == 0 && said.contains("2 keys"), "{said}");
    let (code, said) = run(&restore);
    assert!(code == 2 && said.contains("nothing is restored over existing data"), "{said}");

    // What was written after the backup is only in the old cluster.
    node.put("colour", "blue");
    let restored = Node::serving(&new, client, peer);
    let (code, said) = run(&["get", "colour", "--endpoints", &restored.client]);
    assert_eq!((code, said.trim()), (0, "red"));
    restored.put("size", "large");
    let id = |node: &Node| {
        let (_, status) = get(&node.client, "/status").unwrap();
        let at = status.find("\"cluster_id\"").unwrap();
        status[at..at + 40].to_owned()
    };
    assert_ne!(id(&node), id(&restored), "they are two clusters");
    restored.stop();
    let restored = Node::serving(&new, free(), free());
    let (code, said) = run(&["get", "size", "--endpoints", &restored.client]);
    assert_eq!((code, said.trim()), (0, "large"), "and it lives on after a restart");
}

#[test]
fn a_folder_is_saved_only_while_no_node_uses_it() {
    let (folder, data, node) = stage();
    let file = folder.path().join("backup");
    let save = ["snapshot", "save", text(&file), "--data-dir", text(&data)];
    let (code, said) = run(&save);
    assert!(code == 2 && said.contains("is in use by another process"), "{said}");
    assert_eq!(names(folder.path()), ["data"]);
    node.stop();
    let (code, said) = run(&save);
    assert!(code == 0 && said.contains("saved 2 keys") && !said.contains("NOT"), "{said}");
    assert_eq!(names(folder.path()), ["backup", "data"], "nothing else is left");
    let (code, said) = run(&["snapshot", "inspect", text(&file)]);
    assert!(code == 0 && said.contains("keys        2"), "{said}");

    // A node that was killed has in its log what its store lacks.
    let mut node = Node::serving(&data, free(), free());
    node.put("size", "large");
    node.child.kill().unwrap();
    node.child.wait().unwrap();
    fs::remove_file(&file).unwrap();
    let (code, said) = run(&save);
    assert!(code == 0 && said.contains("saved 2 keys") && said.contains("is NOT in the"), "{said}");

    let nothing = folder.path().join("nothing");
    let save = ["snapshot", "save", text(&nothing), "--data-dir", text(folder.path())];
    let (code, said) = run(&save);
    assert!(code == 2 && said.contains("holds no log of a cluster"), "{said}");
}

/// The last resort of a cluster of one.
#[test]
fn what_the_store_holds_is_saved_where_no_node_starts_on_the_log() {
    let (folder, data, node) = stage();
    node.stop();
    let log = data.join("log");
    for path in names(&log).iter().filter(|name| name.ends_with(".log")).map(|name| log.join(name))
    {
        let mut bytes = fs::read(&path).unwrap();
        bytes[..4096].fill(0);
        fs::write(&path, bytes).unwrap();
    }
    let (client, peer) = (free(), free());
    let ports = ["--listen-client", &client, "--listen-peer", &peer];
    let (code, said) = run(&[&["serve", "--data-dir", text(&data)][..], &ports].concat());
    assert!(code == 5 && said.contains("the head of the segment cannot be read"), "{said}");
    for (name, why) in [("first", "is damaged at byte 0"), ("second", "is gone")] {
        let file = folder.path().join(name);
        let (code, said) = run(&["snapshot", "save", text(&file), "--data-dir", text(&data)]);
        assert!(code == 0 && said.contains("saved 2 keys"), "{said}");
        assert!(said.contains(why) && said.contains("is NOT in the backup"), "{said}");
        let _ = fs::remove_dir_all(&log);
    }

    let new = folder.path().join("new");
    let (file, at) = (folder.path().join("first"), format!("1={peer}/{client}"));
    let (code, said) = run(&["snapshot", "restore", text(&file), "--to", text(&new), "--at", &at]);
    assert_eq!(code, 0, "{said}");
    let restored = Node::serving(&new, client, peer);
    let (code, said) = run(&["get", "colour", "--endpoints", &restored.client]);
    assert_eq!((code, said.trim()), (0, "red"));
    restored.put("size", "large");
}

#[test]
fn a_node_that_cannot_save_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (client, peer) = (free(), free());
    let members = format!("1={peer}/{client},2={}/{}", free(), free());
    let node = Node::start(&folder.path().join("d"), client, peer, &["--members", &members]);
    let begun = Instant::now();
    while get(&node.client, "/health").is_none() {
        assert!(begun.elapsed() < LIMIT, "the node does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    let file = folder.path().join("backup");
    let endpoints = format!("{},{}", free(), node.client);
    let (code, said) = run(&["snapshot", "save", text(&file), "--endpoints", &endpoints]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the cluster is being formed"), "{said}");
    assert!(said.contains("nothing was saved") && !file.exists(), "{said}");
}

/// A node that answers with this many bytes, of which it says that they are more.
fn liar(body: Vec<u8>, more: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).unwrap();
        let length = body.len() + more;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
        stream.write_all(&body).unwrap();
    });
    address
}

#[test]
fn what_is_cut_off_or_damaged_on_the_way_is_no_file() {
    let (folder, _data, node) = stage();
    let file = folder.path().join("backup");
    assert_eq!(run(&["snapshot", "save", text(&file), "--endpoints", &node.client]).0, 0);
    let whole = fs::read(&file).unwrap();
    let other = folder.path().join("other");
    let save =
        |endpoint: String| run(&["snapshot", "save", text(&other), "--endpoints", &endpoint]);
    let (code, said) = save(liar(whole[..100].to_vec(), whole.len() - 100));
    assert!(code == 3 && said.contains("cut off"), "{said}");
    for place in [5, 70, whole.len() - 40] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        let (code, said) = save(liar(damaged.clone(), 0));
        assert_eq!(code, 5, "byte {place}: {said}");
        assert_eq!(names(folder.path()), ["backup", "data"]);
        // The same where it was damaged later.
        fs::write(&other, damaged).unwrap();
        assert_eq!(run(&["snapshot", "inspect", text(&other)]).0, 5);
        let new = folder.path().join("new");
        let restore = ["snapshot", "restore", text(&other), "--to", text(&new)];
        assert_eq!(run(&restore).0, 5);
        assert!(!new.exists());
        fs::remove_file(&other).unwrap();
    }
    assert_eq!(save(liar(whole, 0)).0, 0);
}

#[test]
fn a_restore_that_is_killed_leaves_a_whole_folder_or_none() {
    let (folder, _data, node) = stage();
    let value = "v".repeat(100_000);
    for n in 0..40 {
        node.put(&format!("large-{n}"), &format!("{n}{value}"));
    }
    let file = folder.path().join("backup");
    assert_eq!(run(&["snapshot", "save", text(&file), "--endpoints", &node.client]).0, 0);
    let (mut whole, mut none) = (0, 0);
    for attempt in 0..200_u64 {
        let new = folder.path().join(format!("new-{attempt}"));
        let restore = ["snapshot", "restore", text(&file), "--to", text(&new)];
        let mut child = raft_node(&restore).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(attempt * 4));
        child.kill().unwrap();
        child.wait().unwrap();
        let (code, said) = run(&["log", "verify", text(&new)]);
        if new.join("identity.json").exists() {
            assert_eq!(code, 0, "attempt {attempt}: {said}");
            let copy = folder.path().join(format!("copy-{attempt}"));
            let saved = ["snapshot", "save", text(&copy), "--data-dir", text(&new)];
            let (code, said) = run(&saved);
            // The node has not run: its store is made of the snapshot when it starts.
            assert!(code == 2 && said.contains("start the node on it once"), "{said}");
            whole += 1;
        } else {
            // Half a folder is nobody's, and no node starts on it.
            if new.exists() && !names(&new).is_empty() {
                let (client, peer) = (free(), free());
                let ports = ["--listen-client", &client, "--listen-peer", &peer];
                let serve = [&["serve", "--data-dir", text(&new)][..], &ports].concat();
                let (code, said) = run(&serve);
                assert!(code != 0 && said.contains("was not made by a Raft node"), "{said}");
            }
            none += 1;
        }
        fs::remove_dir_all(&new).ok();
        if whole >= 3 {
            break;
        }
    }
    assert!(whole >= 3 && none >= 3, "{whole} whole, {none} none");
}

#[test]
fn the_collection_is_paused_and_goes_on() {
    let (_folder, data, node) = stage();
    let gc = |word| run(&["gc", word, "--endpoints", &node.client]);
    let paused_metric = "raft_collection_paused{group=\"1\"} 1";
    let told = |path| get(&node.client, path).unwrap().1;
    assert!(gc("status").1.contains("running"));
    let (code, said) = gc("pause");
    assert!(code == 0 && said.contains("paused"), "{said}");
    // What is published follows within a moment.
    let begun = Instant::now();
    while !told("/status").contains("\"collection_paused\":true") {
        assert!(begun.elapsed() < LIMIT, "the status does not say so");
    }
    assert!(gc("status").1.contains("paused"));
    assert!(told("/metrics").contains(paused_metric));
    let (code, said) = gc("resume");
    assert!(code == 0 && said.contains("running"), "{said}");
    while told("/status").contains("\"collection_paused\":true") {
        assert!(begun.elapsed() < LIMIT, "the status does not say so");
    }
    assert_eq!(gc("pause").0, 0);
    node.stop();
    let node = Node::serving(&data, free(), free());
    let (_, said) = run(&["gc", "status", "--endpoints", &node.client]);
    assert!(said.contains("running"), "a pause ends with the process: {said}");
    let (code, said) = run(&["gc", "pause", "--endpoints", &free()]);
    assert_eq!(code, 3, "{said}");
}
