//! Compares the settings and the scans of a repository with its policy, and publishes deviations.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use tracing::info;
use warden_aws::ledger::Fact;
use warden_aws::registry::CONCURRENT_CALLS;
use warden_core::arena::ImageId;
use warden_core::audit::{RepositorySettings, audit};
use warden_core::image::{Digest, ImageStatus};
use warden_core::mutability::Mutability;
use warden_core::retention::{RetentionPlan, UnitRecord};

use super::Sweep;

/// The most images of which an audit asks whether they were scanned.
const MOST_CHECKED: usize = 20;
/// A scan may take this long after the push.
const SCANNED_WITHIN: chrono::Duration = chrono::Duration::hours(1);
/// An audit checks images that were pushed within this time. A run comes at least once a day.
const PUSHED_WITHIN: chrono::Duration = chrono::Duration::hours(48);

impl Sweep<'_> {
    /// Compares the repository with its policy, and publishes the deviations when they change.
    pub(super) async fn audit(
        &self,
        plan: &RetentionPlan<'_>,
        mutability: Option<Mutability>,
        archived_units: HashMap<Digest, UnitRecord>,
    ) -> anyhow::Result<()> {
        let observed = self.audited_settings(plan, mutability, archived_units).await?;
        let found = audit(plan, &observed, self.now);
        let fact = Fact::Audit { repository: self.repository };
        if found.is_empty() {
            // A deviation that appears again later is published again.
            return self.context.ledger.forget(fact).await;
        }
        for deviation in &found {
            info!(repository.name = %self.repository, audit.rule = %deviation.rule, "{}: {}", self.repository, deviation.text);
        }
        let texts: Vec<&str> = found.iter().map(|deviation| deviation.text.as_str()).collect();
        let alert = warden_alerts::self_audit(&self.alert_context(), &found);
        self.publish_change(fact, &texts.join("\n"), &alert).await
    }

    /// Reads what the audit compares with the policy. The owner of a repository that the stack does not
    /// provision decides about its settings and its scans, so they are not read.
    async fn audited_settings(
        &self,
        plan: &RetentionPlan<'_>,
        mutability: Option<Mutability>,
        archived_units: HashMap<Digest, UnitRecord>,
    ) -> anyhow::Result<RepositorySettings> {
        let mut observed =
            RepositorySettings { mutability, archived_units, ..RepositorySettings::default() };
        if self.policy.mutability.is_none() {
            return Ok(observed);
        }
        observed.lifecycle = self.lifecycle_policy().await?.map(str::to_owned);
        observed.scan_on_push = self.context.config.scan_on_push;
        if observed.scan_on_push {
            let registry = &self.context.registry;
            observed.scan_frequency = registry.scan_frequency(self.repository).await?;
            if observed.scan_frequency != "MANUAL" {
                observed.unscanned = self.list_unscanned(plan).await?;
            }
        }
        Ok(observed)
    }

    /// Lists the images that were pushed recently and were not scanned.
    async fn list_unscanned(&self, plan: &RetentionPlan<'_>) -> anyhow::Result<Vec<ImageId>> {
        let is_recent = |at: DateTime<Utc>| {
            let age = self.now - at;
            age > SCANNED_WITHIN && age < PUSHED_WITHIN
        };
        let images = plan.inventory.images.enumerate();
        let mut recent: Vec<(DateTime<Utc>, ImageId)> = images
            .filter(|(_, image)| image.kind.may_be_image() && image.status == ImageStatus::Active)
            .filter(|(_, image)| {
                image.own_tags().next().is_some() && image.subjects().next().is_none()
            })
            .filter_map(|(id, image)| Some((image.pushed_at.filter(|at| is_recent(*at))?, id)))
            .collect();
        recent.sort_unstable_by_key(|(at, id)| (std::cmp::Reverse(*at), *id));
        let scans = recent.into_iter().take(MOST_CHECKED).map(|(_, id)| async move {
            let digest = &plan.image(id).digest;
            let is_scanned = self.context.registry.is_scanned(self.repository, digest).await?;
            anyhow::Ok((!is_scanned).then_some(id))
        });
        let scans: Vec<_> = stream::iter(scans).buffered(CONCURRENT_CALLS).collect().await;
        let found = scans.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}
