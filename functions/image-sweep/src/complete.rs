//! Finishes or restores the units whose removal an earlier run began and did not finish. A run does
//! this before it plans other removals.

use anyhow::{bail, ensure};
use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tracing::{info, warn};
use warden_alerts::CleanupEntry;
use warden_aws::ledger::LEASE;
use warden_aws::registry::Registry;
use warden_core::arena::ImageId;
use warden_core::image::{Digest, ImageStatus, RepositoryName};
use warden_core::policy::CleanupEnforcement;
use warden_core::retention::{
    RetentionPlan, UnfinishedUnit, UnitRecord, UnitRemover, complete_unit,
};

/// The most images that one call deletes.
const BATCH: usize = 100;

/// Decides for each of these units whether to finish or to restore it. `plan` is a new plan for the
/// repository.
pub fn plan_completions(
    plan: &RetentionPlan<'_>,
    records: &[UnitRecord],
    can_see_running_images: bool,
    now: DateTime<Utc>,
) -> Vec<Completion> {
    const WHY: &str = "the policy archives no image any more, so the interrupted removal is undone";
    let repository = &plan.policy.repository_name;
    let mut completions = Vec::new();
    for record in records {
        let record = record.clone();
        // Each attempt of a function that enforces tags renews the record.
        let is_at_work =
            record.remover == UnitRemover::EnforcementArchives && record.began + LEASE > now;
        if !is_at_work
            && (complete_unit(&record, plan).is_complete()
                || may_complete(&record, plan, can_see_running_images))
        {
            completions.push(Completion::new(record, plan));
        } else if !is_at_work && record.remover == UnitRemover::SweepArchives {
            let completion = vec![Completion::new(record, plan)];
            completions.extend(restore_instead(completion, plan, WHY));
        } else {
            warn!(
                repository.name = %repository,
                image.digest = %record.root,
                "{repository}@{}: the removal of this image and its parts is not complete; this run \
                 leaves it alone, because another function or another policy began it",
                record.root,
            );
        }
    }
    completions
}

/// Restores units instead of finishing their removal, because nothing may be removed from the
/// repository for the reason `why`. A deletion cannot be undone, so a partly deleted unit stays
/// unfinished.
pub fn restore_instead(
    completions: Vec<Completion>,
    plan: &RetentionPlan<'_>,
    why: &str,
) -> Vec<Completion> {
    let restore = |completion: Completion| {
        if completion.removed.is_empty() {
            return Some(completion);
        }
        let record = completion.record.as_ref()?;
        if completion.is_deletion {
            let (repository, root) = (&plan.policy.repository_name, &record.root);
            warn!(
                repository.name = %repository,
                image.digest = %root,
                "{repository}@{root}: the deletion of the parts of this image stays unfinished: {why}",
            );
            return None;
        }
        let archived = plan.inventory.images.iter().filter(|image| {
            image.status == ImageStatus::Archived && record.images().any(|one| *one == image.digest)
        });
        let restored = archived.map(|image| CleanupEntry {
            digest: image.digest.clone(),
            tags: image.tags.clone(),
            decision: "restore".to_owned(),
            reason: why.to_owned(),
        });
        Some(Completion { restored: restored.collect(), removed: vec![], ..completion })
    };
    completions.into_iter().filter_map(restore).collect()
}

/// Whether this run may complete a unit. Since the removal began, the policy may have changed, and
/// with it the rights of this function.
fn may_complete(
    record: &UnitRecord,
    plan: &RetentionPlan<'_>,
    can_see_running_images: bool,
) -> bool {
    let may_remove_by = |mode| plan.policy.may_remove_by(mode);
    match record.remover {
        UnitRemover::EnforcementArchives => true,
        UnitRemover::SweepArchives => may_remove_by(CleanupEnforcement::Archive),
        UnitRemover::SweepDeletes => {
            may_remove_by(CleanupEnforcement::Delete) && can_see_running_images
        }
    }
}

/// The calls that finish or restore one unit.
#[derive(Debug)]
pub struct Completion {
    /// The unit as the ledger has it. None for images of an active index.
    pub record: Option<UnitRecord>,
    /// The images that are removed, in the order of the calls, each with its bytes.
    pub removed: Vec<(CleanupEntry, u64)>,
    /// The images that are restored.
    pub restored: Vec<CleanupEntry>,
    is_deletion: bool,
}

impl Completion {
    fn new(record: UnitRecord, plan: &RetentionPlan<'_>) -> Self {
        let UnfinishedUnit { archive, delete, restore } = complete_unit(&record, plan);
        let mut images = plan.inventory.images.iter();
        let tag = images.find(|image| image.digest == record.root);
        let tag = tag.and_then(|image| image.tags.first());
        let name = tag.map_or_else(|| record.root.to_string(), ToString::to_string);
        let entry = |image: ImageId, decision: &str| CleanupEntry {
            digest: plan.image(image).digest.clone(),
            tags: plan.image(image).tags.clone(),
            decision: decision.to_owned(),
            reason: format!("it is part of {name}, whose removal was interrupted"),
        };
        let removed = |images: Vec<ImageId>, decision| {
            images.into_iter().map(move |image| (entry(image, decision), plan.image(image).bytes))
        };
        Self {
            is_deletion: !delete.is_empty(),
            removed: removed(archive, "archive").chain(removed(delete, "delete")).collect(),
            restored: restore.into_iter().map(|image| entry(image, "restore")).collect(),
            record: Some(record),
        }
    }

    /// Builds the calls that restore archived images of active indexes.
    pub fn restore_torn_images(plan: &RetentionPlan<'_>, images: &[ImageId]) -> Self {
        let entry = |image: ImageId| CleanupEntry {
            digest: plan.image(image).digest.clone(),
            tags: plan.image(image).tags.clone(),
            decision: "restore".to_owned(),
            reason: "an active index needs this image".to_owned(),
        };
        let restored = images.iter().copied().map(entry).collect();
        Self { record: None, removed: vec![], restored, is_deletion: false }
    }

    /// The root of the unit, or the first image.
    pub fn name(&self) -> String {
        let first = self.restored.first().map(|entry| &entry.digest);
        let root = self.record.as_ref().map(|record| &record.root).or(first);
        root.map_or_else(String::new, ToString::to_string)
    }

    /// Whether this is the unit with this root.
    pub fn has_root(&self, root: &Digest) -> bool {
        self.record.as_ref().is_some_and(|record| record.root == *root)
    }

    /// Whether a call is left to do.
    pub fn has_calls(&self) -> bool {
        !self.removed.is_empty() || !self.restored.is_empty()
    }

    /// Logs each call before it is made, with the version of the policy.
    pub fn log(&self, repository: &RepositoryName, version: &str) {
        let removed = self.removed.iter().map(|(entry, _)| entry);
        for CleanupEntry { digest, decision, reason, .. } in removed.chain(&self.restored) {
            info!(
                repository.name = %repository,
                image.digest = %digest,
                decision,
                reason,
                policy.version = version,
                "{repository}@{digest}: {decision}: {reason}",
            );
        }
    }

    /// Makes the calls. After an error the unit stays in the ledger.
    pub async fn apply(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        until: Instant,
    ) -> anyhow::Result<()> {
        let restored = self.restored.iter().map(|entry| &entry.digest);
        registry.restore_images(repository, restored).await?;
        let removed: Vec<&Digest> = self.removed.iter().map(|(entry, _)| &entry.digest).collect();
        if self.is_deletion {
            for batch in removed.chunks(BATCH) {
                let failures = registry.delete(repository, batch).await?;
                // ECR refuses to delete an image that another index needs. The next run keeps it too.
                let is_kept = |(_, reason): &(Digest, String)| {
                    reason.contains("ImageReferencedByManifestList")
                };
                if let Some((digest, reason)) =
                    failures.into_iter().find(|failure| !is_kept(failure))
                {
                    bail!("deleting {digest}: {reason}");
                }
            }
            return Ok(());
        }
        let is_in_time = || Instant::now() < until;
        let archived = registry.archive_unit(repository, &removed, is_in_time).await;
        if let Some((digest, error)) = archived.failed.into_iter().next() {
            return Err(error.context(format!("archiving {digest}")));
        }
        ensure!(archived.left.is_empty(), "the run had no time left to archive every image");
        Ok(())
    }
}
