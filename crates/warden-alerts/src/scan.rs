//! The alerts of scans: what was found and is news, that it is over, or that there was no
//! scan; and of the risks that are accepted.

mod details;

use std::fmt::Write as _;

use serde_json::{Map, json};

pub use self::details::{AcceptedDetails, Baseline, FindingDetails, ScanDetails};
use super::{About, Alert, AlertKind, Remedy, Source, VERSION, fitting};
use warden_core::findings::{
    Counts, Finding, FindingsReport, ReportedFinding, ScanContents, Scanned,
};
use warden_core::image::Tag;
use warden_core::policy::Severity;
use warden_core::risks::AcceptedRisk;
use warden_core::text::{inert, short_line};

/// The most findings that a list of the text has, and after how many characters of the text
/// each of its lists ends: what is new, what was told before, what is accepted.
const MOST_LISTED: usize = 25;
const LIST_ENDS: [usize; 3] = [5_000, 6_500, 7_500];
/// The most findings that the JSON has; of IDs alone it has twice as many.
const MOST_DETAILED: usize = 50;

/// What scans are told with.
#[derive(Clone, Debug)]
pub struct ScanAlert<'a> {
    /// The version that was scanned, by its own digest.
    pub about: &'a About,
    /// The tags that it has.
    pub tags: &'a [Tag],
    /// The image, and what was found in it.
    pub scanned: &'a Scanned,
    /// The name of the parameter of accepted risks.
    pub parameter: &'a str,
}

impl ScanAlert<'_> {
    /// How people call the image.
    fn name(&self) -> String {
        let About { repository, digest, .. } = self.about;
        match &self.scanned.tag {
            Some(tag) => format!("{repository}:{tag}"),
            None => format!("{repository}@{digest}"),
        }
    }

    fn alert(&self, kind: AlertKind, severity: Severity, title: String, text: String) -> Alert {
        Alert {
            component: self.scanned.component.clone(),
            ..self.about.alert(kind, severity, title, text, self.tags.to_vec())
        }
    }

    fn aws(&self, operation: &str) -> String {
        let About { region, repository, .. } = self.about;
        let image = &self.scanned.image;
        format!(
            "aws ecr {operation} --region {region} --repository-name {repository} \
             --image-id imageDigest={image}"
        )
    }
}

/// What a scan found that is news. `unread` is why the findings could not be read, where they
/// could not.
#[must_use]
pub fn scan_findings(scan: &ScanAlert<'_>, report: &FindingsReport, unread: Option<&str>) -> Alert {
    let (name, threshold) = (scan.name(), report.threshold);
    let counts = match &scan.scanned.found {
        ScanContents::Counts(counts) => counts.at_or_above(threshold.into()),
        _ => levels(&report.counted.iter().collect::<Vec<_>>()),
    };
    let news: Vec<&ReportedFinding> = report.news().collect();
    // Where nothing was known before, all of it is news.
    let is_all = report.baseline.is_none() && news.len() == report.counted.len();
    let is_plain = is_all || news.is_empty();
    let (new, told) = if is_plain { ("", counts.clone()) } else { ("new ", levels(&news)) };
    let title = format!("{} in {name}: {told}", several(told.total(), &format!("{new}finding")));

    let mut text = format!("The scan of {name} found {counts} at or above {threshold}");
    let all = report.counts.total();
    let _ = match &scan.scanned.found {
        ScanContents::Some(_) => write!(text, "."),
        _ => write!(text, ", of {} in all.", several(all, "finding")),
    };
    text += &comparison(scan, report, news.len());
    let fixable = report.counted.iter().filter(|counted| counted.finding.has_fix()).count();
    if fixable > 0 {
        let _ = write!(text, " For {fixable} there is a fix.");
    }
    if let Some(count) = in_use(report).filter(|count| *count > 0) {
        let _ = write!(text, " The image is in use by {}.", several(count, "task or pod"));
    }
    if scan.scanned.image != scan.scanned.version {
        let _ =
            write!(text, " It was found in {}, its image for one platform.", scan.scanned.image);
    }
    if let Some(why) = unread {
        let why = inert(why, 300);
        let _ = write!(
            text,
            " The findings themselves could not be read ({why}): what is told is what the event \
             says, and accepted risks are not taken off."
        );
    }
    let (new, known): (Vec<_>, Vec<_>) = report.counted.iter().partition(|it| it.is_new);
    let heading = if is_plain { "Found" } else { "New" };
    let accepted = report.accepted.iter().map(|accepted| {
        let AcceptedRisk { until, reason, owner, .. } = &accepted.risk;
        format!("{} {}: until {until} ({reason}; {owner})", accepted.level, accepted.id)
    });
    let [new_end, known_end, accepted_end] = LIST_ENDS;
    list(&mut text, heading, new.into_iter().map(line), new_end);
    list(&mut text, "Told before", known.into_iter().map(line), known_end);
    list(&mut text, "Accepted", accepted, accepted_end);
    let severity = told.worst().map_or(Severity::Informational, |worst| worst.severity());
    Alert {
        details: fitting(MOST_DETAILED, |most| ScanDetails::fields(scan, report, &news, most)),
        remedies: vec![
            Remedy::aws("See all findings", scan.aws("describe-image-scan-findings")),
            Remedy::aws(ACCEPT, edit(&scan.about.region, scan.parameter)),
        ],
        ..scan.alert(AlertKind::ScanFindings, severity, title, text)
    }
}

/// What is to be edited.
pub(super) const ACCEPT: &str = "Accept a finding until a day, by a line in the list such as {\"id\": \
    \"CVE-2026-1234\", \"until\": \"2026-12-31\", \"reason\": \"not reachable\", \"owner\": \
    \"platform\"}";

/// Opens the accepted risks in an editor, and puts them back.
fn edit(region: &str, parameter: &str) -> String {
    let aws = |operation: &str| format!("aws ssm {operation} --region {region} --name {parameter}");
    format!(
        "{} --query Parameter.Value --output text > accepted-risks.json && \
         ${{EDITOR:-vi}} accepted-risks.json && {} --overwrite --tier Intelligent-Tiering \
         --value file://accepted-risks.json",
        aws("get-parameter"),
        aws("put-parameter")
    )
}

/// How it compares with the version before.
fn comparison(scan: &ScanAlert<'_>, report: &FindingsReport, news: usize) -> String {
    let Some(before) = &report.baseline else {
        let component = scan.scanned.component.as_ref();
        return match component {
            _ if !report.is_latest => " A version that was pushed later has been scanned \
                                       already: this is an older one."
                .to_owned(),
            Some(component) if report.is_first => format!(
                " It is the first scan of {component} to be remembered: there is nothing to \
                 compare it with."
            ),
            Some(_) => format!(
                " No version before it is remembered that it could be compared with; {news} new."
            ),
            None => " Its tags name no component, so that there is nothing to compare it with."
                .to_owned(),
        };
    };
    let before = before.tag.as_ref().map_or_else(|| before.digest.to_string(), Tag::to_string);
    let fixed = report.fixed.len();
    match scan.scanned.found {
        ScanContents::All(_) => {
            format!(" Compared with {before}, the version before: {news} new, {fixed} gone.")
        }
        ScanContents::Some(_) | ScanContents::Counts(_) => {
            format!(" The version before, {before}, could not be compared with it in full.")
        }
    }
}

/// A list under a heading, of whole lines as long as the text is no longer than `end`, with how
/// many there are more.
fn list(
    text: &mut String,
    heading: &str,
    lines: impl ExactSizeIterator<Item = String>,
    end: usize,
) {
    let mut left = lines.len();
    if left == 0 {
        return;
    }
    let _ = write!(text, "\n\n{heading}:");
    let mut length = text.chars().count();
    for line in lines.take(MOST_LISTED) {
        length += line.chars().count() + 3;
        if length > end {
            break;
        }
        let _ = write!(text, "\n- {line}");
        left -= 1;
    }
    if left > 0 {
        let _ = write!(text, "\nand {left} more");
    }
}

/// A finding in one line.
fn line(counted: &ReportedFinding) -> String {
    let Finding { id, level, packages, exploit, epss, url, .. } = &counted.finding;
    let mut line = format!("{level} {id}");
    let mut packages_shown = packages.iter().take(3).peekable();
    if packages_shown.peek().is_some() {
        line += " in ";
    }
    let shown: Vec<String> = packages_shown
        .map(|package| {
            let installed = package.installed.as_ref().map(|it| format!(" {it}"));
            let fixed = package.fixed.as_ref().map(|it| format!(", fixed in {it}"));
            format!(
                "{}{}{}",
                package.name,
                installed.unwrap_or_default(),
                fixed.unwrap_or_default()
            )
        })
        .collect();
    line += &shown.join("; ");
    if packages.len() > 3 {
        let _ = write!(line, " and {} more", several(packages.len() as u64 - 3, "package"));
    }
    if *exploit == Some(true) {
        line += "; an exploit is known";
    }
    if let Some(epss) = epss {
        let _ = write!(line, "; EPSS {epss:.2}");
    }
    if let Some(lapsed) = counted.lapsed {
        let _ = write!(line, "; it was accepted until {lapsed}");
    }
    if let Some(url) = url {
        let _ = write!(line, "; {url}");
    }
    line
}

fn levels(counted: &[&ReportedFinding]) -> Counts {
    counted.iter().map(|counted| counted.finding.level).collect()
}

fn in_use(report: &FindingsReport) -> Option<u64> {
    report.counted.iter().filter_map(|counted| counted.finding.in_use).max()
}

fn several(count: u64, of: &str) -> String {
    match (count, of.split_once(" or ")) {
        (1, _) => format!("1 {of}"),
        (_, None) => format!("{count} {of}s"),
        (_, Some((one, other))) => format!("{count} {one}s or {other}s"),
    }
}

/// That the last alert of a component is over.
#[must_use]
pub fn scan_resolved(scan: &ScanAlert<'_>, report: &FindingsReport) -> Alert {
    let name = scan.name();
    let threshold = report.threshold;
    let accepted = match report.accepted.len() {
        0 => String::new(),
        some => format!(" What it has at or above {threshold} is accepted ({some})."),
    };
    let text = format!(
        "The scan of {name} found nothing that counts at or above {threshold}: the last alert \
         about {} is over.{accepted} Older versions may still have what it was about.",
        scan.scanned.component.as_ref().map_or_else(|| name.clone(), |it| it.to_string()),
    );
    let title = format!("{name} has no open findings any more");
    Alert {
        details: fitting(MOST_DETAILED, |most| ScanDetails::fields(scan, report, &[], most)),
        ..scan.alert(AlertKind::ScanResolved, Severity::Informational, title, text)
    }
}

/// The reason of a failed scan.
#[derive(Clone, Copy, Debug)]
pub enum FailureReason<'a> {
    /// The description that ECR gives, if it gives one.
    Described(Option<&'a str>),
    /// The reason could not be read: the error.
    Unreadable(&'a str),
}

/// An image could not be scanned: the status, and the reason.
#[must_use]
pub fn scan_failed(scan: &ScanAlert<'_>, status: &str, reason: FailureReason<'_>) -> Alert {
    let name = scan.name();
    let description = match reason {
        FailureReason::Described(description) => inert(description.unwrap_or_default(), 500),
        FailureReason::Unreadable(error) => {
            inert(&format!("the reason could not be read: {error}"), 500)
        }
    };
    let reason = if description.is_empty() { String::new() } else { format!(" ({description})") };
    let advice = Advice::of(status, &description);
    let text =
        format!("ECR says {status}{reason}. What is in the image is not known. {}", advice.text());
    let again = Remedy::aws(
        "Scan it again (basic scanning takes one scan an image in 24 hours)",
        scan.aws("start-image-scan"),
    );
    let About { region, repository, digest, .. } = scan.about;
    let restore = Remedy::tool(
        "Bring it back from the archive",
        format!("ecr-warden restore --region {region} {repository}@{digest}"),
        format!("{} --target-storage-class STANDARD", scan.aws("update-image-storage-class")),
    );
    let details = [("status", json!(status)), ("reason", json!(description))];
    Alert {
        details: details.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
        remedies: match advice {
            Advice::Restore => vec![restore],
            Advice::Again => vec![again],
            Advice::OtherBase | Advice::Smaller | Advice::Extend => Vec::new(),
        },
        ..scan.alert(
            AlertKind::ScanFailed,
            Severity::Medium,
            format!("The scan of {name} failed"),
            text,
        )
    }
}

/// What can be done about a scan that failed, by
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-troubleshooting.html>.
#[derive(Clone, Copy)]
enum Advice {
    OtherBase,
    Smaller,
    Restore,
    Extend,
    Again,
}

impl Advice {
    fn of(status: &str, description: &str) -> Self {
        match status {
            "UNSUPPORTED_IMAGE" => Self::OtherBase,
            "IMAGE_SIZE_EXCEEDED" => Self::Smaller,
            "IMAGE_ARCHIVED" => Self::Restore,
            "SCAN_ELIGIBILITY_EXPIRED" => Self::Extend,
            _ if description.to_lowercase().contains("unsupportedimage") => Self::OtherBase,
            _ => Self::Again,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::OtherBase => {
                "Its operating system or its package manager is none that ECR scans: build it on \
                 a base image that is, or turn on enhanced scanning, which knows more of them."
            }
            Self::Smaller => {
                "It is larger than what is scanned: leave out of it what it does not need, or \
                 scan it where it is built."
            }
            Self::Restore => {
                "It is in the archive, where nothing is scanned: bring it back first, or leave it."
            }
            Self::Extend => {
                "Amazon Inspector has stopped watching it by its age: push it again, or lengthen \
                 the re-scan duration in Inspector's settings."
            }
            Self::Again => {
                "Scan it again; if that fails too, see the registry's scanning configuration."
            }
        }
    }
}

/// Where an alert is from that is about no image.
#[derive(Clone, Debug)]
pub struct AlertOrigin<'a> {
    /// The account's twelve digits.
    pub account: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// The event.
    pub source: &'a Source,
    /// The name of the parameter of accepted risks.
    pub parameter: &'a str,
}

impl AlertOrigin<'_> {
    pub(crate) fn alert(
        &self,
        kind: AlertKind,
        title: String,
        text: String,
        label: String,
    ) -> Alert {
        Alert {
            version: VERSION,
            kind,
            severity: Severity::Medium,
            title,
            text,
            account: self.account.to_owned(),
            region: self.region.to_owned(),
            repository: None,
            component: None,
            image: None,
            details: Map::new(),
            remedies: vec![Remedy::aws(label, edit(self.region, self.parameter))],
            source: self.source.clone(),
        }
    }
}

/// That a risk is accepted for a few days more.
#[must_use]
pub fn risk_expiring(place: &AlertOrigin<'_>, risk: &AcceptedRisk) -> Alert {
    let AcceptedRisk { id, until, reason, owner, component } = risk;
    let within = component.as_ref().map_or_else(String::new, |it| format!(" in {it}"));
    let details = json!({
        "id": id, "until": until, "reason": reason, "owner": owner, "component": component,
    });
    Alert {
        component: component.clone(),
        details: details.as_object().cloned().unwrap_or_default(),
        ..place.alert(
            AlertKind::RiskExpiring,
            format!("{id}{within} is accepted until {until} only"),
            format!(
                "{owner} answers for {id}{within}, which is accepted until {until} ({reason}). \
                 After that day it counts again, and is told with the next scan that finds it. \
                 Fix it, or set another day."
            ),
            "Edit the accepted risks".to_owned(),
        )
    }
}

/// That the accepted risks cannot be read, and why.
#[must_use]
pub fn unreadable_risks(place: &AlertOrigin<'_>, why: &str) -> Alert {
    let why = short_line(why, 1_000);
    let details = json!({"rule": "accepted-risks", "parameter": place.parameter, "error": why});
    Alert {
        details: details.as_object().cloned().unwrap_or_default(),
        ..place.alert(
            AlertKind::SelfAudit,
            "The accepted risks cannot be read".to_owned(),
            format!(
                "The parameter {} cannot be read: {why}. No finding is accepted until it can; \
                 this is told once a day.",
                place.parameter
            ),
            "Edit the accepted risks".to_owned(),
        )
    }
}

#[cfg(test)]
mod tests;
