//! Where the documents name a test as the proof of something, there is such a test.

use std::collections::BTreeSet;

use super::Finding;
use super::source::Source;

/// The documents whose tables end in names of tests.
const DOCUMENTS: [&str; 1] = ["docs/protocol.md"];

/// Reads the last column of every table.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let tests: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.is_rust())
        .flat_map(|file| tests(&file.code))
        .collect();
    let mut findings = Vec::new();
    for document in sources.iter().filter(|source| DOCUMENTS.contains(&source.path.as_str())) {
        for (line, text) in document.text.lines().enumerate() {
            let row = text.trim().trim_matches('|');
            let Some(proof) = row.rsplit('|').next().filter(|_| text.starts_with('|')) else {
                continue;
            };
            // Every second piece between backticks is a name.
            let names = proof.split('`').skip(1).step_by(2);
            findings.extend(names.filter(|name| !tests.contains(name)).map(|name| {
                Finding::in_file(document, line + 1, format!("there is no test `{name}`"))
            }));
        }
    }
    findings
}

/// The functions that stand right below `#[test]` or its kind.
fn tests(code: &str) -> impl Iterator<Item = &str> {
    let attributes = code.split("#[").skip(1);
    let tests = attributes.filter(|of| of.starts_with("test]") || of.starts_with("tokio::test"));
    tests.filter_map(|after| {
        let (_, function) = after.split_once("fn ")?;
        function.split('(').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_test_is_found() {
        let code = "#[test]\nfn it_holds() {}\n#[tokio::test(a = 1)]\nasync fn so_does_it() {}\nfn no() {}";
        let table = "| Rule | Test |\n|---|---|\n| a | `it_holds`, `so_does_it` |\n| `no` | `no` |";
        let sources = [Source::new("a/src/lib.rs", code), Source::new("docs/protocol.md", table)];
        let findings = check(&sources);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].line, Some(4));
    }
}
