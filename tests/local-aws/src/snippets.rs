//! The commands and manifests that the documentation shows: the files of `docs/snippets`.
//!
//! A page includes a snippet, and a test or `cargo e2e` executes the same file. The tests of
//! `tests/it` fail if a snippet has no page or no test.

use std::path::PathBuf;

use anyhow::Context as _;

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

/// The text of a snippet without its last line feed, such as that of `operate/replay.sh`.
pub fn snippet(name: &str) -> anyhow::Result<String> {
    let path = workspace().join("docs/snippets").join(name);
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("the documentation has no snippet {name}"))?;
    Ok(text.trim_end().to_owned())
}
