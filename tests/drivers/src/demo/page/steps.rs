//! Every step in order, with the log lines and the AWS calls of the functions.

use maud::{Markup, html};
use serde_json::Value;

use super::super::inventory::short;
use super::super::story::{Part, Settings, Statement, Story};
use super::super::text::{self, shorten_digests};
use super::super::word;
use super::{anchor, wide};

/// An entry for each step.
pub fn render(story: &Story) -> Markup {
    let mut alerts = 0;
    html! {
        p {
            "The functions ran as processes, with the same code as in Lambda. A vertical line marks the "
            "log lines of a function."
        }
        ol.steps {
            @for scene in &story.scenes {
                li { div {
                    h3 { (scene.title) }
                    p { (scene.outcome) }
                    p.quiet { (scene.why) }
                    (resources(&scene.parts))
                    @for part in &scene.parts { (self::part(part, &mut alerts)) }
                } }
            }
        }
    }
}

/// The created resources, folded.
fn resources(parts: &[Part]) -> Markup {
    let made: Vec<(&String, &String, &Vec<String>)> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Resource { kind, physical_id, plans } => Some((kind, physical_id, plans)),
            _ => None,
        })
        .collect();
    if made.is_empty() {
        return Markup::default();
    }
    let table = html! {
        table.fixed.stack {
            thead { tr { th scope="col" { "Type" } th scope="col" { "Name" } } }
            tbody { @for (kind, id, _) in &made { tr { td { (kind) } td { code { (id) } } } } }
        }
    };
    html! {
        @for (kind, id, plans) in &made {
            @for plan in *plans {
                p.log { (kind) " " (id.rsplit('/').next().unwrap_or(id)) ": " (text::without_document(plan)) }
            }
        }
        details {
            summary { (made.len()) " resources" }
            (wide("The resources of the stack", &table))
        }
    }
}

fn part(part: &Part, alerts: &mut usize) -> Markup {
    match part {
        Part::Resource { .. } => Markup::default(),
        Part::Settings(found) => settings(found),
        Part::Policy { arn, statements } => policy(arn, statements),
        Part::Outputs { values } => {
            let table = html! {
                table.fixed.stack {
                    thead { tr { th scope="col" { "Output" } th scope="col" { "Value" } } }
                    tbody { @for (name, value) in values { tr {
                        th scope="row" { (name) } td { code { (value) } }
                    } } }
                }
            };
            html! { details {
                summary { (values.len()) " outputs" } (wide("The outputs of the stack", &table))
            } }
        }
        Part::Log { lines } => html! { @for line in lines { p.log { (line) } } },
        Part::Calls { operations, .. } => calls(operations),
        Part::Image { repository, digest, tags } => html! {
            p { "Image in " (repository) ": " code { (short(digest)) } ", tags: "
                @for tag in tags { code { (tag) } " " } }
        },
        Part::Accepted { risk } => html! { p { "Accepted risk: " code { (risk) } } },
        Part::Request { function, payload } => request(function, payload),
        Part::Plan { answer, .. } => html! { p { (text::plan_counts(answer)) "." } },
        Part::Explained { answer } => html! {
            p.log { (word(&answer["decision"])) ": " (shorten_digests(word(&answer["reason"]))) }
        },
        Part::Archived { repository, digests, as_planned } => html! {
            p { "Images in the archive of " (repository) ": " (digests.len())
                @if *as_planned { ", the ones that the plan named" } "." }
        },
        Part::Fact { text } => html! { p { (text) "." } },
        Part::Alert(alert) => {
            let to = anchor(*alerts);
            *alerts += 1;
            html! { p { "Alert: " a href={ "#" (to) } { (alert.field("title")) } } }
        }
        Part::NoAlert => html! { p { "No alert was sent." } },
    }
}

fn settings(found: &Settings) -> Markup {
    html! {
        p {
            code { (found.uri) } ": tags " (found.tag_mutability) ", encrypted with "
            (found.encrypted_with) @if found.scanned_on_push { ", scanned on push" } "."
        }
    }
}

fn policy(arn: &str, statements: &[Statement]) -> Markup {
    html! {
        p { "The push/pull policy " code { (arn) } ":" }
        @for statement in statements {
            p { (statement.effect) " " (statement.actions.join(", ")) " on "
                @for on in &statement.resources { code { (on) } " " } }
        }
    }
}

fn calls(operations: &[String]) -> Markup {
    html! {
        p.quiet {
            "AWS calls: "
            @if operations.is_empty() { "none" }
            @for (nth, (call, count)) in text::grouped_calls(operations).into_iter().enumerate() {
                @if nth > 0 { ", " }
                (call) @if count > 1 { " ×" (count) }
            }
            "."
        }
    }
}

fn request(function: &str, payload: &Value) -> Markup {
    html! { pre { "aws lambda invoke --function-name " (function) " --payload '" (payload) "'" } }
}
