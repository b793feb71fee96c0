//! The alerts of what breaks the policy, with the commands that undo what was done about it.

use serde_json::{Map, Value, json};

use super::{About, Alert, AlertKind, Remedy, restore};
use warden_core::enforcement::{EnforcementOutcome, EnforcementPlan};
use warden_core::image::{Digest, Image, RepositoryName, RepositoryPattern, Tag};
use warden_core::policy::{LifecycleScope, Policy, Severity, TagMutability};
use warden_core::tagging::Violation;

/// A tag that breaks the policy, and what `plan` did about it. `image` is as it was found
/// before; `unit` has every image that is archived with it; `hit` is another image, if that image
/// lost the tag.
#[expect(clippy::too_many_arguments, reason = "an alert needs every fact about the violation")]
#[must_use]
pub fn tag_violation(
    policy: &Policy,
    about: &About,
    tag: &Tag,
    violation: &Violation,
    image: &Image,
    plan: &EnforcementPlan,
    unit: &[&Digest],
    hit: Option<&Digest>,
) -> Alert {
    let About { region, repository, .. } = about;
    let Violation { rule, reason, component, suggestion } = violation;
    let mut tags = image.tags.clone();
    if matches!(plan.action, EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined) {
        tags.retain(|other| other != tag);
    }
    if let Some(quarantine) = &plan.quarantine_tag
        && !tags.contains(quarantine)
    {
        tags.push(quarantine.clone());
    }
    let mut text = format!("The tag {tag} in {repository} {reason}.");
    match suggestion {
        Some(meant) if tags.contains(meant) => text += &format!(" The image has {meant} too."),
        Some(meant) => text += &format!(" Probably {meant} was meant."),
        None => text += " Push it again under a tag that conforms, or change the policy.",
    }
    text += "\n";
    text += &match (&plan.action, &plan.quarantine_tag) {
        (EnforcementOutcome::Quarantined, Some(quarantine)) => {
            // ECR's own rules, where they count tagged images, ask nobody.
            let kept = match policy.lifecycle_scope {
                LifecycleScope::Component => {
                    format!(
                        " and is kept for {} days at least",
                        policy.governance.tags.quarantine_days
                    )
                }
                LifecycleScope::Repository => String::new(),
            };
            format!(
                "It was taken away. The image is now {quarantine}{kept}; it can be pulled by \
                 that tag and by its digest."
            )
        }
        (EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined, _) => {
            "It was taken away. The image is kept, with its other tags.".to_owned()
        }
        (EnforcementOutcome::Archived, _) => {
            "The image was moved to the archive, with its tags: it cannot \
             be pulled until it is restored, which takes some twenty minutes, and ECR deletes it \
             after 90 days there."
                .to_owned()
        }
        (EnforcementOutcome::Reported, _) if plan.restores() => {
            "The image was moved to the archive, and is \
             brought back, since it got a conforming tag meanwhile: it cannot be pulled for some \
             twenty minutes."
                .to_owned()
        }
        (EnforcementOutcome::Reported, _) => match &plan.because {
            Some(because) => format!("Nothing was changed: {because}."),
            None => "Nothing was changed.".to_owned(),
        },
    };
    if let Some(hit) = hit {
        text += &format!(
            "\nMeanwhile somebody had moved the tag to {hit}: it was that image which lost it, and \
             ECR deletes an image with its last tag. See whether it is there, and push it again \
             if it is not."
        );
    }
    let happened = match plan.action {
        EnforcementOutcome::Reported => "breaks the rules of tags",
        EnforcementOutcome::Untagged => "was taken away from its image",
        EnforcementOutcome::Quarantined => "was quarantined",
        EnforcementOutcome::Archived => "was archived",
    };
    let mut details = Map::new();
    let mut detail = |name: &str, value: Value| details.insert(name.to_owned(), value);
    detail("tag", json!(tag));
    detail("rule", json!(rule));
    detail("suggestion", json!(suggestion));
    detail("action", json!(plan.action));
    detail("quarantineTag", json!(plan.quarantine_tag));
    let commands = Commands { region, repository, image };
    Alert {
        component: component.clone(),
        remedies: remedies(policy, &commands, tag, suggestion.as_ref(), &tags, plan, unit),
        details,
        ..about.alert(
            AlertKind::TagViolation,
            if plan.action == EnforcementOutcome::Reported {
                Severity::Medium
            } else {
                Severity::High
            },
            format!("{repository}:{tag} {happened}"),
            text,
            tags,
        )
    }
}

fn remedies(
    policy: &Policy,
    commands: &Commands<'_>,
    tag: &Tag,
    suggestion: Option<&Tag>,
    tags: &[Tag],
    plan: &EnforcementPlan,
    unit: &[&Digest],
) -> Vec<Remedy> {
    let remedy = |label: String, command: String| Remedy { label, command };
    let rightly = suggestion.filter(|meant| !tags.contains(meant));
    let mut remedies = Vec::new();
    match plan.action {
        // Where tags can be moved the command could take the tag from another image; and what
        // is archived cannot be read.
        EnforcementOutcome::Reported
            if policy.image_tag_mutability == TagMutability::Immutable
                && plan.because.is_none() =>
        {
            remedies
                .extend(rightly.map(|tag| remedy(format!("Tag it {tag} too"), commands.add(tag))));
        }
        EnforcementOutcome::Reported => {}
        EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined => {
            remedies.extend(rightly.map(|tag| {
                let add = commands.add(tag);
                // The image has a tag that stays by then, so that it does not go with this one.
                let command = match &plan.quarantine_tag {
                    Some(quarantine) => format!("{add} && {}", commands.remove(quarantine)),
                    None => add,
                };
                remedy(format!("Restore it as {tag}"), command)
            }));
            // The quarantine tag stays: where the policy is still in force the other one is
            // taken away again, and the image would go with its last tag.
            let label = format!(
                "Restore it as {tag}, as it was (first change the grammar, or the enforcement to \
                 report: under this policy it is taken away again)"
            );
            remedies.push(remedy(label, commands.add(tag)));
        }
        EnforcementOutcome::Archived => {
            let own = [&commands.image.digest];
            let images = if unit.is_empty() { &own[..] } else { unit };
            remedies.extend(restore(
                commands.region,
                commands.repository,
                "Restore it as it was",
                images,
            ));
        }
    }
    remedies
}

/// A push into a repository whose name no pattern expects.
#[must_use]
pub fn repository_violation(
    about: &About,
    patterns: &[RepositoryPattern],
    tag: Option<&Tag>,
) -> Alert {
    let repository = &about.repository;
    let listed: Vec<&str> = patterns.iter().map(RepositoryPattern::as_str).collect();
    let mut details = Map::new();
    details.insert("patterns".to_owned(), json!(patterns));
    Alert {
        details,
        ..about.alert(
            AlertKind::RepositoryViolation,
            Severity::Medium,
            format!("An image was pushed to {repository}, a name that is not expected"),
            format!(
                "The repository {repository} is like none of RepositoryNamePatterns ({}), and an \
                 image was pushed to it. Nothing was changed. Delete the repository, or add its \
                 name to the patterns: this is told once a day.",
                listed.join(" ")
            ),
            tag.cloned().into_iter().collect(),
        )
    }
}

/// Commands about one image. Names, digests and tags need no quotes in a shell, by their
/// grammars; a media type gets them.
struct Commands<'a> {
    region: &'a str,
    repository: &'a RepositoryName,
    image: &'a Image,
}

impl Commands<'_> {
    fn aws(&self, operation: &str) -> String {
        format!(
            "aws ecr {operation} --region {} --repository-name {}",
            self.region, self.repository
        )
    }

    /// Gives the image another tag. The manifest has to come through the shell unchanged,
    /// which drops line ends at its end: so an `x` is put there, and taken away with the line
    /// end of the CLI. That it is the same is checked by ECR, by the digest.
    fn add(&self, tag: &Tag) -> String {
        let digest = &self.image.digest;
        let get = self.aws("batch-get-image");
        let put = self.aws("put-image");
        // Named, so that ECR gives the manifest as it is and takes it for what it is.
        let media_type = self.image.media_type.as_ref().map(|it| it.replace('\'', ""));
        let option = |name: &str| {
            media_type.as_ref().map_or_else(String::new, |it| format!(" --{name} '{it}'"))
        };
        format!(
            "m=$({get} --image-ids imageDigest={digest}{} --query 'images[0].imageManifest' \
             --output text && printf x) && {put} --image-tag {tag} --image-digest {digest} \
             --image-manifest \"${{m%??}}\"{}",
            option("accepted-media-types"),
            option("image-manifest-media-type"),
        )
    }

    fn remove(&self, tag: &Tag) -> String {
        format!("{} --image-ids imageTag={tag}", self.aws("batch-delete-image"))
    }
}
