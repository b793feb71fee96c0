//! Whether a repository is what its policy says, beside what is enforced: reported, and never
//! changed, since it may be older than the policy.
//!
//! Events are delivered as well as AWS can (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>),
//! so this finds too what an event should have told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::arena::{Arena, ImageId};
use crate::graph::ImageRecord;
use crate::image::{Digest, ImageStatus, Tag, Wildcard};
use crate::lifecycle::{self, native::LifecycleThreat};
use crate::policy::Policy;
use crate::retention::{Decision, KeepReason, RetentionPlan, UnitRecord};
use crate::tagging::{TagVerdict, exemption, is_accepted_tag, judge_image};
use crate::text::short_line;

/// The most examples of one thing.
const EXAMPLES: usize = 5;

/// What ECR says of a repository beside its images.
#[derive(Clone, Debug, Default)]
pub struct RepositorySettings {
    /// `imageTagMutability`.
    pub mutability: String,
    /// The text of its lifecycle policy, if it has one.
    pub lifecycle: Option<String>,
    /// Whether images should be scanned when they are pushed.
    pub scan_on_push: bool,
    /// How often the registry scans them, as ECR says it: `SCAN_ON_PUSH`, `CONTINUOUS_SCAN`,
    /// `MANUAL`.
    pub scan_frequency: String,
    /// The images that were pushed lately and not scanned.
    pub unscanned: Vec<ImageId>,
    /// The records of archived indexes, by the index: ECR gives no manifest of an archived index.
    pub archived_units: HashMap<Digest, UnitRecord>,
}

keywords!(
    /// What should be otherwise.
    AuditRule {
        /// A setting is not what the policy says.
        Drift = "drift",
        /// A rule or a pattern is for nothing that there is.
        Dead = "dead-rule",
        /// Images are not scanned when they are pushed, though they should be.
        Scanning = "scanning",
        /// An image was pushed, and not scanned.
        Unscanned = "unscanned",
        /// A tag breaks the rules.
        Tags = "tags",
        /// An index lacks an image that it needs.
        IncompleteUnit = "incomplete-unit",
        /// Images have no tag, and the policy only reports them.
        Untagged = "untagged",
        /// Images are not archived, because a native lifecycle rule would expire them too early.
        NativeRule = "native-rule",
    }
);

/// Something that should be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// What.
    pub rule: AuditRule,
    /// A sentence.
    pub text: String,
}

/// Everything that should be otherwise.
#[must_use]
pub fn audit(
    plan: &RetentionPlan<'_>,
    observed: &RepositorySettings,
    now: DateTime<Utc>,
) -> Vec<Deviation> {
    let mut found = Vec::new();
    let mut tell = |rule, text| found.push(Deviation { rule, text });
    let (policy, images) = (plan.policy, &plan.inventory.images);
    for text in drift(policy, observed) {
        tell(AuditRule::Drift, text);
    }
    for text in dead(policy, observed, images) {
        tell(AuditRule::Dead, text);
    }
    if observed.scan_on_push && observed.scan_frequency == "MANUAL" {
        tell(
            AuditRule::Scanning,
            "ScanOnPush is true, and images of this repository are scanned by hand only, by the \
             scanning configuration of the registry or of the repository"
                .to_owned(),
        );
    }
    let unscanned = observed.unscanned.iter().map(|image| name(&images[*image]));
    if let Some(text) = examples(observed.unscanned.len(), unscanned, |count| match count {
        1 => "1 image was pushed lately and not scanned".to_owned(),
        _ => format!("{count} images were pushed lately and not scanned"),
    }) {
        tell(AuditRule::Unscanned, text);
    }
    let today = now.date_naive();
    let bad = bad_tags(plan, now);
    let judged =
        bad.iter().filter_map(|(tag, digest)| match judge_image(policy, digest, tag, today) {
            TagVerdict::Violation(violation) => Some(format!("{tag} {}", violation.reason)),
            TagVerdict::Conforming(_) | TagVerdict::Exempt(_) => None,
        });
    if let Some(text) = examples(bad.len(), judged, |count| match count {
        1 => "1 tag breaks the rules".to_owned(),
        _ => format!("{count} tags break the rules"),
    }) {
        tell(AuditRule::Tags, text);
    }
    let incomplete = incomplete_units(plan, observed);
    if let Some(text) =
        examples(incomplete.len(), incomplete.iter().cloned(), |count| match count {
            1 => "1 index cannot be pulled whole".to_owned(),
            _ => format!("{count} indexes cannot be pulled whole"),
        })
    {
        tell(AuditRule::IncompleteUnit, text);
    }
    if let Some(text) = reported_untagged(plan) {
        tell(AuditRule::Untagged, text);
    }
    for (threat, names) in threatened(plan) {
        let why = |count| match count {
            1 => format!("1 image is not archived, because {threat}"),
            _ => format!("{count} images are not archived, because {threat}"),
        };
        if let Some(text) = examples(names.len(), names.iter().cloned(), why) {
            tell(AuditRule::NativeRule, text);
        }
    }
    found
}

/// The images that are not archived because of a native lifecycle rule, by the rule.
fn threatened<'p>(plan: &'p RetentionPlan<'_>) -> BTreeMap<&'p LifecycleThreat, BTreeSet<String>> {
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
fn reported_untagged(plan: &RetentionPlan<'_>) -> Option<String> {
    let reported = plan.units.iter().filter_map(|decided| match &decided.decision {
        Decision::Keep(KeepReason::UntaggedReported { since }, _) => {
            Some((*since, &plan.image(decided.unit.root).digest))
        }
        _ => None,
    });
    let oldest: BTreeSet<_> = reported.collect();
    let (days, names) =
        (plan.policy.lifecycle_untagged_days, oldest.iter().map(|(_, digest)| digest.to_string()));
    examples(oldest.len(), names, |_| {
        format!(
            "images have had no tag for more than {days} days, and Untagged=report only reports \
             them; the oldest"
        )
    })
}

fn drift(policy: &Policy, observed: &RepositorySettings) -> Vec<String> {
    let mut found = Vec::new();
    let should = policy.image_tag_mutability.to_string();
    if observed.mutability != should {
        found.push(format!("the tags are {}, and the policy says {should}", observed.mutability));
    }
    match &observed.lifecycle {
        None => found.push("the lifecycle policy is gone".to_owned()),
        Some(text) if !lifecycle::same_rules(text, &lifecycle::document(policy)) => {
            found.push("the lifecycle policy is not the one that was deployed".to_owned());
        }
        Some(_) => {}
    }
    found
}

/// What was meant for something that is not there: patterns of protected tags, and those rules
/// of ECR that name tags. That nothing is untagged or archived just now is as it should be.
fn dead(
    policy: &Policy,
    observed: &RepositorySettings,
    images: &Arena<ImageId, ImageRecord>,
) -> Vec<String> {
    let mut found = Vec::new();
    if images.is_empty() {
        return found;
    }
    let any = |is: &dyn Fn(&[Tag]) -> bool| images.iter().any(|image| is(&image.tags));
    for pattern in &policy.governance.retention.protect_tags {
        if !any(&|tags| tags.iter().any(|tag| pattern.matches(tag))) {
            found.push(format!("no tag is like {pattern}, which ProtectTags names"));
        }
    }
    let document: Value = observed
        .lifecycle
        .as_deref()
        .and_then(|it| serde_json::from_str(it).ok())
        .unwrap_or_default();
    for rule in document.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let list = |name: &str| -> Vec<&str> {
            let list = rule.pointer(&format!("/selection/{name}")).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let (prefixes, patterns) = (list("tagPrefixList"), list("tagPatternList"));
        let patterns: Vec<Wildcard> = patterns.iter().filter_map(|it| it.parse().ok()).collect();
        if prefixes.is_empty() && patterns.is_empty() {
            continue;
        }
        // A list is for the images that carry all of it.
        let is_for = |tags: &[Tag]| {
            prefixes.iter().all(|prefix| tags.iter().any(|tag| tag.as_str().starts_with(prefix)))
                && patterns.iter().all(|pattern| tags.iter().any(|tag| pattern.matches(tag)))
        };
        if !any(&is_for) {
            let text = |name: &str| rule.get(name).map(ToString::to_string).unwrap_or_default();
            let (priority, what) = (text("rulePriority"), short_line(&text("description"), 100));
            found.push(format!("no image is one for the lifecycle rule {priority}, {what}"));
        }
    }
    found
}

/// Of what stays. What was pushed just now `image-push` is at work on.
fn bad_tags<'a>(plan: &RetentionPlan<'a>, now: DateTime<Utc>) -> BTreeMap<&'a Tag, &'a Digest> {
    let lately = now - Duration::hours(1);
    let (today, images) = (now.date_naive(), &plan.inventory.images);
    let stays = images.enumerate().filter(|(id, image)| {
        let is_there = image.status != ImageStatus::Archived && plan.decision_of(*id) == "keep";
        is_there && image.pushed_at.is_some_and(|at| at < lately)
    });
    let tags = stays.flat_map(|(_, image)| image.tags.iter().map(|tag| (tag, &image.digest)));
    tags.filter(|(tag, digest)| {
        !is_accepted_tag(plan.policy, tag) && exemption(digest, tag, today).is_none()
    })
    .collect()
}

/// Indexes that lack an image which they need, for any cause: an active index whose image is
/// archived or gone, and an archived index whose image is gone.
fn incomplete_units(plan: &RetentionPlan<'_>, observed: &RepositorySettings) -> BTreeSet<String> {
    let images = &plan.inventory.images;
    let (indexes, archived) = (&plan.inventory.indexes, &observed.archived_units);
    if indexes.is_empty() && archived.is_empty() {
        return BTreeSet::new();
    }
    let by_digest: HashMap<&Digest, &ImageRecord> =
        images.iter().map(|image| (&image.digest, image)).collect();
    let mut found = BTreeSet::new();
    let goes = |image: ImageId| plan.decision_of(image) != "keep";
    for (id, index) in images.enumerate() {
        if let Some(parts) = indexes.get(&index.digest).filter(|_| !goes(id)) {
            let lacks = |part: &&Digest| match by_digest.get(part) {
                None => true,
                Some(part) => part.status == ImageStatus::Archived,
            };
            if let Some(part) = parts.iter().find(lacks) {
                let state = match by_digest.get(part) {
                    None => "gone",
                    Some(_) => "archived",
                };
                found.insert(format!("{} needs {part}, which is {state}", name(index)));
            }
        }
        if let Some(unit) = archived.get(&index.digest)
            && let Some(part) = unit.images().find(|part| !by_digest.contains_key(part))
        {
            found
                .insert(format!("{}, which is archived, needs {part}, which is gone", name(index)));
        }
    }
    found
}

fn name(image: &ImageRecord) -> String {
    image.tags.first().map_or_else(|| image.digest.to_string(), |tag| tag.to_string())
}

/// So many of something, with a few of them; none where there are none.
fn examples(
    count: usize,
    all: impl Iterator<Item = String>,
    what: impl Fn(usize) -> String,
) -> Option<String> {
    let more = if count > EXAMPLES { "; and others" } else { "" };
    let examples: Vec<String> = all.take(EXAMPLES).collect();
    (count > 0).then(|| format!("{}: {}{more}", what(count), examples.join("; ")))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::graph::Graph;
    use crate::policy::tests::{GUIDE, policy};
    use crate::retention::tests::{digest, image_id, inventory, now};
    use crate::retention::{RunningImages, UnitRemover, plan_retention};

    fn check(
        changes: &[(&str, Value)],
        observed: Option<RepositorySettings>,
        images: &[(&str, &str)],
        expected: &Expect,
    ) {
        let policy = policy(GUIDE, changes);
        let as_deployed = RepositorySettings {
            mutability: "IMMUTABLE".to_owned(),
            lifecycle: Some(lifecycle::document(&policy)),
            scan_on_push: true,
            scan_frequency: "SCAN_ON_PUSH".to_owned(),
            unscanned: vec![],
            archived_units: HashMap::new(),
        };
        let inventory = inventory(images);
        let plan = plan_retention(
            &policy,
            &inventory,
            Graph::build(&inventory).unwrap(),
            &RunningImages::new(),
            now(),
        );
        let found = audit(&plan, &observed.unwrap_or(as_deployed), now());
        let line = |it: &Deviation| format!("{}: {}\n", it.rule, it.text);
        expected.assert_eq(&found.iter().map(line).collect::<String>());
    }

    const GOOD: [(&str, &str); 2] = [("a", "a-v1.0.0"), ("signature", "sig:a")];

    #[test]
    fn what_is_as_deployed_is_not_told() {
        check(&[], None, &GOOD, &expect![[""]]);
        check(&[], None, &[], &expect![[""]]);
    }

    // 14
    #[test]
    fn a_rule_for_nothing_is_told_and_a_list_is_for_what_has_all_of_it() {
        let both = [
            ("LifecycleScope", json!("repository")),
            ("LifecycleTagPrefixes", json!(["v", "a-"])),
            ("Governance.Retention.ProtectTags", json!("a-* prod-*")),
        ];
        check(
            &both,
            None,
            &GOOD,
            &expect![[r#"
            dead-rule: no tag is like prod-*, which ProtectTags names
            dead-rule: no image is one for the lifecycle rule 3, "Keep the last 20 images tagged v*"
        "#]],
        );
        let list = json!({"rules": [
            {"rulePriority": 1, "description": "Keep", "selection": {
                "tagStatus": "tagged", "tagPrefixList": ["a-", "v"],
                "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}},
            {"rulePriority": 2, "selection": {
                "tagStatus": "tagged", "tagPatternList": ["*-v1*"],
                "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}},
        ]});
        let observed = RepositorySettings {
            mutability: "MUTABLE".to_owned(),
            lifecycle: Some(list.to_string()),
            scan_on_push: true,
            scan_frequency: "MANUAL".to_owned(),
            unscanned: vec![image_id(&inventory(&GOOD), "a")],
            archived_units: HashMap::new(),
        };
        check(
            &[],
            Some(observed),
            &GOOD,
            &expect![[r#"
                drift: the tags are MUTABLE, and the policy says IMMUTABLE
                drift: the lifecycle policy is not the one that was deployed
                dead-rule: no image is one for the lifecycle rule 1, "Keep"
                scanning: ScanOnPush is true, and images of this repository are scanned by hand only, by the scanning configuration of the registry or of the repository
                unscanned: 1 image was pushed lately and not scanned: a-v1.0.0
            "#]],
        );
        check(
            &[],
            Some(RepositorySettings {
                mutability: "IMMUTABLE".to_owned(),
                ..RepositorySettings::default()
            }),
            &[],
            &expect![[r#"
                drift: the lifecycle policy is gone
            "#]],
        );
    }

    #[test]
    fn tags_that_break_the_rules_are_counted_with_examples() {
        let many: Vec<(String, String)> =
            (0..7).map(|nth| (nth.to_string(), format!("Bad{nth}"))).collect();
        let mut images: Vec<(&str, &str)> =
            many.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        images.push(("ours", "quarantine:20261120"));
        images.push(("away", "bad-too, archived"));
        check(
            &[],
            None,
            &images,
            &expect![[r#"
            tags: 7 tags break the rules: Bad0 is not made of {component}-v{semver}; Bad1 is not made of {component}-v{semver}; Bad2 is not made of {component}-v{semver}; Bad3 is not made of {component}-v{semver}; Bad4 is not made of {component}-v{semver}; and others
        "#]],
        );
        check(
            &[],
            None,
            &images[6..],
            &expect![[r#"
            tags: 1 tag breaks the rules: Bad6 is not made of {component}-v{semver}
        "#]],
        );
    }

    #[test]
    fn what_is_kept_without_a_part_is_told() {
        let images = [
            ("index", "a-v1.0.0, needs one other"),
            ("one", ", archived"),
            ("other", ""),
            ("whole", "b-v1.0.0, archived"),
        ];
        check(
            &[],
            None,
            &images,
            &expect![[r#"
                incomplete-unit: 1 index cannot be pulled whole: a-v1.0.0 needs sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed, which is archived
            "#]],
        );
    }

    #[test]
    fn examples_are_five_at_most_and_more_are_others() {
        let examples_of = |count: usize| {
            let all = (0..count).map(|number| number.to_string());
            examples(count, all, |count| format!("{count} of them"))
        };
        assert_eq!(examples_of(0), None);
        expect!["1 of them: 0"].assert_eq(&examples_of(1).unwrap());
        expect!["5 of them: 0; 1; 2; 3; 4"].assert_eq(&examples_of(5).unwrap());
        expect!["6 of them: 0; 1; 2; 3; 4; and others"].assert_eq(&examples_of(6).unwrap());
    }

    #[test]
    fn only_tags_of_what_stays_and_was_not_pushed_just_now_are_judged() {
        check(
            &[("Governance.Retention.KeepPerComponent", json!(1))],
            None,
            &[
                ("stays", "Bad1, pushed 1"),
                ("now", "Bad2, pushed 0"),
                ("when", "Bad3, pushed ?"),
                ("new", "a-v2.0.0, pushed 10"),
                ("goes", "a-v1.0.0 quarantine:20261001, pushed 20"),
            ],
            &expect![[r#"
                tags: 1 tag breaks the rules: Bad1 is not made of {component}-v{semver}
            "#]],
        );
        let hours = |hours: i64, minutes: i64| {
            let policy = policy(GUIDE, &[]);
            let mut inventory = inventory(&[("one", "Bad")]);
            let ago = Duration::hours(hours) + Duration::minutes(minutes);
            let image = image_id(&inventory, "one");
            inventory.images[image].pushed_at = Some(now() - ago);
            let graph = Graph::build(&inventory).unwrap();
            let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
            bad_tags(&plan, now()).len()
        };
        assert_eq!([hours(0, 59), hours(1, 0), hours(1, 1)], [0, 0, 1]);
    }

    #[test]
    fn what_goes_lacks_nothing_and_each_that_stays_is_told_once() {
        check(
            &[("Governance.Retention.KeepPerComponent", json!(2))],
            None,
            &[
                ("one", "a-v3.0.0, pushed 10, needs away"),
                ("two", "a-v2.0.0, pushed 20, needs away there"),
                ("goes", "a-v1.0.0, pushed 30, needs away"),
                ("archived", "a-v0.1.0, pushed 40, archived"),
                ("there", ""),
                ("away", ", archived"),
            ],
            &expect![[r#"
                incomplete-unit: 2 indexes cannot be pulled whole: a-v2.0.0 needs sha256:378ce56a9d146d5174c89d1c0353d7f8e2244e89bb83935a5b1bdcf5e74b4e7f, which is archived; a-v3.0.0 needs sha256:378ce56a9d146d5174c89d1c0353d7f8e2244e89bb83935a5b1bdcf5e74b4e7f, which is archived
            "#]],
        );
    }

    #[test]
    fn what_was_not_scanned_is_counted_and_a_registry_that_scans_by_hand_is_told() {
        let observed = |scan_on_push, frequency: &str, unscanned| RepositorySettings {
            mutability: "IMMUTABLE".to_owned(),
            lifecycle: Some(lifecycle::document(&policy(GUIDE, &[]))),
            scan_on_push,
            scan_frequency: frequency.to_owned(),
            unscanned,
            archived_units: HashMap::new(),
        };
        let unnamed = [("a", "a-v1.0.0"), ("b", "b-v1.0.0"), ("c", ", of a")];
        let unscanned = ["a", "c"].map(|name| image_id(&inventory(&unnamed), name));
        check(
            &[],
            Some(observed(true, "SCAN_ON_PUSH", unscanned.to_vec())),
            &unnamed,
            &expect![[r#"
            unscanned: 2 images were pushed lately and not scanned: a-v1.0.0; sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6
        "#]],
        );
        check(&[], Some(observed(true, "CONTINUOUS_SCAN", vec![])), &GOOD, &expect![[""]]);
        check(&[], Some(observed(false, "MANUAL", vec![])), &GOOD, &expect![[""]]);
    }

    #[test]
    fn a_rule_of_prefixes_and_patterns_is_for_what_has_both() {
        let observed = |selection: Value| RepositorySettings {
            mutability: "IMMUTABLE".to_owned(),
            lifecycle: Some(
                json!({"rules": [{"rulePriority": 7, "selection": selection}]}).to_string(),
            ),
            ..RepositorySettings::default()
        };
        let images = [("a", "a-v1.0.0 b-v2.0.0"), ("b", "c-v1.0.0")];
        let mut lines = BTreeSet::new();
        for (selection, is_dead) in [
            (json!({"tagPrefixList": ["a-"], "tagPatternList": ["*-v2*"]}), false),
            (json!({"tagPrefixList": ["c-"], "tagPatternList": ["*-v2*"]}), true),
            (json!({"tagPrefixList": ["a-"], "tagPatternList": ["*-v3*"]}), true),
            (json!({"tagPrefixList": ["a-", "b-"]}), false),
            (json!({"tagPrefixList": ["a-", "c-"]}), true),
            (json!({"tagPatternList": ["*-v1*", "b-*"]}), false),
            (json!({"tagPatternList": ["x*"]}), true),
            (json!({"tagStatus": "untagged"}), false),
        ] {
            let policy = policy(GUIDE, &[]);
            let inventory = inventory(&images);
            let graph = Graph::build(&inventory).unwrap();
            let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
            let found = audit(&plan, &observed(selection.clone()), now());
            let rules: Vec<AuditRule> = found.iter().map(|deviation| deviation.rule).collect();
            let expected = if is_dead {
                &[AuditRule::Drift, AuditRule::Dead][..]
            } else {
                &[AuditRule::Drift]
            };
            assert_eq!(rules, expected, "{selection}");
            lines.extend(
                found.iter().map(|deviation| format!("{}: {}\n", deviation.rule, deviation.text)),
            );
        }
        expect![[r#"
            dead-rule: no image is one for the lifecycle rule 7, 
            drift: the lifecycle policy is not the one that was deployed
        "#]]
        .assert_eq(&lines.into_iter().collect::<String>());
    }

    #[test]
    fn an_index_that_lacks_an_image_is_found_in_the_archive_and_outside() {
        let unit = |root: &str, parts: [&str; 2]| UnitRecord {
            root: digest(root),
            removed: vec![digest(parts[0])],
            shared: vec![digest(parts[1])],
            remover: UnitRemover::SweepArchives,
            began: now(),
        };
        let units = [unit("whole", ["c", "d"]), unit("lost", ["e", "gone"])];
        let observed = RepositorySettings {
            mutability: "IMMUTABLE".to_owned(),
            lifecycle: Some(lifecycle::document(&policy(GUIDE, &[]))),
            scan_on_push: true,
            scan_frequency: "SCAN_ON_PUSH".to_owned(),
            archived_units: units.map(|unit| (unit.root.clone(), unit)).into(),
            ..RepositorySettings::default()
        };
        check(
            &[],
            Some(observed),
            &[
                ("good", "a-v1.0.0, needs a b"),
                ("a", ""),
                ("b", ""),
                ("torn", "a-v2.0.0, needs a part"),
                ("missing", "a-v3.0.0, needs a nowhere"),
                ("part", ", archived"),
                ("whole", "a-v4.0.0, archived, needs c d"),
                ("c", ", archived"),
                ("d", ""),
                ("lost", "a-v5.0.0, archived, needs e gone"),
                ("e", ", archived"),
            ],
            &expect![[r#"
                incomplete-unit: 5 indexes cannot be pulled whole: a-v2.0.0 needs sha256:37a680133bd09342f934afb8dd2c7d9e1b624da5f35e3a38adb103e37c055ed1, which is archived; a-v3.0.0 needs sha256:20aeff0494e828d188c704e1f488a589b15ae01d11f6cb129f62129caa6cc543, which is gone; a-v4.0.0 needs sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6, which is archived; a-v5.0.0 needs sha256:3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea, which is archived; a-v5.0.0, which is archived, needs sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247, which is gone
                untagged: images have had no tag for more than 7 days, and Untagged=report only reports them; the oldest: sha256:18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4
            "#]],
        );
    }
}
