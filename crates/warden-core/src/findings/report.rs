//! Compares a scan with the history of the release line, and decides about an alert. The report contains
//! all facts for the alert.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use super::history::fact;
use super::{Counts, Finding, Level, PushedVersion, ScanHistory, SeverityById, Version};
use crate::image::{Component, Digest, Tag};
use crate::policy::Severity;
use crate::risks::AcceptedRisk;

/// A scanned image.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// The component. None if the tags name no component.
    pub component: Option<Component>,
    /// The version: the image itself, or the index that contains the image.
    pub version: Digest,
    /// The tag of the version.
    pub tag: Option<Tag>,
    /// When the version was pushed.
    pub pushed: DateTime<Utc>,
    /// The image.
    pub image: Digest,
    /// The number of images of the version.
    pub images: usize,
    /// The findings.
    pub found: ScanContents,
}

impl Scanned {
    /// The version that the image belongs to.
    #[must_use]
    pub fn version(&self) -> PushedVersion<'_> {
        PushedVersion { digest: &self.version, tag: self.tag.as_ref(), pushed: self.pushed }
    }
}

/// The findings of a scan, as far as they are known.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanContents {
    /// All findings, each vulnerability once.
    All(Vec<Finding>),
    /// The findings of events. The other findings could not be read.
    Some(Vec<Finding>),
    /// The counts of an event. The findings could not be read.
    Counts(Counts),
}

/// The decision about an alert for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanVerdict {
    /// The scan has news: an alert about the findings is published.
    Publish,
    /// No finding counts any more: an alert that resolves the last alert is published.
    Resolve,
    /// No alert is published.
    Nothing,
}

/// A finding that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedFinding {
    /// The finding.
    pub finding: Finding,
    /// Whether the finding is news: it was not published before, was published with a lower level, or
    /// was not in the version before.
    pub is_new: bool,
    /// The last day on which the finding was accepted. None if it was never accepted.
    pub lapsed: Option<NaiveDate>,
}

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedFinding {
    /// The ID of the vulnerability.
    pub id: String,
    /// The severity.
    pub level: Level,
    /// The accepted risk.
    pub risk: AcceptedRisk,
}

/// The result of the comparison of a scan with the history.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingsReport {
    /// The decision about an alert.
    pub verdict: ScanVerdict,
    /// The number of findings of each level, including levels below the threshold.
    pub counts: Counts,
    /// The lowest severity that counts.
    pub threshold: Severity,
    /// The findings that count, in the order of importance: news first, then by known exploit, known
    /// fix, probability of an exploit, level, and use.
    pub counted: Vec<ReportedFinding>,
    /// The findings at or above the threshold that are accepted.
    pub accepted: Vec<AcceptedFinding>,
    /// The version before, if the history has it.
    pub baseline: Option<Version>,
    /// The findings of the version before that this version does not have. Empty until each image of
    /// this version was scanned.
    pub fixed: Vec<String>,
    /// Whether the history of the release line was empty.
    pub is_first: bool,
    /// Whether no scanned version was pushed later.
    pub is_latest: bool,
}

impl FindingsReport {
    /// The findings that are news.
    pub fn news(&self) -> impl Iterator<Item = &ReportedFinding> {
        self.counted.iter().filter(|counted| counted.is_new)
    }
}

impl fmt::Display for FindingsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict, counts, threshold, counted, accepted, baseline, fixed, is_latest, ..
        } = self;
        let levels = |counted: &mut dyn Iterator<Item = &ReportedFinding>| {
            counted.map(|counted| counted.finding.level).collect::<Counts>()
        };
        match verdict {
            ScanVerdict::Publish if counted.is_empty() => {
                f.write_str("send an alert with the counts of the event")?;
            }
            ScanVerdict::Publish => {
                write!(f, "send an alert about {} new", levels(&mut self.news()))?;
            }
            ScanVerdict::Resolve => f.write_str("send an alert that resolves the last alert")?,
            ScanVerdict::Nothing => f.write_str("send no alert")?,
        }
        let counted = levels(&mut counted.iter());
        let all = counts.total();
        write!(
            f,
            ": {counted} at or above {threshold}, {} accepted, {all} findings in total",
            accepted.len()
        )?;
        if let Some(Version { digest, tag, .. }) = baseline {
            let before = tag.as_ref().map_or_else(|| digest.to_string(), Tag::to_string);
            write!(f, "; {} fixed since {before}", fixed.len())?;
        }
        f.write_str(if *is_latest { "" } else { "; not the latest version" })
    }
}

/// Compares a scan with the history of its release line.
///
/// A finding of the latest version is news in each of these cases:
///
/// - no alert has published the finding, or an alert published it with a lower level;
/// - the finding was accepted at the last scan, and is not accepted now;
/// - the scan is the first that found it in this version, and the version before does not have it;
/// - the scan is the first that found it in this version, and the last alert is resolved.
///
/// A finding of an older version is news only if no alert has published it for any version. A version
/// is the latest if the history has no version that was pushed later.
#[must_use]
pub fn compare_scan(
    history: &ScanHistory,
    scanned: &Scanned,
    risks: &[AcceptedRisk],
    threshold: Severity,
    today: NaiveDate,
) -> FindingsReport {
    let lowest = Level::from(threshold);
    let same = history.latest.as_ref().filter(|latest| latest.digest == scanned.version);
    let is_latest = same.is_some()
        || history.latest.as_ref().is_none_or(|latest| latest.pushed <= scanned.pushed);
    let before = match (is_latest, same) {
        (false, _) => None,
        (true, Some(_)) => history.previous.as_ref(),
        (true, None) => history.latest.as_ref(),
    };
    // A version that was scanned with a higher threshold lacks findings, so it is no baseline.
    let baseline = before.filter(|before| before.threshold <= lowest);

    let is_new = |finding: &Finding| {
        let published = &history.published;
        let level = published.latest.level(&finding.id);
        if !is_latest {
            return level.max(published.older.level(&finding.id)) < Some(finding.level);
        }
        let is_seen = same.is_some_and(|same| same.level(&finding.id).is_some())
            || published.has_unread(&scanned.version, || fact(finding));
        let is_introduced = baseline.is_some_and(|before| before.level(&finding.id).is_none());
        level < Some(finding.level)
            || published.accepted.contains(&finding.id)
            || (!is_seen && (is_introduced || !published.is_open))
    };

    let findings = match &scanned.found {
        ScanContents::All(findings) | ScanContents::Some(findings) => findings.as_slice(),
        ScanContents::Counts(_) => &[],
    };
    let (mut counted, mut accepted) = (Vec::new(), Vec::new());
    for finding in findings.iter().filter(|finding| finding.level >= lowest) {
        let covers = |risk: &&AcceptedRisk| risk.covers(&finding.id, scanned.component.as_ref());
        let last = risks.iter().filter(covers).max_by_key(|risk| risk.until);
        match last {
            Some(risk) if risk.until >= today => accepted.push(AcceptedFinding {
                id: finding.id.clone(),
                level: finding.level,
                risk: risk.clone(),
            }),
            _ => counted.push(ReportedFinding {
                is_new: is_new(finding),
                lapsed: last.map(|risk| risk.until),
                finding: finding.clone(),
            }),
        }
    }
    counted.sort_by(|one, other| rank(one).cmp(&rank(other)));
    accepted.sort_by_key(|accepted| (Reverse(accepted.level), accepted.id.clone()));

    let others = || {
        let images = same.into_iter().flat_map(|same| &same.images);
        images.filter(|(image, _)| **image != scanned.image).map(|(_, known)| known)
    };
    // The findings of a version are known when each of its images was scanned.
    let is_whole = others().count() + 1 >= scanned.images;
    let fixed = match (&scanned.found, baseline) {
        (ScanContents::All(_), Some(before)) if is_whole => {
            let found = findings.iter().map(|finding| finding.id.as_str());
            let found: HashSet<&str> = found.chain(others().flat_map(SeverityById::ids)).collect();
            let before: BTreeSet<&str> =
                before.images.values().flat_map(SeverityById::ids).collect();
            before.into_iter().filter(|id| !found.contains(id)).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };

    let is_accepted = |id: &str| {
        let covers = |risk: &AcceptedRisk| risk.covers(id, scanned.component.as_ref());
        risks.iter().any(|risk| covers(risk) && risk.until >= today)
    };
    let others_are_clean = is_whole && others().all(|known| known.ids().all(is_accepted));
    let verdict = match &scanned.found {
        ScanContents::Counts(counts) => {
            let counts = counts.at_or_above(lowest);
            let was_published =
                history.published.has_unread(&scanned.version, || counts.to_string());
            let is_news = counts.total() > 0 && !was_published;
            if is_news { ScanVerdict::Publish } else { ScanVerdict::Nothing }
        }
        _ if counted.iter().any(|counted| counted.is_new) => ScanVerdict::Publish,
        ScanContents::All(_)
            if is_latest && history.published.is_open && counted.is_empty() && others_are_clean =>
        {
            ScanVerdict::Resolve
        }
        _ => ScanVerdict::Nothing,
    };
    FindingsReport {
        verdict,
        counts: match &scanned.found {
            ScanContents::Counts(counts) => counts.clone(),
            _ => findings.iter().map(|finding| finding.level).collect(),
        },
        threshold,
        counted,
        accepted,
        baseline: baseline.cloned(),
        fixed,
        is_first: *history == ScanHistory::default(),
        is_latest,
    }
}

/// The sort key of a finding. The most important finding has the smallest key.
fn rank(counted: &ReportedFinding) -> impl Ord + use<'_> {
    let ReportedFinding { finding, is_new, .. } = counted;
    (
        Reverse(*is_new),
        Reverse(finding.exploit == Some(true)),
        Reverse(finding.has_fix()),
        // Between 0 and 1, the bits of a floating-point number have the order of the numbers.
        Reverse(finding.epss.map_or(0, |epss| epss.clamp(0.0, 1.0).to_bits())),
        Reverse(finding.level),
        Reverse(finding.in_use),
        finding.id.as_str(),
    )
}
