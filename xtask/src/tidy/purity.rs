//! The protocol and the engine use no clock, no thread, no runtime, no randomly
//! ordered map.
//!
//! The compiler checks the first four packages where a target without a standard
//! library is installed; here their sources are read, which works everywhere.

use super::Finding;
use super::source::Source;

/// The packages without a standard library.
const PURE: [&str; 4] =
    ["raft-core/src/", "raft-election/src/", "raft-replication/src/", "raft-state/src/"];
const PURE_NAMES: [&str; 6] = ["std", "HashMap", "HashSet", "RandomState", "log", "tracing"];
const NO_STD: &str = "#![cfg_attr(not(test), no_std)]";

/// The synchronous, deterministic engine.
const ENGINE: [&str; 2] = ["raft-node/src/engine/", "raft-node/src/engine.rs"];
const ENGINE_NAMES: [&str; 6] =
    ["HashMap", "HashSet", "RandomState", "SystemTime", "rand", "tokio"];
const ENGINE_PATHS: [&str; 6] =
    ["std::thread", "std::time", "std::env", "std::fs", "std::net", "std::process"];
const ENGINE_MAY_USE: &str = "std::time::Duration";

/// Reads the sources.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        if PURE.iter().any(|folder| source.path.starts_with(folder)) {
            check_pure(source, &mut findings);
        }
        if ENGINE.iter().any(|place| source.path.starts_with(place)) {
            check_engine(source, &mut findings);
        }
    }
    findings
}

fn check_pure(source: &Source, findings: &mut Vec<Finding>) {
    if source.path.ends_with("/src/lib.rs") && !source.code.contains(NO_STD) {
        findings.push(Finding::in_file(source, 1, format!("lacks {NO_STD}")));
    }
    let code = source.shipped_code();
    let tokens = tokens(&code);
    for (at, (line, token)) in tokens.iter().enumerate() {
        // `log` is also what a replica calls its log; as the head of a path it is
        // the package.
        let head = tokens.get(at + 1).is_some_and(|(_, next)| *next == "::")
            && (at == 0 || ![".", "::"].contains(&tokens[at - 1].1));
        if PURE_NAMES.contains(token) && (*token != "log" || head) {
            let what = format!("`{token}` has no place in a package that does no input and output");
            findings.push(Finding::in_file(source, *line, what));
        }
    }
}

fn check_engine(source: &Source, findings: &mut Vec<Finding>) {
    let code = source.shipped_code();
    let tokens = tokens(&code);
    let mut complain = |line, name: &str| {
        let what = format!("`{name}` has no place in the engine, which a simulator must repeat");
        findings.push(Finding::in_file(source, line, what));
    };
    for (line, token) in &tokens {
        if ENGINE_NAMES.contains(token) {
            complain(*line, token);
        }
    }
    for (at, (line, token)) in tokens.iter().enumerate() {
        if *token == "std" {
            let mut paths = Vec::new();
            expand(&tokens[at..], "", &mut paths);
            for path in paths.iter().filter(|path| !path.starts_with(ENGINE_MAY_USE)) {
                if ENGINE_PATHS.iter().any(|banned| path.starts_with(banned)) {
                    complain(*line, path);
                }
            }
        }
    }
}

/// Words and punctuation with their lines; `::` is one token.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                _ if word(first) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            tokens.push((number + 1, token));
            rest = after.trim_start();
        }
    }
    tokens
}

/// The full paths that start at the first token, groups of a `use` expanded. Returns
/// how many tokens they take.
fn expand(tokens: &[(usize, &str)], prefix: &str, paths: &mut Vec<String>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| *token);
    let is_word = |text: &str| text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if token(0) == "{" {
        let mut at = 1;
        while at < tokens.len() && token(at) != "}" {
            at += expand(&tokens[at..], prefix, paths).max(1);
        }
        return at + 1;
    }
    if !is_word(token(0)) && token(0) != "*" {
        return 0;
    }
    let path = if prefix.is_empty() { token(0).into() } else { format!("{prefix}::{}", token(0)) };
    if token(1) == "::" && (is_word(token(2)) || token(2) == "{" || token(2) == "*") {
        return 2 + expand(&tokens[2..], &path, paths);
    }
    paths.push(path);
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let findings = check(&[Source::new(path, text)]);
        findings.iter().map(|finding| finding.what.split('`').nth(1).unwrap_or("").into()).collect()
    }

    #[test]
    fn the_protocol_uses_no_standard_library() {
        let pure = |text| findings("raft-state/src/replica.rs", text);
        assert_eq!(pure("use core::fmt; let log = self.log; self.log::<u64>();"), [""; 0]);
        assert_eq!(pure("// std::fs\nlet a = \"std::fs\";\n#[cfg(test)]\nuse std::fs;"), [""; 0]);
        assert_eq!(pure("use std::fs;"), ["std"]);
        assert_eq!(pure("fn f() { ::std::process::exit(1) }"), ["std"]);
        assert_eq!(pure("use alloc::collections::HashMap;"), ["HashMap"]);
        assert_eq!(pure("log::info!(\"x\"); tracing::info!(\"x\");"), ["log", "tracing"]);
        assert_eq!(findings("raft-log/src/wal.rs", "use std::fs;"), [""; 0]);
    }

    #[test]
    fn the_protocol_says_that_it_needs_no_standard_library() {
        let lib = |text| check(&[Source::new("raft-core/src/lib.rs", text)]).len();
        assert_eq!(lib("//! x\n#![cfg_attr(not(test), no_std)]\n"), 0);
        assert_eq!(lib("//! #![cfg_attr(not(test), no_std)]\n"), 1);
    }

    #[test]
    fn the_engine_uses_no_clock_no_thread_and_no_random_order() {
        let engine = |text| findings("raft-node/src/engine/groups.rs", text);
        assert_eq!(engine("use std::time::Duration; use raft_core::Instant;"), [""; 0]);
        assert_eq!(engine("use std::collections::{BTreeMap, VecDeque};"), [""; 0]);
        assert_eq!(engine("std::thread::sleep(x)"), ["std::thread::sleep"]);
        assert_eq!(
            engine("use std::{collections::BTreeMap, time::{Duration, Instant}};"),
            ["std::time::Instant"]
        );
        assert_eq!(engine("use std::{fmt, thread};"), ["std::thread"]);
        assert_eq!(engine("use std::time::*;"), ["std::time::*"]);
        assert_eq!(engine("use std::time;"), ["std::time"]);
        assert_eq!(engine("use std::collections::{HashMap};"), ["HashMap"]);
        assert_eq!(engine("tokio::spawn(f); rand::random()"), ["tokio", "rand"]);
        assert_eq!(findings("raft-node/src/shell/mod.rs", "use tokio::sync;"), [""; 0]);
    }

    #[test]
    fn a_finding_tells_the_line() {
        let source = Source::new("raft-core/src/id.rs", "use core::fmt;\n\nuse std::fmt;\n");
        assert_eq!(check(&[source])[0].line, Some(3));
    }
}
