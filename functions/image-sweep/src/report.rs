//! What is said of a plan, and of what came of it.

use std::collections::{HashMap, HashSet};

use governance::alert::{Entry, Outcome};
use governance::image::{Digest, Tag};
use governance::retention::{Fate, Keep, Plan, Removal};
use tracing::info;

use crate::act::Done;

/// What is decided of a tag that goes alone.
pub const UNTAG: &str = "untag";

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
    let images = done.removed.iter().filter_map(|nth| entry(plan, *nth, workloads));
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
    Some(Entry {
        digest: plan.image(nth)?.digest.clone(),
        tags: vec![tag.clone()],
        decision: UNTAG.to_owned(),
        reason: "the image conforms by now, and is not in quarantine any more".to_owned(),
    })
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
    let log = |entry: &Entry| {
        let Entry { digest, tags, decision, reason } = entry;
        let tags: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
        info!(
            repository.name = %repository,
            image.digest = %digest,
            image.tags = tags.join(" "),
            decision,
            reason,
            plan.hash = hash,
            "{repository}: {}: {decision}: {reason}",
            entry.name(),
        );
    };
    let kept = plan.kept_beyond().filter_map(|it| entry(plan, it.unit.root, workloads));
    kept.for_each(|entry| log(&entry));
    outcome.removed.iter().for_each(log);
    if let Some(why) = &outcome.stopped {
        print_stop(plan.policy.repository_name.as_str(), why, hash);
    }
    let (examined, going) = (outcome.examined, outcome.removed.len());
    info!(
        repository.name = %repository,
        plan.hash = hash,
        "{repository}: plan {hash}: {going} of {examined} go",
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
