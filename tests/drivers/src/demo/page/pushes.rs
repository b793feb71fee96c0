//! What became of each push, and why.

use maud::{Markup, html};

use super::super::standing::short;
use super::super::story::{Alert, Part, Scene, Story};
use super::super::text::short_digests;
use super::{anchor, first_line, wide};

/// A row for each.
pub fn of(story: &Story) -> Markup {
    let mut alerts = 0;
    let rows = story.scenes.iter().filter_map(|scene| {
        let first = alerts;
        alerts += scene.parts.iter().filter(|part| matches!(part, Part::Alert(_))).count();
        row(scene, first)
    });
    let table = html! {
        table.fixed.stack.pushes {
            thead { tr {
                th scope="col" { "Pushed" } th scope="col" { "Done" } th scope="col" { "Why" }
                th scope="col" { "Tagged now" }
            } }
            tbody { @for row in rows { (row) } }
        }
    };
    html! {
        p {
            "A push always succeeds. Seconds later, when ECR tells of it, its tag is judged. No "
            "enforcement deletes an image."
        }
        (wide("Pushes, and what became of them", &table))
    }
}

/// A scene, if it is of a push; its first alert would be this one.
fn row(scene: &Scene, alert: usize) -> Option<Markup> {
    let image = scene.parts.iter().find_map(|part| match part {
        Part::Image { digest, tags, .. } => Some((digest, tags)),
        _ => None,
    });
    let (digest, tags) = image?;
    let told = scene.parts.iter().find_map(|part| match part {
        Part::Alert(alert) => Some(&**alert),
        _ => None,
    });
    let (colour, mark, done) = match told.map(Alert::action) {
        None => ("good", "●", "let be"),
        Some("quarantined") => ("warn", "◆", "quarantined"),
        Some("untagged") => ("warn", "◆", "tag taken away"),
        Some("archived") => ("cold", "▣", "archived"),
        Some(_) => ("told", "▲", "told"),
    };
    let pushed = scene.title.trim_start_matches("docker push ");
    Some(html! {
        tr {
            th scope="row" { (pushed) span.mono { (short(digest)) } }
            td { span class={ "mark " (colour) } { span aria-hidden="true" { (mark) } (done) } }
            td.why {
                @if let Some(told) = told {
                    (first_line(told)) " " a href={ "#" (anchor(alert)) } { "The alert" }
                } @else { (scene.why) }
            }
            td data-label="Tagged now" { @for tag in tags { code { (short_digests(tag)) } " " } @if tags.is_empty() { "no tag" } }
        }
    })
}
