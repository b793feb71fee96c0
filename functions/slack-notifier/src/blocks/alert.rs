//! An alert of ECR Warden as Slack shows it.

use super::{LONGEST_SECTION, Layout, console, some};
use crate::message::{Alert, Finding, Remedy, Scan};
use crate::payload::Payload;
use crate::text::{code, fitted, length, link};
use warden_core::text::{is_hidden, one_line};

/// The most findings that are listed, and the most characters of the list: what can be done
/// about them needs room too.
const MOST_FINDINGS: usize = 10;
const LONGEST_LIST: usize = 5_000;
/// The most commands: a message has 50 blocks at most.
const MOST_REMEDIES: usize = 10;
/// The most characters of a name among the facts.
const LONGEST_NAME: usize = 256;
/// What is kept free for saying how much is left out.
const RESERVE: usize = 200;

/// The severities in their order; others come after.
const SEVERITIES: [&str; 7] =
    ["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNTRIAGED", "UNDEFINED"];

pub fn title(alert: &Alert) -> String {
    let title = if one_line(&alert.title).is_empty() { &alert.kind } else { &alert.title };
    match alert.severity.as_deref().map(word).filter(|word| !word.is_empty()) {
        Some(severity) => format!("{severity}: {title}"),
        None => title.clone(),
    }
}

pub fn render(alert: &Alert) -> Payload {
    let place: Vec<String> =
        [&alert.account, &alert.region].into_iter().flatten().cloned().collect();
    let event = match (&alert.event, &alert.time) {
        (Some(id), Some(time)) => Some(format!("Event {id} at {time}")),
        (Some(id), None) => Some(format!("Event {id}")),
        (None, time) => time.clone(),
    };
    let print = [Some(place.join(", ")), Some(alert.kind.clone()), event];
    let mut layout = Layout::new(&title(alert), &print);
    layout.beside_title(text(alert));
    let image = image_url(alert);
    layout.fields(facts(alert, image.as_deref()));
    if let Some(scan) = &alert.scan {
        list(&mut layout, scan, image.as_deref());
    }
    remedies(&mut layout, &alert.remedies);
    layout.done()
}

/// The sentences. What follows them in an alert of findings are these as text, which are
/// listed here in their own way.
fn text(alert: &Alert) -> &str {
    let lists = alert.scan.as_ref().is_some_and(|scan| !scan.findings.is_empty());
    match alert.text.split_once("\n\n") {
        Some((sentences, _)) if lists => sentences,
        _ => &alert.text,
    }
}

fn image_url(alert: &Alert) -> Option<String> {
    let Alert { region, account, repository, digest, .. } = alert;
    let (region, account) = (region.as_deref()?, account.as_deref()?);
    console::image(region, account, repository.as_deref()?, digest.as_deref()?)
}

fn facts(alert: &Alert, image: Option<&str>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let name = |value: &String| code(value, LONGEST_NAME);
    facts.extend(alert.repository.iter().map(|value| ("Repository", name(value))));
    facts.extend(alert.component.iter().map(|value| ("Component", name(value))));
    // Twelve digits tell images apart; the link has all of it.
    let short = |digest: &String| digest.chars().take("sha256:".len() + 12).collect::<String>();
    facts.extend(alert.digest.iter().map(|digest| match image {
        Some(url) => ("Image", link(Some(url), &short(digest), LONGEST_NAME)),
        None => ("Image", name(digest)),
    }));
    if !alert.tags.is_empty() {
        facts.push(("Tags", some(&alert.tags, 5, 140)));
    }
    let Some(scan) = &alert.scan else { return facts };
    if !scan.counts.is_empty() {
        facts.push(("Findings", counts(scan)));
    }
    facts.extend(scan.threshold.iter().map(|it| ("Threshold", code(it, 40))));
    let changes: Vec<String> = [(scan.new, "new"), (scan.fixed, "fixed")]
        .into_iter()
        .filter_map(|(count, what)| Some(format!("{} {what}", count?)))
        .collect();
    match (&scan.baseline, changes.is_empty()) {
        (Some(baseline), true) => facts.push(("Compared with", name(baseline))),
        (Some(baseline), false) => {
            facts.push(("Compared with", format!("{}: {}", name(baseline), changes.join(", "))));
        }
        // Against nothing, all is new.
        (None, _) => {}
    }
    let number = |count: u64| count.to_string();
    facts.extend(scan.accepted.filter(|count| *count > 0).map(|it| ("Accepted", number(it))));
    facts.extend(scan.in_use.map(|it| {
        ("In use", if it == 1 { "in 1 place".to_owned() } else { format!("in {it} places") })
    }));
    facts
}

fn counts(scan: &Scan) -> String {
    let rank = |of: &str| SEVERITIES.iter().position(|it| *it == of).unwrap_or(SEVERITIES.len());
    let mut counts: Vec<(String, u64)> = scan
        .counts
        .iter()
        .map(|(of, count)| (word(of), *count))
        .filter(|(of, _)| !of.is_empty())
        .collect();
    counts.sort_by_key(|(of, _)| rank(of));
    let counts: Vec<String> = counts
        .iter()
        .take(SEVERITIES.len() + 3)
        .map(|(of, count)| format!("{count} {of}"))
        .collect();
    let and = if scan.is_complete { "" } else { ", and maybe more: not all could be read" };
    format!("{}{and}", counts.join(", "))
}

/// The findings that there is room for, and how many more there are.
fn list(layout: &mut Layout, scan: &Scan, image: Option<&str>) {
    if scan.findings.is_empty() {
        return;
    }
    // Where nothing was known before, that they are new says nothing.
    let all_are_new = scan.baseline.is_none() && scan.findings.iter().all(|it| it.is_new);
    let mut sections = vec!["*Findings*".to_owned()];
    let (mut shown, mut used) = (0, RESERVE);
    for finding in scan.findings.iter().take(MOST_FINDINGS) {
        let line = described(finding, !all_are_new);
        used += length(&line) + 1;
        if used > LONGEST_LIST.min(layout.left) {
            break;
        }
        shown += 1;
        append(&mut sections, &line);
    }
    let listed = u64::try_from(scan.findings.len()).unwrap_or(u64::MAX);
    let more = scan.total.unwrap_or(0).max(listed) - shown;
    if more > 0 {
        let all = image.filter(|url| used + length(url) + 40 <= LONGEST_LIST.min(layout.left));
        append(
            &mut sections,
            &match all {
                Some(_) => format!("and {more} more: {}", link(all, "all of them", 40)),
                None => format!("and {more} more"),
            },
        );
    }
    for section in sections {
        layout.section(section);
    }
}

/// Adds a line to the last of the sections, or begins another one where it has no room.
fn append(sections: &mut Vec<String>, line: &str) {
    match sections.last_mut() {
        Some(last) if length(last) + length(line) < LONGEST_SECTION => {
            last.push('\n');
            last.push_str(line);
        }
        _ => sections.push(line.to_owned()),
    }
}

/// A finding in a line, with whether it is new where that is to be told.
fn described(finding: &Finding, tells_new: bool) -> String {
    let mut text = "•".to_owned();
    if let Some(severity) = finding.severity.as_deref().map(word).filter(|it| !it.is_empty()) {
        text += &format!(" *{severity}*");
    }
    text += &format!(" {}", link(finding.url.as_deref(), &finding.id, 100));
    if let Some(package) = &finding.package {
        text += &format!(" in {}", code(package, 100));
        text +=
            &finding.installed.iter().map(|it| format!(" {}", code(it, 60))).collect::<String>();
    }
    let mut said = Vec::new();
    said.extend(finding.fixed.iter().map(|it| format!("fixed in {}", code(it, 60))));
    if finding.is_exploited {
        said.push("an exploit is known".to_owned());
    }
    let epss = finding.epss.filter(|epss| (0.0..=1.0).contains(epss));
    said.extend(epss.map(|epss| format!("EPSS {:.1} %", epss * 100.0)));
    if finding.is_new && tells_new {
        said.push("new".to_owned());
    }
    if said.is_empty() { text } else { format!("{text}: {}", said.join(", ")) }
}

/// The commands that there is room for, each as a whole, and how many are left out.
fn remedies(layout: &mut Layout, remedies: &[Remedy]) {
    let mut left_out = remedies.len().saturating_sub(MOST_REMEDIES);
    for Remedy { label, command } in remedies.iter().take(MOST_REMEDIES) {
        // Another command than the one that is seen would be worse than none.
        let is_seen = !command.contains(|c| c != '\n' && is_hidden(c))
            && !command.contains("```")
            && !command.trim().is_empty();
        let label = fitted(&one_line(label).replace('`', "'"), 300);
        let label = if label.is_empty() { "Command" } else { &label };
        // With room for all of it, nothing of it is cut off.
        let command = fitted(command.trim_matches('\n'), usize::MAX);
        let section = format!("{label}:\n```\n{command}\n```");
        let room = LONGEST_SECTION.min(layout.left.saturating_sub(RESERVE));
        if is_seen && length(&section) <= room {
            layout.section(section);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 && layout.left >= RESERVE {
        let what = if left_out == 1 { "1 remedy does" } else { &format!("{left_out} remedies do") };
        layout
            .section(format!("{what} not fit in here; the e-mail of this alert has all of them."));
    }
}

/// A word in capitals, in which nothing means anything.
fn word(text: &str) -> String {
    let letters = text.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-');
    letters.take(40).collect::<String>().to_ascii_uppercase()
}
