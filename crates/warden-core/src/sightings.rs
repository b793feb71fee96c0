//! Times by key, as the ledger records them: 12 bytes each.
//!
//! A key is the first 64 bits of a SHA-256 digest. Nobody can make a second value with the key of a given
//! value.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// A time for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(BTreeMap<u64, DateTime<Utc>>);

impl Sightings {
    /// The time of a key.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<DateTime<Utc>> {
        self.0.get(&key).copied()
    }

    /// Whether no key has a time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key with its time, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (u64, DateTime<Utc>)> {
        self.0.iter().map(|(key, at)| (*key, *at))
    }
}

impl FromIterator<(u64, DateTime<Utc>)> for Sightings {
    /// Of several times of one key, the latest counts.
    fn from_iter<I: IntoIterator<Item = (u64, DateTime<Utc>)>>(entries: I) -> Self {
        let mut times = BTreeMap::new();
        for (key, at) in entries {
            times.entry(key).and_modify(|latest| *latest = at.max(*latest)).or_insert(at);
        }
        Self(times)
    }
}

/// The records of earlier sweeps of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierSightings {
    /// Since when each untagged image has no tag ([`crate::untagged`]).
    pub untagged: Sightings,
    /// When each tag was pushed to its image ([`crate::tag_times`]).
    pub tags: Sightings,
    /// When the last complete sweep began to list the images.
    pub listed_at: Option<DateTime<Utc>>,
}
