//! What was cleaned up, what stays, and why.

use maud::{Markup, html};
use serde_json::Value;

use super::super::story::{Alert, Part, Story};
use super::super::text::{self, short_digests};
use super::super::{word, words};
use super::{anchor, first_line, list, wide};

/// How many images are shown at once.
const SHOWN: usize = 10;

/// The plan that was read first, and then what each run told.
pub fn of(story: &Story) -> Markup {
    let plan = story.parts().find_map(|part| match part {
        Part::Plan { answer, whole: true } => Some(answer),
        _ => None,
    });
    let explained = story.parts().find_map(|part| match part {
        Part::Explained { answer } => Some(answer),
        _ => None,
    });
    let runs = story.alerts().enumerate().filter(|(_, it)| it.field("kind") == "cleanup");
    html! {
        p {
            "Rules only say what to keep: an image goes when each of them was asked and none keeps it. "
            "What goes is first in ECR’s archive, from where it can be restored for 90 days."
        }
        @if let Some(plan) = plan { (planned(plan)) }
        @if let Some(one) = explained {
            p {
                "Asked why " code { (words(&one["tags"]).join(" ")) } " is still there, the function says: "
                strong { (word(&one["decision"])) } ", " (word(&one["reason"])) "."
            }
        }
        @for (nth, run) in runs { (told(nth, run)) }
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
        h3 { "The plan for " (repository) ", read before anything went" }
        p { (text::counts(plan)) "." }
        (wide(&format!("The plan for {repository}"), &table))
    }
}

fn told(nth: usize, alert: &Alert) -> Markup {
    let details = &alert.json["details"];
    let stopped = !details["stopped"].is_null();
    let images = list(details, "images");
    let (first, rest) = images.split_at(images.len().min(SHOWN));
    let table = |images: &[Value]| {
        html! {
            table.fixed.stack.decisions {
                thead { tr {
                    th scope="col" { "Image" }
                    th scope="col" { @if stopped { "Would be" } @else { "Decision" } }
                    th scope="col" { "Why" }
                } }
                tbody { @for image in images { tr {
                    th scope="row" { (name(image)) }
                    td { (decided(word(&image["decision"]))) }
                    td.why { (short_digests(word(&image["reason"]))) }
                } } }
            }
        }
    };
    let title = alert.field("title");
    html! {
        h3 { (title) }
        p { (first_line(alert)) " " a href={ "#" (anchor(nth)) } { "The alert" } }
        (wide(title, &table(first)))
        @if !rest.is_empty() {
            details.more {
                summary { (rest.len()) " more" }
                (wide(&format!("{title}, the rest"), &table(rest)))
            }
        }
    }
}

fn name(image: &Value) -> String {
    let tags: Vec<&str> = list(image, "tags").iter().map(word).collect();
    let name = if tags.is_empty() { word(&image["digest"]).to_owned() } else { tags.join(" ") };
    short_digests(&name)
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
