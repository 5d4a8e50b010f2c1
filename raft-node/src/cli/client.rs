//! The commands that talk to nodes.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::http::{Reply, send};
use super::{Cluster, Exit, printed, say, told};

/// What is escaped in a path, apart from what a key may well contain there.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'~');

/// `raft-node put`.
pub(super) fn put(cluster: &Cluster, key: &str, value: &str) -> Exit {
    let value = match value {
        "-" => match standard_input() {
            Ok(value) => value,
            Err(why) => {
                say(format_args!("raft-node: {}", told(&why)));
                return Exit::Wrong;
            }
        },
        value => json!({ "v": value }),
    };
    let mut body = value;
    body["k"] = key.into();
    let answer = ask(cluster, &Method::POST, "/v1/data", &body.to_string(), Effect::Write);
    match answer {
        Ok(answer) => {
            say(format_args!("stored at index {}", answer["index"]));
            Exit::Done
        }
        Err(exit) => exit,
    }
}

/// `raft-node get`.
pub(super) fn get(cluster: &Cluster, key: &str, stale: bool) -> Exit {
    let query = if stale { "?consistency=stale" } else { "" };
    let path = format!("/v1/data/{}{query}", utf8_percent_encode(key, ESCAPED));
    let answer = match ask(cluster, &Method::GET, &path, "", Effect::Read) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if stale {
        match answer["leader_heard_ms"].as_u64() {
            Some(age) => say(format_args!("the leader was heard {age} ms ago")),
            None => say("this node knows no leader"),
        }
    }
    let text = answer["v"].as_str().map(|text| text.as_bytes().to_vec());
    let bytes = || BASE64_STANDARD.decode(answer["v64"].as_str()?).ok();
    let Some(mut value) = text.or_else(bytes) else {
        say(format_args!("raft-node: the answer has no value: {answer}"));
        return Exit::Refused;
    };
    value.push(b'\n');
    printed(std::io::stdout().write_all(&value))
}

/// `raft-node delete`.
pub(super) fn delete(cluster: &Cluster, key: &str) -> Exit {
    let path = format!("/v1/data/{}", utf8_percent_encode(key, ESCAPED));
    match ask(cluster, &Method::DELETE, &path, "", Effect::Write) {
        Ok(answer) if answer["existed"] == true => {
            say(format_args!("deleted at index {}", answer["index"]));
            Exit::Done
        }
        Ok(_) => {
            say("there was no such key");
            Exit::Done
        }
        Err(exit) => exit,
    }
}

/// `raft-node status`: a line for each node.
pub(super) fn status(cluster: &Cluster) -> Exit {
    let timeout = Duration::from_millis(cluster.timeout_ms);
    let mut exit = Exit::Done;
    let mut out = std::io::stdout();
    let heading = line("ENDPOINT", &["NODE", "ROLE", "TERM", "LEADER", "COMMIT", "APPLIED"]);
    let mut written = writeln!(out, "{heading}");
    for endpoint in &cluster.endpoints {
        if written.is_err() {
            return printed(written);
        }
        let text = match on_runtime(send(endpoint, Method::GET, "/status", String::new(), timeout))
        {
            Ok(Reply::Answered { status: 200, body }) => standing(endpoint, &body),
            Ok(Reply::Answered { body, .. }) => {
                exit = Exit::Refused;
                format!("{endpoint:<24} {}", error_of(&body))
            }
            Ok(Reply::NotSent(why) | Reply::Unclear(why)) => {
                exit = Exit::Refused;
                format!("{endpoint:<24} no answer ({why})")
            }
            Err(why) => return failed(&why),
        };
        written = writeln!(out, "{text}");
    }
    match printed(written) {
        Exit::Done => exit,
        other => other,
    }
}

/// How a node says that it stands.
fn standing(endpoint: &str, body: &Value) -> String {
    let text = |field: &str| match &body[field] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let fields = ["node", "role", "term", "leader", "commit", "applied"].map(text);
    let stands = line(endpoint, &fields.each_ref().map(|field| &field[..]));
    match body["halted"].as_str() {
        Some(why) => format!("{stands}\n{:<24} stopped: {why}", ""),
        None => stands,
    }
}

fn line(endpoint: &str, [node, role, term, leader, commit, applied]: &[&str; 6]) -> String {
    format!("{endpoint:<24} {node:>6} {role:<13} {term:>6} {leader:>6} {commit:>10} {applied:>10}")
}

/// Whether a request changes something, and so must not be repeated blindly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
}

/// Asks the nodes in turn until one answers. Goes on to the next one only where
/// nothing can have happened at the one before it.
pub(super) fn ask(
    cluster: &Cluster,
    method: &Method,
    path: &str,
    body: &str,
    effect: Effect,
) -> Result<Value, Exit> {
    let timeout = Duration::from_millis(cluster.timeout_ms);
    for endpoint in &cluster.endpoints {
        let reply = on_runtime(send(endpoint, method.clone(), path, body.to_owned(), timeout));
        match reply.map_err(|why| failed(&why))? {
            Reply::Answered { status: 200, body } => return Ok(body),
            Reply::Answered { body, .. } if body["outcome"] == "unknown" => {
                return Err(unknown(endpoint, &error_of(&body)));
            }
            Reply::Answered { status, body } => {
                say(format_args!("raft-node: {endpoint}: {}", error_of(&body)));
                match (status, body["outcome"].as_str()) {
                    (404, Some(_)) => return Err(Exit::NotFound),
                    (409, Some(_)) => return Err(Exit::Refused),
                    (503 | 504, Some(_)) => {}
                    (400..500, Some(_)) => return Err(Exit::Wrong),
                    _ if effect == Effect::Write => return Err(unknown(endpoint, "no Raft node")),
                    _ => {}
                }
            }
            Reply::Unclear(why) if effect == Effect::Write => return Err(unknown(endpoint, &why)),
            Reply::NotSent(why) | Reply::Unclear(why) => say(format_args!("raft-node: {why}")),
        }
    }
    Err(Exit::Refused)
}

fn unknown(endpoint: &str, why: &str) -> Exit {
    say(format_args!("raft-node: {endpoint}: {why}"));
    say("raft-node: the outcome is unknown: the write may have happened, or may still happen");
    Exit::Unknown
}

fn failed(why: &anyhow::Error) -> Exit {
    say(format_args!("raft-node: {}", told(why)));
    Exit::Refused
}

fn error_of(body: &Value) -> String {
    body["error"].as_str().map_or_else(|| body.to_string(), ToOwned::to_owned)
}

fn standard_input() -> Result<Value> {
    let mut value = Vec::new();
    std::io::stdin().read_to_end(&mut value).context("the standard input cannot be read")?;
    Ok(match String::from_utf8(value) {
        Ok(text) => json!({ "v": text }),
        Err(bytes) => json!({ "v64": BASE64_STANDARD.encode(bytes.as_bytes()) }),
    })
}

pub(super) fn on_runtime<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("the runtime did not start")?.block_on(future))
}
