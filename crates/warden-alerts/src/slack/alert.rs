//! The rendering of an alert of ECR Warden for Slack.

use serde::Deserialize as _;
use serde_json::Value;
use warden_core::image::Tag;
use warden_core::text::{is_hidden, one_line};

use super::console;
use super::layout::{LONGEST_SECTION, Layout, code_list};
use super::payload::Payload;
use super::text::{code, fitted, length, link};
use crate::{Alert, AlertKind, Baseline, FindingDetails, Remedy, ScanDetails};
use crate::{OR_AWS_CLI, WHAT_TO_DO, WHY};

/// The most findings in the list, and the most characters of the list. The remedies need room too.
const MOST_FINDINGS: usize = 10;
const LONGEST_LIST: usize = 5_000;
/// The most commands: a message has 50 blocks at most.
const MOST_REMEDIES: usize = 10;
/// The most characters of a name in a field.
const LONGEST_NAME: usize = 256;
/// The room that stays free for the number of omitted parts.
const RESERVE: usize = 200;

pub fn title(alert: &Alert) -> String {
    if one_line(&alert.title).is_empty() {
        format!("{}: {}", alert.severity, alert.kind)
    } else {
        format!("{}: {}", alert.severity, alert.title)
    }
}

pub fn render(alert: &Alert) -> Payload {
    let small_print = [
        format!("{}, {}", alert.account, alert.region),
        alert.kind.to_string(),
        format!("Event {} at {}", alert.source.id, alert.source.time),
    ];
    let mut layout = Layout::new(&title(alert), &small_print.map(Some));
    let scan = scan_details(alert);
    let scan = scan.as_ref();
    let image = image_url(alert);
    layout.add_fields(facts(alert, scan, image.as_deref()));
    let (first, lists) = alert.parts();
    let has_list = scan.is_some_and(|scan| !scan.findings.is_empty());
    // A message that lists the findings itself does not need the lists of the text.
    let is_shown = |paragraph: &&str| !(has_list && paragraph.contains("\n- "));
    let paragraphs = first.split("\n\n").filter(is_shown);
    let is_event =
        |paragraph: &&str| !paragraph.starts_with(WHY) && !paragraph.starts_with(WHAT_TO_DO);
    let (event, reason): (Vec<&str>, Vec<&str>) = paragraphs.partition(is_event);
    layout.add_text(&event.join("\n\n"));
    if let Some(scan) = scan {
        add_findings(&mut layout, scan, image.as_deref());
    }
    for paragraph in reason {
        layout.add_text(paragraph);
    }
    add_remedies(&mut layout, &alert.remedies);
    add_runbook(&mut layout, alert.runbook.as_deref());
    if !has_list {
        layout.add_text(lists);
    }
    layout.finish()
}

/// Adds the link to a runbook if there is room for it.
pub fn add_runbook(layout: &mut Layout, url: Option<&str>) {
    let Some(url) = url else { return };
    let page = url.rsplit('/').next().unwrap_or(url);
    let section = format!("Runbook: {}", link(Some(url), page, LONGEST_NAME));
    if length(&section) <= layout.left() {
        layout.add_section(section);
    }
}

/// The details of an alert about findings. Returns `None` where they do not deserialise: the text
/// of the alert lists the findings too.
fn scan_details(alert: &Alert) -> Option<ScanDetails> {
    let details = (alert.kind == AlertKind::ScanFindings).then(|| alert.details.clone())?;
    ScanDetails::deserialize(Value::Object(details)).ok()
}

fn image_url(alert: &Alert) -> Option<String> {
    let (repository, image) = (alert.repository.as_ref()?, alert.image.as_ref()?);
    console::image(&alert.region, &alert.account, repository.as_str(), image.digest.as_str())
}

fn facts(
    alert: &Alert,
    scan: Option<&ScanDetails>,
    image_url: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let name = |value: &str| code(value, LONGEST_NAME);
    facts.extend(alert.repository.iter().map(|value| ("Repository", name(value.as_str()))));
    facts.extend(alert.component.iter().map(|value| ("Component", name(value.as_str()))));
    if let Some(image) = &alert.image {
        let digest = image.digest.as_str();
        // Twelve digits identify an image. The link has the whole digest.
        let short = || digest.chars().take("sha256:".len() + 12).collect::<String>();
        facts.push(match image_url {
            Some(url) => ("Image", link(Some(url), &short(), LONGEST_NAME)),
            None => ("Image", name(digest)),
        });
        if !image.tags.is_empty() {
            let tags: Vec<String> = image.tags.iter().map(Tag::to_string).collect();
            facts.push(("Tags", code_list(&tags, 5, 140)));
        }
    }
    let Some(scan) = scan else { return facts };
    if scan.counts.total() > 0 {
        let more =
            if scan.is_complete { "" } else { ", and maybe more, because not all could be read" };
        facts.push(("Findings", format!("{}{more}", scan.counts)));
    }
    facts.push(("Threshold", code(&scan.threshold.to_string(), 40)));
    // Without a baseline every finding is new.
    if let Some(Baseline { digest, tag }) = &scan.baseline {
        let baseline = tag.as_ref().map_or(digest.as_str(), Tag::as_str);
        let changes = format!("{} new, {} fixed", scan.new_total, scan.fixed_total);
        facts.push(("Compared with", format!("{}: {changes}", name(baseline))));
    }
    if scan.accepted_total > 0 {
        facts.push(("Accepted", scan.accepted_total.to_string()));
    }
    facts.extend(scan.in_use.map(|count| {
        (
            "In use",
            if count == 1 { "1 task or pod".to_owned() } else { format!("{count} tasks or pods") },
        )
    }));
    facts
}

/// Adds the findings for which there is room, and the number of the other findings.
fn add_findings(layout: &mut Layout, scan: &ScanDetails, image_url: Option<&str>) {
    if scan.findings.is_empty() {
        return;
    }
    // Without a baseline every finding is new, so the word has no meaning.
    let all_are_new = scan.baseline.is_none() && scan.findings.iter().all(|finding| finding.is_new);
    let mut sections = vec!["*Findings*".to_owned()];
    let (mut shown, mut used) = (0, RESERVE);
    for finding in scan.findings.iter().take(MOST_FINDINGS) {
        let line = finding_line(finding, !all_are_new);
        used += length(&line) + 1;
        if used > LONGEST_LIST.min(layout.left()) {
            break;
        }
        shown += 1;
        append(&mut sections, &line);
    }
    let more = scan.findings_total.max(scan.findings.len()) - shown;
    if more > 0 {
        let limit = LONGEST_LIST.min(layout.left());
        let all = image_url.filter(|url| used + length(url) + 40 <= limit);
        append(
            &mut sections,
            &match all {
                Some(_) => format!("and {more} more: {}", link(all, "all findings", 40)),
                None => format!("and {more} more"),
            },
        );
    }
    for section in sections {
        layout.add_section(section);
    }
}

/// Adds a line to the last section, or begins another section where the last one has no room.
fn append(sections: &mut Vec<String>, line: &str) {
    match sections.last_mut() {
        Some(last) if length(last) + length(line) < LONGEST_SECTION => {
            last.push('\n');
            last.push_str(line);
        }
        _ => sections.push(line.to_owned()),
    }
}

/// A finding as one line.
fn finding_line(finding: &FindingDetails, marks_new: bool) -> String {
    let id = link(finding.url.as_deref(), &finding.id, 100);
    let mut line = format!("• *{}* {id}", finding.severity);
    if let Some(package) = &finding.package {
        line += &format!(" in {}", code(package, 100));
        if let Some(installed) = &finding.installed {
            line += &format!(" {}", code(installed, 60));
        }
    }
    let mut remarks = Vec::new();
    remarks.extend(finding.fixed.iter().map(|fixed| format!("fixed in {}", code(fixed, 60))));
    if finding.exploit_known == Some(true) {
        remarks.push("an exploit is known".to_owned());
    }
    let epss = finding.epss.filter(|epss| (0.0..=1.0).contains(epss));
    remarks.extend(epss.map(|epss| format!("EPSS {:.1} %", epss * 100.0)));
    if finding.is_new && marks_new {
        remarks.push("new".to_owned());
    }
    if remarks.is_empty() { line } else { format!("{line}: {}", remarks.join(", ")) }
}

/// Adds the commands for which there is room, each as a whole, and the number of omitted ones.
pub fn add_remedies(layout: &mut Layout, remedies: &[Remedy]) {
    let mut omitted = remedies.len().saturating_sub(MOST_REMEDIES);
    for Remedy { label, command, aws_cli } in remedies.iter().take(MOST_REMEDIES) {
        let label = fitted(&one_line(label).replace('`', "'"), 300);
        let label = if label.is_empty() { "Command" } else { &label };
        let is_added = add_command(layout, label, command);
        omitted += usize::from(!is_added);
        // If only one command fits, the e-mail has the command of the AWS CLI.
        if is_added && let Some(command) = aws_cli {
            add_command(layout, OR_AWS_CLI, command);
        }
    }
    if omitted > 0 && layout.left() >= RESERVE {
        let remedies =
            if omitted == 1 { "1 remedy does" } else { &format!("{omitted} remedies do") };
        layout.add_section(format!(
            "{remedies} not fit into this message. The e-mail of this alert has all remedies."
        ));
    }
}

/// Adds a command if there is room for it and a reader sees all of it.
fn add_command(layout: &mut Layout, label: &str, command: &str) -> bool {
    // A reader would copy another command than the visible one.
    let is_seen = !command.contains(|c| c != '\n' && is_hidden(c))
        && !command.contains("```")
        && !command.trim().is_empty();
    let command = fitted(command.trim_matches('\n'), usize::MAX);
    let section = format!("{label}:\n```\n{command}\n```");
    let room = LONGEST_SECTION.min(layout.left().saturating_sub(RESERVE));
    let is_added = is_seen && length(&section) <= room;
    if is_added {
        layout.add_section(section);
    }
    is_added
}
