//! What stands in the end: each repository as its components and their versions, asked of ECR,
//! each with the reason that a function gives for it.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use local_aws::LocalAws;
use serde::Serialize;
use serde_json::{Value, json};
use warden_core::image::{Digest, Tag};
use warden_core::policy::{Policies, Policy};
use warden_core::tagging::{TagVerdict, judge};

use super::story::{Alert, Settings};
use super::{ask, deployment, word, words};

/// A repository.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    pub name: String,
    /// None of one that the stack does not govern.
    pub settings: Option<Settings>,
    pub components: Vec<Component>,
}

/// What images are versions of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// None of images whose tags name none.
    pub name: Option<String>,
    /// The newest first; what belongs to an image comes after it.
    pub images: Vec<Image>,
}

/// An image, as ECR describes it, and what is to be said of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    pub digest: String,
    pub tags: Vec<String>,
    /// RFC 3339.
    pub pushed_at: String,
    pub bytes: u64,
    pub status: Status,
    /// Why it is there, or is not: as the function said it.
    pub reason: String,
    /// The index that it is part of, or the image that it signs.
    pub belongs_to: Option<String>,
}

/// Where an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It can be pulled by its tags, and a rule keeps it.
    Kept,
    /// The same, with a tag that breaks the rules.
    Told,
    /// It has a quarantine tag and no other.
    Quarantined,
    /// It is in ECR's archive.
    Archived,
}

impl Status {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Told => "told",
            Self::Quarantined => "quarantined",
            Self::Archived => "archived",
        }
    }
}

/// All repositories of the registry.
pub async fn ask_all(
    aws: &LocalAws,
    governance: &str,
    alerts: &[&Alert],
) -> anyhow::Result<Vec<Repository>> {
    let policies = Policies::parse(governance).map_err(|invalid| anyhow!("{invalid}"))?;
    let described = ask(aws, "DescribeRepositories", &json!({}))?;
    let names = described["repositories"].as_array().into_iter().flatten();
    let mut repositories = Vec::new();
    for name in names.map(|repository| word(&repository["repositoryName"])) {
        let policy = policies.iter().find(|policy| policy.repository_name.as_str() == name);
        let kept =
            if policy.is_some() { reasons_to_keep(aws, name).await? } else { BTreeMap::new() };
        let settings = policy.map(|_| deployment::settings(aws, name)).transpose()?;
        let told: Vec<&&Alert> =
            alerts.iter().filter(|alert| alert.field("repository") == name).collect();
        let mut images = images(aws, name)?;
        for image in &mut images {
            explain(image, &told, &kept);
        }
        let components = components(images, policy);
        repositories.push(Repository { name: name.to_owned(), settings, components });
    }
    // Those of the stack first, in its order.
    repositories.sort_by_key(|repository| {
        policies.iter().position(|it| it.repository_name.as_str() == repository.name).unwrap_or(9)
    });
    Ok(repositories)
}

/// The reason of each image that stays, by its digest: asked of `image-sweep`, as anybody may.
async fn reasons_to_keep(aws: &LocalAws, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let request = json!({"repository": name, "mode": "report"});
    let function = format!("{}-ImageSweepFunction", deployment::STACK);
    let answer = aws.lambda().invoke(&function, request).await?.payload;
    let keeps = answer["keeps"].as_array().with_context(|| format!("no plan: {answer}"))?;
    let reason = |it: &Value| (word(&it["digest"]).to_owned(), word(&it["reason"]).to_owned());
    Ok(keeps.iter().map(reason).collect())
}

fn images(aws: &LocalAws, name: &str) -> anyhow::Result<Vec<Image>> {
    let all =
        json!({"repositoryName": name, "maxResults": 1_000, "filter": {"imageStatus": "ANY"}});
    let found = ask(aws, "DescribeImages", &all)?;
    let mut found = found["imageDetails"].as_array().cloned().unwrap_or_default();
    let pushed_at = |image: &Value| image["imagePushedAt"].as_f64().unwrap_or_default();
    found.sort_by(|one, other| pushed_at(other).total_cmp(&pushed_at(one)));
    let mut whole: BTreeMap<String, String> = BTreeMap::new();
    for image in &found {
        let digest = word(&image["imageDigest"]);
        for part in parts(aws, name, digest) {
            whole.insert(part, digest.to_owned());
        }
        let mut tags =
            words(&image["imageTags"]).into_iter().filter_map(|tag| tag.parse::<Tag>().ok());
        if let Some(subject) = tags.find_map(|tag| tag.subject()) {
            whole.insert(digest.to_owned(), subject.to_string());
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
            belongs_to: whole.get(&digest).cloned(),
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

/// The images of an index. In the archive none can be pulled, and so its text is looked at.
fn parts(aws: &LocalAws, repository: &str, digest: &str) -> Vec<String> {
    let mut state = aws.state();
    let Ok(image) = state.ecr().image(repository, digest) else { return Vec::new() };
    let manifest: Value = serde_json::from_str(&image.manifest_text).unwrap_or_default();
    let parts = manifest["manifests"].as_array().into_iter().flatten();
    parts.map(|part| word(&part["digest"]).to_owned()).collect()
}

/// Says of an image what the last alert about it said, or the plan.
fn explain(image: &mut Image, told: &[&&Alert], kept: &BTreeMap<String, String>) {
    for alert in told {
        let details = &alert.json["details"];
        let went = details["images"].as_array().into_iter().flatten();
        let went = went.filter(|it| it["digest"] == image.digest.as_str());
        match (alert.field("kind"), image.status) {
            ("cleanup", Status::Archived) if details["stopped"].is_null() => {
                went.for_each(|it| word(&it["reason"]).clone_into(&mut image.reason));
            }
            ("tag-violation" | "repository-violation", status)
                if alert.json["image"]["digest"] == image.digest.as_str()
                    && status != Status::Archived =>
            {
                let first = alert.field("text").lines().next().unwrap_or_default();
                first.clone_into(&mut image.reason);
                if status == Status::Kept {
                    image.status = Status::Told;
                }
            }
            _ => {}
        }
    }
    if image.reason.is_empty() {
        image.reason = kept.get(&image.digest).cloned().unwrap_or_default();
    }
}

/// The images by what they are versions of, those of no component last.
fn components(images: Vec<Image>, policy: Option<&Policy>) -> Vec<Component> {
    let here: Vec<String> = images.iter().map(|image| image.digest.clone()).collect();
    let (attached, alone): (Vec<Image>, Vec<Image>) = images
        .into_iter()
        .partition(|image| image.belongs_to.as_ref().is_some_and(|of| here.contains(of)));
    let mut components: Vec<Component> = Vec::new();
    for image in alone {
        let name = image.tags.iter().find_map(|tag| component(policy?, tag));
        let digest = image.digest.clone();
        let images = std::iter::once(image)
            .chain(attached.iter().filter(|it| it.belongs_to.as_ref() == Some(&digest)).cloned());
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

/// The component of a tag, also of one that was lost, or that breaks the rules.
fn component(policy: &Policy, tag: &str) -> Option<String> {
    let lost = tag.strip_prefix("quarantine-").and_then(|rest| rest.splitn(3, '-').nth(2));
    let component = match judge(policy, lost.unwrap_or(tag)) {
        TagVerdict::Conforming(conforming) => Some(conforming.component),
        TagVerdict::Violation(violation) => violation.component,
        TagVerdict::Exempt(_) => None,
    };
    component.map(|component| component.to_string())
}

/// A time of ECR's, as RFC 3339.
fn time(seconds: &Value) -> String {
    let seconds = seconds.as_f64().unwrap_or_default();
    super::written(seconds)
}

/// The start of a digest, by which people tell one from others.
pub fn short(digest: &str) -> &str {
    let is_digest = digest.parse::<Digest>().is_ok();
    if is_digest { digest.get(..19).unwrap_or(digest) } else { digest }
}
