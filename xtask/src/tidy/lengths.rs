//! How long files and functions may be.

use super::Finding;
use super::source::Source;

/// Lines of a Rust file or of a part of a page, comments included.
const FILE_LINES: usize = 400;
/// Lines of a file that is nothing but tests.
const TEST_FILE_LINES: usize = 600;
/// Lines of a function, from its name to its closing brace.
const FUNCTION_LINES: usize = 70;

/// Files that are longer today, each with its exact length. The list only shrinks: a
/// file that grows is found, and one that got shorter must be entered as such.
const LONGER_FILES: &[(&str, usize)] = &[];

/// Functions that are longer today, as `path name`, under the same rule.
const LONGER_FUNCTIONS: &[(&str, usize)] = &[];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Function<'s> {
    name: &'s str,
    line: usize,
    lines: usize,
}

/// Measures every Rust file, and what pages are made of.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    check_against(sources, LONGER_FILES, LONGER_FUNCTIONS)
}

/// Prints the longest files and functions.
pub(crate) fn print_longest(sources: &[Source]) {
    let rust = || sources.iter().filter(|source| source.is_rust());
    let mut files: Vec<_> = rust().map(|s| (s.text.lines().count(), s.path.clone())).collect();
    let mut functions = Vec::new();
    for source in rust() {
        for Function { name, line, lines } in self::functions(&source.code) {
            functions.push((lines, format!("{}:{line} {name}", source.path)));
        }
    }
    let limits = format!("limit {FILE_LINES}, tests {TEST_FILE_LINES}");
    for (what, limits, longest) in [
        ("files", limits, &mut files),
        ("functions", format!("limit {FUNCTION_LINES}"), &mut functions),
    ] {
        println!("The longest of {} {what} ({limits}):", longest.len());
        longest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (lines, name) in longest.iter().take(5) {
            println!("{lines:6}  {name}");
        }
    }
}

fn check_against(
    sources: &[Source],
    longer_files: &[(&str, usize)],
    longer_functions: &[(&str, usize)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut measured = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let limit = if source.is_test() { TEST_FILE_LINES } else { FILE_LINES };
        let lines = source.text.lines().count();
        if let Some(what) = complaint("file", lines, limit, known(longer_files, &source.path)) {
            findings.push(Finding::in_file(source, 1, what));
        }
        measured.push(source.path.clone());
        for function in functions(&source.code) {
            let Function { name, line, lines } = function;
            let key = format!("{} {name}", source.path);
            let known = known(longer_functions, &key);
            if let Some(what) = complaint(name, lines, FUNCTION_LINES, known) {
                findings.push(Finding::in_file(source, line, what));
            }
            measured.push(key);
        }
    }
    for source in sources.iter().filter(|source| is_page(source)) {
        let lines = source.text.lines().count();
        if let Some(what) = complaint("file", lines, FILE_LINES, known(longer_files, &source.path))
        {
            findings.push(Finding::in_file(source, 1, what));
        }
        measured.push(source.path.clone());
    }
    for (key, _) in longer_files.iter().chain(longer_functions) {
        if !measured.iter().any(|one| one == key) {
            findings.push(Finding::at(key, "no longer exists; remove the exception".to_owned()));
        }
    }
    findings
}

/// What a page is made of.
fn is_page(source: &Source) -> bool {
    [".html", ".css", ".js"].iter().any(|end| source.path.ends_with(end))
}

fn known(longer: &[(&str, usize)], key: &str) -> Option<usize> {
    longer.iter().find(|(known, _)| *known == key).map(|(_, lines)| *lines)
}

fn complaint(what: &str, lines: usize, limit: usize, known: Option<usize>) -> Option<String> {
    match known {
        None if lines <= limit => None,
        None => Some(format!("`{what}` has {lines} lines; the limit is {limit}")),
        Some(known) if known == lines && lines > limit => None,
        Some(known) if known < lines => {
            Some(format!("`{what}` grew from {known} to {lines} lines; the limit is {limit}"))
        }
        Some(known) => Some(format!(
            "`{what}` shrank from {known} to {lines} lines; lower or remove its exception"
        )),
    }
}

/// Every function with a body, nested ones included.
fn functions(code: &str) -> Vec<Function<'_>> {
    let mut functions = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("fn ") {
        let start = from + at;
        from = start + "fn ".len();
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let name = code[from..].trim_start();
        let name = &name[..name.find(|c| !word(c)).unwrap_or(name.len())];
        if name.is_empty() || code[..start].ends_with(word) {
            continue; // The type of a function, or the end of another word.
        }
        if let Some(body) = body(&code[from..]) {
            functions.push(Function {
                name,
                line: 1 + code[..start].matches('\n').count(),
                lines: 1 + code[start..from + body].matches('\n').count(),
            });
        }
    }
    functions
}

/// Where the body ends that follows a signature, if one does.
fn body(signature: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0_i32, 0_i32);
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(text: &str) -> Vec<(String, usize, usize)> {
        let source = Source::new("a/src/lib.rs", text);
        functions(&source.code).iter().map(|f| (f.name.to_owned(), f.line, f.lines)).collect()
    }

    fn long(lines: usize) -> Source {
        Source::new("a/src/lib.rs", format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2)))
    }

    #[test]
    fn functions_are_measured_from_name_to_closing_brace() {
        assert_eq!(measure("fn f() {}"), [("f".to_owned(), 1, 1)]);
        assert_eq!(measure("\n/// x\npub fn f(\n  a: u8,\n) -> u8 {\n  a\n}\n")[0].1..=3, 3..=3);
        let nested = "fn f() {\n  fn g() {\n  }\n  g()\n}\n";
        assert_eq!(measure(nested), [("f".to_owned(), 1, 5), ("g".to_owned(), 2, 2)]);
    }

    #[test]
    fn braces_that_are_no_braces_do_not_count() {
        let text = "fn f() -> [u8; 2] {\n  // }\n  let a = '}';\n  let b = \"}\";\n  x()\n}\n";
        assert_eq!(measure(text), [("f".to_owned(), 1, 6)]);
    }

    #[test]
    fn what_has_no_body_is_no_function() {
        let text =
            "trait T { fn f(&self);\n fn g(&self) -> [u8; 2]; }\ntype F = fn (u8);\nlet often = 1;";
        assert_eq!(measure(text), []);
    }

    #[test]
    fn long_functions_and_files_are_found() {
        assert_eq!(check_against(&[long(FUNCTION_LINES)], &[], &[]), []);
        let findings = check_against(&[long(FUNCTION_LINES + 1)], &[], &[]);
        assert_eq!(findings[0].to_string(), "a/src/lib.rs:1: `f` has 71 lines; the limit is 70");
        let file = |name: &str, lines| Source::new(name, "\n".repeat(lines));
        assert_eq!(check_against(&[file("a/src/b.rs", FILE_LINES)], &[], &[]), []);
        assert_eq!(check_against(&[file("a/src/b.rs", FILE_LINES + 1)], &[], &[]).len(), 1);
        assert_eq!(check_against(&[file("a/src/b_tests.rs", TEST_FILE_LINES)], &[], &[]), []);
        assert_eq!(check_against(&[file("a/src/b_tests.rs", 601)], &[], &[]).len(), 1);
        assert_eq!(check_against(&[file("a/b.md", 5000)], &[], &[]), []);
    }

    #[test]
    fn exceptions_only_shrink() {
        let with = |lines| {
            let findings = check_against(&[long(90)], &[], &[("a/src/lib.rs f", lines)]);
            findings.first().map(|finding| finding.what.clone())
        };
        assert_eq!(with(90), None);
        assert_eq!(with(80).unwrap(), "`f` grew from 80 to 90 lines; the limit is 70");
        assert!(with(95).unwrap().starts_with("`f` shrank from 95 to 90 lines"));
        let gone = check_against(&[long(20)], &[("a/src/gone.rs", 500)], &[]);
        assert!(gone[0].what.starts_with("no longer exists"));
        let needless = check_against(&[long(20)], &[], &[("a/src/lib.rs f", 20)]);
        assert!(needless[0].what.starts_with("`f` shrank"), "{needless:?}");
    }
}
