//! The open findings of a component, from the history of its scans, for the dashboard. Findings that
//! could not be read have no counts.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Counts, Level, ScanHistory, Version};
use crate::image::{Digest, Tag};
use crate::policy::Severity;

/// The recorded open findings of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFindingsStatus {
    /// The open findings of the version that was pushed last, of the versions whose findings could be
    /// read. None without such a version.
    pub open: Option<OpenFindings>,
    /// A version whose findings were published from events alone, and could not be read since. The
    /// version may be the same version, or an earlier or a later one.
    pub unread: Option<Digest>,
}

/// The open findings of a version: findings that count and were not accepted at the last scan. A
/// vulnerability of several images of an index counts once, with its highest level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFindings {
    /// The version.
    pub version: Digest,
    /// The tag of the version at the time of the scan.
    pub tag: Option<Tag>,
    /// When the version was pushed.
    pub pushed: DateTime<Utc>,
    /// The lowest level that is counted: the threshold of the policy, or a higher threshold at the
    /// time of the scan.
    pub lowest: Level,
    /// The number of findings of each level.
    pub counts: Counts,
}

impl ScanHistory {
    /// The open findings at or above the threshold.
    #[must_use]
    pub fn open_findings(&self, threshold: Severity) -> OpenFindingsStatus {
        let accepted = &self.published.accepted;
        OpenFindingsStatus {
            open: self.latest.as_ref().map(|latest| count_open(latest, accepted, threshold)),
            unread: self.published.unread.as_ref().map(|(version, _)| version.clone()),
        }
    }
}

fn count_open(latest: &Version, accepted: &BTreeSet<String>, threshold: Severity) -> OpenFindings {
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
        counts: counts.at_or_above(lowest),
    }
}

impl OpenFindings {
    /// The number of findings of a severity. None for a severity that is not counted. A finding
    /// without a severity is informational.
    #[must_use]
    pub fn count_of(&self, severity: Severity) -> Option<u64> {
        (Level::from(severity) >= self.lowest).then(|| self.counts.count_of(severity))
    }
}
