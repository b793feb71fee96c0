//! What is said of a plan, and of what came of it.

use std::collections::{HashMap, HashSet};

use tracing::info;
use warden_alerts::{CleanupEntry, SweepResult};
use warden_core::arena::ImageId;
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::policy::CleanupEnforcement;
use warden_core::replication::Replication;
use warden_core::retention::{Decision, KeepReason, PlanBlocker, RetentionPlan, UnitRemoval};

use crate::act::SweepChanges;

/// The names of what runs an image.
pub type Workloads = HashMap<Digest, String>;

/// The plan as its outcome would be.
pub fn planned(plan: &RetentionPlan<'_>, workloads: &Workloads) -> SweepResult {
    let images = plan.removals.iter().flat_map(UnitRemoval::all);
    let images = images.map(|image| entry(plan, image, workloads));
    let untags = plan.untags.iter().map(|(image, tag)| untag(plan, *image, tag));
    SweepResult {
        mode: plan.policy.governance.retention.enforcement,
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
    }
}

/// The outcome of a plan that was carried out.
pub fn carried_out(
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
        mode: plan.policy.governance.retention.enforcement,
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
        reason: "a new index needs an image that was archived with it".to_owned(),
    }
}

/// What may have gone although it failed.
pub fn unsure(
    plan: &RetentionPlan<'_>,
    done: &SweepChanges,
    workloads: &Workloads,
) -> Vec<CleanupEntry> {
    let images = done.unsure.iter().map(|image| entry(plan, *image, workloads));
    let tags = done.still_tagged.iter().map(|(image, tag, _)| untag(plan, *image, tag));
    images.chain(tags).collect()
}

/// An image with its decision and the reason.
pub fn entry(plan: &RetentionPlan<'_>, image: ImageId, workloads: &Workloads) -> CleanupEntry {
    CleanupEntry {
        digest: plan.image(image).digest.clone(),
        tags: plan.image(image).tags.clone(),
        decision: plan.decision_of(image).to_owned(),
        reason: reason(plan, image, workloads),
    }
}

/// A quarantine tag that goes alone.
fn untag(plan: &RetentionPlan<'_>, image: ImageId, tag: &Tag) -> CleanupEntry {
    CleanupEntry::untag(plan.image(image).digest.clone(), tag.clone())
}

/// Why an image stays or goes, with the names of what runs it.
pub fn reason(plan: &RetentionPlan<'_>, image: ImageId, workloads: &Workloads) -> String {
    let reason = plan.reason_of(image);
    let named = plan.decided(image).and_then(|decided| match decided.decision {
        Decision::Keep(KeepReason::InUse(_), by) => workloads.get(&plan.image(by).digest),
        _ => None,
    });
    named.map_or(reason.clone(), |workloads| format!("{reason}: {workloads}"))
}

/// Writes down what is about to be done, and why; and what is kept though there are enough newer
/// ones. The template has a query that finds these lines.
pub fn print(plan: &RetentionPlan<'_>, workloads: &Workloads, outcome: &SweepResult) {
    let (repository, hash) = (&plan.policy.repository_name, &outcome.hash);
    for decided in plan.kept_beyond() {
        let entry = entry(plan, decided.unit.root, workloads);
        print_one(repository, &entry, &entry.decision, &entry.reason, hash);
    }
    for entry in &outcome.removed {
        match &outcome.stopped {
            None => print_one(repository, entry, &entry.decision, &entry.reason, hash),
            Some(why) => {
                let reason = format!("{}; but {why}", entry.reason);
                print_one(repository, entry, "stop", &reason, hash);
            }
        }
    }
    if let Some(why) = &outcome.stopped {
        print_stop(plan.policy.repository_name.as_str(), why, hash);
    }
    let (examined, going) = (outcome.examined, outcome.removed.len());
    info!(
        repository.name = %repository,
        plan.hash = hash,
        "{repository}: plan {hash}: {going} to do about {examined} images",
    );
}

/// Writes down what did not go after all.
pub fn print_failures(repository: &RepositoryName, outcome: &SweepResult) {
    for (entry, why) in &outcome.failed {
        print_one(repository, entry, "failed", why, &outcome.hash);
    }
}

fn print_one(
    repository: &RepositoryName,
    entry: &CleanupEntry,
    decision: &str,
    reason: &str,
    hash: &str,
) {
    let tags: Vec<&str> = entry.tags.iter().map(|tag| tag.as_str()).collect();
    info!(
        repository.name = %repository,
        image.digest = %entry.digest,
        image.tags = tags.join(" "),
        decision,
        reason,
        plan.hash = hash,
        "{repository}: {}: {decision}: {reason}",
        entry.name(),
    );
}

/// Writes down that nothing is removed, and why.
pub fn print_stop(repository: &str, why: &str, hash: &str) {
    info!(
        repository.name = repository,
        decision = "stop",
        reason = why,
        plan.hash = hash,
        "{repository}: nothing is removed: {why}",
    );
}

/// The images that the plan removes.
pub fn going(plan: &RetentionPlan<'_>) -> HashSet<ImageId> {
    plan.removals.iter().flat_map(UnitRemoval::all).collect()
}
