//! The `details` of an alert about a scan. The function that reads the scan writes them, and
//! the rendering for Slack reads them.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use warden_core::findings::{
    AcceptedFinding, Counts, Finding, FindingsReport, Level, ReportedFinding, ScanContents,
};
use warden_core::image::{Digest, Tag};
use warden_core::policy::Severity;
use warden_core::risks::AcceptedRisk;

use super::{ScanAlert, in_use};

/// The result of a scan. Each list has a limit; its total stands beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanDetails {
    /// The number of findings of each level, below the threshold too.
    pub counts: Counts,
    /// The lowest severity that an alert reports.
    pub threshold: Severity,
    /// Whether all findings could be read.
    #[serde(rename = "complete")]
    pub is_complete: bool,
    /// The previous version, if one is known.
    pub baseline: Option<Baseline>,
    /// The IDs of the new findings.
    pub new: Vec<String>,
    /// The number of new findings.
    pub new_total: usize,
    /// The IDs of the findings that only the previous version has.
    pub fixed: Vec<String>,
    /// The number of findings that only the previous version has.
    pub fixed_total: usize,
    /// The findings at or above the threshold, the most urgent first.
    pub findings: Vec<FindingDetails>,
    /// The number of findings at or above the threshold.
    pub findings_total: usize,
    /// The findings that would be reported, and are accepted.
    pub accepted: Vec<AcceptedDetails>,
    /// The number of accepted findings.
    pub accepted_total: usize,
    /// The number of tasks and pods that use the image, if Amazon Inspector reports it.
    pub in_use: Option<u64>,
}

/// The version that a scan is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The digest of the version.
    pub digest: Digest,
    /// The tag of the version, if it has one.
    pub tag: Option<Tag>,
}

/// A finding at or above the threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingDetails {
    /// Such as `CVE-2026-1234`.
    pub id: String,
    /// The level of the finding.
    pub severity: Level,
    /// The name of the first package that has it.
    pub package: Option<String>,
    /// The number of packages that have it.
    pub packages: usize,
    /// The installed version of the first package.
    pub installed: Option<String>,
    /// The first package version that fixes it.
    pub fixed: Option<String>,
    /// Whether an exploit is known.
    pub exploit_known: Option<bool>,
    /// The probability of an exploit within 30 days, from 0 to 1.
    pub epss: Option<f64>,
    /// A page that describes it.
    pub url: Option<String>,
    /// Whether no earlier alert reported it.
    #[serde(rename = "new")]
    pub is_new: bool,
    /// The last day of its acceptance, if that day has passed.
    pub accepted_until: Option<NaiveDate>,
}

/// A finding that a person has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedDetails {
    /// Such as `CVE-2026-1234`.
    pub id: String,
    /// The level of the finding.
    pub severity: Level,
    /// The last day of its acceptance.
    pub until: NaiveDate,
    /// The reason of the person who accepted it.
    pub reason: String,
    /// The person or team that accepted it.
    pub owner: String,
}

impl ScanDetails {
    /// The fields of the details of a report, with at most `limit` findings and twice as many IDs.
    pub(super) fn fields(
        scan: &ScanAlert<'_>,
        report: &FindingsReport,
        news: &[&ReportedFinding],
        limit: usize,
    ) -> Map<String, Value> {
        let baseline = report.baseline.as_ref();
        let details = Self {
            counts: report.counts.clone(),
            threshold: report.threshold,
            is_complete: matches!(scan.scanned.found, ScanContents::All(_)),
            baseline: baseline.map(|version| Baseline {
                digest: version.digest.clone(),
                tag: version.tag.clone(),
            }),
            new: news.iter().take(2 * limit).map(|counted| counted.finding.id.clone()).collect(),
            new_total: news.len(),
            fixed: report.fixed.iter().take(2 * limit).cloned().collect(),
            fixed_total: report.fixed.len(),
            findings: report.counted.iter().take(limit).map(FindingDetails::from).collect(),
            findings_total: report.counted.len(),
            accepted: report.accepted.iter().take(limit).map(AcceptedDetails::from).collect(),
            accepted_total: report.accepted.len(),
            in_use: in_use(report),
        };
        match json!(details) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

impl From<&ReportedFinding> for FindingDetails {
    fn from(counted: &ReportedFinding) -> Self {
        let Finding { id, level, packages, exploit, epss, url, .. } = &counted.finding;
        let first = packages.first();
        Self {
            id: id.clone(),
            severity: *level,
            package: first.map(|package| package.name.clone()),
            packages: packages.len(),
            installed: first.and_then(|package| package.installed.clone()),
            fixed: packages.iter().find_map(|package| package.fixed.clone()),
            exploit_known: *exploit,
            epss: *epss,
            url: url.clone(),
            is_new: counted.is_new,
            accepted_until: counted.lapsed,
        }
    }
}

impl From<&AcceptedFinding> for AcceptedDetails {
    fn from(accepted: &AcceptedFinding) -> Self {
        let AcceptedRisk { until, reason, owner, .. } = &accepted.risk;
        Self {
            id: accepted.risk.id.clone(),
            severity: accepted.level,
            until: *until,
            reason: reason.clone(),
            owner: owner.clone(),
        }
    }
}
