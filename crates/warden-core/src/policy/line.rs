//! A policy of one repository as one line of JSON. The ledger stores an accepted policy in this form.
//!
//! The same parser reads the properties of the custom resource. A newer function can read the line of an
//! older function: a setting that is missing gets its default.

use serde::Serialize;

use super::provisioned::prefixes;
use super::{
    CleanupEnforcement, InUse, LifecycleScope, MOST_BYTES, MOST_DAYS, MOST_IMAGES, Policy, Retention,
    Scan, Severity, TagEnforcement, TagMutability, Tags, WhenReplicated,
};
use crate::grammar::Grammar;
use crate::image::{Component, RepositoryName, TagPrefix, Wildcard};
use crate::properties::Reader;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    repository_name: &'a RepositoryName,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag_mutability: Option<TagMutability>,
    lifecycle_tag_count: u32,
    lifecycle_untagged_days: u32,
    lifecycle_tag_prefixes: &'a [TagPrefix],
    lifecycle_scope: LifecycleScope,
    governance: GovernanceLine<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GovernanceLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<TagsLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionLine<'a>>,
    scan: &'a Scan,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagsLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    grammar: Option<&'a Grammar>,
    components: &'a [Component],
    forbidden: &'a [Wildcard],
    enforcement: TagEnforcement,
    quarantine_days: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RetentionLine<'a> {
    keep_per_component: u32,
    protect_tags: &'a [Wildcard],
    protect_pulled_within_days: u32,
    minimum_age_days: u32,
    in_use: InUse,
    max_remove_percent: u32,
    when_replicated: WhenReplicated,
    untagged: CleanupEnforcement,
    enforcement: CleanupEnforcement,
}

/// Writes the line, with every default.
pub(super) fn write(policy: &Policy) -> String {
    let tags = policy.tags.as_ref().map(|tags| TagsLine {
        grammar: tags.grammar.as_ref(),
        components: &tags.components,
        forbidden: &tags.forbidden,
        enforcement: tags.enforcement,
        quarantine_days: tags.quarantine_days,
    });
    let retention = policy.retention.as_ref();
    let line = Line {
        repository_name: &policy.repository_name,
        image_tag_mutability: policy.image_tag_mutability,
        lifecycle_tag_count: retention.map_or(MOST_IMAGES, |retention| retention.keep),
        lifecycle_untagged_days: retention.map_or(MOST_DAYS, |retention| retention.untagged_days),
        lifecycle_tag_prefixes: &policy.lifecycle_tag_prefixes,
        lifecycle_scope: policy.lifecycle_scope,
        governance: GovernanceLine {
            tags,
            retention: retention.map(|retention| RetentionLine {
                keep_per_component: retention.keep,
                protect_tags: &retention.protect_tags,
                protect_pulled_within_days: retention.protect_pulled_within_days,
                minimum_age_days: retention.minimum_age_days,
                in_use: policy.in_use,
                max_remove_percent: retention.max_remove_percent,
                when_replicated: retention.when_replicated,
                untagged: retention.untagged,
                enforcement: retention.enforcement,
            }),
            scan: &policy.scan,
        },
    };
    #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
    serde_json::to_string(&line).expect("a policy serialises")
}

/// Reads the line, or the properties of the custom resource.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Policy> {
    let repository_name = reader.required("RepositoryName");
    let image_tag_mutability = reader.optional("ImageTagMutability");
    let tag_count = reader.number("LifecycleTagCount", 1..=MOST_IMAGES, None);
    let untagged_days = reader.number("LifecycleUntaggedDays", 1..=MOST_DAYS, None);
    let lifecycle_tag_prefixes = prefixes(reader);
    let lifecycle_scope = reader.or("LifecycleScope", LifecycleScope::Component);
    let (tags, retention, scan) = reader.object("Governance", |reader| {
        let tags = reader.section("Tags", |reader| read_tags(reader, image_tag_mutability));
        let retention = reader
            .section("Retention", |reader| read_retention(reader, tag_count, untagged_days));
        let scan = reader
            .object("Scan", |reader| Scan { threshold: reader.or("Threshold", Severity::High) });
        (tags, retention, scan)
    });
    let policy = Policy {
        repository_name: repository_name?,
        rule: RULE.parse().ok()?,
        owner: None,
        image_tag_mutability,
        lifecycle_tag_prefixes,
        lifecycle_scope,
        in_use: retention.as_ref().map_or(InUse::PullTime, |(_, in_use)| *in_use),
        tags,
        retention: retention.map(|(retention, _)| retention),
        scan,
    };
    let bytes = policy.normalised().len();
    if bytes > MOST_BYTES {
        let message =
            format!("the normalised policy has {bytes} bytes; at most {MOST_BYTES} are allowed");
        reader.problem("Governance", message);
    }
    Some(policy)
}

/// The name of the rule of a policy that was read from a line.
const RULE: &str = "accepted";

fn read_tags(reader: &mut Reader<'_>, mutability: Option<TagMutability>) -> Option<Tags> {
    let grammar = Grammar::new(reader.words("Grammar"));
    let enforcement = reader.required("Enforcement");
    // A mutable tag could move to another image between the check and the removal: ECR has no
    // compare-and-delete.
    if let Some(mutability) = mutability.filter(|mutability| *mutability != TagMutability::Immutable)
        && enforcement == Some(TagEnforcement::Quarantine)
    {
        let message = format!(
            "quarantine needs ImageTagMutability IMMUTABLE, not {mutability}: \
             a mutable tag could move to another image just before it is removed; use report or \
             archive"
        );
        reader.problem("Enforcement", message);
    }
    let components = reader.words("Components");
    let forbidden = reader.words("Forbidden");
    let quarantine_days = reader.number("QuarantineDays", 1..=MOST_DAYS, Some(14));
    Some(Tags { grammar, components, forbidden, enforcement: enforcement?, quarantine_days })
}

fn read_retention(
    reader: &mut Reader<'_>,
    tag_count: u32,
    untagged_days: u32,
) -> Option<(Retention, InUse)> {
    let keep = reader.number("KeepPerComponent", 1..=MOST_IMAGES, Some(tag_count));
    let protect_tags = reader.words("ProtectTags");
    let protect_pulled_within_days =
        reader.number("ProtectPulledWithinDays", 1..=MOST_DAYS, Some(30));
    let minimum_age_days = reader.number("MinimumAgeDays", 1..=MOST_DAYS, Some(7));
    let in_use = reader.or("InUse", InUse::PullTime);
    let when_replicated = reader.or("WhenReplicated", WhenReplicated::Report);
    let max_remove_percent = reader.number("MaxRemovePercent", 1..=100, Some(25));
    let untagged = reader.or("Untagged", CleanupEnforcement::Report);
    let enforcement = reader.required("Enforcement");
    let retention = Retention {
        keep,
        untagged,
        untagged_days,
        protect_tags,
        protect_pulled_within_days,
        minimum_age_days,
        max_remove_percent,
        when_replicated,
        enforcement: enforcement?,
    };
    Some((retention, in_use))
}
