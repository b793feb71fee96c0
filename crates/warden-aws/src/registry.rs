//! The one client of Amazon ECR, for all functions and the tool.
//!
//! In reading order: [`Registry`] and single images here, [`mod@unit`] for images that are archived and
//! restored together, [`mod@manifest`], `inventory` for all images of a repository, [`scan`],
//! [`repository`] for settings, [`replaced_lifecycle`] for the lifecycle policy before an adoption, and
//! `replication` for the rules of the registry.

pub mod manifest;
pub mod replaced_lifecycle;
mod replication;
pub mod repository;
pub mod scan;
pub mod unit;

mod inventory;

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_ecr::operation::describe_images::DescribeImagesError;
use aws_sdk_ecr::types::{
    DescribeImagesFilter, ImageDetail, ImageFailure, ImageFailureCode, ImageIdentifier,
    ImageStatus as WireStatus, ImageStatusFilter, TagStatus, TargetStorageClass,
};
use chrono::{DateTime, Utc};
use std::collections::{HashMap, HashSet};
use warden_core::artifact::{ArtifactFacts, ArtifactKind, classify};
use warden_core::image::{Digest, Image, ImageStatus, RepositoryName, Tag};

pub use self::manifest::Manifest;

/// The resource tag of a repository or a policy that a stack created: `<stack id>/<logical id>`. The
/// call that creates the resource sets it.
pub const OWNER_TAG: &str = "ecr-warden:owner";
/// The resource tag of an adopted repository, with the same kind of value. A repository with this tag
/// is never deleted.
pub const ADOPTED_TAG: &str = "ecr-warden:adopted-by";

/// The most concurrent calls. ECR publishes no rate for most of its operations, and the SDK waits longer
/// after each throttled attempt.
pub const CONCURRENT_CALLS: usize = 8;

/// The most images of a page.
const PAGE_SIZE: i32 = 1_000;

/// The error for a fact that must be read before an image may be removed, and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VisibilityError(pub String);

/// An ECR client.
#[derive(Debug)]
pub struct Registry {
    client: aws_sdk_ecr::Client,
}

/// An image, as `DescribeImages` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDescription {
    /// The digest, the tags, the media type and the status.
    pub image: Image,
    /// The kind of the artifact, as far as `DescribeImages` shows it.
    pub kind: ArtifactKind,
    /// When the manifest was first pushed. None if ECR does not report the time.
    pub pushed_at: Option<DateTime<Utc>>,
    /// When the image was last archived. None if ECR does not report the time.
    pub archived_at: Option<DateTime<Utc>>,
}

impl Registry {
    /// Builds a client from this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_ecr::Client::new(config) }
    }

    /// Describes an image, archived or not. None if ECR does not know the image or its repository.
    /// One call. If ECR does not find the image by its digest, one more call for each 1,000 images.
    pub async fn image(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Option<ImageDescription>> {
        // Without a filter, because AWS does not document a filter together with identifiers.
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let described = describe.image_ids(image_id(digest)).send().await;
        let is_unknown_repository = described.as_ref().is_err_and(|error| {
            let error = error.as_service_error();
            error.is_some_and(DescribeImagesError::is_repository_not_found_exception)
        });
        if is_unknown_repository {
            return Ok(None);
        }
        let described = crate::unless(described, DescribeImagesError::is_image_not_found_exception);
        let described = described.with_context(|| format!("describing {repository}@{digest}"))?;
        let detail = described.and_then(|output| output.image_details?.into_iter().next());
        let detail = if detail.is_some() {
            detail
        } else {
            // AWS does not document whether ECR finds an archived image by its digest.
            let has_digest = |detail: &ImageDetail| detail.image_digest() == Some(digest.as_str());
            let found = self.find_listed(repository, has_digest).await;
            found.with_context(|| format!("looking for {repository}@{digest}"))?
        };
        detail.map(read_description).transpose()
    }

    /// Lists the archived images of a repository. A call for each 1,000 images.
    pub async fn archived_images(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Vec<ImageDescription>> {
        let archived = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Archived);
        self.list(repository, archived.build()).await
    }

    /// Lists the images of a repository that have a tag, archived or not. A call for each 1,000 images.
    pub async fn tagged_images(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Vec<ImageDescription>> {
        let tagged = DescribeImagesFilter::builder().tag_status(TagStatus::Tagged);
        self.list(repository, tagged.image_status(ImageStatusFilter::Any).build()).await
    }

    /// Lists the images that match a filter, without their manifests.
    async fn list(
        &self,
        repository: &RepositoryName,
        filter: DescribeImagesFilter,
    ) -> anyhow::Result<Vec<ImageDescription>> {
        let listing = || format!("listing the images of {repository}");
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let mut pages = describe.filter(filter).into_paginator().page_size(PAGE_SIZE).send();
        let (mut images, mut seen) = (Vec::new(), HashSet::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(crate::explain).with_context(listing)?;
            for detail in page.image_details.into_iter().flatten() {
                let image = read_description(detail).with_context(listing)?;
                // An image that changes while the pages are read may be on two of them.
                if seen.insert(image.image.digest.clone()) {
                    images.push(image);
                }
            }
        }
        Ok(images)
    }

    /// The digest of the image that a tag points at, archived or not. None if no image has the tag.
    /// One call. If ECR does not find the image by its tag, one more call for each 1,000 images.
    pub async fn digest_of(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> anyhow::Result<Option<Digest>> {
        let found = self.find_tag(repository, tag).await?;
        if found.is_some() {
            return Ok(found);
        }
        let finding = || format!("looking for {repository}:{tag}");
        let has_tag =
            |detail: &ImageDetail| detail.image_tags().iter().any(|other| other == tag.as_str());
        let listed = self.find_listed(repository, has_tag).await.with_context(finding)?;
        listed.map(|detail| read_digest(&detail).with_context(finding)).transpose()
    }

    /// The digest of the image that a tag points at. None if no image has the tag, and possibly also if
    /// the image is archived: AWS does not document whether ECR finds an archived image by its tag. One
    /// call.
    pub async fn find_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> anyhow::Result<Option<Digest>> {
        let finding = || format!("looking for {repository}:{tag}");
        let id = ImageIdentifier::builder().image_tag(tag.as_str()).build();
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let described = describe.image_ids(id).send().await;
        let described = crate::unless(described, DescribeImagesError::is_image_not_found_exception);
        let detail = described.with_context(finding)?;
        let detail = detail.and_then(|output| output.image_details?.into_iter().next());
        detail.map(|detail| read_digest(&detail).with_context(finding)).transpose()
    }

    /// Finds the first image that matches in the list of all images, archived or not.
    async fn find_listed(
        &self,
        repository: &RepositoryName,
        is_match: impl Fn(&ImageDetail) -> bool,
    ) -> anyhow::Result<Option<ImageDetail>> {
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let mut pages = describe.filter(any_status()).into_paginator().page_size(PAGE_SIZE).send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(crate::explain)?;
            let mut details = page.image_details.into_iter().flatten();
            let found = details.find(&is_match);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Removes a tag from an image. Returns the digest of another image if that image lost the tag. One
    /// call.
    ///
    /// The call names the tag alone, because AWS does not document which images a tag and a digest
    /// together delete. The SDK does not retry the call: after a lost response, the tag may belong to
    /// another image, and a second call would remove the tag from that image.
    pub async fn untag(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> anyhow::Result<Option<Digest>> {
        let id = ImageIdentifier::builder().image_tag(tag.as_str()).build();
        let delete = self.client.batch_delete_image().repository_name(repository.as_str());
        let once = aws_sdk_ecr::config::Builder::new().retry_config(RetryConfig::disabled());
        let delete = delete.image_ids(id).customize().config_override(once);
        let deleted = delete.send().await.map_err(crate::explain)?;
        for failure in deleted.failures() {
            match failure.failure_code() {
                Some(ImageFailureCode::ImageNotFound) => {}
                _ => bail!("{}", failure_reason(failure)),
            }
        }
        let removed = deleted.image_ids().iter().filter_map(|id| id.image_digest());
        let other = removed.into_iter().find(|removed| *removed != digest.as_str());
        other.map(|other| other.parse().context("ECR returned an invalid digest")).transpose()
    }

    /// Adds a tag to an image: puts the manifest of the image again, with the tag. A tag that the image
    /// already has is not an error. One call.
    pub async fn add_tag(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: &Manifest,
        tag: &Tag,
    ) -> anyhow::Result<()> {
        let put = self
            .client
            .put_image()
            .repository_name(repository.as_str())
            .image_tag(tag.as_str())
            .image_manifest(&manifest.text)
            .set_image_manifest_media_type(manifest.media_type.clone())
            // With the digest, ECR refuses a manifest of another image.
            .image_digest(digest.as_str());
        crate::unless(put.send().await, |error| error.is_image_already_exists_exception())?;
        Ok(())
    }

    /// Archives or restores an image. An image that ECR does not know is not an error. One call.
    async fn set_storage_class(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        class: TargetStorageClass,
    ) -> anyhow::Result<()> {
        let update = self.client.update_image_storage_class().repository_name(repository.as_str());
        let update = update.image_id(image_id(digest)).target_storage_class(class);
        crate::unless(update.send().await, |error| error.is_image_not_found_exception())?;
        Ok(())
    }

    /// Deletes at most 100 images, in this order. Returns each image that ECR did not delete, with the
    /// reason. An image that ECR does not know counts as deleted. One call.
    pub async fn delete(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> anyhow::Result<Vec<(Digest, String)>> {
        let delete = self.client.batch_delete_image().repository_name(repository.as_str());
        let delete = delete.set_image_ids(Some(digests.iter().copied().map(image_id).collect()));
        let deleted = delete.send().await.map_err(crate::explain)?;
        // An image counts as deleted only if the response contains it. See case P7 in
        // docs/contributing/prior-art.md.
        let mut not_deleted: HashMap<&str, String> = digests
            .iter()
            .map(|digest| (digest.as_str(), "ECR did not confirm the deletion".to_owned()))
            .collect();
        for id in deleted.image_ids() {
            not_deleted.remove(id.image_digest().unwrap_or_default());
        }
        for failure in deleted.failures() {
            let digest = failure.image_id().and_then(|id| id.image_digest()).unwrap_or_default();
            if failure.failure_code() == Some(&ImageFailureCode::ImageNotFound) {
                not_deleted.remove(digest);
            } else if let Some(reason) = not_deleted.get_mut(digest) {
                *reason = format!("{digest} {}", failure_reason(failure));
            }
        }
        let with_reason =
            |digest: &&Digest| Some(((*digest).clone(), not_deleted.remove(digest.as_str())?));
        Ok(digests.iter().filter_map(with_reason).collect())
    }
}

fn image_id(digest: &Digest) -> ImageIdentifier {
    ImageIdentifier::builder().image_digest(digest.as_str()).build()
}

/// The filter for images of any status. Without a filter, `DescribeImages` lists only active images.
fn any_status() -> DescribeImagesFilter {
    DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build()
}

/// The code and the reason of a failure, from the response of ECR.
fn failure_reason(failure: &ImageFailure) -> String {
    let code = failure.failure_code().map_or("unknown failure", |code| code.as_str());
    format!("{code}: {}", failure.failure_reason().unwrap_or_default())
}

/// Parses the tags of an image. ECR may accept a tag that is invalid by the OCI specification. Such a
/// tag matches no grammar and is left out.
#[must_use]
pub fn parse_tags(tags: Option<Vec<String>>) -> Vec<Tag> {
    tags.into_iter().flatten().filter_map(|tag| tag.try_into().ok()).collect()
}

fn image_status(status: Option<&WireStatus>) -> ImageStatus {
    match status {
        // Images had no status before ECR had an archive.
        None | Some(WireStatus::Active) => ImageStatus::Active,
        Some(WireStatus::Activating) => ImageStatus::Activating,
        // An unknown status does not count as active.
        Some(_) => ImageStatus::Archived,
    }
}

fn to_time(at: aws_sdk_ecr::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}

/// The kind of an artifact, as far as `DescribeImages` shows it.
fn kind_in_list(detail: &ImageDetail, tags: &[Tag]) -> ArtifactKind {
    classify(&ArtifactFacts {
        manifest_type: detail.image_manifest_media_type.as_deref(),
        artifact_type: detail.artifact_media_type.as_deref(),
        layer_types: None,
        tags,
    })
}

/// Reads the description of an image from a response.
fn read_description(mut detail: ImageDetail) -> anyhow::Result<ImageDescription> {
    let tags = parse_tags(detail.image_tags.take());
    Ok(ImageDescription {
        kind: kind_in_list(&detail, &tags),
        pushed_at: detail.image_pushed_at.and_then(to_time),
        archived_at: detail.last_archived_at.and_then(to_time),
        image: Image {
            digest: read_digest(&detail)?,
            tags,
            media_type: detail.image_manifest_media_type,
            status: image_status(detail.image_status.as_ref()),
        },
    })
}

/// Reads the digest of an image from a response.
fn read_digest(detail: &ImageDetail) -> anyhow::Result<Digest> {
    let digest =
        detail.image_digest.as_deref().context("ECR returned an image without a digest")?;
    digest.parse().map_err(|error| anyhow::anyhow!("{error}, got {digest:?}"))
}
