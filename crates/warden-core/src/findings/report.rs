//! What of a scan is news: the decision, with all that an alert says of it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use super::history::fact;
use super::{Counts, Finding, Level, ScanHistory, SeverityById, Version};
use crate::image::{Component, Digest, Tag};
use crate::policy::Severity;
use crate::risks::AcceptedRisk;

/// An image that was scanned.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// What it is a version of, where its tags say so.
    pub component: Option<Component>,
    /// The version: the image itself, or the index of which it is the image for a platform.
    pub version: Digest,
    /// What the version is called.
    pub tag: Option<Tag>,
    /// When the version was pushed.
    pub pushed: DateTime<Utc>,
    /// The image.
    pub image: Digest,
    /// How many images the version has.
    pub images: usize,
    /// What was found in it.
    pub found: ScanContents,
}

/// What is known of what a scan found.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanContents {
    /// All of it, each vulnerability once.
    All(Vec<Finding>),
    /// Those that events are about; the others could not be read.
    Some(Vec<Finding>),
    /// How many, by an event; they could not be read.
    Counts(Counts),
}

/// What is to be done about a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanVerdict {
    /// There is news: an alert.
    Tell,
    /// The last alert is over: an alert.
    Resolve,
    /// Nobody needs to hear of it.
    Nothing,
}

/// A finding that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedFinding {
    /// Which.
    pub finding: Finding,
    /// Whether it was not told before, or not as bad, or was not in the version before.
    pub is_new: bool,
    /// Until when it was accepted, if it was.
    pub lapsed: Option<NaiveDate>,
}

/// A finding that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedFinding {
    /// Its ID and level.
    pub id: String,
    /// How bad it is.
    pub level: Level,
    /// What was accepted.
    pub risk: AcceptedRisk,
}

/// What a scan comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingsReport {
    /// What is to be done.
    pub verdict: ScanVerdict,
    /// How many findings there are, of any level.
    pub counts: Counts,
    /// The lowest level that counts.
    pub threshold: Severity,
    /// What counts, what matters most first: news, then by known exploit, fix, probability of
    /// being exploited, level, and use.
    pub counted: Vec<ReportedFinding>,
    /// What would count, and is accepted.
    pub accepted: Vec<AcceptedFinding>,
    /// The version before, where it is remembered.
    pub baseline: Option<Version>,
    /// What it had and this one has not, as soon as each of its images was scanned.
    pub fixed: Vec<String>,
    /// Whether nothing was remembered of the component.
    pub is_first: bool,
    /// Whether no version that was pushed later was scanned.
    pub is_latest: bool,
}

impl FindingsReport {
    /// What of it is news.
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
            counted.map(|it| it.finding.level).collect::<Counts>()
        };
        match verdict {
            ScanVerdict::Tell if counted.is_empty() => {
                f.write_str("tell it by the event's counts")?;
            }
            ScanVerdict::Tell => write!(f, "tell {}", levels(&mut self.news()))?,
            ScanVerdict::Resolve => f.write_str("tell that the last alert is over")?,
            ScanVerdict::Nothing => f.write_str("nothing to tell")?,
        }
        let counted = levels(&mut counted.iter());
        let all = counts.total();
        write!(
            f,
            ": {counted} at or above {threshold}, {} accepted, {all} in all",
            accepted.len()
        )?;
        if let Some(Version { digest, tag, .. }) = baseline {
            let before = tag.as_ref().map_or_else(|| digest.to_string(), Tag::to_string);
            write!(f, "; {} gone since {before}", fixed.len())?;
        }
        f.write_str(if *is_latest { "" } else { "; not the latest version" })
    }
}

/// Compares a scan with what is remembered of its component.
///
/// Of the latest version, that is news which was not told of it or is worse than it was told;
/// what was accepted when it was seen last, and is not now; and what the version before had not,
/// or anything if the last alert is over, when it is seen in this version for the first time. Of
/// an older version only what was not told of any.
/// A version is the latest if none that was pushed later is remembered.
#[must_use]
pub fn compare_scan(
    memory: &ScanHistory,
    scanned: &Scanned,
    risks: &[AcceptedRisk],
    threshold: Severity,
    today: NaiveDate,
) -> FindingsReport {
    let lowest = Level::from(threshold);
    let same = memory.latest.as_ref().filter(|latest| latest.digest == scanned.version);
    let is_latest = same.is_some()
        || memory.latest.as_ref().is_none_or(|latest| latest.pushed <= scanned.pushed);
    let before = match (is_latest, same) {
        (false, _) => None,
        (true, Some(_)) => memory.previous.as_ref(),
        (true, None) => memory.latest.as_ref(),
    };
    // What is below the threshold that was in force then is not known of it.
    let baseline = before.filter(|before| before.threshold <= lowest);

    let is_new = |finding: &Finding| {
        let told = &memory.told;
        let level = told.latest.level(&finding.id);
        if !is_latest {
            return level.max(told.older.level(&finding.id)) < Some(finding.level);
        }
        let is_seen = same.is_some_and(|same| same.level(&finding.id).is_some())
            || told.has_unread(&scanned.version, || fact(finding));
        let came = baseline.is_some_and(|before| before.level(&finding.id).is_none());
        level < Some(finding.level)
            || told.accepted.contains(&finding.id)
            || (!is_seen && (came || !told.is_open))
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
    // A version is known, and clean, when each of its images is.
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
            let counts = counts.from(lowest);
            let was_told = memory.told.has_unread(&scanned.version, || counts.to_string());
            let is_news = counts.total() > 0 && !was_told;
            if is_news { ScanVerdict::Tell } else { ScanVerdict::Nothing }
        }
        _ if counted.iter().any(|counted| counted.is_new) => ScanVerdict::Tell,
        ScanContents::All(_)
            if is_latest && memory.told.is_open && counted.is_empty() && others_are_clean =>
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
        is_first: *memory == ScanHistory::default(),
        is_latest,
    }
}

/// What comes first has the smaller one.
fn rank(counted: &ReportedFinding) -> impl Ord + use<'_> {
    let ReportedFinding { finding, is_new, .. } = counted;
    (
        Reverse(*is_new),
        Reverse(finding.exploit == Some(true)),
        Reverse(finding.has_fix()),
        // Between 0 and 1, where the bits of a number are in its order.
        Reverse(finding.epss.map_or(0, |epss| epss.clamp(0.0, 1.0).to_bits())),
        Reverse(finding.level),
        Reverse(finding.in_use),
        finding.id.as_str(),
    )
}
