//! The index of an image, and the scans of images that have no index yet.
//!
//! Clients push the images of an index by their digests, and then the index with its tag: a moment later,
//! or hours later if a machine builds each platform. ECR scans an image when it is pushed. Until the index
//! is pushed, `scan-complete` therefore records that the image waits, in the item of the scans of the
//! image. `image-push` finds this item when it has recorded the parts of the index.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use chrono::{DateTime, Utc};
use warden_core::artifact::ArtifactKind;
use warden_core::findings::ScanHistory;
use warden_core::image::{Digest, RepositoryName, Tag};

use super::scans::{read_history, version_key};
use super::{Item, Ledger, REMEMBERED, seconds, text, time};

/// The index that contains an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexMembership {
    /// The index.
    pub index: Digest,
    /// The tag of the index at its push.
    pub tag: Option<Tag>,
    /// When the index was pushed.
    pub pushed: DateTime<Utc>,
    /// The number of images of the index.
    pub images: usize,
    /// The kind of this part of the index.
    pub kind: ArtifactKind,
    /// The images of the index that were scanned before the index was pushed.
    pub scanned_before: BTreeSet<Digest>,
}

/// The record of the scans of an image that has no tag and no index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScansAlone {
    /// The history of the scans. Empty while the image waits for its index.
    pub history: ScanHistory,
    /// When a recheck of the image was queued last.
    pub queued_at: Option<DateTime<Utc>>,
    /// Whether an invocation compares a scan of the image now.
    pub is_claimed: bool,
}

/// The records of an image that may be a part of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexRecords {
    /// The index that contains the image. None if no index is recorded.
    pub membership: Option<IndexMembership>,
    /// The scans of the image alone. None if there are no such scans, or if the index took them over.
    pub alone: Option<ScansAlone>,
}

impl Ledger {
    /// Records the parts of a pushed index with the tag of the index: ECR cannot report which index
    /// contains an image. A part of several indexes is recorded with the last one. One call for 25 parts.
    pub async fn record_children(
        &self,
        repository: &RepositoryName,
        index: &Digest,
        tag: &Tag,
        children: &BTreeMap<Digest, ArtifactKind>,
        scanned_before: &BTreeSet<Digest>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let images = children.values().filter(|kind| kind.may_be_image()).count();
        let put = |(child, kind): (&Digest, &ArtifactKind)| {
            let mut request = PutRequest::builder()
                .item("fact", text(&image_key(repository, child)))
                .item("index", text(index.as_str()))
                .item("tag", text(tag.as_str()))
                .item("pushed", seconds(now, Duration::ZERO))
                .item("images", AttributeValue::N(images.to_string()))
                .item("kind", text(&kind.to_string()))
                .item("expires", seconds(now, REMEMBERED));
            // DynamoDB has no empty sets.
            if !scanned_before.is_empty() {
                let digests = scanned_before.iter().map(Digest::to_string).collect();
                request = request.item("scanned_before", AttributeValue::Ss(digests));
            }
            anyhow::Ok(WriteRequest::builder().put_request(request.build()?).build())
        };
        let requests = children.iter().map(put).collect::<anyhow::Result<Vec<_>>>()?;
        self.write_items(requests).await.with_context(|| format!("recording the images of {index}"))
    }

    /// Reads the index of an image, and the scans of the image alone. One call.
    pub async fn index_records(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> anyhow::Result<IndexRecords> {
        let keys = [image_key(repository, digest), version_key(repository, digest)];
        let items = self.read_items(&keys, None).await;
        let items = items.with_context(|| format!("reading the index of {repository}@{digest}"))?;
        let find = |key: &String| items.iter().find(|item| item.get("fact") == Some(&text(key)));
        let [image, scans] = keys.each_ref().map(find);
        Ok(IndexRecords {
            membership: image.and_then(read_membership),
            alone: scans.map(|item| read_scans(item, now)),
        })
    }

    /// Reads the scans of these images alone. An image without such scans is left out. One call for 100
    /// images.
    pub async fn scans_alone(
        &self,
        repository: &RepositoryName,
        images: &[&Digest],
        now: DateTime<Utc>,
    ) -> anyhow::Result<BTreeMap<Digest, ScansAlone>> {
        let items = self.read_scans_alone(repository, images, None).await?;
        Ok(items.map(|(image, item)| (image, read_scans(&item, now))).collect())
    }

    /// Finds the images that were scanned alone. One call for 100 images.
    pub async fn find_scanned_alone(
        &self,
        repository: &RepositoryName,
        images: &[&Digest],
    ) -> anyhow::Result<BTreeSet<Digest>> {
        let items = self.read_scans_alone(repository, images, Some("fact")).await?;
        Ok(items.map(|(image, _)| image).collect())
    }

    async fn read_scans_alone(
        &self,
        repository: &RepositoryName,
        images: &[&Digest],
        attributes: Option<&str>,
    ) -> anyhow::Result<impl Iterator<Item = (Digest, Item)>> {
        let keys: BTreeMap<String, &Digest> =
            images.iter().map(|image| (version_key(repository, image), *image)).collect();
        let names: Vec<String> = keys.keys().cloned().collect();
        let items = self.read_items(&names, attributes).await;
        let items =
            items.with_context(|| format!("reading the scans of images of {repository}"))?;
        let image = move |item: &Item| keys.get(item.get("fact")?.as_s().ok()?).copied().cloned();
        Ok(items.into_iter().filter_map(move |item| Some((image(&item)?, item))))
    }

    /// Records that a recheck of an image is queued. `image-push` finds the record when an index of the
    /// image is pushed. One call.
    pub async fn record_recheck(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let key = version_key(repository, digest);
        let update = self
            .update(&key)
            .update_expression("SET queued_at = :now, expires = :expires")
            .expression_attribute_values(":now", seconds(now, Duration::ZERO))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED));
        let updated = update.send().await.map_err(crate::explain);
        updated.with_context(|| format!("recording the recheck of {key}"))?;
        Ok(())
    }

    /// Ends the record of the scans of an image alone, unless an invocation compares a scan of the image
    /// now. One call.
    pub async fn end_scans_alone(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let key = version_key(repository, digest);
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("fact", text(&key))
            .condition_expression("attribute_not_exists(lease) OR lease < :now")
            .expression_attribute_values(":now", seconds(now, Duration::ZERO));
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(crate::explain(error)).with_context(|| format!("ending {key}")),
        }
    }
}

/// The key of the record of an image.
fn image_key(repository: &RepositoryName, digest: &Digest) -> String {
    format!("image {repository} {digest}")
}

fn read_scans(item: &Item, now: DateTime<Utc>) -> ScansAlone {
    let key = item.get("fact").and_then(|key| key.as_s().ok()).map_or("", String::as_str);
    ScansAlone {
        history: read_history(key, item),
        queued_at: time(item, "queued_at"),
        is_claimed: time(item, "lease").is_some_and(|until| now <= until),
    }
}

fn read_membership(item: &Item) -> Option<IndexMembership> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let images = item.get("images").and_then(|count| count.as_n().ok()?.parse().ok());
    let scanned_before = item.get("scanned_before").and_then(|digests| digests.as_ss().ok());
    let scanned_before = scanned_before.into_iter().flatten();
    Some(IndexMembership {
        index: text("index")?.parse().ok()?,
        tag: text("tag").and_then(|tag| tag.parse().ok()),
        pushed: time(item, "pushed")?,
        images: images.unwrap_or(1),
        kind: text("kind")?.parse().ok()?,
        scanned_before: scanned_before.filter_map(|digest| digest.parse().ok()).collect(),
    })
}
