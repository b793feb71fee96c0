//! The commands of the README, from its text, so that they are run as they stand there.

use anyhow::Context as _;

const README: &str = include_str!("../../../../README.md");

/// The fenced shell block that begins with `start`.
pub fn block(start: &str) -> anyhow::Result<String> {
    fenced("bash", start)
}

/// The fenced block of a language that begins with `start`.
pub fn fenced(language: &str, start: &str) -> anyhow::Result<String> {
    let fence = format!("```{language}\n");
    let blocks = README.split(&fence).skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("\n```").next());
    let found = blocks.find(|block| block.starts_with(start));
    found.map(str::to_owned).with_context(|| format!("the README has no block {start:?}"))
}

/// The commands in its tables that begin with `start`.
pub fn cells(start: &str) -> Vec<String> {
    let rows = README.lines().filter(|line| line.starts_with("| "));
    let codes = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    codes.filter(|code| code.starts_with(start)).map(str::to_owned).collect()
}
