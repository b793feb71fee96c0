//! The findings of each scan, compared with the version before.

use maud::{Markup, html};
use serde_json::Value;

use super::super::story::{Alert, Part, Story};
use super::super::word;
use super::{anchor, link, list, severity, wide};

const SEVERITIES: [(&str, &str); 5] = [
    ("CRITICAL", "Critical"),
    ("HIGH", "High"),
    ("MEDIUM", "Medium"),
    ("LOW", "Low"),
    ("INFORMATIONAL", "Info"),
];

/// A row for each scan, and then the findings of each scan.
pub fn render(story: &Story) -> Markup {
    let scans: Vec<(usize, &Alert)> = story
        .alerts()
        .enumerate()
        .filter(|(_, alert)| alert.field("kind").starts_with("scan-"))
        .collect();
    let accepted = story.parts().filter_map(|part| match part {
        Part::Accepted { risk } => Some(risk),
        _ => None,
    });
    let table = html! {
        table.matrix.stack {
            thead { tr {
                th scope="col" { "Scanned" }
                @for (_, title) in SEVERITIES { th.number scope="col" { (title) } }
                th.number scope="col" { "New" } th.number scope="col" { "Fixed" }
                th.number scope="col" { "Accepted" } th scope="col" { "Compared with" }
                th scope="col" { "Alert" }
            } }
            tbody { @for (nth, scan) in &scans { (row(*nth, scan)) } }
        }
    };
    html! {
        p {
            "The functions compare the findings of a scan with those of the version before. They report "
            "each new finding at or above the threshold once, unless the team has accepted the risk."
        }
        (wide("Scans by severity, against the version before", &table))
        @for risk in accepted {
            p {
                "The team accepted a risk: " (word(&risk["id"])) " in " (word(&risk["component"])) ", until "
                (word(&risk["until"])) " (" (word(&risk["reason"])) "; " (word(&risk["owner"])) ")."
            }
        }
        @for (_, scan) in scans { (found(scan)) }
    }
}

fn row(nth: usize, alert: &Alert) -> Markup {
    let details = &alert.json["details"];
    let tags: Vec<&str> = list(&alert.json["image"], "tags").iter().map(word).collect();
    let number = |label: &str, value: &Value| match value.as_u64() {
        Some(0) | None => html! { td.number data-label=(label) { span.quiet { "0" } } },
        Some(number) => html! { td.number data-label=(label) { (number) } },
    };
    let failed = alert.field("kind") == "scan-failed";
    html! {
        tr {
            th scope="row" { (tags.join(" ")) }
            @if failed {
                td colspan="8" { "unknown, because the scan ended with " (word(&details["status"])) }
            } @else {
                @for (name, title) in SEVERITIES { (number(title, &details["counts"][name])) }
                (number("New", &details["newTotal"])) (number("Fixed", &details["fixedTotal"]))
                (number("Accepted", &details["acceptedTotal"]))
            }
            td data-label=[(!failed).then_some("Compared with")] {
                @match details["baseline"]["tag"].as_str() {
                    Some(tag) => (tag),
                    None => span.quiet { @if failed { "" } @else { "no earlier version" } },
                }
            }
            td { a href={ "#" (anchor(nth)) } { (alert.field("kind")) } }
        }
    }
}

/// The findings of one scan.
fn found(alert: &Alert) -> Markup {
    let details = &alert.json["details"];
    let (findings, accepted) = (list(details, "findings"), list(details, "accepted"));
    if findings.is_empty() && accepted.is_empty() {
        return Markup::default();
    }
    let baseline = word(&details["baseline"]["tag"]);
    let table = html! {
        table.fixed.stack.found {
            thead { tr {
                th scope="col" { "Finding" } th scope="col" { "Severity" } th scope="col" { "Package" }
                th scope="col" { "Installed" } th scope="col" { "Fixed in" } th scope="col" { "State" }
            } }
            tbody {
                @for finding in findings {
                    tr {
                        th scope="row" { (link(word(&finding["url"]), word(&finding["id"]))) }
                        td { (severity(word(&finding["severity"]))) }
                        td { code { (word(&finding["package"])) } }
                        td data-label="Installed" { code { (word(&finding["installed"])) } }
                        td data-label="Fixed in" { (or_none(&finding["fixed"])) }
                        td {
                            @if finding["new"] == true { strong { "new" } } @else { "reported before" }
                            @if finding["exploitKnown"] == true { ", known exploit" }
                        }
                    }
                }
                @for finding in accepted {
                    tr {
                        th scope="row" { (word(&finding["id"])) }
                        td { (severity(word(&finding["severity"]))) }
                        td colspan="3" { (word(&finding["reason"])) "; " (word(&finding["owner"])) }
                        td { "accepted until " (word(&finding["until"])) }
                    }
                }
                @for id in list(details, "fixed") {
                    tr {
                        th scope="row" { (word(id)) }
                        td colspan="4" { span.quiet { "only " (baseline) " contains this vulnerability" } }
                        td { "fixed" }
                    }
                }
            }
        }
    };
    html! {
        h3 { (alert.field("title")) }
        @if let Some(number) = details["inUse"].as_u64() {
            p { (number) " tasks or pods run this image." }
        }
        (wide(alert.field("title"), &table))
    }
}

fn or_none(version: &Value) -> Markup {
    html! {
        @if let Some(version) = version.as_str() { code { (version) } }
        @else { span.quiet { "unknown" } }
    }
}
