//! Archives and restores the images of a unit.
//!
//! ECR archives one image with each call. AWS does not document whether ECR archives an image of an
//! active index, so the code handles both cases: the root is archived last, and an image that ECR
//! refused before is tried again after the root.

use anyhow::Context as _;
use aws_sdk_ecr::types::TargetStorageClass;
use std::collections::{HashMap, HashSet};
use warden_core::graph::ImageRecord;
use warden_core::image::{Digest, ImageStatus, RepositoryName};

use super::inventory::read_image;
use super::{PAGE_SIZE, Registry, any_status};
use crate::ServiceError;

/// The most calls that archive images at once.
pub const CONCURRENT_ARCHIVE_CALLS: usize = 2;

/// The outcome of archiving a unit.
#[derive(Debug, Default)]
pub struct ArchivedUnit {
    /// The images that are archived now.
    pub archived: Vec<Digest>,
    /// The images whose call failed, each with the error.
    pub failed: Vec<(Digest, anyhow::Error)>,
    /// The images that were not tried.
    pub left: Vec<Digest>,
}

impl ArchivedUnit {
    /// Whether every image is archived.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.left.is_empty()
    }
}

/// The result of a second listing of a repository.
#[derive(Debug, Default)]
pub struct SecondListing {
    /// The images that new indexes need.
    pub needed: HashSet<Digest>,
    /// The watched images that exist.
    pub images: HashMap<Digest, ImageRecord>,
}

impl Registry {
    /// Archives the images of a unit one after the other, the root last. After a failed call, or when
    /// `may_go_on` returns false, no further image is archived. There is one exception: after the root
    /// was archived, an image that ECR refused before is archived in any case.
    pub async fn archive_unit(
        &self,
        repository: &RepositoryName,
        images: &[&Digest],
        may_go_on: impl Fn() -> bool,
    ) -> ArchivedUnit {
        let mut unit = ArchivedUnit::default();
        let Some((root, others)) = images.split_last() else { return unit };
        let mut refused = Vec::new();
        for digest in others.iter().copied() {
            if !unit.failed.is_empty() || !may_go_on() {
                unit.left.push(digest.clone());
                continue;
            }
            match self.archive(repository, digest).await {
                Ok(true) => unit.archived.push(digest.clone()),
                Ok(false) => refused.push(digest),
                Err(error) => unit.failed.push((digest.clone(), error)),
            }
        }
        if !unit.failed.is_empty() || !may_go_on() {
            unit.left.extend(refused.into_iter().chain([*root]).cloned());
            return unit;
        }
        match self.archive_or_fail(repository, root).await {
            Ok(()) => unit.archived.push((*root).clone()),
            Err(error) => {
                unit.failed.push(((*root).clone(), error));
                unit.left.extend(refused.into_iter().cloned());
                return unit;
            }
        }
        for digest in refused {
            match self.archive_or_fail(repository, digest).await {
                Ok(()) => unit.archived.push(digest.clone()),
                Err(error) => unit.failed.push((digest.clone(), error)),
            }
        }
        unit
    }

    /// Restores these images from the archive. An image that is not archived is not an error. After a
    /// failed call, the other images are still restored, and the first error is returned.
    pub async fn restore_images(
        &self,
        repository: &RepositoryName,
        images: impl IntoIterator<Item = &Digest>,
    ) -> anyhow::Result<()> {
        let mut restored = Ok(());
        for digest in images {
            let class = TargetStorageClass::Standard;
            let result = self.set_storage_class(repository, digest, class).await;
            let result =
                result.or_else(|error| if is_refused(&error) { Ok(()) } else { Err(error) });
            let result = result.with_context(|| format!("restoring {repository}@{digest}"));
            restored = restored.and(result);
        }
        restored
    }

    /// Lists a repository again. `known` are the images that were listed and not archived; the listing
    /// adds new images to them. `watched` are the images whose present state the caller needs. A call for
    /// each 1,000 images, and one for each 100 new indexes.
    ///
    /// See case A16 in `docs/contributing/prior-art.md`.
    pub async fn list_again(
        &self,
        repository: &RepositoryName,
        known: &mut HashSet<Digest>,
        watched: &HashSet<&Digest>,
    ) -> anyhow::Result<SecondListing> {
        let listing = || format!("listing new indexes of {repository}");
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let mut pages = describe.filter(any_status()).into_paginator().page_size(PAGE_SIZE).send();
        let (mut indexes, mut images) = (Vec::new(), HashMap::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(crate::explain).with_context(listing)?;
            for detail in page.image_details.into_iter().flatten() {
                let image = read_image(detail).with_context(listing)?;
                let is_new =
                    image.status != ImageStatus::Archived && known.insert(image.digest.clone());
                if is_new && image.has_parts() {
                    indexes.push(image.digest.clone());
                }
                if watched.contains(&image.digest) {
                    images.insert(image.digest.clone(), image);
                }
            }
        }
        let children = self.index_children(repository, &indexes).await.with_context(listing)?;
        Ok(SecondListing { needed: children.into_values().flatten().collect(), images })
    }

    /// Archives an image. Returns false if ECR refuses the call although the image is not archived.
    async fn archive(&self, repository: &RepositoryName, digest: &Digest) -> anyhow::Result<bool> {
        let archived =
            self.set_storage_class(repository, digest, TargetStorageClass::Archive).await;
        let Err(error) = archived else { return Ok(true) };
        if !is_refused(&error) {
            return Err(error);
        }
        // ECR also refuses the call if the image is already archived, for example with its subject.
        let found = self.image(repository, digest).await?;
        Ok(found.is_none_or(|found| found.image.status == ImageStatus::Archived))
    }

    async fn archive_or_fail(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.archive(repository, digest).await?,
            "ECR refused to archive the image"
        );
        Ok(())
    }
}

/// Whether ECR refused to change the storage class, because the image already has the class or is
/// changing to it.
fn is_refused(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<ServiceError>()
        .is_some_and(|error| error.code == "ImageStorageClassUpdateNotSupportedException")
}
