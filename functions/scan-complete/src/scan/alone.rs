//! Images that are scanned before their index is pushed.
//!
//! An image without a tag waits for its index: a recheck is queued until the image is old, and then the
//! findings are published for the image alone. When the index is pushed, `image-push` queues a recheck of each
//! image that was scanned, at any age. The history of the index then takes over the history of the image,
//! and the record of the image alone ends. The findings are read from ECR each time, so a recheck that is
//! delivered twice or late publishes nothing twice.

use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use tracing::info;
use warden_alerts::About;
use warden_aws::ledger::{IndexMembership, ScansAlone};
use warden_core::findings::{PushedVersion, ScanHistory};
use warden_core::image::Digest;

use super::Invocation;
use super::version::Version;
use crate::event::ScanResult;

/// An image without a tag waits this long for its index. The jobs of a workflow build the images, and
/// the last job pushes the index. GitHub ends a job after six hours
/// (<https://docs.github.com/en/actions/reference/actions-limits>).
const INDEX_WITHIN: Duration = Duration::from_secs(6 * 3_600);
/// The time between two rechecks of an image that waits. SQS delays a message by at most 15 minutes. The
/// template allows the loop of the function and its queue, which Lambda would end after 16 rechecks
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>).
const RECHECK_AFTER: Duration = Duration::from_secs(900);
/// A recheck that was queued [`RECHECK_AFTER`] ago is delivered within this time, before or after. So each image
/// has one recheck in the queue, although a scan by Inspector sends many events and SQS may deliver a message
/// twice: an event queues a recheck only if an earlier one must have failed, and a recheck queues the next
/// one only if no younger one is queued.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);

/// The scans of the images of an index that took place before the index was pushed.
pub type EarlyScans = Vec<(Digest, ScanHistory)>;

impl Invocation<'_> {
    /// Whether an image without a tag that was pushed at this time may still get an index.
    pub(super) fn may_get_index(&self, pushed: Option<DateTime<Utc>>) -> bool {
        pushed.is_some_and(|pushed| self.publisher.now < pushed + INDEX_WITHIN)
    }

    /// Queues a recheck of the image. The message comes before the record: if this attempt is killed in
    /// between, the next attempt queues another recheck.
    pub(super) async fn wait_for_index(&self, alone: Option<&ScansAlone>) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.scan.about;
        let context = self.publisher.context;
        let queued_at = alone.and_then(|alone| alone.queued_at);
        let alive_for = match self.scan.result {
            ScanResult::Recheck => RECHECK_AFTER.saturating_sub(DELIVERED_WITHIN),
            _ => RECHECK_AFTER + DELIVERED_WITHIN,
        };
        if queued_at.is_none_or(|at| at + alive_for <= self.time()) {
            let images = std::slice::from_ref(&self.scan.about);
            context.rechecks.send(images, RECHECK_AFTER).await?;
            context.ledger.record_recheck(repository, digest, self.time()).await?;
        }
        info!(
            repository.name = %repository, image.digest = %digest,
            "{repository}@{digest} has no tag and no index yet; its findings are compared when it has an index or a tag, or after six hours"
        );
        Ok(())
    }

    /// Reads the scans of the images of an index that took place before the index was pushed. An error if
    /// another invocation compares one of them now: its alert is not recorded yet.
    pub(super) async fn read_early_scans(
        &self,
        membership: &IndexMembership,
        own: Option<ScansAlone>,
    ) -> anyhow::Result<EarlyScans> {
        let About { repository, digest, .. } = &self.scan.about;
        let others: Vec<&Digest> =
            membership.scanned_before.iter().filter(|image| *image != digest).collect();
        let mut scans = if others.is_empty() {
            Vec::new()
        } else {
            let ledger = &self.publisher.context.ledger;
            let read = ledger.scans_alone(repository, &others, self.time()).await?;
            read.into_iter().collect()
        };
        scans.extend(own.map(|own| (digest.clone(), own)));
        for (image, ScansAlone { is_claimed, .. }) in &scans {
            ensure!(
                !is_claimed,
                "another invocation is handling the scan of {repository}@{image}; the event is tried again"
            );
        }
        Ok(scans.into_iter().map(|(image, alone)| (image, alone.history)).collect())
    }

    /// The history of a release line after it took over the histories of images that were scanned before
    /// their index was pushed.
    pub(super) fn take_over(version: &Version, history: ScanHistory) -> ScanHistory {
        let Some(pushed) = version.pushed else { return history };
        let (digest, tag) = (&version.digest, version.tag.as_ref());
        let index = PushedVersion { digest, tag, pushed };
        let scans = version.early_scans.iter();
        scans.fold(history, |history, (image, alone)| history.take_over(index, image, alone))
    }

    /// Ends the record of the scans of the image alone, after the index has taken over its history.
    pub(super) async fn end_early_scan(&self, version: &Version) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.scan.about;
        if version.early_scans.iter().any(|(image, _)| image == digest) {
            let ledger = &self.publisher.context.ledger;
            ledger.end_scans_alone(repository, digest, self.time()).await?;
        }
        Ok(())
    }
}
