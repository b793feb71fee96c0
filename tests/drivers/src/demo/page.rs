//! The run as a page: one file that loads nothing else and contains no script. It is readable on a
//! desktop, on a phone and on paper. maud escapes every text of the story.

mod alerts;
mod cleanup;
mod findings;
mod pushes;
mod repositories;
mod slack;
mod steps;
mod summary;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::story::{Alert, Story};

const STYLE: &str = include_str!("page/style.css");

/// The whole page.
pub fn render(story: &Story) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "ECR Warden: one run of the demonstration" }
                // The style sheet is a file of this program, so it needs no escaping.
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header { (summary::render(story)) }
                nav.contents aria-label="Sections" { ul {
                    @for (id, title) in SECTIONS { li { a href={ "#" (id) } { (title) } } }
                } }
                main #main {
                    (section(0, &pushes::render(story)))
                    (section(1, &findings::render(story)))
                    (section(2, &cleanup::render(story)))
                    (section(3, &repositories::render(story)))
                    (section(4, &alerts::render(story)))
                    (section(5, &steps::render(story)))
                }
                footer { p {
                    code { "cargo demo" } " wrote this page. The program read every fact from the embedded "
                    "AWS or from a log of a function. " code { "cargo demo --json" }
                    " prints the same facts as JSON."
                } }
            }
        }
    }
}

/// The sections: anchor and title.
const SECTIONS: [(&str, &str); 6] = [
    ("pushes", "Pushes"),
    ("findings", "Findings"),
    ("cleanup", "Cleanup"),
    ("repositories", "Repositories"),
    ("alerts", "Alerts"),
    ("steps", "Every step"),
];

fn section(nth: usize, content: &Markup) -> Markup {
    let Some((id, title)) = SECTIONS.get(nth) else { return Markup::default() };
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            (content)
        }
    }
}

/// A table that scrolls sideways where it is wider than the screen.
fn wide(label: &str, table: &Markup) -> Markup {
    html! { div.wide role="group" aria-label=(label) tabindex="0" { (table) } }
}

/// A severity, as a word in its colour.
fn severity(name: &str) -> Markup {
    let colour = match name {
        "CRITICAL" => "grave",
        "HIGH" => "warn",
        "MEDIUM" => "mild",
        _ => "quiet",
    };
    html! { span class={ "mark " (colour) } { (name) } }
}

/// The day of a time.
fn day(time: &str) -> &str {
    time.split('T').next().unwrap_or_default()
}

/// A time for a person.
fn moment(time: &str) -> String {
    time.replace('T', " ").replace('Z', " UTC")
}

/// A number of bytes for a person.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => {
            let tenths = bytes.saturating_add(50_000_000) / 100_000_000;
            format!("{}.{} GB", tenths / 10, tenths % 10)
        }
    }
}

/// A link, where the address is an HTTPS address; otherwise the text.
fn link(address: &str, text: &str) -> Markup {
    html! {
        @if address.starts_with("https://") { a href=(address) rel="noreferrer" { (text) } }
        @else { (text) }
    }
}

/// The first line of an alert.
fn first_line(alert: &Alert) -> &str {
    alert.field("text").lines().next().unwrap_or_default()
}

/// The anchor of an alert, by its position.
fn anchor(nth: usize) -> String {
    format!("alert-{}", nth + 1)
}

/// The entries of a list.
fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
