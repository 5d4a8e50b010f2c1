//! `raft-node gc`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Subcommand;
use hyper::Method;
use serde_json::json;

use super::client::on_runtime;
use super::http::{Reply, send};
use super::{Cluster, Exit, printed, say, told};

/// What nodes are to do with what they do not need.
#[derive(Debug, Subcommand)]
pub(super) enum GcCommand {
    /// Have every node given keep its log and all its snapshots, until it is told otherwise or
    /// restarted
    Pause {
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Have every node given let go again of what it does not need
    Resume {
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Print how it is on every node given
    Status {
        #[command(flatten)]
        cluster: Cluster,
    },
}

impl GcCommand {
    /// Unlike other commands it is for each of the nodes, and says so for each of them.
    pub(super) fn run(self) -> Exit {
        let (cluster, method, body) = match self {
            Self::Pause { cluster } => (cluster, Method::POST, json!({ "paused": true })),
            Self::Resume { cluster } => (cluster, Method::POST, json!({ "paused": false })),
            Self::Status { cluster } => (cluster, Method::GET, json!(null)),
        };
        let timeout = Duration::from_millis(cluster.timeout_ms);
        let mut exit = Exit::Done;
        for endpoint in &cluster.endpoints {
            let body = if method == Method::GET { String::new() } else { body.to_string() };
            let asked = send(endpoint, method.clone(), "/v1/maintenance/collection", body, timeout);
            let written = match on_runtime(asked) {
                Ok(Reply::Answered { status: 200, body }) if body["paused"] == true => {
                    tell(endpoint, "paused: the log and all snapshots are kept")
                }
                Ok(Reply::Answered { status: 200, .. }) => tell(endpoint, "running"),
                Ok(Reply::Answered { body, .. }) => {
                    say(format_args!("raft-node: {endpoint}: {}", body["error"]));
                    exit = Exit::Refused;
                    Ok(())
                }
                Ok(Reply::NotSent(why) | Reply::Unclear(why)) => {
                    say(format_args!("raft-node: {why}"));
                    exit = Exit::Refused;
                    Ok(())
                }
                Err(why) => {
                    say(format_args!("raft-node: {}", told(&why)));
                    exit = Exit::Refused;
                    Ok(())
                }
            };
            if written.is_err() {
                return printed(written);
            }
        }
        exit
    }
}

fn tell(endpoint: &str, text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{endpoint:<24} {text}")
}
