//! Lists all images of a repository.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use aws_sdk_ecr::types::ImageDetail;
use warden_core::arena::ImageId;
use warden_core::graph::{ImageRecord, Inventory, is_index};
use warden_core::image::{Digest, RepositoryName};

use super::{
    PAGE_SIZE, Registry, any_status, image_id, image_status, kind_in_list, parse_tags, read_digest,
    to_time,
};

impl Registry {
    /// Lists every image of a repository, with the references between the images. A call for each 1,000
    /// images, and one for each 100 indexes or missing subjects. Returns a
    /// [`VisibilityError`](super::VisibilityError) if an index cannot be read.
    pub async fn inventory(&self, repository: &RepositoryName) -> anyhow::Result<Inventory> {
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let mut pages = describe.filter(any_status()).into_paginator().page_size(PAGE_SIZE).send();
        let mut inventory = Inventory::default();
        let mut seen: HashMap<Digest, ImageId> = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(crate::explain);
            let page = page.with_context(|| format!("listing the images of {repository}"))?;
            for detail in page.image_details.into_iter().flatten() {
                let image = read_image(detail)
                    .with_context(|| format!("reading an image of {repository}"))?;
                // An image that changes while the pages are read may be on two of them.
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
        inventory.indexes = self.index_children(repository, &indexes).await?;
        // An index that was deleted since it was listed is left out. Its children belong to no index
        // then, and are kept.
        let indexes = &inventory.indexes;
        let is_present =
            |image: &ImageRecord| !image.has_parts() || indexes.contains_key(&image.digest);
        inventory.images = inventory.images.into_iter().filter(is_present).collect();
        let missing: Vec<Digest> = inventory.missing_subjects().into_iter().collect();
        inventory.gone = self.gone_images(repository, &missing).await?;
        Ok(inventory)
    }

    /// Finds which of these images, at most 100, have not changed since they were listed. A change is
    /// another tag, a newer pull, or the archiving of the image unless `may_be_archived`. Empty if ECR
    /// does not know one of the images, or if one was archived and ECR does not find archived images by
    /// their digests: the next run decides then. One call.
    pub async fn unchanged<'l>(
        &self,
        repository: &RepositoryName,
        images: &[&'l ImageRecord],
        may_be_archived: bool,
    ) -> anyhow::Result<HashSet<&'l Digest>> {
        let describe = self.client.describe_images().repository_name(repository.as_str());
        let ids = images.iter().map(|image| image_id(&image.digest)).collect();
        let describe = describe.set_image_ids(Some(ids));
        let described =
            crate::unless(describe.send().await, |error| error.is_image_not_found_exception());
        let described =
            described.with_context(|| format!("describing images of {repository} again"))?;
        let details = described.and_then(|output| output.image_details).into_iter().flatten();
        let now: HashMap<Digest, ImageRecord> = details
            .map(|detail| read_image(detail).map(|image| (image.digest.clone(), image)))
            .collect::<anyhow::Result<_>>()?;
        let is_same = |image: &&&ImageRecord| {
            now.get(&image.digest).is_some_and(|now| now.is_unchanged_since(image, may_be_archived))
        };
        Ok(images.iter().filter(is_same).map(|image| &image.digest).collect())
    }
}

/// Reads an image from a response.
pub(super) fn read_image(mut detail: ImageDetail) -> anyhow::Result<ImageRecord> {
    let digest = read_digest(&detail)?;
    let subject = detail.subject_manifest_digest.as_deref().map(str::parse);
    let has_invalid_subject = matches!(subject, Some(Err(_)));
    let tag_count = detail.image_tags.as_ref().map_or(0, Vec::len);
    let tags = parse_tags(detail.image_tags.take());
    let size = detail.image_size_in_bytes.and_then(|size| size.try_into().ok()).unwrap_or_default();
    let is_index = detail.image_manifest_media_type.as_deref().is_some_and(is_index);
    let kind = kind_in_list(&detail, &tags);
    Ok(ImageRecord {
        digest,
        has_unparsed_reference: has_invalid_subject || tags.len() < tag_count,
        tags,
        tag_times: vec![],
        status: image_status(detail.image_status.as_ref()),
        pushed_at: detail.image_pushed_at.and_then(to_time),
        pulled_at: detail.last_recorded_pull_time.and_then(to_time),
        restored_at: detail.last_activated_at.and_then(to_time),
        // ECR reports the size of its largest child for an index. The child is counted by itself.
        bytes: if is_index { 0 } else { size },
        is_index,
        kind,
        subject: subject.and_then(Result::ok),
    })
}
