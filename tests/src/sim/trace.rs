//! A recording printed, for people.

use std::fmt::Write as _;

use raft_core::NodeId;

use super::recording::Recording;
use super::story::{Line, Topic, tell};
use super::world::BEGINS;

/// Which lines of a trace are wanted.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Lines about these.
    pub topics: Vec<Topic>,
    /// Only lines of this node, and those that concern no single one.
    pub node: Option<u64>,
    /// Only lines of this group, and those that concern no single one.
    pub group: Option<u64>,
    /// Only lines that have this text in them.
    pub text: Option<String>,
    /// Only lines of this part of the run, in milliseconds.
    pub between_ms: (u64, u64),
}

impl Default for Filter {
    /// Everything but messages and writes, of which there are thousands.
    fn default() -> Self {
        let rare = |topic: &Topic| !matches!(topic, Topic::Messages | Topic::Disk);
        Self {
            topics: Topic::ALL.into_iter().filter(rare).collect(),
            node: None,
            group: None,
            text: None,
            between_ms: (0, u64::MAX),
        }
    }
}

impl Filter {
    fn wants(&self, line: &Line) -> bool {
        let node = |id| {
            let to = line.flight.is_some_and(|flight| flight.to.get() == id);
            to || is(line.node.map(NodeId::get), id)
        };
        let ms = line.at.since(BEGINS).as_millis() as u64;
        self.topics.contains(&line.topic)
            && self.node.is_none_or(node)
            && self.group.is_none_or(|id| is(line.group.map(|group| group.0), id))
            && self.text.as_ref().is_none_or(|text| line.text.contains(text))
            && (self.between_ms.0..=self.between_ms.1).contains(&ms)
    }
}

/// What concerns nobody concerns everybody.
fn is(has: Option<u64>, wanted: u64) -> bool {
    has.is_none_or(|has| has == wanted)
}

impl Recording {
    /// The lines of the run, in order, each with its time since the beginning.
    #[must_use]
    pub fn trace(&self, filter: &Filter) -> Vec<String> {
        tell(self).iter().filter(|line| filter.wants(line)).map(printed).collect()
    }
}

fn printed(line: &Line) -> String {
    let ms = line.at.since(BEGINS).as_nanos() as f64 / 1e6;
    let mut text = format!("{ms:10.3} ms  ");
    let who = match (line.node, line.client) {
        (Some(node), _) => format!("node {node}"),
        (None, Some(client)) => format!("client {client}"),
        (None, None) => String::new(),
    };
    let group = line.group.map(|group| format!("group {group}")).unwrap_or_default();
    // Writing to a string does not fail.
    let _ = write!(text, "{who:8}  {group:7}  {}", line.text);
    text
}
