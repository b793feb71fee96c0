//! What is open in a component, by what is remembered of its scans: the figures of a dashboard.
//! What is not known has none.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Counts, Level, ScanHistory, Version};
use crate::image::{Digest, Tag};
use crate::policy::Severity;

/// What is known of what is open in a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFindingsStatus {
    /// Of the version that was pushed last, of those whose findings could be read; none where
    /// there is no such version.
    pub open: Option<OpenFindings>,
    /// A version whose findings were told from events alone, and could not be read since. It may
    /// be the same one, a later or an earlier one.
    pub unread: Option<Digest>,
}

/// What counts in a version, and was not accepted when it was found last. A vulnerability that
/// several images of an index have is one, as bad as it is in any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFindings {
    /// The version.
    pub version: Digest,
    /// What it was called.
    pub tag: Option<Tag>,
    /// When it was pushed.
    pub pushed: DateTime<Utc>,
    /// The lowest level of what is counted: that of the policy, or a higher one that was in force
    /// when it was scanned.
    pub lowest: Level,
    /// How many there are.
    pub counts: Counts,
}

impl ScanHistory {
    /// What is open at or above the threshold.
    #[must_use]
    pub fn standing(&self, threshold: Severity) -> OpenFindingsStatus {
        OpenFindingsStatus {
            open: self.latest.as_ref().map(|latest| open(latest, &self.told.accepted, threshold)),
            unread: self.told.unread.as_ref().map(|(version, _)| version.clone()),
        }
    }
}

fn open(latest: &Version, accepted: &BTreeSet<String>, threshold: Severity) -> OpenFindings {
    let lowest = latest.threshold.max(threshold.into());
    let mut worst: BTreeMap<&str, Level> = BTreeMap::new();
    for (id, level) in latest.images.values().flat_map(super::SeverityById::iter) {
        let known = worst.entry(id).or_insert(level);
        *known = level.max(*known);
    }
    let counted = worst.into_iter().filter(|(id, _)| !accepted.contains(*id));
    let counts: Counts = counted.map(|(_, level)| level).collect();
    OpenFindings {
        version: latest.digest.clone(),
        tag: latest.tag.clone(),
        pushed: latest.pushed,
        lowest,
        counts: counts.from(lowest),
    }
}

impl OpenFindings {
    /// How many there are of a severity, where what a scanner left open is informational; none
    /// of one that is not counted.
    #[must_use]
    pub fn of(&self, severity: Severity) -> Option<u64> {
        (Level::from(severity) >= self.lowest).then(|| self.counts.of(severity))
    }
}
