//! Words that have no place in a finished file.

use super::Finding;
use super::source::Source;

/// Broken in two, so that this file does not find itself.
const UNFINISHED: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
    concat!("#[ign", "ore"),
];

/// Folders of one machine.
const MACHINE: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/t", "mp/"),
    concat!("/Us", "ers/"),
];

/// Reads every text file.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            for word in UNFINISHED {
                if line.contains(word) {
                    let what = format!("`{word}` has no place in a finished file");
                    findings.push(Finding::in_file(source, number + 1, what));
                }
            }
            for folder in MACHINE {
                if starts_a_path(line, folder) {
                    let what = format!("`{folder}` is a folder of one machine");
                    findings.push(Finding::in_file(source, number + 1, what));
                }
            }
        }
    }
    findings
}

/// Whether `folder` occurs where an absolute path may start: `a/home/b` has none.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.}>)".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(line: &str) -> usize {
        let findings = check(&[Source::new("a/b.md", format!("fine\n{line}\n"))]);
        assert!(findings.iter().all(|finding| finding.line == Some(2)), "{findings:?}");
        findings.len()
    }

    #[test]
    fn unfinished_work_is_found() {
        for word in UNFINISHED {
            assert_eq!(findings(&format!("    x{word} y")), 1, "{word}");
        }
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for folder in MACHINE {
            assert_eq!(findings(&format!("see {folder}x")), 1, "{folder}");
            assert_eq!(findings(&format!("\"file://{folder}x\"")), 1, "{folder}");
            assert_eq!(findings(&format!("https://example.org{folder}x a{folder}b")), 0);
        }
    }

    #[test]
    fn ordinary_words_are_not() {
        assert_eq!(findings("work/x, the todo list, homework, ignore this"), 0);
    }
}
