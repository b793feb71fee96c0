//! What stands in the end: the repositories, as components and their versions.

use maud::{Markup, html};

use super::super::standing::{Component, Image, Repository, Status, short};
use super::super::story::{Settings, Story};
use super::super::text::short_digests;
use super::{day, size, wide};

/// How many images of a component are shown at once.
const SHOWN: usize = 12;

/// A part for each, and in it a table for each component.
pub fn of(story: &Story) -> Markup {
    html! {
        p { "As ECR describes them in the end, with the reason that a function gives for each image." }
        @for repository in &story.repositories {
            h3 { (repository.name) }
            @match &repository.settings {
                Some(found) => (settings(found)),
                None => p { "Not of this stack: somebody made it by hand." },
            }
            @for component in &repository.components { (versions(repository, component)) }
        }
    }
}

fn settings(found: &Settings) -> Markup {
    let scanned = if found.scanned_on_push { "yes" } else { "no" };
    html! {
        dl.facts {
            div { dt { "Address" } dd { code { (found.uri) } } }
            div { dt { "Tags" } dd { (found.tag_mutability) } }
            div { dt { "Scanned on push" } dd { (scanned) } }
            div { dt { "Encrypted with" } dd { (found.encrypted_with) } }
            @for (rule, what) in &found.lifecycle { div { dt { "Lifecycle " (rule) } dd { (what) } } }
        }
    }
}

fn versions(repository: &Repository, component: &Component) -> Markup {
    let name = component.name.as_deref().unwrap_or("No component");
    let label = format!("{name} in {}", repository.name);
    let (first, rest) = component.images.split_at(component.images.len().min(SHOWN));
    html! {
        h4 { (name) small { (counted(&component.images)) } }
        (wide(&label, &table(first, &component.images)))
        @if !rest.is_empty() {
            details.more {
                summary { (rest.len()) " more: " (counted(rest)) }
                (wide(&format!("{label}, the rest"), &table(rest, &component.images)))
            }
        }
    }
}

/// Such as `12 images: 10 kept, 2 archived`.
fn counted(images: &[Image]) -> String {
    let of = |status: Status| images.iter().filter(|image| image.status == status).count();
    let each = [Status::Kept, Status::Told, Status::Quarantined, Status::Archived];
    let each = each.into_iter().filter(|status| of(*status) > 0);
    let each: Vec<String> = each.map(|it| format!("{} {}", of(it), it.word())).collect();
    let plural = if images.len() == 1 { "" } else { "s" };
    format!("{} image{plural}: {}", images.len(), each.join(", "))
}

/// Some of the images of a component.
fn table(images: &[Image], all: &[Image]) -> Markup {
    html! {
        table.fixed.stack.versions {
            thead { tr {
                th scope="col" { "Version" } th scope="col" { "Pushed" }
                th.number scope="col" { "Size" } th scope="col" { "Status" } th scope="col" { "Why" }
            } }
            tbody { @for image in images { (row(image, all)) } }
        }
    }
}

fn row(image: &Image, all: &[Image]) -> Markup {
    let tags: Vec<String> = image.tags.iter().map(|tag| short_digests(tag)).collect();
    let attached = all.iter().any(|whole| image.belongs_to.as_ref() == Some(&whole.digest));
    let (colour, mark) = match image.status {
        Status::Kept => ("good", "●"),
        Status::Told => ("told", "▲"),
        Status::Quarantined => ("warn", "◆"),
        Status::Archived => ("cold", "▣"),
    };
    html! {
        tr class=[attached.then_some("attached")] {
            th scope="row" {
                @if !tags.is_empty() { (tags.join(" ")) }
                @else if attached { "image of one platform" }
                @else { "no tag" }
                span.mono { (short(&image.digest)) }
            }
            td.day { (day(&image.pushed_at)) }
            td.number { (size(image.bytes)) }
            td { span class={ "mark " (colour) } { span aria-hidden="true" { (mark) } (image.status.word()) } }
            td.why { (short_digests(&image.reason)) }
        }
    }
}
