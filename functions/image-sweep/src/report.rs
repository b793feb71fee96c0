//! What is said of a plan, and of what came of it.

use std::collections::{HashMap, HashSet};

use tracing::info;
use warden_alerts::{Entry, Outcome, UNTAG};
use warden_core::arena::ImageId;
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::retention::{Fate, Keep, Plan, Removal};

use crate::act::SweepChanges;

/// The names of what runs an image.
pub type Workloads = HashMap<Digest, String>;

/// The plan as its outcome would be.
pub fn planned(plan: &Plan<'_>, workloads: &Workloads) -> Outcome {
    let images = plan.removals.iter().flat_map(Removal::all);
    let images = images.map(|image| entry(plan, image, workloads));
    let untags = plan.untags.iter().map(|(image, tag)| untag(plan, *image, tag));
    Outcome {
        mode: plan.policy.governance.retention.enforcement,
        hash: plan.hash(),
        examined: plan.inventory.images.len(),
        removed: images.chain(untags).collect(),
        bytes: plan.bytes(),
        failed: vec![],
        left: 0,
        stopped: plan.stopped.as_ref().map(ToString::to_string),
    }
}

/// The outcome of a plan that was carried out.
pub fn carried_out(
    plan: &Plan<'_>,
    done: &SweepChanges,
    hash: String,
    workloads: &Workloads,
) -> Outcome {
    let gone: HashSet<ImageId> = done.removed.iter().copied().collect();
    let images = plan.removals.iter().flat_map(Removal::all).filter(|image| gone.contains(image));
    let images = images.map(|image| entry(plan, image, workloads));
    let untags = done.untagged.iter().map(|(image, tag)| untag(plan, *image, tag));
    let failed = done.failed.iter();
    let failed = failed.map(|(image, why)| (entry(plan, *image, workloads), why.clone()));
    let tags = done.still_tagged.iter();
    let tags = tags.map(|(image, tag, why)| (untag(plan, *image, tag), why.clone()));
    Outcome {
        mode: plan.policy.governance.retention.enforcement,
        hash,
        examined: plan.inventory.images.len(),
        removed: images.chain(untags).collect(),
        bytes: done.removed.iter().map(|image| plan.image(*image).bytes).sum(),
        failed: failed.chain(tags).collect(),
        left: done.left,
        stopped: None,
    }
}

/// What may have gone although it failed.
pub fn unsure(plan: &Plan<'_>, done: &SweepChanges, workloads: &Workloads) -> Vec<Entry> {
    let images = done.unsure.iter().map(|image| entry(plan, *image, workloads));
    let tags = done.still_tagged.iter().map(|(image, tag, _)| untag(plan, *image, tag));
    images.chain(tags).collect()
}

/// An image with its decision and the reason.
pub fn entry(plan: &Plan<'_>, image: ImageId, workloads: &Workloads) -> Entry {
    Entry {
        digest: plan.image(image).digest.clone(),
        tags: plan.image(image).tags.clone(),
        decision: plan.decision_of(image).to_owned(),
        reason: reason(plan, image, workloads),
    }
}

/// A quarantine tag that goes alone.
fn untag(plan: &Plan<'_>, image: ImageId, tag: &Tag) -> Entry {
    Entry {
        digest: plan.image(image).digest.clone(),
        tags: vec![tag.clone()],
        decision: UNTAG.to_owned(),
        reason: "the image conforms by now, and is not in quarantine any more".to_owned(),
    }
}

/// Why an image stays or goes, with the names of what runs it.
pub fn reason(plan: &Plan<'_>, image: ImageId, workloads: &Workloads) -> String {
    let reason = plan.reason_of(image);
    let named = plan.decided(image).and_then(|decided| match decided.fate {
        Fate::Keep(Keep::InUse(_), by) => workloads.get(&plan.image(by).digest),
        _ => None,
    });
    named.map_or(reason.clone(), |workloads| format!("{reason}: {workloads}"))
}

/// Writes down what is about to be done, and why; and what is kept though there are enough newer
/// ones. The template has a query that finds these lines.
pub fn print(plan: &Plan<'_>, workloads: &Workloads, outcome: &Outcome) {
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
pub fn print_failures(repository: &RepositoryName, outcome: &Outcome) {
    for (entry, why) in &outcome.failed {
        print_one(repository, entry, "failed", why, &outcome.hash);
    }
}

fn print_one(repository: &RepositoryName, entry: &Entry, decision: &str, reason: &str, hash: &str) {
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
pub fn going(plan: &Plan<'_>) -> HashSet<ImageId> {
    plan.removals.iter().flat_map(Removal::all).collect()
}
