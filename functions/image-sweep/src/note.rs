//! The note that a run writes before its calls, for the next run to publish if this one is killed.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::warn;
use warden_alerts::CleanupEntry;
use warden_core::image::Digest;
use warden_core::policy::CleanupEnforcement;

use crate::complete::Completion;

/// The most bytes of what is noted before it is done: an item of the ledger has 400 KB.
const MOST_NOTED: usize = 300_000;
/// The most tags of an image that are noted.
const MOST_TAGS: usize = 5;

/// The note of a run about the calls that it is about to make, with the bytes of each image.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunNote {
    /// What a cleanup does with an image that no rule keeps.
    pub mode: CleanupEnforcement,
    /// The images that are removed.
    pub entries: Vec<(CleanupEntry, u64)>,
    /// The images that are restored.
    pub restored: Vec<CleanupEntry>,
    /// The images of each unit, also those that stay: a restored unit needs all of them.
    pub units: Vec<Vec<Digest>>,
}

impl RunNote {
    /// Reads a note of an earlier run. None if another version of this function wrote it: the log
    /// of that run says what it did.
    pub fn read(note: &str) -> Option<Self> {
        let noted = serde_json::from_str(note);
        noted.inspect_err(|error| warn!("the note of the last run cannot be read: {error}")).ok()
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

    /// The note as it is stored. Where it is too large, it has fewer images: what is left out is in
    /// the log.
    pub fn text(&mut self) -> anyhow::Result<String> {
        loop {
            let text = serde_json::to_string(self).context("noting what is about to be done")?;
            if text.len() <= MOST_NOTED {
                return Ok(text);
            }
            self.units.truncate(self.units.len() * 3 / 4);
            self.restored.truncate(self.restored.len() * 3 / 4);
            self.entries.truncate(self.entries.len() * 3 / 4);
        }
    }
}

/// The entry with as many tags as a note has room for.
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
