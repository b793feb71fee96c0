//! The record of untagged images ([`warden_core::untagged`]), the record of tags, and the pushes of tags
//! since the last sweep ([`warden_core::tag_times`]).
//!
//! Eight items hold each of the two records of a repository, each for an eighth of all keys: an item can
//! hold 400 KB, and an entry takes 12 bytes. So a record has room for 260,000 entries. One call reads both
//! records, and one call writes the items that changed. The first sweep of a repository writes all items,
//! also empty ones. The items expire 400 days after a sweep wrote them. A sweep therefore writes them again
//! when they are a month old.
//!
//! If a call writes only some of the items, the sweep fails and removes nothing. The entries of the other
//! items keep their older time, or have no time.
//!
//! One item of a repository holds the pushes of tags, as a set of entries. A push adds its entry, and a sweep
//! removes the entries that it read. So the set does not depend on the order of the pushes, and an event that
//! is delivered twice changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use chrono::{DateTime, Utc};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::sightings::{EarlierSightings, Sightings};
use warden_core::tag_times::binding_key;

use super::{Ledger, REMEMBERED, is_refused, runs, seconds, text, time};

/// The number of items of a record. The first three bits of a key select the item.
const ITEMS: u64 = 8;
/// The age at which unchanged items are written again.
const RENEWED_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// The bytes of an entry: the key, and the time in seconds since 1970.
const ENTRY_BYTES: usize = 12;
/// The most pushes that the item of a repository holds: 130 KB. A sweep after the first push of an hour
/// removes them.
const MOST_PUSHES: usize = 10_000;

/// The beginning of the keys of a record.
const UNTAGGED: &str = "untagged";
const TAGS: &str = "tag-times";

/// The records of the images and tags of a repository.
#[derive(Debug, Default)]
pub struct RecordedSightings {
    /// The records of earlier sweeps. None before the first sweep of the repository.
    pub earlier: Option<EarlierSightings>,
    /// The last known push of each tag since the last sweep.
    pub pushes: Sightings,
    /// The entries of the pushes, as the ledger has them.
    entries: Vec<Blob>,
    /// The content of each item that need not be written again unless it changes.
    fresh: HashMap<String, Vec<u8>>,
}

impl Ledger {
    /// Reads the records of a repository. One call.
    ///
    /// If the ledger has as many pushes as fit in the item, later pushes are missing. If the records are
    /// lost although the repository was swept before, so are all times. In both cases the tags count as
    /// seen for the first time.
    pub async fn sightings(
        &self,
        repository: &RepositoryName,
        now: DateTime<Utc>,
    ) -> anyhow::Result<RecordedSightings> {
        const ATTRIBUTES: &str = "fact, sightings, expires, pushes, listed_at, last_run";
        let reading = || format!("reading when images of {repository} got and lost their tags");
        let mut keys = vec![runs::key(repository), pushes_key(repository)];
        for record in [UNTAGGED, TAGS] {
            keys.extend((0..ITEMS).map(|nth| key(record, repository, nth)));
        }
        let items = self.read_items(&keys, ATTRIBUTES).await.with_context(reading)?;
        let mut found = RecordedSightings::default();
        let (mut untagged, mut tags, mut listed_at) = (vec![], vec![], None);
        let mut is_first = true;
        for item in items {
            let fact = item.get("fact").and_then(|fact| fact.as_s().ok());
            let fact = fact.context("an item has no key").with_context(reading)?;
            if *fact == runs::key(repository) {
                listed_at = time(&item, "listed_at");
                is_first &= !runs::has_examined(&item);
            } else if *fact == pushes_key(repository) {
                let pushes = item.get("pushes").and_then(|pushes| pushes.as_bs().ok());
                found.entries = pushes.cloned().unwrap_or_default();
            } else {
                is_first = false;
                let bytes = item.get("sightings").and_then(|bytes| bytes.as_b().ok());
                let bytes =
                    bytes.context("an item has no attribute sightings").with_context(reading)?;
                let bytes = bytes.clone().into_inner();
                let record = if fact.starts_with(TAGS) { &mut tags } else { &mut untagged };
                record.extend(entries(&bytes).with_context(reading)?);
                let renewed_at = now + REMEMBERED - RENEWED_AFTER;
                if time(&item, "expires").is_some_and(|expires| expires > renewed_at) {
                    found.fresh.insert(fact.clone(), bytes);
                }
            }
        }
        let is_complete = found.entries.len() < MOST_PUSHES;
        if is_complete {
            let bytes: Vec<u8> = found.entries.iter().cloned().flat_map(Blob::into_inner).collect();
            found.pushes = entries(&bytes).with_context(reading)?.into_iter().collect();
        } else {
            tags.clear();
        }
        let (untagged, tags) = (untagged.into_iter().collect(), tags.into_iter().collect());
        let is_known = !is_first || !is_complete;
        found.earlier = is_known.then_some(EarlierSightings { untagged, tags, listed_at });
        Ok(found)
    }

    /// Writes the records of a repository as far as they have changed since they were read. None for a record
    /// that the policy does not need. One call, or none.
    pub async fn record_sightings(
        &self,
        repository: &RepositoryName,
        before: &RecordedSightings,
        untagged: Option<&Sightings>,
        tags: &Sightings,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let mut requests = Vec::new();
        for (record, sightings) in [(UNTAGGED, untagged), (TAGS, Some(tags))] {
            let Some(sightings) = sightings else { continue };
            for nth in 0..ITEMS {
                let of_item = sightings.iter().filter(|(key, _)| key >> 61 == nth);
                let bytes: Vec<u8> = of_item.flat_map(entry).collect();
                let key = key(record, repository, nth);
                if before.fresh.get(&key) == Some(&bytes) {
                    continue;
                }
                let request = PutRequest::builder()
                    .item("fact", text(&key))
                    .item("sightings", AttributeValue::B(Blob::new(bytes)))
                    .item("expires", seconds(now, REMEMBERED));
                requests.push(WriteRequest::builder().put_request(request.build()?).build());
            }
        }
        let written = self.write_items(requests).await;
        written.with_context(|| format!("recording the images and tags of {repository}"))
    }

    /// Records the push of a tag at this time. A push that finds the item full is not recorded
    /// ([`Ledger::sightings`]). One call.
    pub async fn record_push(
        &self,
        repository: &RepositoryName,
        image: &Digest,
        tag: &Tag,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let entry = Blob::new(entry((binding_key(image, tag), at)));
        let update = self
            .update(&pushes_key(repository))
            .update_expression("SET expires = :expires ADD pushes :pushes")
            .condition_expression("attribute_not_exists(pushes) OR size(pushes) < :most")
            .expression_attribute_values(":pushes", AttributeValue::Bs(vec![entry]))
            .expression_attribute_values(":most", AttributeValue::N(MOST_PUSHES.to_string()))
            .expression_attribute_values(":expires", seconds(now, REMEMBERED));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => Ok(()),
            Err(error) => Err(crate::explain(error))
                .with_context(|| format!("recording the push of {repository}:{tag}")),
        }
    }

    /// Removes the pushes that a sweep has read, after it has written its record. One call, or none.
    pub async fn forget_pushes(
        &self,
        repository: &RepositoryName,
        read: &RecordedSightings,
    ) -> anyhow::Result<()> {
        if read.entries.is_empty() {
            return Ok(());
        }
        let update = self
            .update(&pushes_key(repository))
            .update_expression("DELETE pushes :pushes")
            .expression_attribute_values(":pushes", AttributeValue::Bs(read.entries.clone()));
        let forgotten = update.send().await.map_err(crate::explain);
        forgotten.with_context(|| format!("removing the recorded pushes of {repository}"))?;
        Ok(())
    }
}

fn key(record: &str, repository: &RepositoryName, nth: u64) -> String {
    format!("{record} {repository} {nth}")
}

fn pushes_key(repository: &RepositoryName) -> String {
    format!("pushes {repository}")
}

/// The bytes of an entry. A part of a second counts as a whole one, so that no entry becomes older.
fn entry((key, at): (u64, DateTime<Utc>)) -> [u8; ENTRY_BYTES] {
    let seconds = at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0);
    // ECR reports no time before 1970, and a time after 2106 counts as the last one.
    let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
    let mut bytes = [0; ENTRY_BYTES];
    let (first, last) = bytes.split_at_mut(8);
    first.copy_from_slice(&key.to_be_bytes());
    last.copy_from_slice(&seconds.to_be_bytes());
    bytes
}

/// Reads entries.
fn entries(bytes: &[u8]) -> anyhow::Result<Vec<(u64, DateTime<Utc>)>> {
    let read = |entry: &[u8]| {
        let (key, seconds) = entry.split_first_chunk::<8>()?;
        let seconds = u32::from_be_bytes(seconds.try_into().ok()?);
        Some((u64::from_be_bytes(*key), DateTime::from_timestamp(seconds.into(), 0)?))
    };
    let entries: Option<Vec<_>> = bytes.chunks(ENTRY_BYTES).map(read).collect();
    entries.context("an item has an unknown format")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_entries_are_read_back_and_a_broken_item_is_an_error() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let images = vec![(0, at(0)), (u64::MAX, at(1_800_000_000)), (1 << 62, at(1))];
        let bytes: Vec<u8> = images.iter().flat_map(|image| entry(*image)).collect();
        assert_eq!(bytes.len(), 36);
        assert_eq!(entries(&bytes).unwrap(), images);
        assert_eq!(entries(&[]).unwrap(), []);
        assert!(entries(&bytes[..35]).is_err());
        let later = DateTime::from_timestamp(1, 1).unwrap();
        assert_eq!(entries(&entry((7, later))).unwrap(), [(7, at(2))]);
        let too_late = at(i64::from(u32::MAX) + 1);
        assert_eq!(entries(&entry((7, too_late))).unwrap(), [(7, at(u32::MAX.into()))]);
    }
}
