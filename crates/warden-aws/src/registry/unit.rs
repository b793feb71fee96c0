//! Archiving and restoring the images of a unit.
//!
//! ECR archives one image a call. Whether ECR archives an image of an active index is not
//! documented, so both answers are handled: the root is archived last, and an image that ECR
//! refused before is tried once more after the root.

use anyhow::Context as _;
use aws_sdk_ecr::types::TargetStorageClass;
use std::collections::{HashMap, HashSet};
use warden_core::graph::ImageRecord;
use warden_core::image::{Digest, ImageStatus, RepositoryName};

use super::inventory::listed;
use super::{PAGE_SIZE, Registry, any_status};
use crate::ServiceError;

/// The most calls that archive images at once.
pub const CONCURRENT_ARCHIVE_CALLS: usize = 2;

/// The outcome of archiving a unit.
#[derive(Debug, Default)]
pub struct ArchivedUnit {
    /// The images that are archived now.
    pub archived: Vec<Digest>,
    /// The images whose call failed, with the error.
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

/// A repository, listed again after its images were listed.
#[derive(Debug, Default)]
pub struct SecondLook {
    /// The images that new indexes need.
    pub needed: HashSet<Digest>,
    /// The watched images, as far as they are there.
    pub images: HashMap<Digest, ImageRecord>,
}

impl Registry {
    /// Archives the images of a unit one after the other, the root last. After a failed call, or
    /// when `may_go_on` says no, no further image is archived. But where the root is archived and
    /// ECR refused another image before, that image is archived in any case.
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

    /// Restores these images from the archive. An image that is not archived is no error. After a
    /// failed call the other images are restored all the same; the first error is returned.
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

    /// Lists a repository again. `known` are the images that were listed and not archived; the call
    /// adds what it sees. `watched` are the images whose present state the caller needs. A call for
    /// each 1,000 images, and one for each 100 new indexes.
    pub async fn look_again(
        &self,
        repository: &RepositoryName,
        known: &mut HashSet<Digest>,
        watched: &HashSet<&Digest>,
    ) -> anyhow::Result<SecondLook> {
        let looking = || format!("looking for new indexes of {repository}");
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let mut pages = describe.filter(any_status()).into_paginator().page_size(PAGE_SIZE).send();
        let (mut indexes, mut images) = (Vec::new(), HashMap::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(crate::explain).with_context(looking)?;
            for detail in page.image_details.into_iter().flatten() {
                let image = listed(detail).with_context(looking)?;
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
        let children = self.index_children(repository, &indexes).await.with_context(looking)?;
        Ok(SecondLook { needed: children.into_values().flatten().collect(), images })
    }

    /// Archives an image. False if ECR refuses that although the image is not archived.
    async fn archive(&self, repository: &RepositoryName, digest: &Digest) -> anyhow::Result<bool> {
        let archived =
            self.set_storage_class(repository, digest, TargetStorageClass::Archive).await;
        let Err(error) = archived else { return Ok(true) };
        if !is_refused(&error) {
            return Err(error);
        }
        // ECR refuses an archived image too, and archives referrers with their subject.
        let found = self.image(repository, digest).await?;
        Ok(found.is_none_or(|found| found.image.status == ImageStatus::Archived))
    }

    async fn archive_or_fail(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(self.archive(repository, digest).await?, "ECR refuses to archive it");
        Ok(())
    }
}

/// Whether ECR refuses to change the storage class: the image has the class, or is on its way.
fn is_refused(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<ServiceError>()
        .is_some_and(|error| error.code == "ImageStorageClassUpdateNotSupportedException")
}
