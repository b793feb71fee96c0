//! Lifecycle policies: their grammar, the selection of images, previews and expiry, by
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html> and
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>.

mod grammar;
mod preview;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::image::Status;
use super::{DAY, Error, Image, Images, Registry, Time, error, text, wildcard};

pub use grammar::validate;
pub use preview::Preview;

/// The action of a rule on an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// The image is removed.
    Expire,
    /// The image is archived.
    Archive,
}

/// An image that a rule has selected.
pub struct Selected<'i> {
    /// The image.
    pub image: &'i Image,
    /// The action on the image.
    pub action: Action,
    /// The priority of the rule.
    pub priority: i64,
}

/// The images that the rules of a valid policy select now, in the order of the rules.
#[must_use]
pub fn select<'i>(policy: &str, images: &'i Images, now: Time) -> Vec<Selected<'i>> {
    let document: Value = serde_json::from_str(policy).unwrap_or_default();
    let mut rules = document["rules"].as_array().cloned().unwrap_or_default();
    rules.sort_by_key(|rule| rule["rulePriority"].as_i64());
    // A rule of a higher priority takes an image from the rules of lower priority, even if it keeps
    // the image. The rules of lower priority still count the image.
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut selected = Vec::new();
    for rule in &rules {
        let selection = &rule["selection"];
        let number = selection["countNumber"].as_u64().unwrap_or(u64::MAX);
        let mut matching: Vec<&Image> = images
            .iter()
            .filter(|image| is_in_reach(image, images) && is_selected(selection, image))
            .collect();
        // The newest image first, because a count keeps the newest images.
        matching.sort_by(|a, b| {
            came_at(b).total_cmp(&came_at(a)).then_with(|| a.digest.cmp(&b.digest))
        });
        let seen: Vec<&str> = matching.iter().map(|image| image.digest.as_str()).collect();
        let count = usize::try_from(number).unwrap_or(usize::MAX);
        let age = |since: Time| {
            let days = u32::try_from(number).unwrap_or(u32::MAX);
            now - since > Time::from(days) * DAY
        };
        let aged: Vec<&Image> = match text(selection, "countType") {
            "imageCountMoreThan" => matching.into_iter().skip(count).collect(),
            "sinceImagePulled" => matching
                .into_iter()
                // The age of an image without a pull counts from its push or its restore.
                .filter(|image| age(image.pulled_at.unwrap_or(0.0).max(came_at(image))))
                .collect(),
            "sinceImageTransitioned" => {
                matching.into_iter().filter(|image| image.archived_at.is_some_and(age)).collect()
            }
            _ => matching.into_iter().filter(|image| age(came_at(image))).collect(),
        };
        let action = match text(&rule["action"], "type") {
            "transition" => Action::Archive,
            _ => Action::Expire,
        };
        let priority = rule["rulePriority"].as_i64().unwrap_or_default();
        let free = aged.into_iter().filter(|image| !taken.contains(image.digest.as_str()));
        selected.extend(free.map(|image| Selected { image, action, priority }));
        taken.extend(seen);
    }
    selected
}

/// The time of the push or of the restore, because a restored image counts as pushed then, by
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html>.
fn came_at(image: &Image) -> Time {
    image.activated_at.unwrap_or(image.pushed_at)
}

/// Whether rules apply to an image. They do not apply to an image of an active index, and not to a
/// referrer of another image of the repository, which follows its subject.
fn is_in_reach(image: &Image, images: &Images) -> bool {
    let follows = |subject: &String| images.get(subject).is_some();
    let mut indexes = images.indexes_of(&image.digest).into_iter().flatten();
    let is_archived = |index: &Image| index.status == Status::Archived;
    indexes.all(|index| images.get(index).is_none_or(is_archived))
        && !image.manifest.subject.as_ref().is_some_and(follows)
}

fn is_selected(selection: &Value, image: &Image) -> bool {
    let class =
        if selection["storageClass"] == "archive" { Status::Archived } else { Status::Active };
    // The entries of a list are combined by AND: each entry must match some tag.
    let all = |list: &str, matches: &dyn Fn(&str, &str) -> bool| {
        let mut entries =
            selection[list].as_array().into_iter().flatten().filter_map(Value::as_str);
        entries.all(|entry| image.tags.iter().any(|tag| matches(entry, tag)))
    };
    image.status == class
        && match text(selection, "tagStatus") {
            "untagged" => image.tags.is_empty(),
            "tagged" => {
                !image.tags.is_empty()
                    && all("tagPrefixList", &|prefix, tag| tag.starts_with(prefix))
                    && all("tagPatternList", &wildcard)
            }
            _ => true,
        }
}

impl Registry {
    pub(super) fn lifecycle_policy(&mut self, input: &Value) -> Result<Value, Error> {
        let (name, account) = (text(input, "repositoryName"), self.account.clone());
        let repository = self.named(input)?;
        let Some(policy) = &repository.lifecycle else {
            let message = format!(
                "Lifecycle policy does not exist for the repository with name '{name}' in the registry with id '{account}'"
            );
            return Err(error("LifecyclePolicyNotFoundException", message));
        };
        let rest =
            json!({"lifecyclePolicyText": policy, "lastEvaluatedAt": repository.evaluated_at});
        Ok(self.about(input, rest))
    }

    pub(super) fn put_lifecycle_policy(&mut self, input: &Value) -> Result<Value, Error> {
        let policy = text(input, "lifecyclePolicyText");
        let repository = self.named(input)?;
        validate(policy)?;
        repository.lifecycle = Some(policy.to_owned());
        Ok(self.about(input, json!({"lifecyclePolicyText": policy})))
    }

    pub(super) fn delete_lifecycle_policy(&mut self, input: &Value) -> Result<Value, Error> {
        let answer = self.lifecycle_policy(input)?;
        let repository = self.named(input)?;
        (repository.lifecycle, repository.evaluated_at) = (None, None);
        Ok(answer)
    }

    /// Carries out the lifecycle policy of every repository, which ECR does within a day. Expired
    /// images are removed, and referrers are removed or archived after their subject.
    pub fn carry_out_lifecycle_policies(&mut self, now: Time) {
        let mut expired = Vec::new();
        let mut archived = Vec::new();
        for (name, repository) in &mut self.repositories {
            let Some(policy) = repository.lifecycle.clone() else { continue };
            repository.evaluated_at = Some(now);
            let selected = select(&policy, &repository.images, now);
            let mut plan: Vec<_> = selected
                .iter()
                .map(|selected| (selected.image.digest.clone(), selected.action))
                .collect();
            // A referrer may have referrers itself, such as the signature of a bill of materials.
            loop {
                for (digest, action) in plan {
                    if action == Action::Expire {
                        let image = repository.images.remove(&digest);
                        expired.extend(image.map(|image| (name.clone(), image)));
                    } else if let Some(image) = repository.images.get_mut(&digest) {
                        (image.status, image.archived_at) = (Status::Archived, Some(now));
                        archived.push((name.clone(), digest));
                    }
                }
                plan = followers(&repository.images);
                if plan.is_empty() {
                    break;
                }
            }
        }
        for (name, image) in expired {
            let tag = image.tags.first().map(String::as_str);
            self.tell_of_delete(&name, &image.digest, tag, now);
            self.replicate_removal(&name, &image.digest, None, now);
        }
        for (name, digest) in archived {
            self.tell_of_storage_class(&name, &digest, "ARCHIVE", now);
        }
    }
}

/// The referrers of images that were removed or archived. A referrer that was pushed before its
/// subject waits for the subject.
fn followers(images: &Images) -> Vec<(String, Action)> {
    let follow = |image: &Image| {
        let subject = image.manifest.subject.as_ref()?;
        match images.get(subject) {
            None if images.has_gone(subject) => Some((image.digest.clone(), Action::Expire)),
            Some(subject)
                if subject.status == Status::Archived && image.status == Status::Active =>
            {
                Some((image.digest.clone(), Action::Archive))
            }
            _ => None,
        }
    };
    images.iter().filter_map(follow).collect()
}
