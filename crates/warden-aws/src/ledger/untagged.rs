//! The record of untagged images ([`warden_core::untagged`]).
//!
//! Four items hold the record of a repository, each for a quarter of all digests: an item can hold
//! 400 KB, and a repository 100,000 images, each of which takes 12 bytes. One call reads or writes
//! all four items. The first sweep of a repository writes them also if no image is untagged, because the
//! items show that the repository has been swept. The items expire 400 days after the last sweep that
//! wrote them. A sweep therefore writes them again when they are a month old.
//!
//! If a call writes only some of the items, the sweep fails and removes nothing. The images of the other
//! items keep their older time, or have no time.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use chrono::{DateTime, Utc};
use warden_core::image::RepositoryName;
use warden_core::untagged::UntaggedRecord;

use super::{Item, Ledger, REMEMBERED, seconds, text, time};

/// The number of items. The first two bits of a digest select the item of the image.
const ITEMS: u64 = 4;
/// The age at which unchanged items are written again.
const RENEWED_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// The bytes of an image: the beginning of its digest, and the time in seconds since 1970.
const ENTRY_BYTES: usize = 12;

impl Ledger {
    /// Reads the record of a repository, and whether the record must be written again although nothing
    /// changed. Returns None if no sweep has recorded the repository. One call.
    pub async fn untagged_images(
        &self,
        repository: &RepositoryName,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<(UntaggedRecord, bool)>> {
        let keys: Vec<String> = (0..ITEMS).map(|nth| key(repository, nth)).collect();
        let reading = || format!("reading since when images of {repository} have no tag");
        let items = self.read_items(&keys, "untagged, expires").await.with_context(reading)?;
        if items.is_empty() {
            return Ok(None);
        }
        let images = items.iter().map(entries).collect::<anyhow::Result<Vec<_>>>();
        let record = images.with_context(reading)?.into_iter().flatten().collect();
        let is_fresh = |item: &Item| {
            time(item, "expires").is_some_and(|expires| expires + RENEWED_AFTER > now + REMEMBERED)
        };
        let is_complete = items.len() == keys.len();
        Ok(Some((record, !is_complete || !items.iter().all(is_fresh))))
    }

    /// Writes the record of a repository. One call.
    pub async fn record_untagged_images(
        &self,
        repository: &RepositoryName,
        record: &UntaggedRecord,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let put = |nth: u64| {
            let images = record.iter().filter(|(prefix, _)| prefix >> 62 == nth);
            let bytes: Vec<u8> = images.flat_map(entry).collect();
            let request = PutRequest::builder()
                .item("fact", text(&key(repository, nth)))
                .item("untagged", AttributeValue::B(Blob::new(bytes)))
                .item("expires", seconds(now, REMEMBERED));
            anyhow::Ok(WriteRequest::builder().put_request(request.build()?).build())
        };
        let requests = (0..ITEMS).map(put).collect::<anyhow::Result<Vec<_>>>()?;
        let written = self.write_items(requests).await;
        written.with_context(|| format!("recording which images of {repository} have no tag"))
    }
}

fn key(repository: &RepositoryName, nth: u64) -> String {
    format!("untagged {repository} {nth}")
}

fn entry((prefix, since): (u64, DateTime<Utc>)) -> [u8; ENTRY_BYTES] {
    let seconds = u32::try_from(since.timestamp()).unwrap_or_default();
    let mut bytes = [0; ENTRY_BYTES];
    let (digest, time) = bytes.split_at_mut(8);
    digest.copy_from_slice(&prefix.to_be_bytes());
    time.copy_from_slice(&seconds.to_be_bytes());
    bytes
}

/// The images of an item.
fn entries(item: &Item) -> anyhow::Result<Vec<(u64, DateTime<Utc>)>> {
    let bytes = item.get("untagged").and_then(|bytes| bytes.as_b().ok());
    let bytes = bytes.context("an item has no attribute untagged")?.as_ref();
    let read = |entry: &[u8]| {
        let (prefix, seconds) = entry.split_first_chunk::<8>()?;
        let seconds = u32::from_be_bytes(seconds.try_into().ok()?);
        Some((u64::from_be_bytes(*prefix), DateTime::from_timestamp(seconds.into(), 0)?))
    };
    let entries: Option<Vec<_>> = bytes.chunks(ENTRY_BYTES).map(read).collect();
    entries.context("the attribute untagged has an unknown format")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_record_is_read_back_and_a_broken_item_is_an_error() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let images = vec![(0, at(0)), (u64::MAX, at(1_800_000_000)), (1 << 62, at(1))];
        let bytes: Vec<u8> = images.iter().flat_map(|image| entry(*image)).collect();
        let item = |bytes: &[u8]| {
            Item::from([("untagged".to_owned(), AttributeValue::B(Blob::new(bytes)))])
        };
        assert_eq!(bytes.len(), 36);
        assert_eq!(entries(&item(&bytes)).unwrap(), images);
        assert_eq!(entries(&item(&[])).unwrap(), []);
        assert!(entries(&item(&bytes[..35])).is_err());
        assert!(entries(&Item::new()).is_err());
    }
}
