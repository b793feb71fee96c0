//! What is answered to whoever asks by hand. Lambda takes 6 MB, so that lists are cut off, and
//! how long they are stands beside them.

use std::collections::HashSet;

use serde_json::{Value, json};
use warden_alerts::{CleanupEntry, SweepResult};
use warden_core::arena::ImageId;
use warden_core::image::{Digest, ImageStatus, RepositoryName};
use warden_core::policy::CleanupEnforcement;
use warden_core::retention::{PlanBlocker, RetentionPlan, retention_hash};

use crate::report::{Workloads, entry, going, reason};

/// The most bytes of the list of what goes, and of that of what stays: together as much of
/// 6 MB as leaves room for the rest.
const MOST_REMOVALS: usize = 4_000_000;
const MOST_KEEPS: usize = 1_000_000;
/// The most images that are listed of those that stay, or of a unit.
const MOST_KEPT: usize = 1_000;

/// A plan, and what came of it: `removed` images went.
pub fn of(
    plan: &RetentionPlan<'_>,
    workloads: &Workloads,
    outcome: &SweepResult,
    removed: usize,
) -> Value {
    let goes = going(plan);
    // Those first that a rule keeps though there are enough newer ones.
    let beyond: Vec<ImageId> = plan.kept_beyond().map(|decided| decided.unit.root).collect();
    let is_beyond: HashSet<ImageId> = beyond.iter().copied().collect();
    let rest = plan.inventory.images.ids().filter(|image| !is_beyond.contains(image));
    let keeps = beyond.iter().copied().chain(rest).filter(|image| !goes.contains(image));
    let keeps = keeps.take(MOST_KEPT).map(|image| entry(plan, image, workloads));
    json!({
        "repository": plan.policy.repository_name,
        "mode": outcome.mode,
        "hash": outcome.hash,
        "retention": retention_hash(plan.policy),
        "confirmable": is_confirmable(plan, outcome),
        "guard": plan.stopped.as_ref().map(PlanBlocker::name),
        "stopped": outcome.stopped,
        "examined": outcome.examined,
        "kept": outcome.examined - goes.len(),
        "planned": goes.len(),
        "removed": removed,
        "failed": outcome.failed.len(),
        "left": outcome.left,
        "bytes": outcome.bytes,
        "removals": fitting(outcome.removed.iter().cloned(), MOST_REMOVALS),
        "keeps": fitting(keeps, MOST_KEEPS),
    })
}

/// Whether a confirmation has an effect on the plan.
fn is_confirmable(plan: &RetentionPlan<'_>, outcome: &SweepResult) -> bool {
    outcome.stopped.is_some()
        && outcome.mode != CleanupEnforcement::Report
        && outcome.replication.is_empty()
        && !plan.removals.is_empty()
        && !matches!(plan.stopped, Some(PlanBlocker::Emptied(_)))
}

/// That nothing is removed.
pub fn stopped(repository: &RepositoryName, why: &str) -> Value {
    json!({"repository": repository, "stopped": why})
}

/// The decision about one image.
pub fn explained(plan: &RetentionPlan<'_>, id: ImageId, workloads: &Workloads) -> Value {
    let digest = |image: &ImageId| &plan.image(*image).digest;
    let digests = |images: &[ImageId]| -> Vec<&Digest> {
        images.iter().map(digest).take(MOST_KEPT).collect()
    };
    let unit = plan.decided(id).map(|decided| {
        json!({
            "image": digest(&decided.unit.root),
            "parts": digests(&decided.unit.parts),
            "referrers": digests(&decided.unit.referrers),
        })
    });
    let image = plan.image(id);
    json!({
        "repository": plan.policy.repository_name,
        "digest": image.digest,
        "tags": image.tags,
        "status": match image.status {
            ImageStatus::Active => "ACTIVE",
            ImageStatus::Archived => "ARCHIVED",
            ImageStatus::Activating => "ACTIVATING",
        },
        "pushedAt": image.pushed_at,
        "pulledAt": image.pulled_at,
        "restoredAt": image.restored_at,
        "bytes": image.bytes,
        "decision": plan.decision_of(id),
        "reason": reason(plan, id, workloads),
        "unit": unit,
        "hash": plan.hash(),
        "stopped": plan.stopped.as_ref().map(ToString::to_string),
    })
}

/// As many of these as fit.
fn fitting(entries: impl Iterator<Item = CleanupEntry>, most: usize) -> Vec<Value> {
    let mut room = most;
    let fit = entries.map_while(|entry| {
        let value = json!(entry);
        room = room.checked_sub(value.to_string().len() + 1)?;
        Some(value)
    });
    fit.collect()
}
