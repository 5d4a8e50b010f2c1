//! The program `raft-node`: serves a node, and talks to those that are served.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::Cli::of_process().run()
}
