//! The program `raft-node`: serves a node, and talks to those that are served.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
