//! Compares a repository with its policy. The audit only reports, because the repository may be older
//! than the policy.
//!
//! AWS delivers events on a best-effort basis
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>). The audit therefore
//! also finds violations whose event was lost.

mod grammar;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::arena::{Arena, ImageId};
use crate::graph::ImageRecord;
use crate::image::{Digest, ImageStatus, Tag, Wildcard};
use crate::lifecycle::{self, native::LifecycleThreat};
use crate::mutability::Mutability;
use crate::policy::{CleanupEnforcement, Policy};
use crate::retention::{Decision, KeepReason, RetentionPlan, UnitRecord};
use crate::tagging::{TagVerdict, find_exemption, judge_image};
use crate::text::short_line;

/// The most examples in the text of a deviation.
const EXAMPLES: usize = 5;

/// The settings of a repository, read from ECR and the ledger. A setting is compared only in a repository
/// that the stack provisions.
#[derive(Clone, Debug, Default)]
pub struct RepositorySettings {
    /// The tag mutability. None if it is unknown.
    pub mutability: Option<Mutability>,
    /// The text of the lifecycle policy, if the repository has one.
    pub lifecycle: Option<String>,
    /// Whether the repository should scan images on push.
    pub scan_on_push: bool,
    /// How often the registry scans the images: `SCAN_ON_PUSH`, `CONTINUOUS_SCAN` or `MANUAL`.
    pub scan_frequency: String,
    /// The images that were pushed lately and not scanned.
    pub unscanned: Vec<ImageId>,
    /// The records of archived indexes, by the digest of the index: ECR returns no manifest of an
    /// archived index.
    pub archived_units: HashMap<Digest, UnitRecord>,
}

keywords!(
    /// The kind of a deviation from the policy.
    AuditRule {
        /// A setting differs from the policy.
        Drift = "drift",
        /// A lifecycle rule or a pattern matches no image.
        Dead = "dead-rule",
        /// Images are not scanned on push, although the policy requires it.
        Scanning = "scanning",
        /// An image was pushed and not scanned.
        Unscanned = "unscanned",
        /// A tag violates the policy.
        Tags = "tags",
        /// The grammar probably reads tags as something that they are not.
        Grammar = "grammar",
        /// An index lacks an image that it needs.
        IncompleteUnit = "incomplete-unit",
        /// Images have no tag, and the policy only reports them.
        Untagged = "untagged",
        /// Images are not archived, because a native lifecycle rule would expire them too early.
        NativeRule = "native-rule",
    }
);

/// A deviation of the repository from its policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// The kind of the deviation.
    pub rule: AuditRule,
    /// The deviation as a clause, without a full stop.
    pub text: String,
}

/// Finds every deviation of the repository from its policy.
#[must_use]
pub fn audit(
    plan: &RetentionPlan<'_>,
    observed: &RepositorySettings,
    now: DateTime<Utc>,
) -> Vec<Deviation> {
    let mut found = Vec::new();
    let mut report = |rule, text| found.push(Deviation { rule, text });
    let (policy, images) = (plan.policy, &plan.inventory.images);
    for text in find_drift(policy, observed) {
        report(AuditRule::Drift, text);
    }
    for text in find_dead_rules(policy, observed, images) {
        report(AuditRule::Dead, text);
    }
    if observed.scan_on_push && observed.scan_frequency == "MANUAL" {
        report(
            AuditRule::Scanning,
            "ScanOnPush is true, but the scanning configuration of the registry or of the \
             repository allows only manual scans"
                .to_owned(),
        );
    }
    let unscanned = observed.unscanned.iter().map(|image| name(&images[*image]));
    if let Some(text) = examples(observed.unscanned.len(), unscanned, |count| match count {
        1 => "1 image was pushed lately and not scanned".to_owned(),
        _ => format!("{count} images were pushed lately and not scanned"),
    }) {
        report(AuditRule::Unscanned, text);
    }
    let today = now.date_naive();
    let bad = find_bad_tags(plan, now);
    let judged =
        bad.iter().filter_map(|(tag, digest)| match judge_image(policy, digest, tag, today) {
            TagVerdict::Violation(violation) => Some(format!("{tag} {}", violation.reason)),
            TagVerdict::Conforming(_) | TagVerdict::Exempt(_) => None,
        });
    if let Some(text) = examples(bad.len(), judged, |count| match count {
        1 => "1 tag violates the policy".to_owned(),
        _ => format!("{count} tags violate the policy"),
    }) {
        report(AuditRule::Tags, text);
    }
    for text in grammar::find_doubtful_readings(plan) {
        report(AuditRule::Grammar, text);
    }
    let incomplete = find_incomplete_units(plan, observed);
    if let Some(text) =
        examples(incomplete.len(), incomplete.iter().cloned(), |count| match count {
            1 => "1 index cannot be pulled completely".to_owned(),
            _ => format!("{count} indexes cannot be pulled completely"),
        })
    {
        report(AuditRule::IncompleteUnit, text);
    }
    if let Some(text) = report_untagged(plan) {
        report(AuditRule::Untagged, text);
    }
    for (threat, names) in find_threatened(plan) {
        let why = |count| match count {
            1 => format!("1 image is not archived, because {threat}"),
            _ => format!("{count} images are not archived, because {threat}"),
        };
        if let Some(text) = examples(names.len(), names.iter().cloned(), why) {
            report(AuditRule::NativeRule, text);
        }
    }
    found
}

/// The images that are not archived because of a native lifecycle rule, by the rule.
fn find_threatened<'p>(
    plan: &'p RetentionPlan<'_>,
) -> BTreeMap<&'p LifecycleThreat, BTreeSet<String>> {
    let mut found: BTreeMap<&LifecycleThreat, BTreeSet<String>> = BTreeMap::new();
    for decided in &plan.units {
        if let Decision::Keep(KeepReason::Threatened(threat), root) = &decided.decision {
            found.entry(threat).or_default().insert(name(plan.image(*root)));
        }
    }
    found
}

/// The images that [`crate::policy::Retention::untagged`] only reports. The text has no count, so
/// that it changes when one of the oldest images changes, and not with every push.
fn report_untagged(plan: &RetentionPlan<'_>) -> Option<String> {
    let reported = plan.units.iter().filter_map(|decided| match &decided.decision {
        Decision::Keep(KeepReason::UntaggedReported { since }, _) => {
            Some((*since, &plan.image(decided.unit.root).digest))
        }
        _ => None,
    });
    let oldest: BTreeSet<_> = reported.collect();
    let retention = plan.policy.retention.as_ref();
    let untagged_days = retention.map_or(0, |retention| retention.untagged_days);
    let (days, names) = (untagged_days, oldest.iter().map(|(_, digest)| digest.to_string()));
    examples(oldest.len(), names, |_| {
        format!(
            "images have had no tag for more than {days} days, and with Untagged=report they are \
             only reported; the oldest"
        )
    })
}

fn find_drift(policy: &Policy, observed: &RepositorySettings) -> Vec<String> {
    let mut found = Vec::new();
    // The stack sets nothing in a repository that it does not provision.
    let Some(expected) = &policy.mutability else { return found };
    if observed.mutability.as_ref() != Some(expected) {
        let observed = observed
            .mutability
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), Mutability::to_string);
        found.push(format!("ImageTagMutability is {observed}, and the policy requires {expected}"));
    }
    // An adopted repository keeps its own lifecycle policy while the cleanup only reports.
    if policy.cleanup() == CleanupEnforcement::Report {
        return found;
    }
    match &observed.lifecycle {
        None => found.push("the repository has no lifecycle policy any more".to_owned()),
        Some(text) if !lifecycle::have_same_rules(text, &lifecycle::document(policy)) => {
            found.push("the lifecycle policy differs from the deployed one".to_owned());
        }
        Some(_) => {}
    }
    found
}

/// Finds patterns of `ProtectTags`, and lifecycle rules that select tags, that match no image. Rules
/// for untagged or archived images are not reported: such images may come later.
fn find_dead_rules(
    policy: &Policy,
    observed: &RepositorySettings,
    images: &Arena<ImageId, ImageRecord>,
) -> Vec<String> {
    let mut found = Vec::new();
    if images.is_empty() {
        return found;
    }
    let any = |matches: &dyn Fn(&[Tag]) -> bool| images.iter().any(|image| matches(&image.tags));
    let protected = policy.retention.iter().flat_map(|retention| &retention.protect_tags);
    for pattern in protected {
        if !any(&|tags| tags.iter().any(|tag| pattern.matches(tag))) {
            found.push(format!("no tag matches the pattern {pattern} of ProtectTags"));
        }
    }
    let document: Value = observed
        .lifecycle
        .as_deref()
        .and_then(|policy| serde_json::from_str(policy).ok())
        .unwrap_or_default();
    for rule in document.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let list = |name: &str| -> Vec<&str> {
            let list = rule.pointer(&format!("/selection/{name}")).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let (prefixes, patterns) = (list("tagPrefixList"), list("tagPatternList"));
        let patterns: Vec<Wildcard> =
            patterns.iter().filter_map(|pattern| pattern.parse().ok()).collect();
        if prefixes.is_empty() && patterns.is_empty() {
            continue;
        }
        // A rule with a list selects the images that have a tag for each item of the list.
        let selects = |tags: &[Tag]| {
            prefixes.iter().all(|prefix| tags.iter().any(|tag| tag.as_str().starts_with(prefix)))
                && patterns.iter().all(|pattern| tags.iter().any(|tag| pattern.matches(tag)))
        };
        if !any(&selects) {
            let text = |name: &str| rule.get(name).map(ToString::to_string).unwrap_or_default();
            let priority = text("rulePriority");
            let description = short_line(&text("description"), 100);
            let description =
                if description.is_empty() { description } else { format!(" ({description})") };
            found.push(format!("no image matches the lifecycle rule {priority}{description}"));
        }
    }
    found
}

/// Finds tags that violate the policy, of images that are kept. Images of the last hour are left out,
/// because `image-push` may still be handling their push.
fn find_bad_tags<'a>(
    plan: &RetentionPlan<'a>,
    now: DateTime<Utc>,
) -> BTreeMap<&'a Tag, &'a Digest> {
    let an_hour_ago = now - Duration::hours(1);
    let (today, images) = (now.date_naive(), &plan.inventory.images);
    let kept = images.enumerate().filter(|(id, image)| {
        let is_kept = image.status != ImageStatus::Archived && plan.decision_of(*id) == "keep";
        is_kept && image.pushed_at.is_some_and(|at| at < an_hour_ago)
    });
    // The tag of a signature is no own tag, and is not judged.
    let tags = kept.flat_map(|(id, image)| {
        plan.read_tags(id).map(move |(tag, reading)| (tag, &image.digest, reading.is_accepted))
    });
    let bad = tags.filter(|(tag, digest, is_accepted)| {
        let is_judged = plan.policy.grammar().is_some();
        is_judged
            && !is_accepted
            && plan.policy.ignores(tag).is_none()
            && find_exemption(digest, tag, today).is_none()
    });
    bad.map(|(tag, digest, _)| (tag, digest)).collect()
}

/// Finds indexes that lack an image that they need: an active index whose image is archived or
/// deleted, and an archived index whose image is deleted. See case A2 in
/// `docs/contributing/prior-art.md`.
fn find_incomplete_units(
    plan: &RetentionPlan<'_>,
    observed: &RepositorySettings,
) -> BTreeSet<String> {
    let images = &plan.inventory.images;
    let (indexes, archived) = (&plan.inventory.indexes, &observed.archived_units);
    if indexes.is_empty() && archived.is_empty() {
        return BTreeSet::new();
    }
    let by_digest: HashMap<&Digest, &ImageRecord> =
        images.iter().map(|image| (&image.digest, image)).collect();
    let mut found = BTreeSet::new();
    let is_removed = |image: ImageId| plan.decision_of(image) != "keep";
    for (id, index) in images.enumerate() {
        if let Some(parts) = indexes.get(&index.digest).filter(|_| !is_removed(id)) {
            let lacks = |part: &&Digest| match by_digest.get(part) {
                None => true,
                Some(part) => part.status == ImageStatus::Archived,
            };
            if let Some(part) = parts.iter().find(lacks) {
                let state = match by_digest.get(part) {
                    None => "deleted",
                    Some(_) => "archived",
                };
                found.insert(format!("{} needs {part}, which is {state}", name(index)));
            }
        }
        if let Some(unit) = archived.get(&index.digest)
            && let Some(part) = unit.images().find(|part| !by_digest.contains_key(part))
        {
            found.insert(format!("{} (archived) needs {part}, which is deleted", name(index)));
        }
    }
    found
}

fn name(image: &ImageRecord) -> String {
    image.tags.first().map_or_else(|| image.digest.to_string(), |tag| tag.to_string())
}

/// Composes a text of a count and a few examples. None for a count of zero.
fn examples(
    count: usize,
    all: impl Iterator<Item = String>,
    heading: impl Fn(usize) -> String,
) -> Option<String> {
    let more = if count > EXAMPLES { "; and others" } else { "" };
    let examples: Vec<String> = all.take(EXAMPLES).collect();
    (count > 0).then(|| format!("{}: {}{more}", heading(count), examples.join("; ")))
}

#[cfg(test)]
mod tests;
