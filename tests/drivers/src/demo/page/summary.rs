//! The top of the page, for a reader who does not know ECR Warden: what would have happened
//! without it, what happened, and how to undo it.

use maud::{Markup, html};

use super::super::deployment::{FORBIDDEN_TAGS, PROTECTED_TAGS};
use super::super::inventory::{Image, Status};
use super::super::story::{Alert, Part, Story};
use super::super::text::shorten_digests;
use super::super::{counted, word};
use super::{anchor, list, moment, size, wide};

/// A situation of the run.
struct Row {
    situation: Markup,
    without: &'static str,
    with: Markup,
    undo: Markup,
}

/// The title, the numbers and the table.
pub fn render(story: &Story) -> Markup {
    let rows = [
        quarantined(story),
        reported(story),
        findings(story),
        removed(story),
        stopped(story),
        changed_setting(story),
    ];
    let table = html! {
        table.fixed.stack.summary {
            thead { tr {
                th scope="col" { "What went wrong" } th scope="col" { "Without ECR Warden" }
                th scope="col" { "What ECR Warden did" } th scope="col" { "How to undo it" }
            } }
            tbody { @for row in rows.into_iter().flatten() { tr {
                th scope="row" { (row.situation) }
                td.why data-label="Without ECR Warden" { (row.without) }
                td.why data-label="What ECR Warden did" { (row.with) }
                td.why data-label="How to undo it" { (row.undo) }
            } } }
        }
    };
    html! {
        h1 { "ECR Warden: one run of the demonstration" }
        p {
            "ECR Warden guards the container images in Amazon ECR. It checks the tag of each push, "
            "reports each new vulnerability once, and removes images that nobody needs. It sends an alert "
            "for each change, with the reason and with the command that undoes the change. Only the "
            "deletion of an untagged image cannot be undone."
        }
        (wide("What went wrong, what ECR Warden did, and how to undo it", &table))
        (numbers(story))
        p.quiet {
            "ECR Warden ran on an embedded AWS, and no AWS account was used (account " (story.account) ", "
            (story.region) ", " time datetime=(story.began) { (moment(&story.began)) } "). The demonstration "
            "created the older images with dates in the past."
        }
        p.quiet {
            "The policy of the demonstration has two settings that the default policy does not have: it forbids "
            "the tags " code { (FORBIDDEN_TAGS) } " in infrastructure (" code { "Forbidden" } "), and the cleanup "
            "keeps the tags " code { (PROTECTED_TAGS) } " (" code { "ProtectTags" } ")."
        }
    }
}

fn numbers(story: &Story) -> Markup {
    let is_push = |part: &&Part| matches!(part, Part::Image { .. });
    let numbers = [
        (story.parts().filter(is_push).count() as u64, "pushes checked"),
        (total(story, "scan-findings", "newTotal"), "new vulnerabilities reported"),
        (total(story, "cleanup", "removed"), "images archived or deleted"),
        (remaining(story), "images that stay, each with a reason"),
        (story.alerts().count() as u64, "alerts"),
    ];
    html! {
        dl.numbers {
            @for (number, what) in numbers { div { dt { (what) } dd { (number) } } }
        }
    }
}

/// The sum of a number in the details of all alerts of a kind.
fn total(story: &Story, kind: &str, name: &str) -> u64 {
    let alerts = story.alerts().filter(|alert| alert.field("kind") == kind);
    alerts.filter_map(|alert| alert.json["details"][name].as_u64()).sum()
}

/// The number of images that are not archived.
fn remaining(story: &Story) -> u64 {
    let components = story.repositories.iter().flat_map(|repository| &repository.components);
    let images = components.flat_map(|component| &component.images);
    images.filter(|image: &&Image| image.status != Status::Archived).count() as u64
}

/// The alerts that fulfil a condition, each with its position.
fn matching<'s>(
    story: &'s Story,
    condition: impl Fn(&Alert) -> bool + 's,
) -> Vec<(usize, &'s Alert)> {
    story.alerts().enumerate().filter(|(_, alert)| condition(alert)).collect()
}

/// Links to alerts.
fn links(alerts: &[(usize, &Alert)]) -> Markup {
    html! {
        @for (position, (nth, _)) in alerts.iter().enumerate() {
            " " a href={ "#" (anchor(*nth)) } {
                @if alerts.len() == 1 { "Read the alert" } @else { "Alert " (position + 1) }
            }
        }
    }
}

/// The tags or repositories of alerts, as a sentence lists them.
fn subjects(alerts: &[(usize, &Alert)]) -> Markup {
    html! {
        @for (position, (_, alert)) in alerts.iter().enumerate() {
            @if position > 0 { " and " }
            code {
                (alert.field("repository"))
                @if let Some(tag) = alert.json["details"]["tag"].as_str() { ":" (tag) }
            }
        }
    }
}

/// The first remedy of an alert.
fn remedy(alert: &Alert) -> Markup {
    let remedy = list(&alert.json, "remedies").first();
    html! {
        @if let Some(remedy) = remedy { code { (shorten_digests(word(&remedy["command"]))) } }
        @else { "Correct the tag and push the image again." }
    }
}

fn quarantined(story: &Story) -> Option<Row> {
    let alerts = matching(story, |alert| alert.action() == "quarantined");
    let (_, first) = alerts.first()?;
    Some(Row {
        situation: html! { "A pipeline pushed bad tags: " (subjects(&alerts)) },
        without: "ECR accepts any tag. The image is deployed under a name that breaks the naming rule.",
        with: html! {
            "It quarantined " (counted(alerts.len() as u64, "image"))
            ": it replaced the bad tag by a quarantine tag. The image can still be pulled by the "
            "quarantine tag and by its digest." (links(&alerts))
        },
        undo: html! { "The alert contains the command: " (remedy(first)) },
    })
}

fn reported(story: &Story) -> Option<Row> {
    let reports = ["report", "repository-violation"];
    let alerts = matching(story, |alert| reports.contains(&alert.action()));
    alerts.first()?;
    Some(Row {
        situation: html! { "Pushes where the policy only reports" },
        without: "ECR alerts nobody to a bad tag or an unknown repository.",
        with: html! { "It sent one alert about the repository and one digest of the bad tags, and changed nothing." (links(&alerts)) },
        undo: html! { "There is nothing to undo." },
    })
}

fn findings(story: &Story) -> Option<Row> {
    let of_kind = |kind: &'static str| matching(story, move |alert| alert.field("kind") == kind);
    let alerts = of_kind("scan-findings");
    alerts.first()?;
    let (resolved, failed) = (of_kind("scan-resolved").len(), of_kind("scan-failed").len());
    let accepted = total(story, "scan-findings", "acceptedTotal");
    Some(Row {
        situation: html! { "Scans found vulnerabilities in " (alerts.len()) " images" },
        without: "ECR stores the findings of each scan. It compares no versions and alerts no person.",
        with: html! {
            "It compared each scan with the version before and reported "
            (total(story, "scan-findings", "newTotal")) " new vulnerabilities, each once. The team had accepted "
            (counted(accepted, "other finding")) ", which was not reported. It also reported "
            (resolved) " clean and " (counted(failed as u64, "failed scan")) "." (links(&alerts[..1]))
        },
        undo: html! { "No image was changed. The team can accept a vulnerability until a date." },
    })
}

fn removed(story: &Story) -> Option<Row> {
    let alerts = matching(story, |alert| {
        alert.field("kind") == "cleanup" && alert.json["details"]["stopped"].is_null()
    });
    let archived = |(_, alert): &&(usize, &Alert)| !list(&alert.json, "remedies").is_empty();
    let (_, smallest) =
        alerts.iter().filter(archived).min_by_key(|(_, alert)| remedy_length(alert))?;
    let bytes = alerts.iter().filter_map(|(_, alert)| alert.json["details"]["bytes"].as_u64());
    let deleted = alerts.iter().flat_map(|(_, alert)| list(&alert.json["details"], "images"));
    let deleted = deleted.filter(|image| image["decision"] == "delete").count() as u64;
    let removed = total(story, "cleanup", "removed");
    Some(Row {
        situation: html! { (removed) " images were no longer needed" },
        without: "Old images stay and cost storage, or an ECR lifecycle rule expires them. A lifecycle \
                  rule does not know which images run, and its count can span several components.",
        with: html! {
            "It archived " (counted(removed - deleted, "image")) " and deleted " (counted(deleted, "untagged image")) ", together "
            (size(bytes.sum())) ". Each kept and each removed image has a reason." (links(&alerts[..1]))
        },
        undo: html! {
            "A command restores an archived image within 90 days. A deleted image cannot be restored. " (remedy(smallest))
        },
    })
}

/// The length of the first remedy's command: a command that names one image fits the table.
fn remedy_length(alert: &Alert) -> usize {
    list(&alert.json, "remedies").first().map_or(0, |remedy| word(&remedy["command"]).len())
}

fn stopped(story: &Story) -> Option<Row> {
    let alerts = matching(story, |alert| !alert.json["details"]["stopped"].is_null());
    let (_, alert) = alerts.first()?;
    let images = alert.json["details"]["imagesTotal"].as_u64().unwrap_or_default();
    Some(Row {
        situation: html! { "A sweep was about to remove " (counted(images, "image")) " at once" },
        without: "ECR carries out a lifecycle rule within a day and asks nobody, however many images expire.",
        with: html! {
            "It removed nothing, because the plan exceeded the limit. After an operator had confirmed the "
            "plan by its hash, the next sweep carried the plan out." (links(&alerts))
        },
        undo: html! { "Before the confirmation, there is nothing to undo. Afterwards, restore the images as above." },
    })
}

fn changed_setting(story: &Story) -> Option<Row> {
    let alerts = matching(story, |alert| {
        list(&alert.json["details"], "deviations")
            .iter()
            .any(|deviation| deviation["rule"] == "drift")
    });
    let (_, alert) = alerts.first()?;
    Some(Row {
        situation: html! { "Somebody made the tags of " code { (alert.field("repository")) } " mutable by hand" },
        without: "Anybody who may push can overwrite a released tag, and ECR alerts nobody.",
        with: html! { "The next sweep reported the difference and changed nothing." (links(&alerts)) },
        undo: html! {
            "Undo the change itself: "
            code {
                "aws ecr put-image-tag-mutability --repository-name " (alert.field("repository"))
                " --image-tag-mutability IMMUTABLE"
            }
        },
    })
}
