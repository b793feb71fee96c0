//! Prints tables for people and JSON for programs.

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::Value;

/// Prints a text and a line end to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("writing the result")
}

/// Prints a JSON value to standard output.
pub fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{value:#}"))
}

/// Prints an error to standard error, in one line.
#[expect(clippy::print_stderr, reason = "errors are for the person who runs the command")]
pub fn print_error(error: &anyhow::Error) {
    eprintln!("ecr-warden: {}", crate::arguments::in_one_line(&format!("{error:#}")));
}

/// Formats rows as a table. Each column is as wide as its widest cell. The first row is the head.
#[must_use]
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Shortens a digest to its first twelve digits.
#[must_use]
pub fn shorten(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
