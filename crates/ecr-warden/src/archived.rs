//! `ecr-warden archived`: lists the images in the archive.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::{DateTime, Days, Utc};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;
use warden_aws::ledger::Ledger;
use warden_aws::registry::{CONCURRENT_CALLS, ImageDescription};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::lifecycle::native::NativeRules;

use crate::deployed::{Connection, DeployedStack, Output};
use crate::print::{print, print_json, table};

/// The options of `ecr-warden archived`.
#[derive(Args)]
pub struct ArchivedOptions {
    /// Lists only the images of this repository. The option can be repeated.
    #[arg(long = "repository", value_name = "NAME")]
    repositories: Vec<RepositoryName>,
    #[command(flatten)]
    connection: Connection,
}

/// An archived image, with the other archived images of its unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchivedImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The image, which needs the other images of the unit.
    pub digest: Digest,
    /// The tags of the image.
    pub tags: Vec<Tag>,
    /// When ECR archived the image. None if ECR does not report the time.
    pub archived_at: Option<DateTime<Utc>>,
    /// When ECR deletes the image. None if no lifecycle rule deletes it, or if the time is unknown.
    pub kept_until: Option<DateTime<Utc>>,
    /// Whether no lifecycle rule of the repository deletes archived images.
    pub is_kept_without_end: bool,
    /// The number of archived images in the unit.
    pub images: usize,
    /// The command that restores the unit.
    pub restore: String,
}

/// Prints the archived images.
pub async fn archived(options: &ArchivedOptions) -> anyhow::Result<()> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let images = list_archived(&stack, &options.repositories).await?;
    match options.connection.output {
        Output::Json => print_json(&json!(images)),
        Output::Table => print(&to_text(&images)),
    }
}

/// Lists the archived units, the latest first. A call for each 1,000 archived images, and for a repository
/// with such images one call for its lifecycle policy and one for each 100 units.
pub async fn list_archived(
    stack: &DeployedStack,
    repositories: &[RepositoryName],
) -> anyhow::Result<Vec<ArchivedImage>> {
    let selected = stack.select_repositories(repositories).await?;
    let ledger = stack.ledger().await?;
    let listed = selected.iter().map(|policy| list_in(stack, &ledger, &policy.repository_name));
    let listed = stream::iter(listed).buffered(CONCURRENT_CALLS);
    let listed: Vec<Vec<ArchivedImage>> = listed.try_collect().await?;
    let mut images = listed.concat();
    images.sort_by_key(|image| Reverse(image.archived_at));
    Ok(images)
}

async fn list_in(
    stack: &DeployedStack,
    ledger: &Ledger,
    repository: &RepositoryName,
) -> anyhow::Result<Vec<ArchivedImage>> {
    let archived = stack.registry.archived_images(repository).await?;
    if archived.is_empty() {
        return Ok(Vec::new());
    }
    let digests: Vec<Digest> = archived.iter().map(|image| image.image.digest.clone()).collect();
    let units = ledger.units(repository, &digests).await?;
    let policy = stack.registry.lifecycle_policy(repository).await;
    let policy = policy.with_context(|| format!("reading the lifecycle policy of {repository}"))?;
    // If a rule is unknown, the end is unknown.
    let days = policy.map_or(Ok(None), |text| NativeRules::read(&text).archived_days());
    let is_archived: BTreeSet<&Digest> = digests.iter().collect();
    let parts = |root: &Digest| {
        let unit = units.get(root).into_iter().flat_map(|unit| unit.removed.iter());
        unit.filter(|part| is_archived.contains(part)).cloned().collect::<BTreeSet<Digest>>()
    };
    // A part is listed with its root. The root of a unit is never a part of another one.
    let of_others: BTreeSet<Digest> = units.keys().flat_map(&parts).collect();
    let image = |described: &ImageDescription| {
        let image = &described.image;
        let until = described.archived_at.zip(days.clone().ok().flatten());
        let until = until.and_then(|(at, days)| at.checked_add_days(Days::new(days.into())));
        let name = match image.tags.first() {
            Some(tag) => format!("{repository}:{tag}"),
            None => format!("{repository}@{}", image.digest),
        };
        ArchivedImage {
            repository: repository.clone(),
            digest: image.digest.clone(),
            tags: image.tags.clone(),
            archived_at: described.archived_at,
            kept_until: until,
            is_kept_without_end: days == Ok(None),
            images: 1 + parts(&image.digest).len(),
            restore: format!("ecr-warden restore {name} {}", stack.to_options()),
        }
    };
    let roots = archived.iter().filter(|image| !of_others.contains(&image.image.digest));
    Ok(roots.map(image).collect())
}

fn to_text(images: &[ArchivedImage]) -> String {
    let Some(first) = images.first() else { return "No image is in the archive.".to_owned() };
    let head = ["REPOSITORY", "ARCHIVED", "KEPT UNTIL", "IMAGES", "DIGEST", "TAGS"];
    let day = |time: Option<DateTime<Utc>>, other: &str| {
        time.map_or_else(|| other.to_owned(), |time| time.date_naive().to_string())
    };
    let row = |image: &ArchivedImage| {
        let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
        [
            image.repository.to_string(),
            day(image.archived_at, "unknown"),
            day(image.kept_until, if image.is_kept_without_end { "no end" } else { "unknown" }),
            image.images.to_string(),
            crate::print::shorten(image.digest.as_str()).to_owned(),
            tags.join(" "),
        ]
    };
    let rows: Vec<_> =
        [head.map(str::to_owned)].into_iter().chain(images.iter().map(row)).collect();
    let what = if images.len() == 1 { "the image" } else { "the first image" };
    format!("{}\n\nTo restore {what}: {}", table(&rows), first.restore)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn image(tags: &[&str], archived_at: Option<&str>, until: Option<&str>) -> ArchivedImage {
        let time = |text: &str| text.parse().unwrap();
        ArchivedImage {
            repository: "deployments".parse().unwrap(),
            digest: format!("sha256:{}", "0a".repeat(32)).parse().unwrap(),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            archived_at: archived_at.map(time),
            kept_until: until.map(time),
            is_kept_without_end: until.is_none() && archived_at.is_some(),
            images: 3,
            restore: "ecr-warden restore deployments:app-v1.0.0".to_owned(),
        }
    }

    #[test]
    fn the_table_has_the_times_of_each_image_and_a_command() {
        expect!["No image is in the archive."].assert_eq(&to_text(&[]));
        let since = Some("2026-11-24T08:00:00Z");
        let images = [
            image(&["app-v1.0.0", "app"], since, Some("2027-02-22T08:00:00Z")),
            image(&[], since, None),
            image(&["app-v0.9.0"], None, None),
        ];
        expect![[r#"
            REPOSITORY   ARCHIVED    KEPT UNTIL  IMAGES  DIGEST               TAGS
            deployments  2026-11-24  2027-02-22  3       sha256:0a0a0a0a0a0a  app-v1.0.0 app
            deployments  2026-11-24  no end      3       sha256:0a0a0a0a0a0a
            deployments  unknown     unknown     3       sha256:0a0a0a0a0a0a  app-v0.9.0

            To restore the first image: ecr-warden restore deployments:app-v1.0.0"#]]
        .assert_eq(&to_text(&images));
    }
}
