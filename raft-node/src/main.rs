//! The program `raft-node`: serves a node, and talks to those that are served.

use std::process::ExitCode;

mod cli;

/// A server allocates and frees small things on several threads all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::Cli::of_process().run()
}
