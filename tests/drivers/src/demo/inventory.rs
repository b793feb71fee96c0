//! The repositories at the end of the run: their components and versions as ECR lists them, each
//! image with the reason that a function gave.

use std::collections::BTreeMap;

use anyhow::Context as _;
use local_aws::LocalAws;
use serde::Serialize;
use serde_json::{Value, json};
use warden_aws::ledger::Ledger;
use warden_aws::policy::DeployedPolicy;
use warden_core::image::{Digest, Tag};
use warden_core::policy::Policy;
use warden_core::policy::RepositoryOrigin;
use warden_core::tagging::{TagVerdict, judge};

use super::story::{Alert, Settings};
use super::{call_ecr, deployment, word, words};

/// A repository.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    pub name: String,
    /// The settings, where the stack governs the repository.
    pub settings: Option<Settings>,
    pub components: Vec<Component>,
}

/// A component: the images whose tags name it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// The name. It is absent for the images whose tags name no component.
    pub name: Option<String>,
    /// The newest image first. The parts and signatures of an image follow it.
    pub images: Vec<Image>,
}

/// An image, as ECR describes it, and the decision about it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    pub digest: String,
    pub tags: Vec<String>,
    /// RFC 3339.
    pub pushed_at: String,
    pub bytes: u64,
    pub status: Status,
    /// The reason of its status, as a function gave it.
    pub reason: String,
    /// The index that contains the image, or the image that the signature is for.
    pub belongs_to: Option<String>,
}

/// The status of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// The image can be pulled by its tags, and a rule keeps it.
    Kept,
    /// A rule keeps the image, and an alert or a digest reported a tag that violates the policy.
    Reported,
    /// The only tags of the image are quarantine tags.
    Quarantined,
    /// The image is in ECR's archive.
    Archived,
}

impl Status {
    /// The status in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Reported => "reported",
            Self::Quarantined => "quarantined",
            Self::Archived => "archived",
        }
    }
}

/// Reads all repositories of the registry.
pub async fn read_repositories(
    aws: &LocalAws,
    version: &str,
    alerts: &[&Alert],
) -> anyhow::Result<Vec<Repository>> {
    let ledger = Ledger::new(&aws.config(), format!("{}-Ledger", deployment::STACK));
    let policy = DeployedPolicy::new(version.to_owned());
    let governance = policy.get(&ledger).await?;
    let rule = |name: &str| {
        let name = name.parse().ok()?;
        governance.find_rule(&name, RepositoryOrigin::Pushed).map(|(nth, _)| nth)
    };
    let described = call_ecr(aws, "DescribeRepositories", &json!({}))?;
    let names = described["repositories"].as_array().into_iter().flatten();
    let mut repositories = Vec::new();
    for name in names.map(|repository| word(&repository["repositoryName"])) {
        let policy = governance.rule_for(&name.parse()?, RepositoryOrigin::Pushed);
        let kept =
            if policy.is_some() { reasons_to_keep(aws, name).await? } else { BTreeMap::new() };
        let settings = policy.as_ref().map(|_| deployment::settings(aws, name)).transpose()?;
        let about_repository: Vec<&&Alert> =
            alerts.iter().filter(|alert| ["", name].contains(&alert.field("repository"))).collect();
        let mut images = images(aws, name)?;
        for image in &mut images {
            explain(image, &about_repository, &kept);
        }
        let components = components(images, policy.as_ref());
        repositories.push(Repository { name: name.to_owned(), settings, components });
    }
    // The governed repositories come first, in the order of their rules.
    repositories.sort_by_key(|repository| rule(&repository.name).unwrap_or(usize::MAX));
    Ok(repositories)
}

/// The reason of each kept image, by its digest, from `image-sweep` in report mode.
async fn reasons_to_keep(aws: &LocalAws, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let request = json!({"repository": name, "mode": "report"});
    let function = format!("{}-ImageSweepFunction", deployment::STACK);
    let answer = aws.lambda().invoke(&function, request).await?.payload;
    let keeps = answer["keeps"]
        .as_array()
        .with_context(|| format!("the function returned no plan: {answer}"))?;
    let reason =
        |image: &Value| (word(&image["digest"]).to_owned(), word(&image["reason"]).to_owned());
    Ok(keeps.iter().map(reason).collect())
}

fn images(aws: &LocalAws, name: &str) -> anyhow::Result<Vec<Image>> {
    let all =
        json!({"repositoryName": name, "maxResults": 1_000, "filter": {"imageStatus": "ANY"}});
    let found = call_ecr(aws, "DescribeImages", &all)?;
    let mut found = found["imageDetails"].as_array().cloned().unwrap_or_default();
    let pushed_at = |image: &Value| image["imagePushedAt"].as_f64().unwrap_or_default();
    found.sort_by(|one, other| pushed_at(other).total_cmp(&pushed_at(one)));
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for image in &found {
        let digest = word(&image["imageDigest"]);
        for part in parts(aws, name, digest) {
            owners.insert(part, digest.to_owned());
        }
        let mut tags =
            words(&image["imageTags"]).into_iter().filter_map(|tag| tag.parse::<Tag>().ok());
        if let Some(subject) = tags.find_map(|tag| tag.subject()) {
            owners.insert(digest.to_owned(), subject.to_string());
        }
    }
    let image = |found: &Value| {
        let tags: Vec<String> = found["imageTags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|tag| word(tag).to_owned())
            .collect();
        let status = if found["imageStatus"] == "ARCHIVED" {
            Status::Archived
        } else if !tags.is_empty() && tags.iter().all(|tag| tag.starts_with("quarantine-")) {
            Status::Quarantined
        } else {
            Status::Kept
        };
        let digest = word(&found["imageDigest"]).to_owned();
        Image {
            belongs_to: owners.get(&digest).cloned(),
            digest,
            tags,
            pushed_at: time(&found["imagePushedAt"]),
            bytes: found["imageSizeInBytes"].as_u64().unwrap_or_default(),
            status,
            reason: String::new(),
        }
    };
    Ok(found.iter().map(image).collect())
}

/// The digests of the images of an index. They come from the stored manifest, because an archived
/// index cannot be pulled.
fn parts(aws: &LocalAws, repository: &str, digest: &str) -> Vec<String> {
    let mut state = aws.state();
    let Ok(image) = state.ecr().image(repository, digest) else { return Vec::new() };
    let manifest: Value = serde_json::from_str(&image.manifest_text).unwrap_or_default();
    let parts = manifest["manifests"].as_array().into_iter().flatten();
    parts.map(|part| word(&part["digest"]).to_owned()).collect()
}

/// Sets the reason of an image: from the last alert about the image, or else from the plan.
fn explain(image: &mut Image, alerts: &[&&Alert], kept: &BTreeMap<String, String>) {
    for alert in alerts {
        let details = &alert.json["details"];
        let removals = details["images"].as_array().into_iter().flatten();
        let mut removals = removals.filter(|removal| removal["digest"] == image.digest.as_str());
        match (alert.field("kind"), image.status) {
            ("cleanup", Status::Archived) if details["stopped"].is_null() => {
                if let Some(removal) = removals.next() {
                    word(&removal["reason"]).clone_into(&mut image.reason);
                }
            }
            ("tag-violation" | "repository-violation", status)
                if alert.json["image"]["digest"] == image.digest.as_str()
                    && status != Status::Archived =>
            {
                let first = alert.field("text").lines().next().unwrap_or_default();
                first.clone_into(&mut image.reason);
                if status == Status::Kept {
                    image.status = Status::Reported;
                }
            }
            ("report", Status::Kept) => {
                let repositories = details["repositories"].as_array().into_iter().flatten();
                let mut violations = repositories
                    .flat_map(|entry| entry["examples"].as_array().into_iter().flatten());
                let violation =
                    violations.find(|violation| violation["digest"] == image.digest.as_str());
                if let Some(violation) = violation {
                    let (tag, reason) = (word(&violation["tag"]), word(&violation["reason"]));
                    image.reason = format!("The tag {tag} {reason}. The digest reported it.");
                    image.status = Status::Reported;
                }
            }
            _ => {}
        }
    }
    if image.reason.is_empty() {
        image.reason = kept.get(&image.digest).cloned().unwrap_or_default();
    }
}

/// Groups the images by component. The images of no component come last.
fn components(images: Vec<Image>, policy: Option<&Policy>) -> Vec<Component> {
    let present: Vec<String> = images.iter().map(|image| image.digest.clone()).collect();
    let (attached, alone): (Vec<Image>, Vec<Image>) = images
        .into_iter()
        .partition(|image| image.belongs_to.as_ref().is_some_and(|owner| present.contains(owner)));
    let mut components: Vec<Component> = Vec::new();
    for image in alone {
        let name = image.tags.iter().find_map(|tag| component(policy?, tag));
        let digest = image.digest.clone();
        let parts = attached.iter().filter(|part| part.belongs_to.as_ref() == Some(&digest));
        let images = std::iter::once(image).chain(parts.cloned());
        match components.iter_mut().find(|component| component.name == name) {
            Some(component) => component.images.extend(images),
            None => components.push(Component { name, images: images.collect() }),
        }
    }
    components.sort_by(|one, other| {
        (one.name.is_none(), &one.name).cmp(&(other.name.is_none(), &other.name))
    });
    components
}

/// The component that a tag names. For a quarantine tag, this is the component of the bad tag.
fn component(policy: &Policy, tag: &str) -> Option<String> {
    let bad = tag.strip_prefix("quarantine-").and_then(|rest| rest.splitn(3, '-').nth(2));
    let component = match judge(policy, bad.unwrap_or(tag)) {
        TagVerdict::Conforming(conforming) => Some(conforming.component),
        TagVerdict::Violation(violation) => violation.component,
        TagVerdict::Exempt(_) => None,
    };
    component.map(|component| component.to_string())
}

/// A time of ECR, as RFC 3339.
fn time(seconds: &Value) -> String {
    let seconds = seconds.as_f64().unwrap_or_default();
    super::rfc3339(seconds)
}

/// The first twelve digits of a digest, which suffice for a person.
pub fn short(digest: &str) -> &str {
    let is_digest = digest.parse::<Digest>().is_ok();
    if is_digest { digest.get(..19).unwrap_or(digest) } else { digest }
}
