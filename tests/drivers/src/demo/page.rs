//! The story as a page: one file that asks for nothing else, without a script, to be read on a
//! desk, on a phone or on paper. Whatever comes from elsewhere is escaped by maud.

mod alerts;
mod cleanup;
mod findings;
mod pushes;
mod repositories;
mod slack;
mod steps;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::standing::Status;
use super::story::{Alert, Part, Story};

const STYLE: &str = include_str!("page/style.css");

/// All of it.
pub fn of(story: &Story) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "ECR Warden: what the demonstration showed" }
                // What is in it is ours alone.
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header { (head(story)) }
                nav.contents aria-label="Sections" { ul {
                    @for (id, title) in SECTIONS { li { a href={ "#" (id) } { (title) } } }
                } }
                main #main {
                    (section(0, &pushes::of(story)))
                    (section(1, &findings::of(story)))
                    (section(2, &cleanup::of(story)))
                    (section(3, &repositories::of(story)))
                    (section(4, &alerts::of(story)))
                    (section(5, &steps::of(story)))
                }
                footer { p {
                    "Written by " code { "cargo demo" } ", from what the functions did and said on "
                    "an AWS in memory. No AWS account was used. " code { "cargo demo --json" }
                    " gives the same facts to machines."
                } }
            }
        }
    }
}

/// The sections: of each the address, and the title.
const SECTIONS: [(&str, &str); 6] = [
    ("pushes", "Pushes"),
    ("findings", "Findings"),
    ("cleanup", "Cleaning up"),
    ("repositories", "Repositories"),
    ("alerts", "Alerts"),
    ("steps", "Step by step"),
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

/// What it is, and what happened in numbers.
fn head(story: &Story) -> Markup {
    let of = |actions: &[&str]| {
        story.alerts().filter(|alert| actions.contains(&alert.action())).count() as u64
    };
    let sum = |kind: &str, name: &str| {
        let alerts = story.alerts().filter(|alert| alert.field("kind") == kind);
        alerts.map(|alert| alert.json["details"][name].as_u64().unwrap_or_default()).sum::<u64>()
    };
    let images =
        || story.repositories.iter().flat_map(|it| &it.components).flat_map(|it| &it.images);
    let stay = images().filter(|image| image.status != Status::Archived).count() as u64;
    let stopped = story.alerts().filter(|it| it.json["details"]["stopped"].is_string()).count();
    let pushes = story.parts().filter(|part| matches!(part, Part::Image { .. })).count() as u64;
    let numbers = [
        (pushes, "pushes, each shown below"),
        (of(&["quarantined"]), "bad tags quarantined, each undone by one command"),
        (of(&["reported", "repository-violation"]), "violations told, and nothing changed"),
        (sum("scan-findings", "newTotal"), "new findings told, each once"),
        (sum("cleanup", "removed"), "images archived or deleted"),
        (stay, "images that stay, each with a reason"),
        (stopped as u64, "cleanup stopped by a guard, for a person to decide"),
        (story.alerts().count() as u64, "alerts"),
    ];
    html! {
        h1 { "What ECR Warden did" }
        p {
            "The template was deployed onto an AWS in memory. Then images were pushed and scanned, and "
            "the repositories swept. All that is said here was asked of that AWS, or written by the "
            "functions."
        }
        p.quiet {
            "Account " (story.account) ", " (story.region) ". It ran on "
            time datetime=(story.began) { (moment(&story.began)) }
            ". All dates are by the demonstration’s clock: what seems older was put there with its date."
        }
        dl.numbers {
            @for (number, what) in numbers { div { dt { (what) } dd { (number) } } }
        }
    }
}

/// A table that is scrolled where it is too wide.
fn wide(label: &str, table: &Markup) -> Markup {
    html! { div.wide role="group" aria-label=(label) tabindex="0" { (table) } }
}

/// A severity, which has its own colour, and is said.
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

/// A time to be read.
fn moment(time: &str) -> String {
    time.replace('T', " ").replace('Z', " UTC")
}

/// A number of bytes to be read.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// An address, if it is one that can be followed.
fn link(address: &str, text: &str) -> Markup {
    html! {
        @if address.starts_with("https://") { a href=(address) rel="noreferrer" { (text) } }
        @else { (text) }
    }
}

/// What an alert says first.
fn first_line(alert: &Alert) -> &str {
    alert.field("text").lines().next().unwrap_or_default()
}

/// The numbers of an alert in the page.
fn anchor(nth: usize) -> String {
    format!("alert-{}", nth + 1)
}

/// The entries of a list.
fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
