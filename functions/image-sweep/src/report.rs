//! What is said of a plan, and of what came of it.

use std::collections::{HashMap, HashSet};

use tracing::info;
use warden_alerts::{Entry, Outcome};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::retention::{Fate, Keep, Plan, Removal};

use crate::act::Done;

/// The names of what runs an image.
pub type Workloads = HashMap<Digest, String>;

/// The plan as its outcome would be.
pub fn planned(plan: &Plan<'_>, workloads: &Workloads) -> Outcome {
    let images = plan.removals.iter().flat_map(Removal::all);
    let images = images.filter_map(|nth| entry(plan, nth, workloads));
    let untags = plan.untags.iter().filter_map(|(nth, tag)| untag(plan, *nth, tag));
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
pub fn carried_out(plan: &Plan<'_>, done: &Done, hash: String, workloads: &Workloads) -> Outcome {
    let gone: HashSet<usize> = done.removed.iter().copied().collect();
    let images = plan.removals.iter().flat_map(Removal::all).filter(|nth| gone.contains(nth));
    let images = images.filter_map(|nth| entry(plan, nth, workloads));
    let untags = done.untagged.iter().filter_map(|(nth, tag)| untag(plan, *nth, tag));
    let failed = done.failed.iter();
    let failed = failed.filter_map(|(nth, why)| Some((entry(plan, *nth, workloads)?, why.clone())));
    let tags = done.still_tagged.iter();
    let tags = tags.filter_map(|(nth, tag, why)| Some((untag(plan, *nth, tag)?, why.clone())));
    Outcome {
        mode: plan.policy.governance.retention.enforcement,
        hash,
        examined: plan.inventory.images.len(),
        removed: images.chain(untags).collect(),
        bytes: done.removed.iter().filter_map(|nth| plan.image(*nth)).map(|it| it.bytes).sum(),
        failed: failed.chain(tags).collect(),
        left: done.left,
        stopped: None,
    }
}

/// What may have gone although it failed.
pub fn unsure(plan: &Plan<'_>, done: &Done, workloads: &Workloads) -> Vec<Entry> {
    let images = done.unsure.iter().filter_map(|nth| entry(plan, *nth, workloads));
    let tags = done.still_tagged.iter().filter_map(|(nth, tag, _)| untag(plan, *nth, tag));
    images.chain(tags).collect()
}

/// An image, and what becomes of it.
pub fn entry(plan: &Plan<'_>, nth: usize, workloads: &Workloads) -> Option<Entry> {
    let image = plan.image(nth)?;
    Some(Entry {
        digest: image.digest.clone(),
        tags: image.tags.clone(),
        decision: plan.decision_of(nth).to_owned(),
        reason: reason(plan, nth, workloads),
    })
}

/// A quarantine tag that goes alone.
fn untag(plan: &Plan<'_>, nth: usize, tag: &Tag) -> Option<Entry> {
    Some(Entry::untag(plan.image(nth)?.digest.clone(), tag.clone()))
}

/// Why an image stays or goes, with the names of what runs it.
pub fn reason(plan: &Plan<'_>, nth: usize, workloads: &Workloads) -> String {
    let reason = plan.reason_of(nth);
    let named = plan.decided(nth).and_then(|decided| match decided.fate {
        Fate::Keep(Keep::InUse(_), by) => workloads.get(&plan.image(by)?.digest),
        _ => None,
    });
    named.map_or(reason.clone(), |workloads| format!("{reason}: {workloads}"))
}

/// Writes down what is about to be done, and why; and what is kept though there are enough newer
/// ones. The template has a query that finds these lines.
pub fn print(plan: &Plan<'_>, workloads: &Workloads, outcome: &Outcome) {
    let (repository, hash) = (&plan.policy.repository_name, &outcome.hash);
    for decided in plan.kept_beyond() {
        if let Some(entry) = entry(plan, decided.unit.root, workloads) {
            print_one(repository, &entry, &entry.decision, &entry.reason, hash);
        }
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

/// The images that go, by their place.
pub fn going(plan: &Plan<'_>) -> HashSet<usize> {
    plan.removals.iter().flat_map(Removal::all).collect()
}
