//! `ecr-warden quarantined`: lists the images in quarantine.

use std::collections::HashSet;

use chrono::{Days, NaiveDate, Utc};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;
use warden_aws::registry::CONCURRENT_CALLS;
use warden_core::image::{Digest, ImageStatus, RepositoryName, Tag};
use warden_core::policy::Policy;
use warden_core::quarantine::Quarantine;
use warden_core::tagging::suggest_restored_tag;

use crate::deployed::{Connection, DeployedStack, Output};
use crate::print::{print, print_json, table};

/// The options of `ecr-warden quarantined`.
#[derive(Args)]
pub struct QuarantinedOptions {
    /// Lists only the images of this repository. The option can be repeated.
    #[arg(long = "repository", value_name = "NAME")]
    repositories: Vec<RepositoryName>,
    #[command(flatten)]
    connection: Connection,
}

/// An image in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// The quarantine tag.
    pub tag: Tag,
    /// The day on which the quarantine began.
    pub since: NaiveDate,
    /// The day from which a sweep may remove the image.
    pub until: NaiveDate,
    /// Whether the image is in the archive already.
    pub is_archived: bool,
    /// An accepted tag for the image, which no other image has.
    pub suggestion: Option<Tag>,
    /// The command that restores the image.
    pub restore: String,
}

/// Prints the images in quarantine.
pub async fn quarantined(options: &QuarantinedOptions) -> anyhow::Result<()> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let today = Utc::now().date_naive();
    let images = list_quarantined(&stack, &options.repositories, today).await?;
    match options.connection.output {
        Output::Json => print_json(&json!(images)),
        Output::Table => print(&to_text(&images)),
    }
}

/// Lists the images in quarantine, by repository and tag. A call for each 1,000 images with a tag.
pub async fn list_quarantined(
    stack: &DeployedStack,
    repositories: &[RepositoryName],
    today: NaiveDate,
) -> anyhow::Result<Vec<QuarantinedImage>> {
    let policies = stack.select_repositories(repositories).await?;
    let listed = policies.iter().map(|policy| list_in(stack, policy, today));
    let listed = stream::iter(listed).buffered(CONCURRENT_CALLS);
    let listed: Vec<Vec<QuarantinedImage>> = listed.try_collect().await?;
    let mut images = listed.concat();
    images.sort_by(|one, other| (&one.repository, &one.tag).cmp(&(&other.repository, &other.tag)));
    Ok(images)
}

async fn list_in(
    stack: &DeployedStack,
    policy: &Policy,
    today: NaiveDate,
) -> anyhow::Result<Vec<QuarantinedImage>> {
    let repository = &policy.repository_name;
    let tagged = stack.registry.tagged_images(repository).await?;
    let taken: HashSet<&Tag> = tagged.iter().flat_map(|image| &image.image.tags).collect();
    // Without rules for tags, no sweep ends a quarantine.
    let days = policy.tags.as_ref().map(|tags| Days::new(tags.quarantine_days.into()));
    let mut images = Vec::new();
    for image in tagged.iter().map(|image| &image.image) {
        for tag in &image.tags {
            let quarantine = Quarantine::read(tag);
            let quarantine =
                quarantine.filter(|quarantine| quarantine.is_genuine(&image.digest, today));
            let Some(quarantine) = quarantine else { continue };
            let suggestion = suggest_restored_tag(policy, &quarantine);
            let suggestion = suggestion.filter(|suggestion| !taken.contains(suggestion));
            let is_archived = image.status != ImageStatus::Active;
            images.push(QuarantinedImage {
                repository: repository.clone(),
                digest: image.digest.clone(),
                tag: tag.clone(),
                since: quarantine.since,
                until: days
                    .and_then(|days| quarantine.since.checked_add_days(days))
                    .unwrap_or(NaiveDate::MAX),
                is_archived,
                restore: match &suggestion {
                    _ if is_archived => {
                        format!("ecr-warden restore {repository}:{tag} {}", stack.to_options())
                    }
                    // An ellipsis is not a tag, so the command is refused until a person replaces it.
                    _ => format!(
                        "ecr-warden restore {repository}:{tag} --tag {} {}",
                        suggestion.as_ref().map_or("…", Tag::as_str),
                        stack.to_options()
                    ),
                },
                suggestion,
            });
        }
    }
    Ok(images)
}

fn to_text(images: &[QuarantinedImage]) -> String {
    let Some(first) = images.first() else { return "No image is in quarantine.".to_owned() };
    let head = ["REPOSITORY", "UNTIL", "QUARANTINE TAG", "SUGGESTED TAG"].map(str::to_owned);
    let row = |image: &QuarantinedImage| {
        let until = if image.is_archived { "archived".to_owned() } else { image.until.to_string() };
        let suggestion = image.suggestion.as_ref().map_or("", Tag::as_str).to_owned();
        [image.repository.to_string(), until, image.tag.to_string(), suggestion]
    };
    let rows: Vec<_> = [head].into_iter().chain(images.iter().map(row)).collect();
    let what = if images.len() == 1 { "the image" } else { "the first image" };
    format!("{}\n\nTo restore {what}: {}", table(&rows), first.restore)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn image(tag: &str, suggestion: Option<&str>, is_archived: bool) -> QuarantinedImage {
        QuarantinedImage {
            repository: "infrastructure".parse().unwrap(),
            digest: format!("sha256:{}", "0a".repeat(32)).parse().unwrap(),
            tag: tag.parse().unwrap(),
            since: "2026-11-24".parse().unwrap(),
            until: "2026-12-08".parse().unwrap(),
            is_archived,
            suggestion: suggestion.map(|tag| tag.parse().unwrap()),
            restore: format!("ecr-warden restore infrastructure:{tag} --tag …"),
        }
    }

    #[test]
    fn the_table_has_the_end_of_each_quarantine_and_a_command() {
        expect!["No image is in quarantine."].assert_eq(&to_text(&[]));
        let images = [
            image(
                "quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5",
                Some("litellm-v1.80.5"),
                false,
            ),
            image("quarantine-20261124-0a0a0a0a0a0a-odd", None, true),
        ];
        expect![[r#"
            REPOSITORY      UNTIL       QUARANTINE TAG                                   SUGGESTED TAG
            infrastructure  2026-12-08  quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5  litellm-v1.80.5
            infrastructure  archived    quarantine-20261124-0a0a0a0a0a0a-odd

            To restore the first image: ecr-warden restore infrastructure:quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5 --tag …"#]].assert_eq(&to_text(&images));
    }
}
