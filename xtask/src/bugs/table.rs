//! The table of bugs, for people.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::CONTROL;
use super::patch::Patch;
use super::record::{Median, Records};
use crate::cargo::{read, root};

/// Between these lines of the README stands what is generated.
const BEGIN: &str = "<!-- bugs: begin -->\n";
const END: &str = "<!-- bugs: end -->\n";

/// What is known of one bug.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    bug: String,
    shipped_by: String,
    found: Found,
}

#[derive(Clone, Debug, PartialEq)]
enum Found {
    Yes(Median),
    No,
    /// The time was up before.
    Open,
}

/// One row for each bug.
pub(crate) fn rows(all: &[Patch], records: &Records, bases: usize) -> Vec<Row> {
    let row = |bug: &Patch| {
        let record = records.by_name.get(&bug.name).cloned().unwrap_or_default();
        let found = match record.median(bases) {
            Some(median) => Found::Yes(median),
            None if record.is_decided(bases) => Found::No,
            None => Found::Open,
        };
        Row { bug: bug.bug.clone(), shipped_by: bug.shipped_by.clone(), found }
    };
    let mut rows: Vec<Row> = all.iter().map(row).collect();
    rows.sort_by_key(|row| {
        row.bug.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    });
    rows
}

/// The table, as Markdown.
pub(crate) fn print(rows: &[Row]) -> String {
    let mut text =
        "| Bug | Shipped by | Found by | Seeds | Seconds |\n|---|---|---|--:|--:|\n".to_owned();
    for Row { bug, shipped_by, found } in rows {
        let (checks, seeds, seconds) = match found {
            Found::Yes(Median { seeds, seconds, checks }) => {
                (checks.join(", "), seeds.to_string(), format!("{seconds:.1}"))
            }
            Found::No => ("NOT FOUND".to_owned(), String::new(), String::new()),
            Found::Open => ("not searched for".to_owned(), String::new(), String::new()),
        };
        text += &format!("| {bug} | {shipped_by} | {checks} | {seeds} | {seconds} |\n");
    }
    text
}

/// Puts the table, and where its figures come from, into the README.
pub(crate) fn write_readme(rows: &[Row], records: &Records) -> Result<()> {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path)?;
    let day = read(Command::new("date").arg("-u").arg("+%F"))?;
    let clean = match records.by_name.get(CONTROL) {
        Some(run) => {
            let seeds: u64 = run.hunted.iter().map(|hunted| hunted.seeds).sum();
            format!("Without a bug {seeds} of the same seeds are clean. ")
        }
        None => String::new(),
    };
    let found = rows.iter().filter(|row| matches!(row.found, Found::Yes(_))).count();
    let table = format!(
        "{found} of {} bugs are found; medians of five fresh base seeds on two cores. \
         {clean}Measured on {} with\n`cargo xtask sim --bugs --seeds-base {}`.\n\n{}",
        rows.len(),
        day.trim(),
        records.base,
        print(rows)
    );
    let text = replaced(&text, &table).context("README.md has no place for the table of bugs")?;
    fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))
}

/// `text` with `table` between its two marks.
fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_found_and_what_was_not() {
        let row = |bug: &str, found| Row { bug: bug.to_owned(), shipped_by: "x".to_owned(), found };
        let median = Median { seeds: 7, seconds: 0.25, checks: vec!["one-vote".to_owned()] };
        let table = print(&[row("1. A.", Found::Yes(median)), row("2. B.", Found::No)]);
        assert!(
            table
                .ends_with("| 1. A. | x | one-vote | 7 | 0.2 |\n| 2. B. | x | NOT FOUND |  |  |\n")
        );
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replaced(&text, "new\n"), Some(format!("a\n{BEGIN}new\n{END}b\n")));
        assert_eq!(replaced("nothing", "new\n"), None);
    }
}
