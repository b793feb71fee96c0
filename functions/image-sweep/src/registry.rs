//! ECR, as far as a whole repository goes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, anyhow};
use aws_config::SdkConfig;
use aws_sdk_ecr::types::{
    DescribeImagesFilter, Image as WireImage, ImageDetail, ImageFailure, ImageFailureCode,
    ImageIdentifier, ImageStatusFilter, TargetStorageClass,
};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use warden_core::arena::ImageId;
use warden_core::audit::Observed;
use warden_core::graph::{Inventory, Listed, children, is_index};
use warden_core::image::{Digest, Image, RepositoryName, Tag};

use crate::Blind;

/// The most images of a page, and of a call that names them.
const PAGE: i32 = 1_000;
const BATCH: usize = 100;
/// How many calls are under way at once. Rates are not published; what is throttled waits
/// longer from one attempt to the next.
pub const AT_ONCE: usize = 8;

/// The manifests that are read of all that there are: those of indexes.
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// What says that something is an image for containers (`artifactMediaType`).
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The ECR client.
#[derive(Debug)]
pub struct Registry {
    client: aws_sdk_ecr::Client,
}

impl Registry {
    /// A client of this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_ecr::Client::new(config) }
    }

    /// All images of a repository, and how they hang together. A call for 1,000 images, and one
    /// for 100 indexes or missing subjects. [`Blind`] where an index cannot be read.
    pub async fn inventory(&self, repository: &RepositoryName) -> anyhow::Result<Inventory> {
        // Without a filter ECR may show active images only.
        let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let mut pages = describe.filter(any).into_paginator().page_size(PAGE).send();
        let mut inventory = Inventory::default();
        let mut seen: HashMap<Digest, ImageId> = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(warden_aws::explain);
            let page = page.with_context(|| format!("listing the images of {repository}"))?;
            for detail in page.image_details.into_iter().flatten() {
                let image = listed(detail).with_context(|| format!("an image of {repository}"))?;
                // An image that changes while the list is read may be listed twice.
                match seen.entry(image.digest.clone()) {
                    Entry::Occupied(seen) => inventory.images[*seen.get()].merge(&image),
                    Entry::Vacant(unseen) => {
                        unseen.insert(inventory.images.push(image));
                    }
                }
            }
        }
        drop(seen);
        let indexes: Vec<Digest> = inventory.needed_indexes().cloned().collect();
        inventory.indexes = self.indexes(repository, &indexes).await?;
        // An index that was deleted meanwhile is left out. Nothing needs its images then, and
        // they are kept.
        let indexes = &inventory.indexes;
        let is_there = |image: &Listed| !image.has_parts() || indexes.contains_key(&image.digest);
        inventory.images = inventory.images.into_iter().filter(is_there).collect();
        let missing: Vec<Digest> = inventory.missing_subjects().into_iter().collect();
        inventory.gone = self.gone(repository, &missing).await?;
        Ok(inventory)
    }

    /// The parts of each of these indexes.
    async fn indexes(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> anyhow::Result<HashMap<Digest, Vec<Digest>>> {
        let accepted = INDEXES.map(str::to_owned).to_vec();
        let (found, failures) = self.get(repository, digests, Some(accepted)).await?;
        let (gone, failures): (Vec<_>, Vec<_>) = failures
            .into_iter()
            .partition(|it| it.failure_code() == Some(&ImageFailureCode::ImageNotFound));
        let gone = gone.len();
        if let Some(failure) = failures.first() {
            let why = said(failure);
            return Err(Blind(format!("an index of {repository} cannot be read: {why}")).into());
        }
        let mut parts = HashMap::with_capacity(found.len());
        for image in found {
            let digest = image.image_id.and_then(|id| id.image_digest).unwrap_or_default();
            let manifest = image.image_manifest.unwrap_or_default();
            let read = children(&manifest).map_err(anyhow::Error::from).and_then(|children| {
                Ok((digest.parse::<Digest>()?, children.into_keys().collect()))
            });
            let (digest, children) = read.map_err(|error| {
                Blind(format!("the index {digest} of {repository} cannot be read: {error}"))
            })?;
            parts.insert(digest, children);
        }
        if parts.len() + gone < digests.len() {
            return Err(Blind(format!("ECR did not give every index of {repository}")).into());
        }
        Ok(parts)
    }

    /// Those of these images that are certainly not there.
    async fn gone(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> anyhow::Result<HashSet<Digest>> {
        let (_, failures) = self.get(repository, digests, None).await?;
        let is_gone = |failure: &ImageFailure| {
            let is_gone = failure.failure_code() == Some(&ImageFailureCode::ImageNotFound);
            let digest = failure.image_id()?.image_digest()?;
            digest.parse().ok().filter(|_| is_gone)
        };
        Ok(failures.iter().filter_map(is_gone).collect())
    }

    async fn get(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
        accepted: Option<Vec<String>>,
    ) -> anyhow::Result<(Vec<WireImage>, Vec<ImageFailure>)> {
        let calls = digests.chunks(BATCH).map(|digests| {
            let get = self.client.batch_get_image().repository_name(repository.as_str());
            let get = get.set_image_ids(Some(digests.iter().map(id).collect()));
            let get = get.set_accepted_media_types(accepted.clone());
            async move { get.send().await.map_err(warden_aws::explain) }
        });
        let got: Vec<_> = stream::iter(calls)
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .with_context(|| format!("reading manifests of {repository}"))?;
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for one in got {
            images.extend(one.images.unwrap_or_default());
            failures.extend(one.failures.unwrap_or_default());
        }
        Ok((images, failures))
    }

    /// What ECR says of a repository beside its images. Three calls.
    pub async fn observe(&self, repository: &RepositoryName) -> anyhow::Result<Observed> {
        let name = repository.as_str();
        let (described, lifecycle, scanning) = tokio::join!(
            self.client.describe_repositories().repository_names(name).send(),
            self.client.get_lifecycle_policy().repository_name(name).send(),
            self.client.batch_get_repository_scanning_configuration().repository_names(name).send(),
        );
        let described = described.map_err(warden_aws::explain);
        let described = described.with_context(|| format!("describing {repository}"))?;
        let found = described.repositories.and_then(|found| found.into_iter().next());
        let lifecycle =
            warden_aws::unless(lifecycle, |it| it.is_lifecycle_policy_not_found_exception());
        let lifecycle =
            lifecycle.with_context(|| format!("reading the lifecycle policy of {repository}"))?;
        let scanning = scanning.map_err(warden_aws::explain);
        let scanning = scanning.with_context(|| format!("asking how {repository} is scanned"))?;
        let scanning = scanning.scanning_configurations.and_then(|it| it.into_iter().next());
        Ok(Observed {
            mutability: found
                .and_then(|it| it.image_tag_mutability)
                .map(|it| it.as_str().to_owned())
                .unwrap_or_default(),
            lifecycle: lifecycle.and_then(|it| it.lifecycle_policy_text),
            scan_frequency: scanning
                .and_then(|it| it.scan_frequency)
                .map(|it| it.as_str().to_owned())
                .unwrap_or_default(),
            ..Observed::default()
        })
    }

    /// Whether an image was scanned, or is to be, or cannot be. One call.
    pub async fn is_scanned(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<bool> {
        let describe = self.client.describe_image_scan_findings();
        let describe = describe.repository_name(repository.as_str()).image_id(id(digest));
        match describe.max_results(1).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(it) if it.is_scan_not_found_exception() => Ok(false),
                // What went meanwhile needs none.
                Some(it) if it.is_image_not_found_exception() => Ok(true),
                _ => Err(warden_aws::explain(error))
                    .with_context(|| format!("asking for the scan of {digest}")),
            },
        }
    }

    /// Whether the registry has enhanced scanning, which alone knows what runs. One call.
    pub async fn is_enhanced(&self) -> anyhow::Result<bool> {
        let got = self.client.get_registry_scanning_configuration().send().await;
        let got = got.map_err(warden_aws::explain).context("asking how the registry is scanned")?;
        let scan_type = got.scanning_configuration.and_then(|it| it.scan_type);
        Ok(scan_type.is_some_and(|it| it.as_str() == "ENHANCED"))
    }

    /// The image as it is now, if it is there. One call.
    pub async fn image(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Option<Image>> {
        let found = warden_aws::registry::image(&self.client, repository, digest).await?;
        Ok(found.map(|found| Image {
            digest: digest.clone(),
            tags: warden_aws::registry::tags(found.image_tags),
            media_type: found.image_manifest_media_type,
            status: warden_aws::registry::status(found.image_status.as_ref()),
        }))
    }

    /// Moves an image to the archive. What is gone is no error. One call.
    pub async fn archive(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<()> {
        warden_aws::registry::move_to(&self.client, repository, digest, TargetStorageClass::Archive)
            .await
    }

    /// Which of these images, at most 100, are as they were: of what has other tags by now, or
    /// was pulled, something else may be to be said; and so may it of what is in the archive,
    /// unless that is where it goes. None where one of them is gone. One call.
    pub async fn unchanged<'l>(
        &self,
        repository: &RepositoryName,
        images: &[&'l Listed],
        may_be_archived: bool,
    ) -> anyhow::Result<HashSet<&'l Digest>> {
        let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let describe = describe.filter(any);
        let ids = images.iter().map(|image| id(&image.digest)).collect();
        let described =
            warden_aws::unless(describe.set_image_ids(Some(ids)).send().await, |error| {
                error.is_image_not_found_exception()
            });
        let described =
            described.with_context(|| format!("looking at images of {repository} again"))?;
        let details = described.and_then(|it| it.image_details).into_iter().flatten();
        let now: HashMap<Digest, Listed> = details
            .map(|detail| listed(detail).map(|image| (image.digest.clone(), image)))
            .collect::<anyhow::Result<_>>()?;
        let is_same = |image: &&&Listed| {
            now.get(&image.digest).is_some_and(|now| now.is_as(image, may_be_archived))
        };
        Ok(images.iter().filter(is_same).map(|image| &image.digest).collect())
    }

    /// Whether no tag of the repository can be moved, now. One call.
    pub async fn is_immutable(&self, repository: &RepositoryName) -> anyhow::Result<bool> {
        warden_aws::registry::is_immutable(&self.client, repository).await
    }

    /// Deletes images, at most 100, in this order. Gives those that were not, each with the
    /// reason; what is gone is none of them. One call.
    pub async fn delete(
        &self,
        repository: &RepositoryName,
        digests: &[&Digest],
    ) -> anyhow::Result<Vec<(Digest, String)>> {
        let delete = self.client.batch_delete_image().repository_name(repository.as_str());
        let delete = delete.set_image_ids(Some(digests.iter().copied().map(id).collect()));
        let deleted = delete.send().await.map_err(warden_aws::explain)?;
        // Only what is said to be gone is.
        let mut not_deleted: HashMap<&str, String> = digests
            .iter()
            .map(|digest| (digest.as_str(), "ECR did not say that it is gone".to_owned()))
            .collect();
        for id in deleted.image_ids() {
            not_deleted.remove(id.image_digest().unwrap_or_default());
        }
        for failure in deleted.failures() {
            let digest = failure.image_id().and_then(|id| id.image_digest()).unwrap_or_default();
            if failure.failure_code() == Some(&ImageFailureCode::ImageNotFound) {
                not_deleted.remove(digest);
            } else if let Some(why) = not_deleted.get_mut(digest) {
                *why = said(failure);
            }
        }
        let why =
            |digest: &&Digest| Some(((*digest).clone(), not_deleted.remove(digest.as_str())?));
        Ok(digests.iter().filter_map(why).collect())
    }

    /// Takes a tag away from an image. Gives another image, if it was that which lost it.
    pub async fn untag(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> anyhow::Result<Option<Digest>> {
        warden_aws::registry::untag(&self.client, repository, digest, tag).await
    }
}

fn id(digest: &Digest) -> ImageIdentifier {
    ImageIdentifier::builder().image_digest(digest.as_str()).build()
}

fn said(failure: &ImageFailure) -> String {
    let code = failure.failure_code().map_or("it failed", |code| code.as_str());
    let why = failure.failure_reason().unwrap_or_default();
    let digest = failure.image_id().and_then(|id| id.image_digest()).unwrap_or_default();
    format!("{digest} {code}: {why}")
}

fn listed(detail: ImageDetail) -> anyhow::Result<Listed> {
    let digest = detail.image_digest.context("ECR gave no digest")?;
    let digest = digest.clone().try_into().map_err(|error| anyhow!("{error}, got {digest:?}"))?;
    let subject = detail.subject_manifest_digest.as_deref().map(str::parse);
    let is_odd = matches!(subject, Some(Err(_)));
    let is_index = detail.image_manifest_media_type.is_some_and(|it| is_index(&it));
    let count = detail.image_tags.as_ref().map_or(0, Vec::len);
    let tags = warden_aws::registry::tags(detail.image_tags);
    let time = |at: Option<aws_sdk_ecr::primitives::DateTime>| -> Option<DateTime<Utc>> {
        let at = at?;
        DateTime::from_timestamp(at.secs(), at.subsec_nanos())
    };
    let size = detail.image_size_in_bytes.and_then(|it| it.try_into().ok()).unwrap_or_default();
    Ok(Listed {
        digest,
        is_odd: is_odd || tags.len() < count,
        tags,
        status: warden_aws::registry::status(detail.image_status.as_ref()),
        pushed_at: time(detail.image_pushed_at),
        pulled_at: time(detail.last_recorded_pull_time),
        restored_at: time(detail.last_activated_at),
        // Of an index ECR gives that of its largest image, which is counted by itself.
        bytes: if is_index { 0 } else { size },
        is_index,
        is_artifact: detail.artifact_media_type.is_some_and(|it| !CONFIGS.contains(&it.as_str())),
        subject: subject.and_then(Result::ok),
    })
}
