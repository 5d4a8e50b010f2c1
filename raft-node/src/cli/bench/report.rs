//! Showing results, and how far they are.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::tally::Row;
use crate::cli::{Exit, printed};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

/// Prints results: a table at the end, anything else line by line.
pub(super) struct Report {
    format: Format,
    rows: Vec<Row>,
}

const HEADINGS: [&str; 12] = [
    "operation",
    "clients",
    "ops/s",
    "mean",
    "p50",
    "p99",
    "p99.9",
    "max ms",
    "refused",
    "unknown",
    "failed",
    "refused p99",
];

const COLUMNS: &str = "target,operation,clients,connections,value_bytes,keys,seconds,ops,\
ops_per_second,mean_ms,p50_ms,p99_ms,p999_ms,max_ms,refused,refused_p99_ms,unknown,failed";

impl Format {
    pub(super) const fn of(json: bool, csv: bool) -> Self {
        match (json, csv) {
            (true, _) => Self::Json,
            (_, true) => Self::Csv,
            _ => Self::Table,
        }
    }
}

impl Report {
    pub(super) const fn new(format: Format) -> Self {
        Self { format, rows: Vec::new() }
    }

    /// Takes in a result.
    ///
    /// # Errors
    /// Where it cannot be printed.
    pub(super) fn row(&mut self, row: &Row) -> io::Result<()> {
        let first = self.rows.is_empty();
        self.rows.push(row.clone());
        let mut out = io::stdout().lock();
        match self.format {
            Format::Table => return Ok(()),
            Format::Json => writeln!(out, "{}", serde_json::to_string(row)?)?,
            Format::Csv => {
                if first {
                    writeln!(out, "{COLUMNS}")?;
                }
                writeln!(out, "{}", csv(row))?;
            }
        }
        // Whoever reads along wants it now.
        out.flush()
    }

    /// Prints what is left to print.
    pub(super) fn finish(&self) -> Exit {
        if self.format != Format::Table || self.rows.is_empty() {
            return Exit::Done;
        }
        printed(writeln!(io::stdout(), "{}", table(&self.rows)))
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADINGS);
    for row in rows {
        table.add_row([
            row.operation.to_owned(),
            row.clients.to_string(),
            format!("{:.0}", row.ops_per_second),
            ms(row.mean_ms),
            ms(row.p50_ms),
            ms(row.p99_ms),
            ms(row.p999_ms),
            ms(row.max_ms),
            row.refused.to_string(),
            row.unknown.to_string(),
            row.failed.to_string(),
            if row.refused == 0 { "-".to_owned() } else { ms(row.refused_p99_ms) },
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn csv(row: &Row) -> String {
    let Row { target, operation, clients, connections, value_bytes, keys, seconds, .. } = row;
    let Row { ops, ops_per_second, mean_ms, p50_ms, p99_ms, p999_ms, max_ms, .. } = row;
    let Row { refused, refused_p99_ms, unknown, failed, .. } = row;
    format!(
        "{target},{operation},{clients},{connections},{value_bytes},{keys},{seconds},{ops},\
         {ops_per_second},{mean_ms},{p50_ms},{p99_ms},{p999_ms},{max_ms},{refused},\
         {refused_p99_ms},{unknown},{failed}"
    )
}

/// Milliseconds with as many digits as say something.
fn ms(ms: f64) -> String {
    match ms {
        ..10.0 => format!("{ms:.2}"),
        ..100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

/// A bar at the standard error, where that is a terminal.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for one measurement of `length`.
    pub(super) fn of_measurement(clients: usize, length: Duration) -> Self {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self::new(length, "{prefix} [{bar:30}] {msg}", format!("{clients} clients"))
    }

    /// A bar for writing `keys`.
    pub(super) fn of_prefill(keys: u32) -> Self {
        Self::new(keys.into(), "{prefix} [{bar:30}] {pos} of {len}", "writing keys".to_owned())
    }

    fn new(length: u64, template: &str, prefix: String) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(template).expect("the template is right");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(prefix);
        Self(Some(bar))
    }

    pub(super) const fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn position(&self, position: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
        }
    }

    /// Shows that `ops` were answered in the first `measured` of the window.
    pub(super) fn show(&self, elapsed: Duration, ops: u64, measured: Duration) {
        if let Some(bar) = &self.0 {
            bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            let seconds = measured.as_secs_f64();
            if seconds > 0.0 {
                bar.set_message(format!("{:.0} ops/s", ops as f64 / seconds));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            target: "raft",
            operation: "put",
            clients: 64,
            connections: 12,
            value_bytes: 256,
            keys: 1000,
            seconds: 2.0,
            began_unix_ms: 1,
            ended_unix_ms: 2001,
            ops: 5,
            ops_per_second: 2.5,
            mean_ms: 1.5,
            p50_ms: 1.25,
            p99_ms: 42.0,
            p999_ms: 123.4,
            max_ms: 200.0,
            refused: 0,
            refused_p99_ms: 0.0,
            unknown: 1,
            failed: 2,
        }
    }

    #[test]
    fn the_table_has_a_column_for_everything() {
        let text = table(&[row()]).to_string();
        let lines: Vec<Vec<_>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = ["put", "64", "2", "1.50", "1.25", "42.0", "123", "200", "0", "1", "2", "-"];
        assert_eq!(lines[1], expected, "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn a_csv_line_has_a_value_for_each_column() {
        let line = csv(&row());
        let of = |name| {
            let at = COLUMNS.split(',').position(|column| column == name).unwrap();
            line.split(',').nth(at).unwrap().to_owned()
        };
        assert_eq!(line.split(',').count(), COLUMNS.split(',').count());
        assert_eq!([of("clients"), of("p99_ms"), of("failed")], ["64", "42", "2"]);
    }

    #[test]
    fn a_json_line_names_what_it_says() {
        let line = serde_json::to_string(&row()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["ops_per_second"], &value["p999_ms"]), (&2.5.into(), &123.4.into()));
    }
}
