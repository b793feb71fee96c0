//! ECR, as far as more than one function asks it the same.

use anyhow::{Context as _, bail};
use aws_config::retry::RetryConfig;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{
    DescribeImagesFilter, ImageDetail, ImageFailureCode, ImageIdentifier,
    ImageStatus as WireStatus, ImageStatusFilter, ImageTagMutability, TargetStorageClass,
};
use warden_core::image::{Digest, ImageStatus, RepositoryName, Tag};

/// The image as it is now, if it is there, be it in the archive. One call.
pub async fn image(
    client: &Client,
    repository: &RepositoryName,
    digest: &Digest,
) -> anyhow::Result<Option<ImageDetail>> {
    let id = ImageIdentifier::builder().image_digest(digest.as_str()).build();
    // Without a filter ECR may show active images only.
    let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    let describe = client.describe_images().repository_name(repository.as_str());
    let described = crate::unless(describe.image_ids(id).filter(any).send().await, |error| {
        error.is_image_not_found_exception() || error.is_repository_not_found_exception()
    });
    let described = described.with_context(|| format!("describing {repository}@{digest}"))?;
    Ok(described.and_then(|described| described.image_details?.into_iter().next()))
}

/// Those of an image's tags that are some. ECR may take more for a tag than OCI does; what is
/// none conforms to nothing.
#[must_use]
pub fn tags(of: Option<Vec<String>>) -> Vec<Tag> {
    of.into_iter().flatten().filter_map(|tag| tag.try_into().ok()).collect()
}

/// Where an image is.
#[must_use]
pub fn status(of: Option<&WireStatus>) -> ImageStatus {
    match of {
        // Before there was an archive there was no status.
        None | Some(WireStatus::Active) => ImageStatus::Active,
        Some(WireStatus::Activating) => ImageStatus::Activating,
        // And what ECR may think of yet cannot be taken for active.
        Some(_) => ImageStatus::Archived,
    }
}

/// Whether no tag of the repository can be moved, now. One call.
pub async fn is_immutable(client: &Client, repository: &RepositoryName) -> anyhow::Result<bool> {
    let describe = client.describe_repositories().repository_names(repository.as_str());
    let described =
        crate::unless(describe.send().await, |error| error.is_repository_not_found_exception());
    let described = described.with_context(|| format!("describing {repository}"))?;
    let found = described.and_then(|described| described.repositories?.into_iter().next());
    let mutability = found.and_then(|found| found.image_tag_mutability);
    Ok(mutability == Some(ImageTagMutability::Immutable))
}

/// Takes a tag away from an image. Gives another image, if it was that which lost the tag. One
/// call.
///
/// By the tag alone: what a tag and a digest together would delete is not documented. And
/// once: a tag that is gone is free to be another image's, which a second call, for an answer
/// that was lost, would take it from.
pub async fn untag(
    client: &Client,
    repository: &RepositoryName,
    digest: &Digest,
    tag: &Tag,
) -> anyhow::Result<Option<Digest>> {
    let id = ImageIdentifier::builder().image_tag(tag.as_str()).build();
    let delete = client.batch_delete_image().repository_name(repository.as_str());
    let once = aws_sdk_ecr::config::Builder::new().retry_config(RetryConfig::disabled());
    let delete = delete.image_ids(id).customize().config_override(once);
    let deleted = delete.send().await.map_err(crate::explain)?;
    for failure in deleted.failures() {
        match failure.failure_code() {
            Some(ImageFailureCode::ImageNotFound) => {}
            code => bail!(
                "{}: {}",
                code.map_or("it failed", |code| code.as_str()),
                failure.failure_reason().unwrap_or_default()
            ),
        }
    }
    let removed = deleted.image_ids().iter().filter_map(|id| id.image_digest());
    let other = removed.into_iter().find(|removed| *removed != digest.as_str());
    other.map(|other| other.parse().context("ECR gave a digest that is none")).transpose()
}

/// Moves an image to the archive, or brings it back from there. One call.
pub async fn move_to(
    client: &Client,
    repository: &RepositoryName,
    digest: &Digest,
    class: TargetStorageClass,
) -> anyhow::Result<()> {
    let id = ImageIdentifier::builder().image_digest(digest.as_str()).build();
    let update = client.update_image_storage_class().repository_name(repository.as_str());
    let updated = update.image_id(id).target_storage_class(class).send().await;
    crate::unless(updated, |error| error.is_image_not_found_exception())?;
    Ok(())
}
