//! The commands that run the programs of the package `tests`.

use anyhow::Result;

use crate::cargo;

/// Builds the node and tests real processes of it.
pub(crate) fn integration(rounds: Option<u32>, seed: Option<u64>) -> Result<()> {
    let binary = cargo::build_node()?;
    let mut command = program("integration");
    command.arg("--node-binary").arg(binary);
    if let Some(rounds) = rounds {
        command.arg("--rounds").arg(rounds.to_string());
    }
    if let Some(seed) = seed {
        command.arg("--seed").arg(seed.to_string());
    }
    cargo::run(&mut command)
}

/// Runs the simulator.
pub(crate) fn sim(arguments: &[String]) -> Result<()> {
    cargo::run(program("sim").args(arguments))
}

/// Looks at every state of small worlds.
pub(crate) fn model(arguments: &[String]) -> Result<()> {
    cargo::run(program("model").args(arguments))
}

fn program(name: &str) -> std::process::Command {
    cargo::cargo(&["run", "--quiet", "--release", "--package", "tests", "--bin", name, "--"])
}
