//! Running cargo, and what it knows of the workspace.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A cargo command in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    command
}

/// The root of the workspace this command was built from.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the package lies in the workspace").to_owned()
}

/// Runs a command that shows its own output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command for what it prints.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("cannot run `{shown}`"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no text"))
}

/// What `cargo metadata` says of the members of the workspace.
pub(crate) fn metadata() -> Result<Value> {
    let text = read(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).context("cannot read what `cargo metadata` printed")
}

/// Builds the node and says where it is. Cargo shows its progress, as a first build takes minutes.
pub(crate) fn build_node() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--package", "raft-node"]))?;
    let metadata = metadata()?;
    let directory = metadata["target_directory"].as_str();
    let binary = PathBuf::from(directory.context("`cargo metadata` names no target directory")?)
        .join("release/raft-node");
    if !binary.is_file() {
        bail!("cargo built the package raft-node, but there is no {}", binary.display());
    }
    Ok(binary)
}

fn shown(command: &Command) -> String {
    let mut words = vec!["cargo".to_owned()];
    if command.get_program() != env::var_os("CARGO").unwrap_or_else(|| "cargo".into()) {
        words = vec![command.get_program().to_string_lossy().into_owned()];
    }
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_named_with_its_complaint() {
        let error = read(&mut cargo(&["no-such-command"])).unwrap_err().to_string();
        assert!(error.starts_with("`cargo no-such-command` failed (exit status: 101)"), "{error}");
        assert!(error.contains("no such command"), "{error}");
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("raft-core/Cargo.toml").is_file());
    }
}
