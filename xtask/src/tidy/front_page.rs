//! Every package opens with a page that says what it is, what is deliberately
//! absent from it, and, for a library, how it is used. Its examples are named there, and
//! are tests.

use super::Finding;
use super::source::Source;

/// The shortest page that says anything.
const LINES: usize = 5;

/// How the paragraph begins that tells what a package does without.
const ABSENT: [&str; 2] = ["//! What is deliberately absent: ", "//! Deliberately absent: "];

/// Words beside an example that keep it from being compiled and run.
const NOT_RUN: [&str; 4] = ["text", "ignore", "no_run", "compile_fail"];

/// Reads `src/lib.rs` or, without one, `src/main.rs` of every package.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in sources {
        let Some(package) = manifest.path.strip_suffix("/Cargo.toml") else { continue };
        let file = |name| {
            let path = format!("{package}/src/{name}");
            sources.iter().find(|source| source.path == path)
        };
        let (library, program) = (file("lib.rs"), file("main.rs"));
        let Some(source) = library.or(program) else {
            findings.push(Finding::at(package, "has no lib.rs and no main.rs".to_owned()));
            continue;
        };
        let page = page(&source.text);
        let what = complaint(&page, library.is_some().then_some(package));
        findings.extend(what.map(|what| Finding::in_file(source, 1, what)));
        let examples = sources.iter().filter_map(|source| {
            let name = source.path.strip_prefix(package)?.strip_prefix("/examples/")?;
            Some((source, name.strip_suffix(".rs")?))
        });
        for (example, name) in examples {
            let what = example_complaint(&page, &manifest.text, name);
            findings.extend(what.map(|what| Finding::in_file(example, 1, what)));
        }
    }
    findings
}

fn page(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| line.starts_with("//!")).collect()
}

/// What is wrong with a page; a library is named.
fn complaint(page: &[&str], library: Option<&str>) -> Option<String> {
    if page.len() < LINES {
        return Some(format!("the front page has {} lines and tells too little", page.len()));
    }
    let begins_section =
        |pair: &[&str]| pair[0] == "//!" && ABSENT.iter().any(|begin| pair[1].starts_with(begin));
    if !page.windows(2).any(begins_section) {
        let begin = ABSENT[1].trim_start_matches("//! ");
        return Some(format!("the front page has no paragraph that begins with `{begin}`"));
    }
    match library {
        Some(name) if !shows_use(page, &name.replace('-', "_")) => {
            Some(format!("the front page has no example that is run and uses `{name}`"))
        }
        _ => None,
    }
}

/// Whether a block of code is compiled and run, and mentions the package.
fn shows_use(page: &[&str], package: &str) -> bool {
    let text = page.join("\n");
    // Every second piece between fences is a block, after the words on its fence.
    text.split("//! ```").skip(1).step_by(2).any(|block| {
        let (words, code) = block.split_once('\n').unwrap_or((block, ""));
        let path = format!("{package}::");
        !words.split(',').any(|word| NOT_RUN.contains(&word.trim())) && code.contains(&path)
    })
}

/// An example that nobody finds, or that breaks unnoticed, helps nobody.
fn example_complaint(page: &[&str], manifest: &str, name: &str) -> Option<String> {
    if !page.iter().any(|line| line.contains(&format!("examples/{name}.rs"))) {
        return Some("the front page does not name this example".to_owned());
    }
    let entry = format!("name = \"{name}\"");
    let mut entries = manifest.split("\n[").filter(|entry| entry.starts_with("[example]]"));
    let tested = |lines: &str| lines.contains(&entry) && lines.contains("test = true");
    if !entries.any(tested) {
        return Some(format!("no test runs this example: `[[example]]` with {entry}, test = true"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! A thing.\n//!\n//! Deliberately absent: others.\n//!\n//! ```\n//! a_b::x();\n//! ```\n";

    fn wrong(text: &str, library: Option<&str>) -> Option<String> {
        complaint(&page(text), library)
    }

    #[test]
    fn a_page_that_tells_everything_is_fine() {
        assert_eq!(wrong(GOOD, Some("a-b")), None);
        let program = "//! a\n//! b\n//! c\n//!\n//! Deliberately absent: e\nfn main() {}\n";
        assert_eq!(wrong(program, None), None);
        let expected = "the front page has no example that is run and uses `a-b`";
        assert_eq!(wrong(program, Some("a-b")).unwrap(), expected);
    }

    #[test]
    fn a_page_that_tells_too_little_is_found() {
        let short = wrong("//! a\nfn f() {}\n//! b\n", Some("a-b")).unwrap();
        assert_eq!(short, "the front page has 1 lines and tells too little");
        for silent in [GOOD.replace("absent", "x"), GOOD.replace("thing.\n//!", "thing.\n//! It")] {
            let found = wrong(&silent, Some("a-b")).unwrap();
            assert!(found.contains("no paragraph that begins"), "{found}");
        }
    }

    #[test]
    fn an_example_that_is_not_run_or_shows_something_else_does_not_count() {
        for hollow in [GOOD.replacen("```", "```text", 1), GOOD.replace("a_b::", "c::")] {
            assert!(wrong(&hollow, Some("a-b")).unwrap().contains("no example that is run"));
        }
    }

    #[test]
    fn examples_are_named_on_the_page_and_run_as_tests() {
        let example = || Source::new("a-b/examples/e.rs", "fn main() {}");
        let library = |more: &str| Source::new("a-b/src/lib.rs", format!("{GOOD}{more}"));
        let manifest = |more: &str| Source::new("a-b/Cargo.toml", format!("[package]\n{more}"));
        let named = "//!\n//! See `examples/e.rs`.\n";
        let tested = "\n[[example]]\nname = \"e\"\ntest = true\n";
        let what = |sources: &[Source]| check(sources).first().map(ToString::to_string);

        assert_eq!(what(&[manifest(tested), library(named), example()]), None);
        let silent = what(&[manifest(tested), library(""), example()]).unwrap();
        assert_eq!(silent, "a-b/examples/e.rs:1: the front page does not name this example");
        let untested = what(&[manifest(""), library(named), example()]).unwrap();
        assert!(untested.contains("no test runs this example"), "{untested}");
    }

    #[test]
    fn every_package_is_looked_at() {
        let manifest = |name: &str| Source::new(format!("{name}/Cargo.toml"), "");
        let good = || Source::new("a-b/src/lib.rs", GOOD);
        assert_eq!(check(&[manifest("a-b"), good()]), []);
        let broken = [manifest("a-b"), manifest("c"), Source::new("c/src/main.rs", "")];
        let places: Vec<_> = check(&broken).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["a-b", "c/src/main.rs"]);
    }
}
