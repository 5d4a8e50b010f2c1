//! Makes the mistakes that `docs/operations.md` lists, with real processes, and compares
//! what they say with the page. Nothing is measured: each mistake has as long as it takes,
//! up to a limit that only a broken program reaches.
#![cfg(feature = "server")]

mod mistakes;
mod nodes;
mod page;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mistakes::MISTAKES;
use nodes::Stage;

const PAGE: &str = include_str!("../../../docs/operations.md");

#[test]
fn every_mistake_says_what_the_page_shows() {
    let sections = page::sections(PAGE);
    let listed: BTreeSet<&str> = sections.iter().map(|section| section.title).collect();
    let made: BTreeSet<&str> = MISTAKES.iter().map(|(title, _)| *title).collect();
    assert_eq!(listed, made, "the page and this test must know the same mistakes");

    // They wait for timeouts mostly, so they wait side by side.
    let failed: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = sections
            .iter()
            .map(|section| {
                let (_, make) = MISTAKES.iter().find(|(title, _)| *title == section.title).unwrap();
                scope.spawn(move || {
                    let stage = Stage::new();
                    let outcome = catch_unwind(AssertUnwindSafe(|| {
                        make(&stage);
                        for message in &section.messages {
                            stage.wait_for(message);
                        }
                    }));
                    outcome.err().map(|_| format!("{}\n{}", section.title, stage.everything()))
                })
            })
            .collect();
        running.into_iter().filter_map(|one| one.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "these mistakes say something else:\n\n{}", failed.join("\n\n"));
}
