//! The reaction to each push.

use maud::{Markup, html};

use super::super::inventory::short;
use super::super::story::{Alert, Part, Scene, Story};
use super::super::text::shorten_digests;
use super::{anchor, first_line, wide};

/// A row for each push.
pub fn render(story: &Story) -> Markup {
    let mut alerts = 0;
    let rows = story.scenes.iter().filter_map(|scene| {
        let first = alerts;
        alerts += scene.parts.iter().filter(|part| matches!(part, Part::Alert(_))).count();
        row(scene, first)
    });
    let table = html! {
        table.fixed.stack.pushes {
            thead { tr {
                th scope="col" { "Pushed" } th scope="col" { "Reaction" } th scope="col" { "Why" }
                th scope="col" { "Tags afterwards" }
            } }
            tbody { @for row in rows { (row) } }
        }
    };
    html! {
        p {
            "ECR accepts every push and then sends an event. A function compares the tag with the policy "
            "of the repository. No reaction to a tag deletes an image."
        }
        (wide("Pushes and the reaction to each", &table))
    }
}

/// The row of a step, where the step is a push. `alert` is the position of its first alert.
fn row(scene: &Scene, alert: usize) -> Option<Markup> {
    let image = scene.parts.iter().find_map(|part| match part {
        Part::Image { digest, tags, .. } => Some((digest, tags)),
        _ => None,
    });
    let (digest, tags) = image?;
    let sent = scene.parts.iter().find_map(Part::alert);
    let is_digested = scene.parts.iter().any(|part| match part {
        Part::Log { lines } => {
            lines.iter().any(|line| line.ends_with("add it to the weekly digest"))
        }
        _ => false,
    });
    let (colour, mark, done) = match sent.map(Alert::action) {
        None if is_digested => ("reported", "▲", "in the digest"),
        None => ("good", "●", "accepted"),
        Some("quarantined") => ("warn", "◆", "quarantined"),
        Some("untagged") => ("warn", "◆", "tag removed"),
        Some("archived") => ("cold", "▣", "archived"),
        Some(_) => ("reported", "▲", "reported"),
    };
    let pushed = scene.title.trim_start_matches("docker push ");
    Some(html! {
        tr {
            th scope="row" { (pushed) span.mono { (short(digest)) } }
            td { span class={ "mark " (colour) } { span aria-hidden="true" { (mark) } (done) } }
            td.why {
                @if let Some(sent) = sent {
                    (first_line(sent)) " " a href={ "#" (anchor(alert)) } { "Read the alert" }
                } @else { (scene.why) }
            }
            td data-label="Tags afterwards" { @for tag in tags { code { (shorten_digests(tag)) } " " } @if tags.is_empty() { "no tag" } }
        }
    })
}
