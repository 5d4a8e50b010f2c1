//! The source files, with what is not code blanked out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// How attributes begin that make an item one for tests.
const TEST_ATTRIBUTES: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test"];

/// A file of the workspace.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its place below the root, with `/`.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
    /// For Rust files: the text with comments, strings and characters blanked out.
    /// Lines stay where they are.
    pub(crate) code: String,
    /// Whether a file above declares this one under `#[cfg(test)]`.
    declared_for_tests: bool,
}

impl Source {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if path.ends_with(".rs") { without_text(&text) } else { String::new() };
        Self { path, text, code, declared_for_tests: false }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is tests: `x_tests.rs`, `tests.rs`, declared under
    /// `#[cfg(test)]`, or below a package's `tests/` or `benches/`.
    pub(crate) fn is_test(&self) -> bool {
        let inside = self.path.split_once('/').map_or("", |(_, inside)| inside);
        let folder = |name: &str| inside.starts_with(&format!("{name}/"));
        let named = self.path.ends_with("_tests.rs") || self.path.ends_with("/tests.rs");
        named || self.declared_for_tests || folder("tests") || folder("benches")
    }

    /// Where the modules lie that this file declares under `#[cfg(test)]`, without
    /// `.rs` or the `/` of a folder.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or_default();
        let folder = ["/lib", "/main", "/mod"].iter().find_map(|name| stem.strip_suffix(name));
        let folder = folder.unwrap_or(stem);
        let mut modules = Vec::new();
        let mut rest = self.code.as_str();
        while let Some(at) = first_of(rest, &TEST_ATTRIBUTES) {
            let (item, after) = rest[at..].split_at(item_length(&rest[at..]));
            if let Some((_, name)) = item.trim_end_matches(';').rsplit_once("mod ")
                && item.ends_with(';')
            {
                modules.push(format!("{folder}/{}", name.trim()));
            }
            rest = after;
        }
        modules
    }

    /// The code without what is compiled for tests only.
    pub(crate) fn shipped_code(&self) -> String {
        if self.is_test() { String::new() } else { without_test_items(&self.code) }
    }
}

/// Reads every text file below `root`, sorted by path.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if is_text(&path) {
                let text = fs::read_to_string(&path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                let below = path.strip_prefix(root).unwrap_or(&path);
                sources.push(Source::new(below.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    mark_tests(&mut sources);
    Ok(sources)
}

fn mark_tests(sources: &mut [Source]) {
    let modules: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        source.declared_for_tests = modules.iter().any(|module| {
            let rest = source.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
}

fn is_text(path: &Path) -> bool {
    const KINDS: [&str; 10] =
        ["rs", "toml", "md", "yaml", "yml", "json", "proto", "sh", "patch", "service"];
    let kind = path.extension().unwrap_or_default();
    KINDS.iter().any(|&known| kind == known) || path.ends_with(".ci/run")
}

/// Blanks out comments, strings and characters.
fn without_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let literal = if after_word { 0 } else { prefixed_literal(rest) };
        let blank = match first {
            _ if literal > 0 => literal,
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            '\'' => character(rest),
            _ => 0,
        };
        let (blanked, kept) = rest.split_at(blank);
        code.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = kept;
        if blank == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
        after_word = blank == 0 && (first.is_alphanumeric() || first == '_');
    }
    code
}

/// The length of `b".."`, `c".."`, `b'.'`, `r".."`, `r#".."#` and their mixtures at
/// the start, or 0.
fn prefixed_literal(text: &str) -> usize {
    let prefix = text.len() - text.trim_start_matches(['b', 'c', 'r']).len();
    if prefix == 0 || prefix > 2 {
        return 0;
    }
    let (prefix, rest) = text.split_at(prefix);
    if prefix == "b" && rest.starts_with('\'') {
        return 1 + character(rest);
    }
    if !prefix.ends_with('r') {
        return if prefix.len() == 1 && rest.starts_with('"') { 1 + quoted(rest, '"') } else { 0 };
    }
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if !rest[hashes..].starts_with('"') {
        return 0; // A raw identifier, or the end of a word.
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = &rest[hashes + 1..];
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    prefix.len() + hashes + 1 + length
}

/// The length of the quoted text at the start.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the character at the start, or 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let mut after = text.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

/// The length of the block comment at the start; such comments nest.
fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_u32);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Blanks out every item under `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
fn without_test_items(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = first_of(rest, &TEST_ATTRIBUTES) {
        let (before, item) = rest.split_at(at);
        let (item, after) = item.split_at(item_length(item));
        kept.push_str(before);
        kept.extend(item.chars().filter(|&c| c == '\n'));
        rest = after;
    }
    kept + rest
}

fn first_of(text: &str, patterns: &[&str]) -> Option<usize> {
    patterns.iter().filter_map(|pattern| text.find(pattern)).min()
}

/// The length of the item at the start, its attributes included: up to its closing
/// brace, or to a semicolon outside brackets.
fn item_length(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a/src/lib.rs", text).code
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(code("a // {\nb"), "a     \nb");
        assert_eq!(code("a/* { /* } */\n */b"), "a            \n   b");
        assert_eq!(code("/// fn f() {\nfn f() {}"), "            \nfn f() {}");
    }

    #[test]
    fn strings_and_characters_are_no_code() {
        let strings = [r#""}\"{""#, r##"r#"} " {"#"##, r#"br"\""#, r#"b"}""#, r#"c"}""#, "\"{ä\""];
        let characters = ["'{'", r"'\''", r"'\u{7b}'", "b'{'", r"b'\''", "'ä'"];
        for literal in strings.into_iter().chain(characters) {
            let blank = " ".repeat(literal.chars().count());
            assert_eq!(code(&format!("f({literal}, {{)")), format!("f({blank}, {{)"), "{literal}");
        }
        assert_eq!(code("\"a\n{\"{"), "  \n  {");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        for same in ["fn f<'a>(x: &'a str, y: &'static T) {}", "let r#type = bar; 'outer: loop {}"]
        {
            assert_eq!(code(same), same);
        }
        assert_eq!(code(r#"number"x""#), "number   ", "the r before the quote belongs to a word");
    }

    #[test]
    fn test_items_are_not_shipped() {
        let text = "use a;\n#[cfg(test)]\n#[path = \"x_tests.rs\"]\nmod tests;\nfn f() {}\n\
                    #[cfg(test)]\nmod tests {\n  fn g() { h(); }\n}\nfn i() {}\n";
        let shipped = Source::new("a/src/lib.rs", text).shipped_code();
        assert_eq!(shipped, "use a;\n\n\n\nfn f() {}\n\n\n\n\nfn i() {}\n");
    }

    #[test]
    fn modules_declared_for_tests_are_tests() {
        let parent = "#[cfg(test)]\nmod stories;\nmod shipped;\n#[cfg(test)]\nmod inside { }\n";
        let mut sources = [
            Source::new("a/src/lib.rs", parent),
            Source::new("a/src/stories.rs", "mod deep;"),
            Source::new("a/src/stories/deep.rs", ""),
            Source::new("a/src/shipped.rs", "#[cfg(all(test, unix))]\npub(crate) mod probe;"),
            Source::new("a/src/shipped/probe/mod.rs", ""),
            Source::new("a/src/shipped/probes.rs", ""),
            Source::new("a/src/inside.rs", ""),
        ];
        mark_tests(&mut sources);
        let tests: Vec<_> = sources.iter().map(Source::is_test).collect();
        assert_eq!(tests, [false, true, true, false, true, false, false]);
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        let is_test = |path: &str| Source::new(path, "").is_test();
        assert!(is_test("raft-log/src/wal_tests.rs") && is_test("raft-log/src/wal/tests.rs"));
        assert!(is_test("raft-log/tests/crash.rs") && is_test("raft-log/benches/sync.rs"));
        assert!(!is_test("tests/src/lib.rs") && !is_test("raft-log/src/contests.rs"));
    }
}
