//! What only a look at real dependencies or a real compiler can tell.

use std::process::Command;

use anyhow::Result;

use super::Finding;
use crate::cargo::{cargo, read};

/// A target whose programs have no operating system below them.
const BARE_TARGET: &str = "thumbv7em-none-eabi";

/// The packages that must build for it.
const PURE: [&str; 4] = ["raft-core", "raft-election", "raft-replication", "raft-state"];

/// What somebody who embeds the node must not have to carry.
const SERVER_ONLY: [&str; 6] = ["tokio", "axum", "tonic", "hyper", "clap", "redb"];

/// Whether `raft-node` without features stays an embeddable library.
pub(crate) fn embeddable() -> Result<Vec<Finding>> {
    let words = "tree --package raft-node --no-default-features --edges normal --prefix none";
    let tree = read(&mut cargo(&words.split(' ').collect::<Vec<_>>()))?;
    Ok(server_packages(&tree))
}

/// Whether the pure packages build without a standard library, where that can be
/// tried; elsewhere this says so, and the reading of the sources has to do.
pub(crate) fn without_std() -> Result<Vec<Finding>> {
    if !target_is_installed() {
        println!("tidy: {BARE_TARGET} cannot be installed here; only sources were read for purity");
        return Ok(Vec::new());
    }
    let mut command = cargo(&["check", "--quiet", "--lib", "--target", BARE_TARGET]);
    for package in PURE {
        command.args(["--package", package]);
    }
    let complaint = read(&mut command).err();
    Ok(complaint.map(|why| Finding::at("no_std", format!("{why:#}"))).into_iter().collect())
}

fn server_packages(tree: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in SERVER_ONLY {
        if tree.lines().any(|line| line.split(' ').next() == Some(package)) {
            let what = format!("depends on {package} even without features");
            findings.push(Finding::at("raft-node", what));
        }
    }
    findings
}

fn target_is_installed() -> bool {
    let rustup = |words: &[&str]| read(Command::new("rustup").args(words));
    let listed = |list: String| list.lines().any(|line| line == BARE_TARGET);
    rustup(&["target", "list", "--installed"]).is_ok_and(listed)
        || rustup(&["target", "add", BARE_TARGET]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_package_in_the_embeddable_library_is_found() {
        let tree = "raft-node v0.1.0\nbytes v1.0.0\ntokio-stream-like v1.0.0\n";
        assert_eq!(server_packages(tree), []);
        let tree = format!("{tree}tokio v1.0.0 (*)\nhyper v1.0.0\n");
        let found: Vec<_> = server_packages(&tree).into_iter().map(|f| f.what).collect();
        let expected = ["tokio", "hyper"].map(|p| format!("depends on {p} even without features"));
        assert_eq!(found, expected);
    }
}
