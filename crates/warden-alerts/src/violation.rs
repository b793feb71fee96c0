//! The alerts about violations of the policy, with the commands that undo what enforcement did.

use serde_json::{Map, Value, json};

use super::remedy::{RESTORE_ARCHIVED_IMAGE, RESTORE_IMAGE_AS, RESTORE_TAG};
use super::replication::{copies, copies_text};
use super::{About, Alert, AlertKind, Remedy, WHAT_TO_DO, WHY, restore_remedies};
use warden_core::enforcement::{EnforcementOutcome, EnforcementPlan};
use warden_core::image::{Digest, Image, RepositoryName, Tag};
use warden_core::policy::{LifecycleScope, Policy, Severity};
use warden_core::tagging::Violation;

/// The other images of the repository that an alert names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherImages {
    /// The image that lost the tag, because somebody had moved the tag to it.
    pub lost_tag: Option<Digest>,
    /// The image that already has the suggested tag. The alert then suggests no tag.
    pub has_suggestion: Option<Digest>,
}

/// The alert about a tag that violates the policy, and about what `plan` did. A rule that only reports
/// sends no such alert: the weekly digest has its violations.
///
/// `image` is the image before enforcement, and `unit` has every image that is archived with it.
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
    others: &OtherImages,
) -> Alert {
    let About { region, repository, .. } = about;
    let Violation { rule, reason, component, suggestion } = violation;
    let taken = suggestion.as_ref().zip(others.has_suggestion.as_ref());
    let suggestion = suggestion.as_ref().filter(|_| taken.is_none());
    let mut tags = image.tags.clone();
    if matches!(plan.action, EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined) {
        tags.retain(|other| other != tag);
    }
    if let Some(quarantine) = &plan.quarantine_tag
        && !tags.contains(quarantine)
    {
        tags.push(quarantine.clone());
    }
    let commands = Commands { region, repository, image };
    let remedies = remedies(&commands, tag, suggestion, &tags, plan, unit);
    let mut text = outcome_text(policy, repository, tag, plan);
    text += &text_about_copies(plan, tag);
    if let Some(hit) = &others.lost_tag {
        text += &format!(
            "\n\nIn the meantime, somebody had moved the tag to the image {hit}, and that image lost \
             the tag. ECR deletes an image that loses its last tag. Check whether the image still \
             exists, and push it again if it does not."
        );
    }
    let next = next_step(tag, suggestion, taken, &tags, plan);
    text += &format!("\n\n{WHY}the tag {tag} {reason} (rule {rule}).\n\n{WHAT_TO_DO}{next}");
    let title = match plan.action {
        EnforcementOutcome::Reported => {
            format!("The tag {tag} in {repository} violates the policy")
        }
        EnforcementOutcome::Untagged => {
            format!("The tag {tag} was removed from an image in {repository}")
        }
        EnforcementOutcome::Quarantined => {
            format!("The image {repository}:{tag} was quarantined")
        }
        EnforcementOutcome::Archived => format!("The image {repository}:{tag} was archived"),
    };
    let mut details = Map::new();
    let mut detail = |name: &str, value: Value| details.insert(name.to_owned(), value);
    detail("tag", json!(tag));
    detail("rule", json!(rule));
    detail("suggestion", json!(suggestion));
    detail("action", json!(plan.action));
    detail("quarantineTag", json!(plan.quarantine_tag));
    if let Some(copies) = copies(&plan.replication) {
        detail("replicatedTo", copies);
    }
    Alert {
        component: component.clone(),
        owner: policy.owner.clone(),
        remedies,
        details,
        ..about.alert(
            AlertKind::TagViolation,
            if plan.action == EnforcementOutcome::Reported {
                Severity::Medium
            } else {
                Severity::High
            },
            title,
            text,
            tags,
        )
    }
}

/// The sentences about what enforcement did.
fn outcome_text(
    policy: &Policy,
    repository: &RepositoryName,
    tag: &Tag,
    plan: &EnforcementPlan,
) -> String {
    let removed =
        format!("ECR Warden removed the tag {tag} from an image in the repository {repository}.");
    match (&plan.action, &plan.quarantine_tag) {
        (EnforcementOutcome::Quarantined, Some(quarantine)) => {
            // The native rules of ECR that count tagged images do not wait for the end of a quarantine.
            let kept = match policy.lifecycle_scope {
                LifecycleScope::Component => {
                    let days = policy.tags.as_ref().map_or(0, |tags| tags.quarantine_days);
                    format!(" The image is kept for at least {days} days.")
                }
                LifecycleScope::Repository => String::new(),
            };
            format!(
                "{removed} The image now has the tag {quarantine}, and can be pulled by that tag and \
                 by its digest.{kept}"
            )
        }
        (EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined, _) => {
            format!("{removed} The image is kept, with its other tags.")
        }
        (EnforcementOutcome::Archived, _) => {
            let end = if policy.mutability.is_some() {
                "ECR deletes the image after 90 days in the archive."
            } else {
                "The image stays in the archive until a lifecycle rule of the repository or a person \
                 deletes it."
            };
            format!(
                "ECR Warden moved the image {repository}:{tag} to the archive, with all its tags. The \
                 image cannot be pulled until it is restored, which takes about twenty minutes. {end}"
            )
        }
        (EnforcementOutcome::Reported, _) if plan.restores() => {
            let why = plan.because.as_deref();
            let why = why.unwrap_or("the image got a conforming tag in the meantime");
            format!(
                "ECR Warden moved the image {repository}:{tag} to the archive, and is restoring it, \
                 because {why}. The image cannot be pulled for about twenty minutes."
            )
        }
        (EnforcementOutcome::Reported, _) => {
            let why = plan.because.as_ref().map(|because| format!(": {because}"));
            let why = why.unwrap_or_default();
            format!(
                "An image was pushed to the repository {repository} with the tag {tag}, which violates \
                 the policy. Nothing was changed{why}."
            )
        }
    }
}

/// The next step of a person. `taken` has the tag that was probably meant and the other image that
/// has it.
fn next_step(
    tag: &Tag,
    suggestion: Option<&Tag>,
    taken: Option<(&Tag, &Digest)>,
    tags: &[Tag],
    plan: &EnforcementPlan,
) -> String {
    if plan.restores() {
        return format!(
            "wait until the image is restored, and correct the pipeline that pushed {tag}."
        );
    }
    if let Some((meant, owner)) = taken {
        return format!(
            "push the image again with another tag that conforms, and correct the pipeline that \
             pushed {tag}. The tag {meant}, which was probably meant, belongs to another image, {owner}."
        );
    }
    let Some(meant) = suggestion else {
        return "push the image again with a tag that conforms, or change the policy.".to_owned();
    };
    if tags.contains(meant) {
        return format!(
            "nothing for this image, which also has the conforming tag {meant}. Correct the pipeline \
             that pushed {tag}."
        );
    }
    let step = match plan.action {
        EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined => "restore the image as",
        EnforcementOutcome::Reported | EnforcementOutcome::Archived => "push the image again as",
    };
    format!("{step} {meant}, which was probably meant, and correct the pipeline that pushed {tag}.")
}

/// The sentences about the copies of a changed image in other registries.
fn text_about_copies(plan: &EnforcementPlan, tag: &Tag) -> String {
    match plan.action {
        EnforcementOutcome::Reported => String::new(),
        EnforcementOutcome::Archived => {
            copies_text(&plan.replication, true, "The image still exists")
        }
        EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined => {
            copies_text(&plan.replication, false, &format!("The tag {tag} still exists"))
        }
    }
}

fn remedies(
    commands: &Commands<'_>,
    tag: &Tag,
    suggestion: Option<&Tag>,
    tags: &[Tag],
    plan: &EnforcementPlan,
    unit: &[&Digest],
) -> Vec<Remedy> {
    let missing = suggestion.filter(|meant| !tags.contains(meant));
    let mut remedies = Vec::new();
    match plan.action {
        EnforcementOutcome::Reported => {}
        EnforcementOutcome::Untagged | EnforcementOutcome::Quarantined => {
            remedies.extend(missing.map(|tag| {
                let add = commands.add(tag);
                // The image has another tag by then, so ECR does not delete it with this tag.
                let command = match &plan.quarantine_tag {
                    Some(quarantine) => format!("{add} && {}", commands.remove(quarantine)),
                    None => add,
                };
                let label = RESTORE_IMAGE_AS.replace("{tag}", tag.as_str());
                Remedy::tool(label, commands.restore(tag), command)
            }));
            // The quarantine tag stays. Under an unchanged policy, enforcement removes the restored tag
            // again, and ECR would delete an image without another tag.
            let label = RESTORE_TAG.replace("{tag}", tag.as_str());
            remedies.push(Remedy::tool(label, commands.restore(tag), commands.add(tag)));
        }
        EnforcementOutcome::Archived => {
            let own = [&commands.image.digest];
            let images = if unit.is_empty() { &own[..] } else { unit };
            remedies.extend(restore_remedies(
                commands.region,
                commands.repository,
                RESTORE_ARCHIVED_IMAGE,
                images,
            ));
        }
    }
    remedies
}

/// The alert about the first push to a repository that no rule matches.
#[must_use]
pub fn repository_violation(about: &About, tag: Option<&Tag>) -> Alert {
    let repository = &about.repository;
    about.alert(
        AlertKind::RepositoryViolation,
        Severity::Medium,
        format!("An image was pushed to {repository}, which no rule of the policy governs"),
        format!(
            "An image was pushed to the repository {repository}. Nothing was changed.\n\n\
             {WHY}no rule of the policy matches the name {repository}, and Unmatched is report.\n\n\
             {WHAT_TO_DO}add the repository to a rule of infra/sam/policy.yaml, or delete the repository. \
             The next pushes to the repository send no alert."
        ),
        tag.cloned().into_iter().collect(),
    )
}

/// Commands about one image. No name, digest or tag has a character that a shell interprets. A media
/// type is quoted.
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

    /// The command that adds a tag to the image. A shell drops line ends at the end of an output, so
    /// the command appends an `x` to the manifest, and then removes the `x` and the line end of the
    /// CLI. ECR compares the manifest with the digest.
    fn add(&self, tag: &Tag) -> String {
        let digest = &self.image.digest;
        let get = self.aws("batch-get-image");
        let put = self.aws("put-image");
        // With the media type, ECR returns the manifest unchanged, and stores it with the same type.
        let media_type = self.image.media_type.as_ref().map(|text| text.replace('\'', ""));
        let option = |name: &str| {
            media_type.as_ref().map_or_else(String::new, |text| format!(" --{name} '{text}'"))
        };
        format!(
            "m=$({get} --image-ids imageDigest={digest}{} --query 'images[0].imageManifest' \
             --output text && printf x) && {put} --image-tag {tag} --image-digest {digest} \
             --image-manifest \"${{m%??}}\"{}",
            option("accepted-media-types"),
            option("image-manifest-media-type"),
        )
    }

    /// The command of `ecr-warden` that adds a tag to the image.
    fn restore(&self, tag: &Tag) -> String {
        let Self { region, repository, image } = self;
        format!("ecr-warden restore --region {region} {repository}@{} --tag {tag}", image.digest)
    }

    fn remove(&self, tag: &Tag) -> String {
        format!("{} --image-ids imageTag={tag}", self.aws("batch-delete-image"))
    }
}
