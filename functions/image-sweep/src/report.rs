//! Describes a plan and its outcome for alerts, answers and logs.

use std::collections::{HashMap, HashSet};

use tracing::info;
use warden_alerts::{CleanupEntry, SweepResult};
use warden_core::arena::ImageId;
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::policy::CleanupEnforcement;
use warden_core::replication::Replication;
use warden_core::retention::{Decision, KeepReason, PlanBlocker, RetentionPlan, UnitRemoval};

use crate::act::SweepChanges;

/// The names of the workloads that run an image.
pub type Workloads = HashMap<Digest, String>;

/// The outcome that a plan would have.
pub fn describe_plan(plan: &RetentionPlan<'_>, workloads: &Workloads) -> SweepResult {
    let images = plan.removals.iter().flat_map(UnitRemoval::all);
    let images = images.map(|image| entry(plan, image, workloads));
    let untags = plan.untags.iter().map(|(image, tag)| untag(plan, *image, tag));
    SweepResult {
        mode: plan.policy.cleanup(),
        hash: plan.hash(),
        examined: plan.inventory.images.len(),
        removed: images.chain(untags).collect(),
        restored: vec![],
        units: units(plan, plan.removals.iter()),
        bytes: plan.bytes(),
        failed: vec![],
        left: 0,
        stopped: plan.stopped.as_ref().map(ToString::to_string),
        replication: Replication::default(),
        waits: matches!(plan.stopped, Some(PlanBlocker::Unconfirmed { .. })),
        is_final: matches!(plan.stopped, Some(PlanBlocker::Emptied(_))),
    }
}

/// The outcome of a plan that was applied.
pub fn describe_changes(
    plan: &RetentionPlan<'_>,
    done: &SweepChanges,
    hash: String,
    workloads: &Workloads,
) -> SweepResult {
    let gone: HashSet<ImageId> = done.removed.iter().copied().collect();
    let is_removed = |removal: &&UnitRemoval| removal.all().any(|image| gone.contains(&image));
    let images =
        plan.removals.iter().flat_map(UnitRemoval::all).filter(|image| gone.contains(image));
    let images = images.map(|image| entry(plan, image, workloads));
    let untags = done.untagged.iter().map(|(image, tag)| untag(plan, *image, tag));
    let failed = done.failed.iter();
    let failed = failed.map(|(image, why)| (entry(plan, *image, workloads), why.clone()));
    let tags = done.still_tagged.iter();
    let tags = tags.map(|(image, tag, why)| (untag(plan, *image, tag), why.clone()));
    SweepResult {
        mode: plan.policy.cleanup(),
        hash,
        examined: plan.inventory.images.len(),
        removed: images.chain(untags).collect(),
        restored: done.restored.iter().map(|image| restored(plan, *image)).collect(),
        units: units(plan, plan.removals.iter().filter(is_removed)),
        bytes: done.removed.iter().map(|image| plan.image(*image).bytes).sum(),
        failed: failed.chain(tags).collect(),
        left: done.left,
        stopped: None,
        replication: Replication::default(),
        waits: false,
        is_final: false,
    }
}

/// Every image of each archived unit, also the images that another unit needs: a restored unit
/// needs all of them. A deleted unit cannot be restored.
fn units<'p>(
    plan: &RetentionPlan<'_>,
    removals: impl Iterator<Item = &'p UnitRemoval>,
) -> Vec<Vec<Digest>> {
    let is_archived =
        |removal: &&UnitRemoval| plan.mode(removal.unit) == CleanupEnforcement::Archive;
    let digests = |removal: &UnitRemoval| {
        let images = plan.units[removal.unit].unit.images();
        images.map(|image| plan.image(image).digest.clone()).collect()
    };
    removals.filter(is_archived).map(digests).collect()
}

/// An image that was archived and is restored.
fn restored(plan: &RetentionPlan<'_>, image: ImageId) -> CleanupEntry {
    let image = plan.image(image);
    CleanupEntry {
        digest: image.digest.clone(),
        tags: image.tags.clone(),
        decision: "restore".to_owned(),
        reason: "a new index needs an image of its unit, or somebody tagged or pulled one"
            .to_owned(),
    }
}

/// The entries that may be removed although their calls failed.
pub fn list_unsure(
    plan: &RetentionPlan<'_>,
    done: &SweepChanges,
    workloads: &Workloads,
) -> Vec<CleanupEntry> {
    let images = done.unsure.iter().map(|image| entry(plan, *image, workloads));
    let tags = done.still_tagged.iter().map(|(image, tag, _)| untag(plan, *image, tag));
    images.chain(tags).collect()
}

/// An image with its decision and its reason.
pub fn entry(plan: &RetentionPlan<'_>, image: ImageId, workloads: &Workloads) -> CleanupEntry {
    CleanupEntry {
        digest: plan.image(image).digest.clone(),
        tags: plan.image(image).tags.clone(),
        decision: plan.decision_of(image).to_owned(),
        reason: reason(plan, image, workloads),
    }
}

/// A quarantine tag that is removed while its image stays.
fn untag(plan: &RetentionPlan<'_>, image: ImageId, tag: &Tag) -> CleanupEntry {
    CleanupEntry::untag(plan.image(image).digest.clone(), tag.clone())
}

/// The reason why an image is kept or removed, with the names of the workloads that run it.
pub fn reason(plan: &RetentionPlan<'_>, image: ImageId, workloads: &Workloads) -> String {
    let reason = plan.reason_of(image);
    let named = plan.decided(image).and_then(|decided| match decided.decision {
        Decision::Keep(KeepReason::InUse(_), by) => workloads.get(&plan.image(by).digest),
        _ => None,
    });
    named.map_or(reason.clone(), |workloads| format!("{reason}: {workloads}"))
}

/// Logs the removals of a plan and the images that a rule keeps beyond the keep count, each with its
/// reason. The template has a query that finds these lines.
pub fn log_plan(
    plan: &RetentionPlan<'_>,
    workloads: &Workloads,
    outcome: &SweepResult,
    version: &str,
) {
    let (repository, hash) = (&plan.policy.repository_name, &outcome.hash);
    let plan_and_policy = (hash.as_str(), version);
    for decided in plan.kept_beyond() {
        let entry = entry(plan, decided.unit.root, workloads);
        log_entry(repository, &entry, &entry.decision, &entry.reason, plan_and_policy);
    }
    for entry in &outcome.removed {
        match &outcome.stopped {
            None => log_entry(repository, entry, &entry.decision, &entry.reason, plan_and_policy),
            Some(why) => {
                let reason = format!("{}; but {why}", entry.reason);
                log_entry(repository, entry, "stop", &reason, plan_and_policy);
            }
        }
    }
    if let Some(why) = &outcome.stopped {
        log_stop(plan.policy.repository_name.as_str(), why, plan_and_policy);
    }
    let (examined, planned) = (outcome.examined, outcome.removed.len());
    info!(
        repository.name = %repository,
        plan.hash = hash,
        policy.version = version,
        "{repository}: plan {hash}: {planned} removals planned, {examined} images examined",
    );
}

/// Logs the removals that failed.
pub fn log_failures(repository: &RepositoryName, outcome: &SweepResult, version: &str) {
    for (entry, why) in &outcome.failed {
        log_entry(repository, entry, "failed", why, (&outcome.hash, version));
    }
}

/// Logs a decision of the plan with this hash, by the policy with this version.
fn log_entry(
    repository: &RepositoryName,
    entry: &CleanupEntry,
    decision: &str,
    reason: &str,
    (hash, version): (&str, &str),
) {
    let tags: Vec<&str> = entry.tags.iter().map(|tag| tag.as_str()).collect();
    info!(
        repository.name = %repository,
        image.digest = %entry.digest,
        image.tags = tags.join(" "),
        decision,
        reason,
        plan.hash = hash,
        policy.version = version,
        "{repository}: {}: {decision}: {reason}",
        entry.name(),
    );
}

/// Logs that nothing is removed, and the reason, with the hash of the plan and the version of the policy.
pub fn log_stop(repository: &str, why: &str, (hash, version): (&str, &str)) {
    info!(
        repository.name = repository,
        decision = "stop",
        reason = why,
        plan.hash = hash,
        policy.version = version,
        "{repository}: nothing is removed: {why}",
    );
}

/// The images that the plan removes.
pub fn planned_images(plan: &RetentionPlan<'_>) -> HashSet<ImageId> {
    plan.removals.iter().flat_map(UnitRemoval::all).collect()
}
