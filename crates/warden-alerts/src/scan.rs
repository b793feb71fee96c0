//! The alerts about scans: new findings, resolved findings, and failed scans; and about accepted risks.

mod details;

use std::fmt::Write as _;

use serde_json::{Map, json};

pub use self::details::{AcceptedDetails, Baseline, FindingDetails, ScanDetails};
use super::remedy::{
    ACCEPT_FINDING, EDIT_RISKS, LIST_FINDINGS, RESTORE_ARCHIVED_IMAGE, SCAN_AGAIN,
};
use super::{
    About, Alert, AlertKind, Remedy, Source, VERSION, WHAT_TO_DO, WHY, fit_details, number_of,
};
use warden_core::findings::{
    Counts, Finding, FindingsReport, ReportedFinding, ScanContents, Scanned,
};
use warden_core::image::Tag;
use warden_core::policy::{Owner, Severity};
use warden_core::risks::AcceptedRisk;
use warden_core::text::{inert, short_line};

/// The most findings in each list of the text.
const MOST_LISTED: usize = 25;
/// The most characters of the text at the end of each list: of new findings, of findings that an earlier
/// alert reported, and of accepted findings.
const LIST_ENDS: [usize; 3] = [5_000, 6_500, 7_500];
/// The most findings in the details. The lists of IDs have twice as many.
const MOST_DETAILED: usize = 50;

/// The scan that an alert is about.
#[derive(Clone, Debug)]
pub struct ScanAlert<'a> {
    /// The event, with the digest of the scanned version.
    pub about: &'a About,
    /// The tags of the version.
    pub tags: &'a [Tag],
    /// The scanned image with its findings.
    pub scanned: &'a Scanned,
    /// The name of the parameter of accepted risks.
    pub parameter: &'a str,
    /// The owner of the repository.
    pub owner: Option<&'a Owner>,
}

impl ScanAlert<'_> {
    /// The name of the image for people: with its tag, or else with its digest.
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
            owner: self.owner.cloned(),
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

/// The alert about new findings. `unread` is the error if the findings could not be read.
#[must_use]
pub fn scan_findings(scan: &ScanAlert<'_>, report: &FindingsReport, unread: Option<&str>) -> Alert {
    let (name, threshold) = (scan.name(), report.threshold);
    let counts = match &scan.scanned.found {
        ScanContents::Counts(counts) => counts.at_or_above(threshold.into()),
        _ => count_levels(&report.counted.iter().collect::<Vec<_>>()),
    };
    let news: Vec<&ReportedFinding> = report.news().collect();
    // Without an earlier scan, every finding is new, so that the word says nothing.
    let is_all = report.baseline.is_none() && news.len() == report.counted.len();
    let is_plain = is_all || news.is_empty();
    let (new, reported) =
        if is_plain { ("", counts.clone()) } else { ("new ", count_levels(&news)) };
    let found = number_of(reported.total(), &format!("{new}finding"));
    let title = format!("{name} has {found}: {reported}");

    let counted = number_of(counts.total(), "finding");
    let mut text = format!("The scan of {name} found {counted} at or above {threshold} ({counts})");
    let all = report.counts.total();
    let _ = match &scan.scanned.found {
        ScanContents::Some(_) => write!(text, "."),
        _ => write!(text, ", and {} in all.", number_of(all, "finding")),
    };
    text += &comparison(scan, report, news.len());
    let fixable = report.counted.iter().filter(|counted| counted.finding.has_fix()).count();
    if fixable > 0 {
        let findings = number_of(fixable as u64, "finding");
        let _ = write!(text, " Fixed packages exist for {findings}.");
    }
    match in_use(report) {
        None | Some(0) => {}
        Some(1) => text += " 1 task or pod uses the image.",
        Some(count) => {
            let _ = write!(text, " {count} tasks or pods use the image.");
        }
    }
    if scan.scanned.image != scan.scanned.version {
        let image = &scan.scanned.image;
        let _ = write!(text, " The findings are in {image}, the image for one platform.");
    }
    if let Some(error) = unread {
        let error = inert(error, 300);
        let _ = write!(
            text,
            " The findings themselves could not be read ({error}). The numbers are from the event, and \
             include accepted risks."
        );
    }
    let (new, known): (Vec<_>, Vec<_>) = report.counted.iter().partition(|counted| counted.is_new);
    let heading = if is_plain { "Findings" } else { "New findings" };
    let [new_end, known_end, accepted_end] = LIST_ENDS;
    add_list(&mut text, heading, new.into_iter().map(finding_line), new_end);
    let _ = write!(
        text,
        "\n\n{WHY}the image has findings at or above AlertSeverityThreshold={threshold}{}.\n\n\
         {WHAT_TO_DO}{} and push a new version, or accept a finding that does not affect the image.",
        if news.is_empty() { "" } else { " that no earlier alert reported" },
        if fixable > 0 { "update the packages that have a fix" } else { "replace the packages" },
    );
    let accepted = report.accepted.iter().map(|accepted| {
        let AcceptedRisk { until, reason, owner, .. } = &accepted.risk;
        format!("{} {}: until {until} ({reason}; {owner})", accepted.level, accepted.id)
    });
    add_list(&mut text, "Reported before", known.into_iter().map(finding_line), known_end);
    add_list(&mut text, "Accepted", accepted, accepted_end);
    let severity = reported.worst().map_or(Severity::Informational, |worst| worst.severity());
    Alert {
        details: fit_details(MOST_DETAILED, |most| ScanDetails::fields(scan, report, &news, most)),
        remedies: vec![
            Remedy::aws(LIST_FINDINGS, scan.aws("describe-image-scan-findings")),
            Remedy::aws(ACCEPT_FINDING, edit_command(&scan.about.region, scan.parameter)),
        ],
        ..scan.alert(AlertKind::ScanFindings, severity, title, text)
    }
}

/// The command that opens the accepted risks in an editor, and stores them.
fn edit_command(region: &str, parameter: &str) -> String {
    let aws = |operation: &str| format!("aws ssm {operation} --region {region} --name {parameter}");
    format!(
        "{} --query Parameter.Value --output text > accepted-risks.json && \
         ${{EDITOR:-vi}} accepted-risks.json && {} --overwrite --tier Intelligent-Tiering \
         --value file://accepted-risks.json",
        aws("get-parameter"),
        aws("put-parameter")
    )
}

/// The sentence about the comparison with the previous version, or about the missing previous version.
fn comparison(scan: &ScanAlert<'_>, report: &FindingsReport, news: usize) -> String {
    let are = |count: usize| if count == 1 { "is" } else { "are" };
    let Some(before) = &report.baseline else {
        let component = scan.scanned.component.as_ref();
        return match component {
            _ if !report.is_latest => {
                " This version is not the newest one: a version that was pushed \
                                       later has already been scanned."
                    .to_owned()
            }
            Some(component) if report.is_first => {
                format!(
                    " No earlier scan in the same release line of {component} is recorded for a \
                     comparison."
                )
            }
            Some(_) => format!(
                " No earlier version is recorded for a comparison. {} {} new.",
                number_of(news as u64, "finding"),
                are(news)
            ),
            None => {
                " The tags of the image name no component, so there is no earlier version for a \
                     comparison."
                    .to_owned()
            }
        };
    };
    let before = before.tag.as_ref().map_or_else(|| before.digest.to_string(), Tag::to_string);
    let fixed = report.fixed.len();
    match scan.scanned.found {
        ScanContents::All(_) => format!(
            " Compared with the previous version {before}, {} {} new and {fixed} {} gone.",
            number_of(news as u64, "finding"),
            are(news),
            are(fixed)
        ),
        ScanContents::Some(_) | ScanContents::Counts(_) => {
            format!(" The comparison with the previous version {before} is incomplete.")
        }
    }
}

/// Adds a list with a heading. The list has whole lines, as long as the text has at most `end`
/// characters, and then the number of the other lines.
fn add_list(
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

/// A finding as one line.
fn finding_line(counted: &ReportedFinding) -> String {
    let Finding { id, level, packages, exploit, epss, url, .. } = &counted.finding;
    let mut line = format!("{level} {id}");
    let mut packages_shown = packages.iter().take(3).peekable();
    if packages_shown.peek().is_some() {
        line += " in ";
    }
    let shown: Vec<String> = packages_shown
        .map(|package| {
            let installed = package.installed.as_ref().map(|version| format!(" {version}"));
            let fixed = package.fixed.as_ref().map(|version| format!(", fixed in {version}"));
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
        let _ = write!(line, " and {}", number_of(packages.len() as u64 - 3, "more package"));
    }
    if *exploit == Some(true) {
        line += "; an exploit is known";
    }
    if let Some(epss) = epss {
        let _ = write!(line, "; EPSS {epss:.2}");
    }
    if let Some(lapsed) = counted.lapsed {
        let _ = write!(line, "; accepted until {lapsed}, and not any more");
    }
    if let Some(url) = url {
        let _ = write!(line, "; {url}");
    }
    line
}

fn count_levels(counted: &[&ReportedFinding]) -> Counts {
    counted.iter().map(|counted| counted.finding.level).collect()
}

fn in_use(report: &FindingsReport) -> Option<u64> {
    report.counted.iter().filter_map(|counted| counted.finding.in_use).max()
}

/// The alert that the findings of an earlier alert are fixed or accepted.
#[must_use]
pub fn scan_resolved(scan: &ScanAlert<'_>, report: &FindingsReport) -> Alert {
    let name = scan.name();
    let threshold = report.threshold;
    let accepted = match report.accepted.len() {
        0 => String::new(),
        1 => format!(" 1 finding at or above {threshold} is accepted."),
        count => format!(" {count} findings at or above {threshold} are accepted."),
    };
    let component = scan.scanned.component.as_ref();
    let text = format!(
        "The scan of {name} found no open finding at or above {threshold}.{accepted}\n\n\
         {WHY}an earlier alert reported findings in {}.\n\n\
         {WHAT_TO_DO}deploy this version. Older versions may still have the findings.",
        component.map_or_else(|| name.clone(), ToString::to_string),
    );
    let title = format!("{name} has no open findings any more");
    Alert {
        details: fit_details(MOST_DETAILED, |most| ScanDetails::fields(scan, report, &[], most)),
        ..scan.alert(AlertKind::ScanResolved, Severity::Informational, title, text)
    }
}

/// The reason of a failed scan.
#[derive(Clone, Copy, Debug)]
pub enum FailureReason<'a> {
    /// The description of ECR, if there is one.
    Described(Option<&'a str>),
    /// The reason could not be read: the error.
    Unreadable(&'a str),
}

impl FailureReason<'_> {
    /// Whether ECR does not support the image. Basic scanning reports that in the description
    /// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-troubleshooting.html>).
    #[must_use]
    pub fn is_unsupported(self, status: &str) -> bool {
        let Self::Described(description) = self else { return false };
        matches!(Advice::for_status(status, description.unwrap_or_default()), Advice::OtherBase)
    }
}

/// The alert about a failed scan, with the status and the reason.
#[must_use]
pub fn scan_failed(scan: &ScanAlert<'_>, status: &str, reason: FailureReason<'_>) -> Alert {
    let name = scan.name();
    let description = match reason {
        FailureReason::Described(description) => inert(description.unwrap_or_default(), 500),
        FailureReason::Unreadable(error) => {
            inert(&format!("the reason could not be read: {error}"), 500)
        }
    };
    let reason = match description.trim_end_matches('.') {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    let advice = Advice::for_status(status, &description);
    let cause = advice.cause().map(|cause| format!(" {cause}")).unwrap_or_default();
    let once = match (advice, &scan.scanned.component) {
        (Advice::OtherBase, Some(component)) => {
            format!(" Other versions in the same release line of {component} do not cause this alert again.")
        }
        (Advice::OtherBase, None) => {
            " Other images of this repository whose tags name no component do not cause this alert again.".to_owned()
        }
        _ => String::new(),
    };
    let text = format!(
        "The image {name} was not scanned, so its findings are unknown.\n\n\
         {WHY}the status of the scan is {status}{reason}.{cause}{once}\n\n{WHAT_TO_DO}{}",
        advice.next_step()
    );
    let again = Remedy::aws(SCAN_AGAIN, scan.aws("start-image-scan"));
    let About { region, repository, digest, .. } = scan.about;
    let restore = Remedy::tool(
        RESTORE_ARCHIVED_IMAGE,
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

/// The next step after a failed scan, by
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
    fn for_status(status: &str, description: &str) -> Self {
        match status {
            "UNSUPPORTED_IMAGE" => Self::OtherBase,
            "IMAGE_SIZE_EXCEEDED" => Self::Smaller,
            "IMAGE_ARCHIVED" => Self::Restore,
            "SCAN_ELIGIBILITY_EXPIRED" => Self::Extend,
            _ if description.to_lowercase().contains("unsupportedimage") => Self::OtherBase,
            _ => Self::Again,
        }
    }

    /// The cause of the status, where the status has one cause.
    fn cause(self) -> Option<&'static str> {
        match self {
            Self::OtherBase => Some(
                "ECR does not support the operating system or the package manager of the image.",
            ),
            Self::Smaller => Some("The image is larger than the limit of the scanner."),
            Self::Restore => Some("Images in the archive are not scanned."),
            Self::Extend => Some("Amazon Inspector no longer scans the image, because of its age."),
            Self::Again => None,
        }
    }

    fn next_step(self) -> &'static str {
        match self {
            Self::OtherBase => {
                "build the image on a supported base image, or turn on enhanced scanning, which \
                 supports more operating systems and package managers."
            }
            Self::Smaller => {
                "remove files that the image does not need, or scan the image in the pipeline that \
                 builds it."
            }
            Self::Restore => "nothing, or restore the image to scan it.",
            Self::Extend => {
                "push the image again, or increase the re-scan duration in the settings of Amazon \
                 Inspector."
            }
            Self::Again => {
                "scan the image again. If the scan fails again, check the scanning configuration of \
                 the registry."
            }
        }
    }
}

/// The event and the parameter of an alert about accepted risks.
#[derive(Clone, Debug)]
pub struct AlertOrigin<'a> {
    /// The account's twelve digits.
    pub account: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// The ID and the time of the event.
    pub source: &'a Source,
    /// The name of the parameter of accepted risks.
    pub parameter: &'a str,
}

impl AlertOrigin<'_> {
    pub(crate) fn alert(&self, kind: AlertKind, title: String, text: String, label: &str) -> Alert {
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
            owner: None,
            image: None,
            details: Map::new(),
            remedies: vec![Remedy::aws(label, edit_command(self.region, self.parameter))],
            runbook: None,
            policy: None,
            source: self.source.clone(),
        }
    }
}

/// The alert that the acceptance of a risk ends within a few days.
#[must_use]
pub fn risk_expiring(place: &AlertOrigin<'_>, risk: &AcceptedRisk) -> Alert {
    let AcceptedRisk { id, until, reason, owner, component } = risk;
    let within = component.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
    let details = json!({
        "id": id, "until": until, "reason": reason, "owner": owner, "component": component,
    });
    Alert {
        component: component.clone(),
        details: details.as_object().cloned().unwrap_or_default(),
        ..place.alert(
            AlertKind::RiskExpiring,
            format!("{id}{within} is accepted only until {until}"),
            format!(
                "The acceptance of {id}{within} ends after {until}. After that day, the next scan that \
                 finds {id} reports it.\n\n\
                 {WHY}{owner} accepted {id} until that day ({reason}).\n\n\
                 {WHAT_TO_DO}fix the finding, or enter a later day in the accepted risks."
            ),
            EDIT_RISKS,
        )
    }
}

/// The alert that the accepted risks cannot be read, with the error.
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
                "The parameter {} cannot be read, so no finding counts as accepted.\n\n\
                 {WHY}{why}.\n\n\
                 {WHAT_TO_DO}correct the parameter. Until then, this alert is sent once a day.",
                place.parameter
            ),
            EDIT_RISKS,
        )
    }
}

#[cfg(test)]
mod tests;
