//! A message as Slack shows it: its blocks and the markup in them.
//!
//! <https://docs.slack.dev/messaging/formatting-message-text>

use maud::{Markup, html};
use serde_json::Value;

use super::super::word;
use super::{link, list};

/// A message in a channel.
pub fn render(message: &Value) -> Markup {
    html! {
        figure.slack {
            figcaption { "Slack" }
            div.body {
                div.face aria-hidden="true" { "EW" }
                div {
                    p.who { strong { "ECR Warden" } " " small { "App" } }
                    @for block in list(message, "blocks") { (self::block(block)) }
                    @if list(message, "blocks").is_empty() {
                        div.text { (formatted(word(&message["text"]))) }
                    }
                }
            }
        }
    }
}

fn block(block: &Value) -> Markup {
    match word(&block["type"]) {
        "header" => html! { p.title { (text(&block["text"])) } },
        "divider" => html! { hr; },
        "context" => {
            let elements: Vec<&str> =
                list(block, "elements").iter().map(|element| word(&element["text"])).collect();
            html! { p.small { (elements.join(" · ")) } }
        }
        _ => html! {
            @if !block["text"].is_null() { div.text { (text(&block["text"])) } }
            @if !list(block, "fields").is_empty() {
                div.fields { @for field in list(block, "fields") { div.text { (text(field)) } } }
            }
        },
    }
}

/// A text object: with markup where its type is `mrkdwn`.
fn text(object: &Value) -> Markup {
    let written = word(&object["text"]);
    if object["type"] == "mrkdwn" {
        formatted(written)
    } else {
        html! { (written) }
    }
}

/// Formats a text: the text between two fences is a block of code, and the text between two
/// backticks is inline code.
fn formatted(text: &str) -> Markup {
    html! {
        @for (nth, part) in text.split("```").enumerate() {
            @if nth % 2 == 1 {
                pre { (unescaped(part.trim_matches('\n'))) }
            } @else {
                @for (nth, piece) in part.trim_end_matches('\n').split('`').enumerate() {
                    @if nth % 2 == 1 { code { (unescaped(piece)) } } @else { (bold(piece)) }
                }
            }
        }
    }
}

/// Formats the text between two asterisks of one line as bold.
fn bold(text: &str) -> Markup {
    let Some((before, rest)) = text.split_once('*') else { return linked(text) };
    match rest.split_once('*') {
        Some((inside, after)) if !inside.is_empty() && !inside.contains('\n') => html! {
            (linked(before)) strong { (linked(inside)) } (bold(after))
        },
        _ => html! { (linked(before)) "*" (bold(rest)) },
    }
}

/// Formats `<https://…|text>` as a link.
fn linked(text: &str) -> Markup {
    let found = text.split_once('<').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('>')?;
        let (address, shown) = inside.split_once('|')?;
        Some((before, address, shown, after))
    });
    html! {
        @if let Some((before, address, shown, after)) = found {
            (unescaped(before)) (link(&unescaped(address), &unescaped(shown))) (linked(after))
        } @else { (unescaped(text)) }
    }
}

/// The text without the three escapes of Slack. maud escapes the text for the page.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
