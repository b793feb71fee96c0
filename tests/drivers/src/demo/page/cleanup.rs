//! The removed images and the kept images, each with its reason.

use maud::{Markup, html};
use serde_json::Value;

use super::super::story::{Alert, Part, Story};
use super::super::text::{self, shorten_digests};
use super::super::{word, words};
use super::{anchor, first_line, list, wide};

/// The number of images that are not folded.
const SHOWN: usize = 10;

/// The plan that an operator read, and then the alert of each sweep.
pub fn render(story: &Story) -> Markup {
    let plan = story.parts().find_map(|part| match part {
        Part::Plan { answer, whole: true } => Some(answer),
        _ => None,
    });
    let explained = story.parts().find_map(|part| match part {
        Part::Explained { answer } => Some(answer),
        _ => None,
    });
    let is_cleanup = |alert: &Alert| alert.field("kind") == "cleanup";
    let sweeps = story.alerts().enumerate().filter(|(_, alert)| is_cleanup(alert));
    html! {
        p {
            "A sweep removes an image only when no rule keeps the image. It archives tagged images. "
            "ECR’s archive can restore an image for 90 days. It deletes untagged images."
        }
        @if let Some(plan) = plan { (planned(plan)) }
        @if let Some(answer) = explained {
            p {
                "The function explains its decision about " code { (words(&answer["tags"]).join(" ")) } ": "
                strong { (word(&answer["decision"])) } ", because " (word(&answer["reason"])) "."
            }
        }
        @for (nth, sweep) in sweeps { (swept(nth, sweep)) }
    }
}

fn planned(plan: &Value) -> Markup {
    let repository = word(&plan["repository"]);
    let table = html! {
        table.fixed.stack.decisions {
            thead { tr {
                th scope="col" { "Image" } th scope="col" { "Decision" } th scope="col" { "Why" }
            } }
            tbody { @for [image, decision, reason] in text::rows(plan) {
                tr { th scope="row" { (image) } td { (decided(&decision)) } td.why { (reason) } }
            } }
        }
    };
    html! {
        h3 { "The plan for " (repository) ", before the first sweep" }
        p { (text::plan_counts(plan)) "." }
        (wide(&format!("The plan for {repository}"), &table))
    }
}

fn swept(nth: usize, alert: &Alert) -> Markup {
    let details = &alert.json["details"];
    let stopped = !details["stopped"].is_null();
    let images = list(details, "images");
    let (first, rest) = images.split_at(images.len().min(SHOWN));
    let table = |images: &[Value]| {
        html! {
            table.fixed.stack.decisions {
                thead { tr {
                    th scope="col" { "Image" }
                    th scope="col" { @if stopped { "Planned" } @else { "Decision" } }
                    th scope="col" { "Why" }
                } }
                tbody { @for image in images { tr {
                    th scope="row" { (name(image)) }
                    td { (decided(word(&image["decision"]))) }
                    td.why { (shorten_digests(word(&image["reason"]))) }
                } } }
            }
        }
    };
    let title = alert.field("title");
    html! {
        h3 { (title) }
        p { (first_line(alert)) " " a href={ "#" (anchor(nth)) } { "Read the alert" } }
        (wide(title, &table(first)))
        @if !rest.is_empty() {
            details.more {
                summary { "Show " (rest.len()) " more" }
                (wide(&format!("{title}, the rest"), &table(rest)))
            }
        }
    }
}

fn name(image: &Value) -> String {
    let tags: Vec<&str> = list(image, "tags").iter().map(word).collect();
    let name = if tags.is_empty() { word(&image["digest"]).to_owned() } else { tags.join(" ") };
    shorten_digests(&name)
}

fn decided(decision: &str) -> Markup {
    let (colour, mark) = match decision {
        "keep" => ("good", "●"),
        "archive" => ("cold", "▣"),
        "delete" => ("grave", "✕"),
        _ => ("warn", "◆"),
    };
    html! { span class={ "mark " (colour) } { span aria-hidden="true" { (mark) } (decision) } }
}
