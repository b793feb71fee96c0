//! Builds the JSON that the function returns to a person. Lambda returns at most 6 MB, so long lists
//! are truncated, and the full counts are separate fields.

use std::collections::HashSet;

use serde_json::{Value, json};
use warden_alerts::{CleanupEntry, SweepResult};
use warden_core::arena::ImageId;
use warden_core::image::{Digest, ImageStatus, RepositoryName, Tag};
use warden_core::retention::{PlanBlocker, RetentionPlan, retention_hash};

use crate::report::{Workloads, entry, planned_images, reason};

/// The most bytes of the list of removed images.
const MOST_REMOVAL_BYTES: usize = 4_000_000;
/// The most bytes of the list of kept images. Both lists leave room for the other fields in 6 MB.
const MOST_KEEP_BYTES: usize = 1_000_000;
/// The most kept images, and the most images of a unit, in a list.
const MOST_LISTED: usize = 1_000;

/// The answer of a run: the plan by the policy with this version, and its outcome. `removed` is the number of
/// removed images.
pub fn describe_run(
    plan: &RetentionPlan<'_>,
    version: &str,
    workloads: &Workloads,
    outcome: &SweepResult,
    removed: usize,
) -> Value {
    let planned = planned_images(plan);
    // The images beyond the keep count come first, because a rule keeps each of them.
    let beyond: Vec<ImageId> = plan.kept_beyond().map(|decided| decided.unit.root).collect();
    let is_beyond: HashSet<ImageId> = beyond.iter().copied().collect();
    let rest = plan.inventory.images.ids().filter(|image| !is_beyond.contains(image));
    let keeps = beyond.iter().copied().chain(rest).filter(|image| !planned.contains(image));
    let keeps = keeps.take(MOST_LISTED).map(|image| entry(plan, image, workloads));
    json!({
        "repository": plan.policy.repository_name,
        "mode": outcome.mode,
        "hash": outcome.hash,
        "policy": version,
        "retention": retention_hash(plan.policy),
        "confirmable": outcome.is_confirmable(),
        "guard": plan.stopped.as_ref().map(PlanBlocker::name),
        "stopped": outcome.stopped,
        "examined": outcome.examined,
        "kept": outcome.examined - planned.len(),
        "planned": planned.len(),
        "uncovered": plan.uncovered(),
        "removed": removed,
        "failed": outcome.failed.len(),
        "left": outcome.left,
        "bytes": outcome.bytes,
        "removals": truncate(outcome.removed.iter().cloned(), MOST_REMOVAL_BYTES),
        "keeps": truncate(keeps, MOST_KEEP_BYTES),
    })
}

/// The answer of a run that removes nothing for this reason.
pub fn describe_stop(repository: &RepositoryName, why: &str) -> Value {
    json!({"repository": repository, "stopped": why})
}

/// The answer about an image that the repository does not have. This is no error of the function.
pub fn describe_missing(repository: &RepositoryName, image: &str) -> Value {
    let missing = format!(
        "{repository} has no image {image:?}: no image was pushed by that name, or the image or its \
         tag was removed. The saved query keep-or-remove-reasons lists the images and tags that \
         sweeps removed, and the saved query tag-violations lists the tags that enforcement removed"
    );
    json!({"repository": repository, "image": image, "missing": missing})
}

/// The answer about one image: its decision by the policy with this version, the reason and its unit. `removed` is
/// the tag by which the image was asked for, if enforcement removed that tag.
pub fn explain_image(
    plan: &RetentionPlan<'_>,
    version: &str,
    id: ImageId,
    removed: Option<&Tag>,
    workloads: &Workloads,
) -> Value {
    let digest = |image: &ImageId| &plan.image(*image).digest;
    let digests = |images: &[ImageId]| -> Vec<&Digest> {
        images.iter().map(digest).take(MOST_LISTED).collect()
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
        "removedTag": removed,
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
        "policy": version,
        "stopped": plan.stopped.as_ref().map(ToString::to_string),
    })
}

/// Returns the first entries that together have at most this number of bytes.
fn truncate(entries: impl Iterator<Item = CleanupEntry>, most_bytes: usize) -> Vec<Value> {
    let mut room = most_bytes;
    let fit = entries.map_while(|entry| {
        let value = json!(entry);
        room = room.checked_sub(value.to_string().len() + 1)?;
        Some(value)
    });
    fit.collect()
}
