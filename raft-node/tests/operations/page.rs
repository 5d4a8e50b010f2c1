//! The page: its sections, and messages with placeholders.

/// A mistake on the page, with every message it shows.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) title: &'a str,
    pub(crate) messages: Vec<&'a str>,
}

/// The sections `### <number>. <title>`.
pub(crate) fn sections(page: &str) -> Vec<Section<'_>> {
    let mut sections = Vec::new();
    for text in page.split("\n### ").skip(1) {
        let (heading, rest) = text.split_once('\n').unwrap();
        let Some((_, title)) = heading.split_once(". ") else { continue };
        let blocks = rest.split("```message\n").skip(1);
        let messages: Vec<&str> =
            blocks.map(|block| block.split_once("\n```").unwrap().0).collect();
        assert!(!messages.is_empty(), "{title} shows no message");
        assert!(messages.iter().all(|message| !message.contains('\n')), "{title}: one line each");
        sections.push(Section { title, messages });
    }
    sections
}

/// True where `line` is `message`, with something in the place of each `<placeholder>`.
pub(crate) fn matches(message: &str, line: &str) -> bool {
    let mut parts = message.split('<');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.map(|part| part.split_once('>').unwrap().1).peekable();
    while let Some(literal) = parts.next() {
        // A placeholder stands for at least one character.
        let Some(first) = rest.chars().next() else { return false };
        rest = &rest[first.len_utf8()..];
        let at = if parts.peek().is_none() {
            rest.ends_with(literal).then(|| rest.len() - literal.len())
        } else {
            rest.find(literal)
        };
        let Some(at) = at else { return false };
        rest = &rest[at + literal.len()..];
    }
    rest.is_empty()
}

/// A line of a log as the page shows it: without time and module.
pub(crate) fn shown(line: &str) -> String {
    let mut words = line.split_whitespace();
    let is_time = words.next().is_some_and(|time| time.ends_with('Z') && time.contains('T'));
    match (words.next(), words.next()) {
        (Some(level @ ("ERROR" | "WARN" | "INFO")), Some(module)) if is_time => {
            let (_, text) = line.split_once(module).unwrap();
            format!("{level}{}", text.trim_start_matches(':'))
        }
        _ => line.to_owned(),
    }
}

#[test]
fn a_message_matches_what_differs_only_in_its_placeholders() {
    let message = "node <id> is at <address>: go";
    assert!(matches(message, "node 1 is at a:1: go"));
    for other in
        ["node  is at", "node 1 is at a:1: go!", "a node 1 is at a:1: go", "node 1 is at : "]
    {
        assert!(!matches(message, other), "{other}");
    }
    assert!(matches("only <this>", "only that") && !matches("only <this>", "only "));
    assert!(matches("as it is", "as it is") && !matches("as it is", "as it is not"));
}

#[test]
fn a_line_is_shown_without_time_and_module() {
    let line = "2026-01-02T03:04:05.000006Z  WARN raft_node::server: node 1 is late";
    assert_eq!(shown(line), "WARN node 1 is late");
    assert_eq!(shown("raft-node: no way"), "raft-node: no way");
}
