//! What is remembered of a component's scans: what its last two versions have, and what was
//! told. IDs and levels, no dates: a finding of which only a date changed is none.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Finding, FindingsReport, Level, ScanContents, ScanVerdict, Scanned};
use crate::image::{Digest, Tag};

/// The most bytes of a memory as JSON: it is one item of a table whose items have 400 KB.
const MOST_BYTES: usize = 350_000;

/// The vulnerabilities of an image by their IDs, each with its level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeverityById(BTreeMap<String, Level>);

impl SeverityById {
    /// The level of one; none if it is not among them.
    #[must_use]
    pub fn level(&self, id: &str) -> Option<Level> {
        self.0.get(id).copied()
    }

    /// The IDs.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Each with its level.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Level)> {
        self.0.iter().map(|(id, level)| (id.as_str(), *level))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, finding: &Finding) {
        let level = self.0.entry(finding.id.clone()).or_insert(finding.level);
        *level = finding.level.max(*level);
    }

    /// The worse half of them.
    fn halve(&mut self) {
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

// A list for each level: the level is not written a thousand times.
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
    /// Its digest.
    pub digest: Digest,
    /// What it was called.
    pub tag: Option<Tag>,
    /// When it was pushed.
    pub pushed: DateTime<Utc>,
    /// The lowest level of what is remembered.
    pub threshold: Level,
    /// What was found in each of its images: one, or one for each platform.
    pub images: BTreeMap<Digest, SeverityById>,
}

impl Version {
    /// The level of a vulnerability in any of its images.
    #[must_use]
    pub fn level(&self, id: &str) -> Option<Level> {
        self.images.values().filter_map(|known| known.level(id)).max()
    }
}

/// What is told of findings that could not be read, as it is remembered.
pub(super) fn unread(found: &ScanContents, lowest: Level) -> BTreeSet<String> {
    match found {
        ScanContents::Counts(counts) => [counts.from(lowest).to_string()].into(),
        ScanContents::Some(findings) => {
            findings.iter().filter(|it| it.level >= lowest).map(fact).collect()
        }
        ScanContents::All(_) => BTreeSet::new(),
    }
}

pub(super) fn fact(Finding { id, level, .. }: &Finding) -> String {
    format!("{level} {id}")
}

/// What was told of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishedFindings {
    /// Of what was its latest version then.
    pub latest: SeverityById,
    /// Of older versions, which is no news of the latest.
    pub older: SeverityById,
    /// What was told of a version from events alone, whose findings could not be read: which
    /// version, and what.
    pub unread: Option<(Digest, BTreeSet<String>)>,
    /// What was accepted when it was found last: once it is not any more, it is news again.
    pub accepted: BTreeSet<String>,
    /// Whether the last alert of the latest version stands.
    pub is_open: bool,
}

impl PublishedFindings {
    /// Whether this was told of a version whose findings could not be read.
    pub fn has_unread(&self, version: &Digest, what: impl Fn() -> String) -> bool {
        self.unread.as_ref().is_some_and(|(of, told)| of == version && told.contains(&what()))
    }
}

/// What is remembered of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanHistory {
    /// The version that was pushed last, of those that were scanned.
    pub latest: Option<Version>,
    /// The one before: what the latest is compared with.
    pub previous: Option<Version>,
    /// What was told.
    pub told: PublishedFindings,
}

impl ScanHistory {
    /// Whether nothing can come of an event about one finding in an image of a version: it is
    /// known as it is, or known to be gone. To know that of each event spares reading them all.
    #[must_use]
    pub fn knows(&self, version: &Digest, image: &Digest, finding: &Finding, active: bool) -> bool {
        if self.told.accepted.contains(&finding.id) {
            return false;
        }
        let is = |of: &Option<Version>| of.as_ref().is_some_and(|it| it.digest == *version);
        if is(&self.latest) {
            let images = self.latest.as_ref().map(|latest| &latest.images);
            let known = images.and_then(|images| images.get(image));
            let level = known.and_then(|known| known.level(&finding.id));
            return level == active.then_some(finding.level);
        }
        let told = [&self.told.latest, &self.told.older];
        let told = told.into_iter().filter_map(|known| known.level(&finding.id)).max();
        !active || (is(&self.previous) && told >= Some(finding.level))
    }

    /// What is remembered once the report has been told, if it is to be.
    #[must_use]
    pub fn after(mut self, scanned: &Scanned, report: &FindingsReport) -> Self {
        let told = report.verdict == ScanVerdict::Tell;
        if report.is_latest {
            match report.verdict {
                ScanVerdict::Tell => self.told.is_open = true,
                ScanVerdict::Resolve => self.told.is_open = false,
                ScanVerdict::Nothing => {}
            }
        }
        match &scanned.found {
            ScanContents::Counts(_) | ScanContents::Some(_) => {
                let what = unread(&scanned.found, report.threshold.into());
                match &mut self.told.unread {
                    Some((of, told)) if *of == scanned.version => told.extend(what),
                    other => *other = Some((scanned.version.clone(), what)),
                }
            }
            ScanContents::All(findings) => {
                self.told.unread = None;
                if report.is_latest {
                    self.scan(scanned, findings, report.threshold.into());
                }
            }
        }
        if told {
            let known = if report.is_latest { &mut self.told.latest } else { &mut self.told.older };
            report.counted.iter().for_each(|counted| known.add(&counted.finding));
        }
        if report.is_latest {
            for counted in &report.counted {
                self.told.accepted.remove(&counted.finding.id);
            }
            self.told.accepted.extend(report.accepted.iter().map(|it| it.id.clone()));
        }
        self.fit();
        self
    }

    /// Notes what an image of the latest version has.
    fn scan(&mut self, scanned: &Scanned, findings: &[Finding], threshold: Level) {
        let known = findings.iter().filter(|finding| finding.level >= threshold).collect();
        let same = self.latest.take_if(|latest| latest.digest == scanned.version);
        let version = if let Some(mut latest) = same {
            // What was below the threshold then is not remembered of its other images.
            let is_alone = latest.images.keys().all(|image| *image == scanned.image);
            latest.threshold = if is_alone { threshold } else { latest.threshold.max(threshold) };
            latest.images.insert(scanned.image.clone(), known);
            latest
        } else {
            self.previous = self.latest.take();
            Version {
                digest: scanned.version.clone(),
                tag: scanned.tag.clone(),
                pushed: scanned.pushed,
                threshold,
                images: [(scanned.image.clone(), known)].into(),
            }
        };
        self.latest = Some(version);
    }

    /// Forgets what is worth least until the rest fits: what was told comes last, for it would
    /// be told again.
    fn fit(&mut self) {
        let size = |memory: &Self| {
            let bytes = |json: Result<String, serde_json::Error>| json.map_or(0, |it| it.len());
            bytes(serde_json::to_string(&memory.latest))
                + bytes(serde_json::to_string(&memory.previous))
                + bytes(serde_json::to_string(&memory.told))
        };
        if size(self) > MOST_BYTES {
            self.previous = None;
        }
        if size(self) > MOST_BYTES {
            self.told.older = SeverityById::default();
            self.told.unread = None;
        }
        while size(self) > MOST_BYTES {
            let images = self.latest.iter_mut().flat_map(|it| it.images.values_mut());
            let mut images = images.filter(|known| !known.is_empty()).peekable();
            if images.peek().is_some() {
                images.for_each(SeverityById::halve);
            } else if self.told.latest.is_empty() {
                self.told.accepted.clear();
                return;
            } else {
                self.told.latest.halve();
            }
        }
    }
}
