//! Finds signs that the grammar reads tags as something that they are not: a branch or a build as the
//! component, a date as the version, the tag of each build as a channel.

use std::collections::{BTreeMap, BTreeSet};

use super::examples;
use crate::grammar::{Placeholder, Template, doubt_component, is_calver};
use crate::image::{Component, ImageStatus, Tag};
use crate::retention::RetentionPlan;

/// The fewest components with one image each that are reported, if they are the majority.
const SINGLE_COMPONENTS: usize = 10;
/// The most images of a component that channel tags may keep: each channel, in a few variants.
const CHANNEL_IMAGES: usize = 12;
/// The fewest versions that are all dates.
const DATES: usize = 3;

/// The facts about the tags of a repository.
#[derive(Default)]
struct TagFacts<'p> {
    /// The number of images of each component.
    images: BTreeMap<&'p Component, usize>,
    /// The tags of the images that each component keeps because of a channel tag. The key is None for
    /// tags that do not match the grammar.
    channels: BTreeMap<Option<&'p Component>, BTreeSet<&'p Tag>>,
    /// The tags of each template with a `{semver}`, by its position.
    versions: BTreeMap<usize, Vec<&'p Tag>>,
}

/// Finds the signs, each as a clause. Archived images do not count.
pub(super) fn find_doubtful_readings(plan: &RetentionPlan<'_>) -> Vec<String> {
    let facts = gather_facts(plan);
    let mut found = Vec::new();
    let policy = plan.policy;
    let is_listed = |component: &Component| {
        policy.tags.as_ref().is_some_and(|tags| tags.components.contains(component))
            || component.as_str() == policy.repository_name.as_str()
    };
    let doubtful: Vec<String> = facts
        .images
        .keys()
        .filter(|component| !is_listed(component))
        .filter_map(|component| Some(format!("{component} ({})", doubt_component(component)?)))
        .collect();
    found.extend(examples(doubtful.len(), doubtful.into_iter(), |count| match count {
        1 => "1 component is probably something else".to_owned(),
        _ => format!("{count} components are probably something else"),
    }));
    let single = facts.images.iter().filter(|(_, images)| **images == 1);
    let single: Vec<String> = single.map(|(component, _)| component.to_string()).collect();
    let (count, all) = (single.len(), facts.images.len());
    if count >= SINGLE_COMPONENTS && count * 2 > all {
        found.extend(examples(count, single.into_iter(), |count| {
            format!(
                "{count} of {all} components have one image each, so the grammar probably reads a \
                 branch or a build as the component"
            )
        }));
    }
    for (component, tags) in facts.channels {
        if tags.len() <= CHANNEL_IMAGES {
            continue;
        }
        let name = component.map_or("images without a component".to_owned(), ToString::to_string);
        found.extend(examples(tags.len(), tags.iter().map(ToString::to_string), |count| {
            format!("channel tags keep {count} images of {name}")
        }));
    }
    for (template, tags) in facts.versions {
        let template = policy.grammar().and_then(|grammar| grammar.templates().nth(template));
        let Some(template) = template.filter(|_| tags.len() >= DATES) else { continue };
        // The first version that is no date ends the search.
        if tags.iter().all(|tag| is_dated(plan, tag)) {
            found.extend(examples(tags.len(), tags.iter().map(ToString::to_string), |_| {
                format!(
                    "{{semver}} of {template} has only matched dates, and it does not match a date \
                     with a leading zero, such as 2026.01.05: use {{calver}}"
                )
            }));
        }
    }
    found
}

fn gather_facts<'p>(plan: &'p RetentionPlan<'_>) -> TagFacts<'p> {
    let mut facts = TagFacts::default();
    let templates: Vec<&Template> =
        plan.policy.grammar().into_iter().flat_map(|grammar| grammar.templates()).collect();
    let has_semver =
        |nth: &usize| templates.get(*nth).is_some_and(|template| template.has(Placeholder::Semver));
    for (id, image) in plan.inventory.images.enumerate() {
        if image.status == ImageStatus::Archived {
            continue;
        }
        let mut components = BTreeSet::new();
        for (tag, reading) in plan.read_tags(id) {
            let kind = plan.kind_of(reading);
            let component = kind.map(|kind| &kind.component);
            components.extend(component);
            if reading.is_channel {
                facts.channels.entry(component).or_default().insert(tag);
            }
            if let Some(nth) = kind.map(|kind| kind.template).filter(has_semver) {
                facts.versions.entry(nth).or_default().push(tag);
            }
        }
        for component in components {
            *facts.images.entry(component).or_default() += 1;
        }
    }
    facts
}

/// Whether the version of a tag is a date of this century.
fn is_dated(plan: &RetentionPlan<'_>, tag: &Tag) -> bool {
    let grammar = plan.policy.grammar();
    let conforming =
        grammar.and_then(|grammar| grammar.match_tag(&plan.policy.repository_name, tag));
    conforming.is_some_and(|conforming| {
        let version = conforming.value(Placeholder::Semver).unwrap_or_default();
        let core = version.split('-').next().unwrap_or(version);
        core.starts_with("20") && is_calver(core)
    })
}
