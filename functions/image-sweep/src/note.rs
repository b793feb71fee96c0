//! The note that a run writes before its calls. If the run is killed, the next run publishes it.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::warn;
use warden_alerts::CleanupEntry;
use warden_core::image::Digest;
use warden_core::policy::CleanupEnforcement;

use crate::complete::Completion;

/// The most bytes of a note. An item of the ledger can hold 400 KB.
const MOST_NOTE_BYTES: usize = 300_000;
/// The most tags of an image in a note.
const MOST_TAGS: usize = 5;

/// The calls that a run is about to make.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunNote {
    /// The enforcement of the policy.
    pub mode: CleanupEnforcement,
    /// The images that are removed, each with its bytes.
    pub entries: Vec<(CleanupEntry, u64)>,
    /// The images that are restored.
    pub restored: Vec<CleanupEntry>,
    /// The images of each unit, also the images that stay: a restored unit needs all of them.
    pub units: Vec<Vec<Digest>>,
}

impl RunNote {
    /// Reads the note of an earlier run. None if another version of this function wrote the note. The
    /// log of that run has its changes.
    pub fn read(note: &str) -> Option<Self> {
        let note = serde_json::from_str(note);
        note.inspect_err(|error| {
            warn!(
                "the changes of an interrupted run cannot be published; its log has them: {error}"
            );
        })
        .ok()
    }

    /// Adds the calls that complete a unit.
    pub fn add(&mut self, completion: &Completion) {
        for (entry, bytes) in &completion.removed {
            if !self.entries.iter().any(|(other, _)| other.digest == entry.digest) {
                self.entries.push((with_few_tags(entry), *bytes));
            }
        }
        for entry in &completion.restored {
            if !self.restored.iter().any(|other| other.digest == entry.digest) {
                self.restored.push(with_few_tags(entry));
            }
        }
        let unit = completion.record.as_ref().filter(|_| !completion.removed.is_empty());
        let unit = unit.map(|record| record.images().cloned().collect::<Vec<_>>());
        let is_new =
            |unit: &Vec<Digest>| !self.units.iter().any(|other| other.first() == unit.first());
        let new = unit.filter(is_new);
        self.units.extend(new);
    }

    /// The note as text. Leaves out images until the text is short enough. The log has all of them.
    pub fn text(&mut self) -> anyhow::Result<String> {
        loop {
            let text = serde_json::to_string(self).context("writing the note of the run")?;
            if text.len() <= MOST_NOTE_BYTES {
                return Ok(text);
            }
            self.units.truncate(self.units.len() * 3 / 4);
            self.restored.truncate(self.restored.len() * 3 / 4);
            self.entries.truncate(self.entries.len() * 3 / 4);
        }
    }
}

/// Truncates the tags of an entry for a note.
pub fn with_few_tags(entry: &CleanupEntry) -> CleanupEntry {
    let mut entry = entry.clone();
    entry.tags.truncate(MOST_TAGS);
    entry
}

impl Default for RunNote {
    fn default() -> Self {
        let mode = CleanupEnforcement::Archive;
        Self { mode, entries: vec![], restored: vec![], units: vec![] }
    }
}
