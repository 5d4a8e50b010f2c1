//! Frames and their bodies, read for people: nothing that stands in a file makes that panic.

use std::ops::ControlFlow;
use std::path::Path;

use raft_log::LogError;
use raft_log::inspect::{for_each_frame, inspect};

use super::input::Input;
use super::segments::{self, DIR};

/// Shows all frames of the files that the program writes.
pub(crate) fn run(data: &[u8]) {
    let disk = segments::disk(Input::new(data));
    let before = disk.counts().changes;
    let report = inspect(&disk, Path::new(DIR)).expect("the folder can be listed");
    let mut shown = 0;
    let outcome = for_each_frame(&disk, Path::new(DIR), |frame| {
        let content = disk.content(&frame.file).len() as u64;
        assert!(frame.offset.is_multiple_of(8), "{frame:?}");
        assert!(frame.offset + u64::from(frame.bytes) <= content, "{frame:?} of {content}");
        let follow = |pair: &[raft_core::Entry]| pair[0].index.next() == pair[1].index;
        assert!(frame.entries.windows(2).all(follow), "{frame:?}");
        shown += 1;
        ControlFlow::Continue(())
    });
    match outcome {
        Ok(()) => {
            let counted: usize = report.segments.values().map(|segment| segment.frames).sum();
            assert_eq!(shown, counted, "{report:?}");
        }
        Err(LogError::Damaged { .. } | LogError::UnknownFormat { .. }) => {
            assert!(report.fault.is_some(), "what cannot be shown is a fault: {report:?}");
        }
        Err(why) => panic!("{why}"),
    }
    assert_eq!(disk.counts().changes, before, "looking changes nothing");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    segments::programs()
}
