//! The repositories at the end of the run: their components and versions.

use maud::{Markup, html};

use super::super::counted;
use super::super::inventory::{Component, Image, Repository, Status, short};
use super::super::story::{Settings, Story};
use super::super::text::shorten_digests;
use super::{day, size, wide};

/// The number of images of a component that are not folded.
const SHOWN: usize = 12;

/// The settings of each repository, and a table for each of its components.
pub fn render(story: &Story) -> Markup {
    html! {
        p { "ECR lists these images at the end of the run. The reason of each decision is from a function." }
        @for repository in &story.repositories {
            h3 { (repository.name) }
            @match &repository.settings {
                Some(found) => (settings(found)),
                None => p { "The stack does not govern this repository, which somebody created by hand." },
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
        h4 { (name) small { (counted_by_status(&component.images)) } }
        (wide(&label, &table(first, &component.images)))
        @if !rest.is_empty() {
            details.more {
                summary { "Show " (rest.len()) " more: " (counted_by_status(rest)) }
                (wide(&format!("{label}, the rest"), &table(rest, &component.images)))
            }
        }
    }
}

/// Such as `12 images: 10 kept, 2 archived`.
fn counted_by_status(images: &[Image]) -> String {
    let count = |status: Status| images.iter().filter(|image| image.status == status).count();
    let statuses = [Status::Kept, Status::Reported, Status::Quarantined, Status::Archived];
    let present = statuses.into_iter().filter(|status| count(*status) > 0);
    let each: Vec<String> =
        present.map(|status| format!("{} {}", count(status), status.word())).collect();
    format!("{}: {}", counted(images.len() as u64, "image"), each.join(", "))
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
    let tags: Vec<String> = image.tags.iter().map(|tag| shorten_digests(tag)).collect();
    let attached = all.iter().any(|owner| image.belongs_to.as_ref() == Some(&owner.digest));
    let (colour, mark) = match image.status {
        Status::Kept => ("good", "●"),
        Status::Reported => ("reported", "▲"),
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
            td.why { (shorten_digests(&image.reason)) }
        }
    }
}
