//! `raft-node recover`.

use std::path::PathBuf;

use clap::Args;
use raft_node::server::recover::{RecoverError, recover};

use super::members::Node;
use super::{Exit, say, told};

/// What to make a new cluster of.
#[derive(Debug, Args)]
pub(super) struct Recover {
    /// The data folder of the survivor, whose node must not run; it stays as it is
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// A folder that is not there yet, to become that of the new cluster's only member
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Where the member is reached, as ID=PEER/CLIENT; by default where it was before
    #[arg(long, value_name = "NODE", value_parser = raft_node::config::parse_member)]
    at: Option<Node>,
    /// Say that you know what it costs: writes that the old cluster confirmed and the
    /// survivor does not hold are lost, and nobody of the old cluster may serve again
    #[arg(long, required = true)]
    dangerously_forget_the_others: bool,
}

impl Recover {
    pub(super) fn run(self) -> Exit {
        let Self { from, to, at, dangerously_forget_the_others: _ } = self;
        match recover(&from, &to, at.as_ref()) {
            Ok(recovered) => {
                for (group, last) in &recovered.last {
                    say(format_args!(
                        "group {group}: the log of node {} ended at term {} and index {}; of \
                         several survivors use the one with the highest term, and of those the \
                         highest index",
                        recovered.node, last.term, last.index
                    ));
                }
                say(format_args!(
                    "{} holds the only member of the new cluster {}: start node {} on it, give new \
                     nodes empty folders and --join, and add them with raft-node member add; \
                     never start a node on a folder of the old cluster again",
                    to.display(),
                    recovered.cluster,
                    recovered.node
                ));
                Exit::Done
            }
            Err(why) => {
                let exit = match &why {
                    RecoverError::Copy { .. }
                    | RecoverError::Log(_)
                    | RecoverError::Damaged { .. } => Exit::Failed,
                    RecoverError::DataDir(_)
                    | RecoverError::NoLog(_)
                    | RecoverError::NotNew(_)
                    | RecoverError::OtherNode { .. }
                    | RecoverError::WasRemoved { .. }
                    | RecoverError::SameFolder { .. }
                    | RecoverError::NoAddress(_) => Exit::Wrong,
                };
                say(format_args!("raft-node: {}", told(&anyhow::Error::new(why))));
                exit
            }
        }
    }
}
