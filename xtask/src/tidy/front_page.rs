//! Every package opens with a page that says what it is, what is deliberately
//! absent from it, and, for a library, how it is used.

use super::Finding;
use super::source::Source;

/// The shortest page that says anything.
const LINES: usize = 5;

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
        match library.or(program) {
            None => findings.push(Finding::at(package, "has no lib.rs and no main.rs".to_owned())),
            Some(source) => findings.extend(
                complaint(&source.text, library.is_some())
                    .map(|what| Finding::in_file(source, 1, what)),
            ),
        }
    }
    findings
}

fn complaint(text: &str, library: bool) -> Option<String> {
    let page: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let page = (page.len(), page.join("\n"));
    if page.0 < LINES {
        return Some(format!("the front page has {} lines and tells too little", page.0));
    }
    if !page.1.to_lowercase().contains("absent") {
        return Some("the front page does not tell what is deliberately absent".to_owned());
    }
    if library && !page.1.contains("//! ```") {
        return Some("the front page has no example".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "//! A thing.\n//!\n//! Deliberately absent: others.\n//!\n//! ```\n//! x();\n//! ```\n";

    #[test]
    fn a_page_that_tells_everything_is_fine() {
        assert_eq!(complaint(GOOD, true), None);
        let program = "//! a\n//! b\n//! c\n//! d\n//! Absent: e\nfn main() {}\n";
        assert_eq!(complaint(program, false), None);
        assert_eq!(complaint(program, true).unwrap(), "the front page has no example");
    }

    #[test]
    fn a_page_that_tells_too_little_is_found() {
        let short = complaint("//! a\nfn f() {}\n//! b\n", true).unwrap();
        assert_eq!(short, "the front page has 1 lines and tells too little");
        let silent = complaint(&GOOD.replace("absent", "x"), true).unwrap();
        assert_eq!(silent, "the front page does not tell what is deliberately absent");
    }

    #[test]
    fn every_package_is_looked_at() {
        let manifest = |name: &str| Source::new(format!("{name}/Cargo.toml"), "");
        let good = Source::new("a/src/lib.rs", GOOD);
        assert_eq!(check(&[manifest("a"), good]), []);
        let findings = check(&[manifest("a"), manifest("b"), Source::new("b/src/main.rs", "")]);
        let places: Vec<_> = findings.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["a", "b/src/main.rs"]);
    }
}
