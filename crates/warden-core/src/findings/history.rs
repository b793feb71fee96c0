//! The history of the scans of a release line: the findings of its last two versions, and the published
//! findings. The history has IDs and levels and no dates, so a finding with another date is not news.
//! See case P24 in `docs/contributing/prior-art.md`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Finding, FindingsReport, Level, ScanContents, ScanVerdict, Scanned};
use crate::image::{Digest, Tag};

/// The most bytes of a history as JSON. The ledger stores a history in one item, which can hold 400 KB.
const MOST_BYTES: usize = 350_000;

/// The vulnerabilities of an image by their IDs, each with its level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeverityById(BTreeMap<String, Level>);

impl SeverityById {
    /// The level of a vulnerability. None if the image does not have it.
    #[must_use]
    pub fn level(&self, id: &str) -> Option<Level> {
        self.0.get(id).copied()
    }

    /// The IDs.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Each ID with its level.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Level)> {
        self.0.iter().map(|(id, level)| (id.as_str(), *level))
    }

    /// Whether the image has no vulnerability.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, finding: &Finding) {
        self.add_level(&finding.id, finding.level);
    }

    fn add_level(&mut self, id: &str, level: Level) {
        let known = self.0.entry(id.to_owned()).or_insert(level);
        *known = level.max(*known);
    }

    /// Keeps the half with the higher levels.
    fn drop_lower_half(&mut self) {
        let mut all: Vec<_> = std::mem::take(&mut self.0).into_iter().collect();
        all.sort_by(|(_, one), (_, other)| other.cmp(one));
        all.truncate(all.len() / 2);
        self.0 = all.into_iter().collect();
    }
}

impl<'f> FromIterator<&'f Finding> for SeverityById {
    fn from_iter<I: IntoIterator<Item = &'f Finding>>(findings: I) -> Self {
        let mut known = Self::default();
        findings.into_iter().for_each(|finding| known.add(finding));
        known
    }
}

// A list of IDs for each level takes less space than a level for each ID.
impl Serialize for SeverityById {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut lists: BTreeMap<Level, Vec<&str>> = BTreeMap::new();
        for (id, level) in &self.0 {
            lists.entry(*level).or_default().push(id);
        }
        serializer.collect_map(lists.iter().map(|(level, ids)| (level.to_string(), ids)))
    }
}

impl<'de> Deserialize<'de> for SeverityById {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lists: BTreeMap<String, Vec<String>> = Deserialize::deserialize(deserializer)?;
        let pairs = lists.into_iter().flat_map(|(word, ids)| {
            let level = Level::read(&word);
            ids.into_iter().map(move |id| (id, level))
        });
        Ok(Self(pairs.collect()))
    }
}

/// A version of a component that was scanned: an image, or an index with its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The digest.
    pub digest: Digest,
    /// The tag of the version at the time of the scan.
    pub tag: Option<Tag>,
    /// When the version was pushed.
    pub pushed: DateTime<Utc>,
    /// The lowest level that the history records of this version.
    pub threshold: Level,
    /// The findings of each image of the version: of the image itself, or of the image for each
    /// platform.
    pub images: BTreeMap<Digest, SeverityById>,
}

impl Version {
    /// The highest level of a vulnerability in the images of the version.
    #[must_use]
    pub fn level(&self, id: &str) -> Option<Level> {
        self.images.values().filter_map(|known| known.level(id)).max()
    }
}

/// A version as it was pushed: an image, or an index with its images.
#[derive(Clone, Copy, Debug)]
pub struct PushedVersion<'a> {
    /// The digest.
    pub digest: &'a Digest,
    /// The tag.
    pub tag: Option<&'a Tag>,
    /// When the version was pushed.
    pub pushed: DateTime<Utc>,
}

/// The facts that an alert publishes if the findings could not be read, as the history records them.
pub(super) fn unread_facts(found: &ScanContents, lowest: Level) -> BTreeSet<String> {
    match found {
        ScanContents::Counts(counts) => [counts.at_or_above(lowest).to_string()].into(),
        ScanContents::Some(findings) => {
            findings.iter().filter(|finding| finding.level >= lowest).map(fact).collect()
        }
        ScanContents::All(_) => BTreeSet::new(),
    }
}

pub(super) fn fact(Finding { id, level, .. }: &Finding) -> String {
    format!("{level} {id}")
}

/// The findings of a release line that alerts have published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishedFindings {
    /// Published findings of the version that was the latest one at that time.
    pub latest: SeverityById,
    /// Published findings of older versions. They can still be news for the latest version.
    pub older: SeverityById,
    /// A version whose findings could not be read, and the facts that were published from events.
    pub unread: Option<(Digest, BTreeSet<String>)>,
    /// Findings that were accepted at the last scan. A finding that is not accepted any more is news.
    pub accepted: BTreeSet<String>,
    /// Whether the last alert about the latest version is not resolved yet.
    pub is_open: bool,
}

impl PublishedFindings {
    /// Whether an alert has published this fact about a version whose findings could not be read.
    pub fn has_unread(&self, version: &Digest, fact: impl Fn() -> String) -> bool {
        self.unread
            .as_ref()
            .is_some_and(|(unread, published)| unread == version && published.contains(&fact()))
    }

    /// Adds published facts about a version whose findings could not be read.
    fn add_unread(&mut self, version: &Digest, facts: BTreeSet<String>) {
        match &mut self.unread {
            Some((unread, published)) if unread == version => published.extend(facts),
            other => *other = Some((version.clone(), facts)),
        }
    }
}

/// The history of the scans of a release line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanHistory {
    /// The scanned version that was pushed last.
    pub latest: Option<Version>,
    /// The version before, which the latest version is compared with.
    pub previous: Option<Version>,
    /// The published findings.
    pub published: PublishedFindings,
}

impl ScanHistory {
    /// Whether an event about one finding in an image of a version brings no news: the history has the
    /// finding with this level, or an ended finding is not in the history. The function does not have
    /// to read all findings then.
    #[must_use]
    pub fn has_no_news(
        &self,
        version: &Digest,
        image: &Digest,
        finding: &Finding,
        is_active: bool,
    ) -> bool {
        if self.published.accepted.contains(&finding.id) {
            return false;
        }
        let is_version = |recorded: &Option<Version>| {
            recorded.as_ref().is_some_and(|recorded| recorded.digest == *version)
        };
        if is_version(&self.latest) {
            let images = self.latest.as_ref().map(|latest| &latest.images);
            let known = images.and_then(|images| images.get(image));
            let level = known.and_then(|known| known.level(&finding.id));
            return level == is_active.then_some(finding.level);
        }
        let published = [&self.published.latest, &self.published.older];
        let published = published.into_iter().filter_map(|known| known.level(&finding.id)).max();
        !is_active || (is_version(&self.previous) && published >= Some(finding.level))
    }

    /// The history after this scan, and after the alert of the report was published, if the report has
    /// one.
    #[must_use]
    pub fn record(mut self, scanned: &Scanned, report: &FindingsReport) -> Self {
        if report.is_latest {
            match report.verdict {
                ScanVerdict::Publish => self.published.is_open = true,
                ScanVerdict::Resolve => self.published.is_open = false,
                ScanVerdict::Nothing => {}
            }
        }
        match &scanned.found {
            ScanContents::Counts(_) | ScanContents::Some(_) => {
                let facts = unread_facts(&scanned.found, report.threshold.into());
                self.published.add_unread(&scanned.version, facts);
            }
            ScanContents::All(findings) => {
                self.published.unread = None;
                if report.is_latest {
                    let threshold = report.threshold.into();
                    let known = findings.iter().filter(|finding| finding.level >= threshold);
                    let known = known.collect();
                    self.record_image(scanned.version(), &scanned.image, known, threshold);
                }
            }
        }
        if report.verdict == ScanVerdict::Publish {
            let PublishedFindings { latest, older, .. } = &mut self.published;
            let published = if report.is_latest { latest } else { older };
            report.counted.iter().for_each(|counted| published.add(&counted.finding));
        }
        if report.is_latest {
            let accepted = &mut self.published.accepted;
            for counted in &report.counted {
                accepted.remove(&counted.finding.id);
            }
            accepted.extend(report.accepted.iter().map(|finding| finding.id.clone()));
        }
        self.shrink_to_fit();
        self
    }

    /// The history of a release line after it took over the history of an image that was scanned before
    /// its index was pushed. The findings that alerts published about the image alone are no news for
    /// the index then, and an open alert about the image is an open alert about the index. A history
    /// that is taken over twice changes nothing the second time.
    #[must_use]
    pub fn take_over(mut self, index: PushedVersion<'_>, image: &Digest, alone: &Self) -> Self {
        let is_latest = self
            .latest
            .as_ref()
            .is_none_or(|latest| latest.digest == *index.digest || latest.pushed <= index.pushed);
        let PublishedFindings { latest, older, .. } = &mut self.published;
        let published = if is_latest { latest } else { older };
        let of_image = [&alone.published.latest, &alone.published.older];
        for (id, level) in of_image.into_iter().flat_map(SeverityById::iter) {
            published.add_level(id, level);
        }
        let is_recorded = self.latest.as_ref().is_some_and(|latest| {
            latest.digest == *index.digest && latest.images.contains_key(image)
        });
        if is_latest && !is_recorded {
            self.published.is_open |= alone.published.is_open;
            self.published.accepted.extend(alone.published.accepted.iter().cloned());
            if let Some((_, facts)) = &alone.published.unread {
                self.published.add_unread(index.digest, facts.clone());
            }
            if let Some(version) = &alone.latest
                && let Some(known) = version.images.get(image)
            {
                self.record_image(index, image, known.clone(), version.threshold);
            }
        }
        self.shrink_to_fit();
        self
    }

    /// Records the findings of an image of the latest version.
    fn record_image(
        &mut self,
        version: PushedVersion<'_>,
        image: &Digest,
        known: SeverityById,
        threshold: Level,
    ) {
        let same = self.latest.take_if(|latest| latest.digest == *version.digest);
        let recorded = if let Some(mut latest) = same {
            // The history lacks the findings of other images below the threshold of their scans.
            let is_alone = latest.images.keys().all(|other| other == image);
            latest.threshold = if is_alone { threshold } else { latest.threshold.max(threshold) };
            latest.images.insert(image.clone(), known);
            latest
        } else {
            self.previous = self.latest.take();
            Version {
                digest: version.digest.clone(),
                tag: version.tag.cloned(),
                pushed: version.pushed,
                threshold,
                images: [(image.clone(), known)].into(),
            }
        };
        self.latest = Some(recorded);
    }

    /// Removes the least useful parts until the history fits into an item. Published findings are
    /// removed last, because an alert would publish them again.
    fn shrink_to_fit(&mut self) {
        let size = |history: &Self| {
            let bytes = |json: Result<String, serde_json::Error>| json.map_or(0, |json| json.len());
            bytes(serde_json::to_string(&history.latest))
                + bytes(serde_json::to_string(&history.previous))
                + bytes(serde_json::to_string(&history.published))
        };
        if size(self) > MOST_BYTES {
            self.previous = None;
        }
        if size(self) > MOST_BYTES {
            self.published.older = SeverityById::default();
            self.published.unread = None;
        }
        while size(self) > MOST_BYTES {
            let images = self.latest.iter_mut().flat_map(|latest| latest.images.values_mut());
            let mut images = images.filter(|known| !known.is_empty()).peekable();
            if images.peek().is_some() {
                images.for_each(SeverityById::drop_lower_half);
            } else if self.published.latest.is_empty() {
                self.published.accepted.clear();
                return;
            } else {
                self.published.latest.drop_lower_half();
            }
        }
    }
}
