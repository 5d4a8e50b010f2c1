//! The page in a real browser.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Heading;
use crate::sim::{Broken, Check, Options, run_recorded};

/// Uses everything the page has, and says what came of it.
const VISITOR: &str = include_str!("visitor.js");

/// A browser of this machine.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH")?;
    let files = std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name)));
    files.into_iter().find(|file| file.is_file())
}

/// Opens a page, lets the visitor use it and returns what it said.
fn visit(browser: &PathBuf, page: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let visited = page.replace("</body>", &format!("<script>{VISITOR}</script></body>"));
    // An error before the visitor comes must be seen as well.
    let watched = visited.replace(
        "<head>",
        "<head><script>window.wrong = []; window.onerror = (why) => wrong.push(why);</script>",
    );
    fs::write(&file, watched).unwrap();
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000"]);
    command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    command.args(["--virtual-time-budget=10000", "--dump-dom"]);
    command.arg(format!("file://{}", file.display()));
    let output = command.output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = dom.split_once("id=\"visited\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    match said {
        Some((said, _)) => said.to_owned(),
        None => panic!("the visitor said nothing: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Skipped where no browser is installed, which it says.
#[test]
fn the_page_of_a_run_works_in_a_browser() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no chromium is installed; nobody has looked at the page");
        return;
    };
    let clean = Options { seconds: 1, ..Options::default() };
    let (outcome, recording) = run_recorded(3, &clean);
    assert!(outcome.is_ok());
    let page = recording.page(&Heading { seed: 3, command: "none", failure: None });
    assert_eq!(visit(&browser, &page), "holds");

    let wild = Options { broken: Some(Broken::Clocks), ..Options::default() };
    let fails = |seed| {
        let (outcome, recording) = run_recorded(seed, &wild);
        outcome.err().map(|failure| (failure, recording))
    };
    let lease = |name: &str, what: &str| what.starts_with(name);
    for check in [Check::LeaseHolds, Check::Linearizable] {
        let mut failures = (1..).filter_map(fails);
        let found = failures.find(|(failure, _)| lease(check.name(), &failure.what));
        let (failure, recording) = found.unwrap();
        let seed = failure.seed;
        let page = recording.page(&Heading { seed, command: "none", failure: Some(&failure) });
        assert!(page.len() < 4_000_000, "{} bytes", page.len());
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert_eq!(visit(&browser, &page), format!("fails {}", check.name()), "seed {seed}");
    }
}
