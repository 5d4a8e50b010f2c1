//! Tables of numbers, and numbers as text.

use comfy_table::{CellAlignment, Table, presets};

/// A table whose columns are numbers, the first one too.
pub(crate) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for row in rows {
        assert_eq!(row.len(), heading.len(), "a value for each column of {heading:?}: {row:?}");
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// A number with as many digits as say something: milliseconds, rates.
pub(crate) fn number(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// A ratio, or that there is none.
pub(crate) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_more() {
        assert_eq!([0.123, 12.34, 1234.5].map(number), ["0.12", "12.3", "1234"]);
        assert_eq!([Some(1.005), None].map(times), ["1.00", "-"]);
        assert_eq!(mib(3 << 19), "1.5");
    }

    #[test]
    fn a_table_has_its_numbers_below_each_other() {
        let text = table(&["a", "long"], [vec!["100".to_owned(), "7".to_owned()]]);
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[0].len(), lines[1].len(), "{text}");
    }
}
