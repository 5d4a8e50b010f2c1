//! `raft-node log dump`.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use clap::Args;
use raft_core::{Entry, EntryKind, GroupId, Index};
use raft_log::ReadOnlyDisk;
use raft_log::inspect::{Frame, FrameKind, for_each_frame};

use super::{Folder, failed};
use crate::cli::{Exit, printed};

/// So many bytes of every payload are shown.
const SHOWN_BYTES: usize = 32;

/// What to print.
#[derive(Debug, Args)]
pub(in crate::cli) struct Dump {
    #[command(flatten)]
    folder: Folder,
    /// Only what is of this group
    #[arg(long, value_name = "N")]
    group: Option<u64>,
    /// Only entries from this index on, and frames that end there or later
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
}

impl Dump {
    pub(super) fn run(self) -> Exit {
        let log = match self.folder.log() {
            Ok(log) => log,
            Err(exit) => return exit,
        };
        let mut out = BufWriter::new(io::stdout().lock());
        let mut written = Ok(());
        let shown = for_each_frame(&ReadOnlyDisk, &log, |frame| {
            if self.wants(&frame) {
                written = self.print(&frame, &mut out);
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let exit = printed(written.and_then(|()| out.flush()));
        shown.map_or_else(|why| failed(&why), |()| exit)
    }

    fn wants(&self, frame: &Frame) -> bool {
        match frame.group {
            Some(group) => {
                self.group.is_none_or(|wanted| group == GroupId(wanted))
                    && self.from.is_none_or(|from| frame.last.index >= Index(from))
            }
            None => self.group.is_none() && self.from.is_none(),
        }
    }

    fn print(&self, frame: &Frame, out: &mut impl Write) -> io::Result<()> {
        let name = frame.file.file_name().unwrap_or_default().to_string_lossy();
        let Frame { offset, bytes, sequence, durable_upto, hard_state, last, .. } = frame;
        let kind = kind(frame.kind);
        write!(out, "{name} at {offset}: frame {sequence} {kind}, {bytes} bytes")?;
        write!(out, ", durable up to {durable_upto}")?;
        if let Some(group) = frame.group {
            let vote = hard_state.vote.map_or_else(|| "-".to_owned(), |node| node.to_string());
            write!(out, ", group {group} term {} vote {vote} last {last}", hard_state.term)?;
        }
        writeln!(out)?;
        let from = Index(self.from.unwrap_or(0));
        for entry in frame.entries.iter().filter(|entry| entry.index >= from) {
            print_entry(entry, out)?;
        }
        Ok(())
    }
}

fn print_entry(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let Entry { term, index, kind, payload } = entry;
    let kind = match kind {
        EntryKind::Blank => "blank",
        EntryKind::Command => "command",
        EntryKind::Membership => "membership",
        EntryKind::Clock => "clock",
    };
    let shown = &payload[..payload.len().min(SHOWN_BYTES)];
    let more = if payload.len() > SHOWN_BYTES { "..." } else { "" };
    let bytes = payload.len();
    let shown = shown.escape_ascii();
    writeln!(out, "  index {index} term {term} {kind} {bytes} bytes \"{shown}\"{more}")
}

const fn kind(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Append => "append",
        FrameKind::Relocate => "relocate",
        FrameKind::Reset => "reset",
        FrameKind::Removed => "removed",
        FrameKind::Seal => "seal",
        FrameKind::Head => "head",
    }
}
