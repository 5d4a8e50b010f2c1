//! A log as tables for people.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, Table, presets};
use raft_core::{Membership, NodeId};
use raft_log::inspect::{Report, Standing};

/// Whose log it is.
pub(super) fn owner(report: &Report) -> String {
    match report.identity {
        Some(of) => format!("node {} of cluster {}", of.node, of.cluster),
        None => "no segment says whose it is".to_owned(),
    }
}

const SEGMENTS: [&str; 7] =
    ["segment", "counts", "bytes", "frames", "sequences", "durable up to", "no frames"];

/// The segments, one in a row.
pub(super) fn segments(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(SEGMENTS);
    for (epoch, segment) in &report.segments {
        let standing = match segment.standing {
            Standing::Live => "yes",
            Standing::Dead => "no",
            Standing::Unreachable => "damaged",
            Standing::Unknown => "?",
        };
        let sequences = segment.sequences.map(|(first, last)| format!("{first}-{last}"));
        table.add_row([
            format!("{epoch:016x}"),
            standing.to_owned(),
            segment.bytes.to_string(),
            segment.frames.to_string(),
            sequences.unwrap_or_else(|| "-".to_owned()),
            segment.durable_upto.to_string(),
            segment.unreadable.len().to_string(),
        ]);
    }
    aligned(table, 2)
}

const GROUPS: [&str; 8] =
    ["group", "term", "vote", "floor", "last", "entries", "voters", "learners"];

/// The groups, one in a row.
pub(super) fn groups(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(GROUPS);
    for (id, group) in &report.groups {
        let vote = group.hard_state.vote;
        table.add_row([
            id.to_string(),
            group.hard_state.term.to_string(),
            vote.map_or_else(|| "-".to_owned(), |node| node.to_string()),
            group.floor.to_string(),
            group.last.to_string(),
            group.entries.to_string(),
            voters(&group.membership),
            nodes(group.membership.learners()),
        ]);
    }
    aligned(table, 1)
}

/// In a joint configuration those who voted before are named too.
fn voters(membership: &Membership) -> String {
    let voters = nodes(membership.voters());
    if membership.is_joint() {
        return format!("{voters} (with {})", nodes(membership.outgoing()));
    }
    voters
}

fn nodes(nodes: &BTreeSet<NodeId>) -> String {
    if nodes.is_empty() {
        return "-".to_owned();
    }
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn aligned(mut table: Table, from: usize) -> Table {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
