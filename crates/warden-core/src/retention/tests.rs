//! Examples of images that other cleanup tools removed by mistake.

mod absent;
mod confirmation;
mod expire;
mod kinds;
mod next_change;
mod tag_times;
mod units;
mod untagged;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::artifact::ArtifactKind;
use crate::graph::UnknownParts;
use crate::image::ImageStatus;
use crate::policy::tests::{GUIDE, policy};
use crate::sightings::Sightings;
use crate::untagged::observe_untagged;

/// The time of every plan in these tests.
pub(super) const NOW: &str = "2026-11-24T12:00:00Z";

pub(crate) fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

/// The digest of the image with this name.
pub(crate) fn digest(name: &str) -> Digest {
    let hex: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().unwrap()
}

/// Reads an image and its parts from a text such as `a-v1.0.0@3 latest, pushed 40, needs b c, of d`: the
/// tags, and then facts, each with a number of days or with the names of other images. A tag is as old as
/// the image, unless `@` and a number of days follow.
pub(crate) fn listed(name: &str, text: &str) -> (ImageRecord, Vec<Digest>) {
    let mut image = ImageRecord {
        digest: digest(name),
        tags: vec![],
        tag_times: vec![],
        has_unparsed_reference: false,
        status: ImageStatus::Active,
        pushed_at: Some(now() - chrono::Duration::days(100)),
        pulled_at: None,
        restored_at: None,
        bytes: 1_000,
        is_index: false,
        kind: ArtifactKind::Unknown,
        subject: None,
    };
    let mut parts = vec![];
    let mut ages = vec![];
    for (nth, clause) in text.split(',').map(str::trim).enumerate() {
        let (word, rest) = clause.split_once(' ').unwrap_or((clause, ""));
        let at = || rest.parse().map(|days| now() - chrono::Duration::days(days)).ok();
        match word {
            "pushed" => image.pushed_at = at(),
            "pulled" => image.pulled_at = at(),
            "restored" => image.restored_at = at(),
            "archived" => image.status = ImageStatus::Archived,
            "activating" => image.status = ImageStatus::Activating,
            "odd" => image.has_unparsed_reference = true,
            "empty" => image.bytes = 0,
            "of" => image.subject = Some(digest(rest)),
            "needs" => {
                image.is_index = true;
                parts = rest.split(' ').map(digest).collect();
            }
            _ if nth == 0 => {
                let tag = |tag: &str| {
                    let hex = |name: &str| digest(name).to_string().replace("sha256:", "");
                    match tag.split_once(':') {
                        Some(("sig", subject)) => format!("sha256-{}.sig", hex(subject)),
                        Some(("referrers", subject)) => format!("sha256-{}", hex(subject)),
                        Some(("quarantine", day)) => {
                            let short: String = hex(name).chars().take(12).collect();
                            format!("quarantine-{day}-{short}-litellm-1.0.0")
                        }
                        _ => tag.to_owned(),
                    }
                };
                for word in clause.split(' ').filter(|word| !word.is_empty()) {
                    let (word, age) = word.split_once('@').unwrap_or((word, ""));
                    image.tags.push(tag(word).parse().unwrap());
                    ages.push(age.parse().ok().map(|age| now() - chrono::Duration::days(age)));
                }
            }
            other => panic!("{other}: no such fact"),
        }
    }
    // Like a sweep, which sees a tag of an image without a time of its own for the first time.
    let pushed_at = image.pushed_at.unwrap_or_else(now);
    image.tag_times = ages.into_iter().map(|at| at.unwrap_or(pushed_at)).collect();
    (image, parts)
}

pub(crate) fn inventory(images: &[(&str, &str)]) -> Inventory {
    let mut inventory = Inventory::default();
    for (name, text) in images {
        let (image, parts) = listed(name, text);
        if image.is_index {
            inventory.indexes.insert(image.digest.clone(), parts);
        }
        inventory.images.push(image);
    }
    inventory.gone = inventory.missing_subjects();
    inventory.untagged = first_record(&inventory);
    inventory
}

/// The record of a first sweep. The record is empty if no graph can be built for the repository.
pub(crate) fn first_record(inventory: &Inventory) -> Sightings {
    let graph = Graph::build(inventory);
    graph.map_or_else(
        |_| Sightings::default(),
        |graph| observe_untagged(inventory, &graph, None, now()),
    )
}

/// The index of the image with this name.
pub(crate) fn image_id(inventory: &Inventory, name: &str) -> ImageId {
    inventory.images.position(|image| image.digest == digest(name)).unwrap()
}

/// A policy that deletes, and keeps two images of each component.
pub(crate) fn two() -> Policy {
    with(&[])
}

pub(super) fn with(changes: &[(&str, Value)]) -> Policy {
    let mut all = vec![("Retention.Keep", json!(2)), ("Retention.Enforcement", json!("delete"))];
    all.extend(changes.iter().cloned());
    policy(GUIDE, &all)
}

/// Checks the decision about each image and its reason, with one line for each image, and the guard
/// that stops the plan.
fn check(policy: &Policy, images: &[(&str, &str)], running: &[&str], expected: &Expect) {
    let inventory = inventory(images);
    let running = running.iter().map(|name| (digest(name), 3)).collect();
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(policy, &inventory, graph, &running, now());
    let mut lines = String::new();
    let names: Arena<ImageId, &str> = images.iter().map(|(name, _)| *name).collect();
    for (image, name) in names.enumerate() {
        lines += &format!("{name}: {}: {}\n", plan.decision_of(image), plan.reason_of(image));
    }
    for (image, tag) in &plan.untags {
        lines += &format!("{}: untag {tag}\n", names[*image]);
    }
    if let Some(stop) = &plan.stopped {
        lines += &format!("stopped: {stop}\n");
    }
    for name in names {
        lines = lines.replace(digest(name).as_str(), &format!("@{name}"));
    }
    expected.assert_eq(&lines);
}

// See case P1 in docs/contributing/prior-art.md.
#[test]
fn an_image_that_a_workload_runs_is_kept_beyond_the_count_by_inspector_or_by_a_pull() {
    let images = [
        ("v5", "a-v5.0.0, pushed 10"),
        ("v4", "a-v4.0.0, pushed 20"),
        ("v3", "a-v3.0.0, pushed 30, pulled 29"),
        ("v2", "a-v2.0.0, pushed 40, pulled 31"),
        ("v1", "a-v1.0.0, pushed 50"),
    ];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
            v5: keep: number 1 of 5 of a (the newest 2 are kept)
            v4: keep: number 2 of 5 of a (the newest 2 are kept)
            v3: keep: it was pulled on 2026-10-26, within the last 30 days
            v2: delete: number 4 of 5 of a (the newest 2 are kept)
            v1: delete: number 5 of 5 of a (the newest 2 are kept)
        "#]],
    );
    let inspector = with(&[("InUse", json!("inspector"))]);
    check(
        &inspector,
        &images,
        &["v1"],
        &expect![[r#"
            v5: keep: number 1 of 5 of a (the newest 2 are kept)
            v4: keep: number 2 of 5 of a (the newest 2 are kept)
            v3: keep: it was pulled on 2026-10-26, within the last 30 days
            v2: delete: number 4 of 5 of a (the newest 2 are kept)
            v1: keep: 3 workloads run it, according to Amazon Inspector
        "#]],
    );
    // Amazon Inspector reports no running image. See case P15 in docs/contributing/prior-art.md.
    check(
        &inspector,
        &images,
        &[],
        &expect![[r#"
            v5: keep: number 1 of 5 of a (the newest 2 are kept)
            v4: keep: number 2 of 5 of a (the newest 2 are kept)
            v3: keep: it was pulled on 2026-10-26, within the last 30 days
            v2: delete: number 4 of 5 of a (the newest 2 are kept)
            v1: delete: number 5 of 5 of a (the newest 2 are kept)
            stopped: Amazon Inspector reports no running image of the repository: either no workload runs one, or Inspector does not see the workloads
        "#]],
    );
}

// See case P2 in docs/contributing/prior-art.md.
#[test]
fn a_busy_component_never_evicts_a_quiet_one() {
    let busy: Vec<(String, String)> = (0..4)
        .map(|nth| (format!("w{nth}"), format!("openwebui-v0.{nth}.0, pushed {}", 20 - nth)))
        .collect();
    let mut images: Vec<(&str, &str)> =
        busy.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    images.push(("quiet", "litellm-v1.0.0, pushed 900"));
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
            w0: delete: number 4 of 4 of openwebui (the newest 2 are kept)
            w1: delete: number 3 of 4 of openwebui (the newest 2 are kept)
            w2: keep: number 2 of 4 of openwebui (the newest 2 are kept)
            w3: keep: number 1 of 4 of openwebui (the newest 2 are kept)
            quiet: keep: number 1 of 1 of litellm (the newest 2 are kept)
        "#]],
    );
}

// See case P3 in docs/contributing/prior-art.md.
#[test]
fn a_protected_tag_or_a_channel_keeps_the_image_whole() {
    let protect = with(&[("Retention.ProtectTags", json!("prod-* gold"))]);
    check(
        &protect,
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("both", "a-v1.0.0 prod-2"),
            ("latest", "a-v2.0.0 latest"),
            ("gone", "a-v3.0.0"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 5 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 5 of a (the newest 2 and the highest 2 are kept)
            both: keep: the tag prod-2 matches the pattern prod-* of ProtectTags
            latest: keep: the channel latest points at it
            gone: delete: number 3 of 5 of a (the newest 2 are kept)
        "#]],
    );
    // A channel of a component, where the grammar has channels.
    let grammar = [("Tags.Grammar", json!("{component}-v{semver} {component}-{channel}"))];
    check(
        &with(&grammar),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("prod", "a-v1.0.0 a-prod"),
            ("gone", "a-v3.0.0"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 4 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 4 of a (the newest 2 and the highest 2 are kept)
            prod: keep: the channel a-prod points at it
            gone: delete: number 3 of 4 of a (the newest 2 are kept)
        "#]],
    );
}

// See case P3 in docs/contributing/prior-art.md.
#[test]
fn a_tag_is_a_channel_by_any_template_that_reads_no_version() {
    let grammar = [("Tags.Grammar", json!("{component}-v{semver} {component}-{slug}"))];
    check(
        &with(&grammar),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("prod", "a-prod"),
            ("odd", "a-v1.0.0-dev"),
            ("feature", "a-feature"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 3 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 3 of a (the newest 2 and the highest 2 are kept)
            prod: keep: the channel a-prod points at it
            odd: delete: number 3 of 3 of a (the newest 2 are kept)
            feature: keep: number 1 of 1 of a, tags {component}-{slug} (the newest 2 are kept)
        "#]],
    );
}

// See case P4 in docs/contributing/prior-art.md.
#[test]
fn nothing_is_removed_if_a_component_has_no_more_images_than_are_kept() {
    let images = [("one", "a-v1.0.0"), ("two", "a-v2.0.0")];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
            one: keep: number 1 by push and number 2 by version of 2 of a (the newest 2 and the highest 2 are kept)
            two: keep: number 1 of 2 of a (the newest 2 are kept)
        "#]],
    );
    check(&two(), &[], &[], &expect![[""]]);
}

// See case P9 in docs/contributing/prior-art.md.
#[test]
fn an_image_is_kept_for_days_after_its_push_and_after_its_restore() {
    check(
        &with(&[("Retention.Keep", json!(1))]),
        &[
            ("newest", "a-v9.0.0, pushed 1"),
            ("fresh", "a-v8.0.0, pushed 7"),
            ("older", "a-v7.0.0, pushed 8"),
            ("back", "a-v6.0.0, restored 3"),
            ("coming", "a-v5.0.0, activating"),
            ("long-back", "a-v4.0.0, restored 8"),
        ],
        &[],
        &expect![[r#"
            newest: keep: it was pushed on 2026-11-23, within the last 7 days
            fresh: keep: it was pushed on 2026-11-17, within the last 7 days
            older: delete: number 3 of 6 of a (the newest is kept)
            back: keep: it was restored on 2026-11-21, within the last 7 days
            coming: keep: ECR is restoring it from the archive
            long-back: delete: number 4 by push and number 6 by version of 6 of a (the newest and the highest are kept)
        "#]],
    );
}

#[test]
fn the_strongest_of_several_reasons_to_keep_an_image_is_reported() {
    let protect = with(&[("Retention.ProtectTags", json!("gold"))]);
    check(
        &protect,
        &[
            ("odd", "gold latest unmatched, pushed 1, pulled 1, restored 1, odd"),
            ("gold", "gold latest unmatched, pushed 1, pulled 1, restored 1"),
            ("runs", "latest unmatched, pushed 1, pulled 1, restored 1"),
            ("channel", "unmatched latest, pushed 1, pulled 1, restored 1"),
            ("pulled", "unmatched, pushed 1, pulled 1, restored 1"),
            ("restored", "unmatched, pushed 1, restored 1"),
            ("young", "unmatched, pushed 1"),
            ("unmatched", "unmatched a-v1.0.0"),
            // Of two channels, the first is reported.
            ("twice", "latest dev"),
            ("index", "unmatched, needs part runs"),
            ("part", ", pulled 2"),
        ],
        &["odd", "gold", "runs"],
        &expect![[r#"
            odd: keep: it has a tag or a subject that cannot be parsed
            gold: keep: the tag gold matches the pattern gold of ProtectTags
            runs: keep: it is part of @index: its image @runs is kept: 3 workloads run it, according to Amazon Inspector
            channel: keep: the channel latest points at it
            pulled: keep: it was pulled on 2026-11-23, within the last 30 days
            restored: keep: it was restored on 2026-11-23, within the last 7 days
            young: keep: it was pushed on 2026-11-23, within the last 7 days
            unmatched: keep: the tag unmatched matches neither the grammar nor a lifecycle prefix
            twice: keep: the channel latest points at it
            index: keep: its image @runs is kept: 3 workloads run it, according to Amazon Inspector
            part: keep: it is part of @index: its image @runs is kept: 3 workloads run it, according to Amazon Inspector
        "#]],
    );
}

#[test]
fn a_plan_that_removes_neither_an_image_nor_a_tag_is_empty() {
    let is_empty = |images: &[(&str, &str)]| {
        let (policy, inventory) = (two(), inventory(images));
        let graph = Graph::build(&inventory).unwrap();
        plan_retention(&policy, &inventory, graph, &RunningImages::new(), now()).is_empty()
    };
    assert!(is_empty(&[]) && is_empty(&[("one", "a-v1.0.0"), ("waits", "quarantine:20261120")]));
    assert!(!is_empty(&[("over", "quarantine:20261101")]));
    assert!(!is_empty(&[("good", "quarantine:20261101 a-v1.0.0")]));
}

#[test]
fn a_plan_counts_the_units_kept_beyond_the_count_and_the_removed_bytes() {
    let (policy, images) = (
        two(),
        [
            ("new", "a-v9.0.0, pushed 8, pulled 1"),
            ("newer", "a-v8.0.0, pushed 9, pulled 1"),
            ("pulled", "a-v7.0.0, pushed 10, pulled 1"),
            ("goes", "a-v6.0.0, pushed 20, needs part"),
            ("part", ", pushed 20"),
            ("untagged", ", pushed 20"),
            ("both", "a-v5.0.0 b-v1.0.0, pushed 30, pulled 1"),
        ],
    );
    let inventory = inventory(&images);
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let beyond: Vec<ImageId> = plan.kept_beyond().map(|decided| decided.unit.root).collect();
    assert_eq!(beyond, [image_id(&inventory, "pulled")]);
    let removed: Vec<&Digest> = plan.removed().map(|image| &image.digest).collect();
    assert_eq!(removed, [&digest("goes"), &digest("part")]);
    assert_eq!(plan.bytes(), 2_000);
}

// See case P16 in docs/contributing/prior-art.md.
#[test]
fn a_plan_that_removes_a_large_share_is_stopped_unless_it_removes_few_images() {
    let images_of = |count: usize| -> Vec<(String, String)> {
        let image =
            |nth| (format!("i{nth}"), format!("a-v1.{}.0, pushed {}", count - nth, 100 + nth));
        (0..count).map(image).collect()
    };
    let stopped = |policy: &Policy, count: usize| {
        let images = images_of(count);
        let images: Vec<(&str, &str)> =
            images.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let inventory = inventory(&images);
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(policy, &inventory, graph, &RunningImages::new(), now());
        (plan.removals.len(), plan.stopped)
    };
    assert_eq!(stopped(&two(), 22), (20, None));
    let too_many = PlanBlocker::TooMany { removed: 21, of: 23, percent: 25 };
    expect!["21 of 23 images would be removed, and MaxRemovePercent=25 allows fewer (archived images, and untagged images of the plan, are not counted)"]
        .assert_eq(&too_many.to_string());
    assert_eq!(stopped(&two(), 23), (21, Some(too_many)));
    let report = with(&[("Retention.Enforcement", json!("report"))]);
    assert_eq!(stopped(&report, 1_000), (998, None), "a report removes nothing");
    let many = with(&[("Retention.Keep", json!(75))]);
    assert_eq!(stopped(&many, 100), (25, None));
    let many = with(&[("Retention.Keep", json!(74))]);
    let too_many = PlanBlocker::TooMany { removed: 26, of: 100, percent: 25 };
    assert_eq!(stopped(&many, 100), (26, Some(too_many)));
}

// See case P16 in docs/contributing/prior-art.md.
#[test]
fn a_plan_that_would_empty_a_component_is_stopped() {
    let policy = two();
    let inventory =
        inventory(&[("one", "a-v1.0.0"), ("two", "b-v1.0.0"), ("x", "c-v1.0.0 latest")]);
    let graph = Graph::build(&inventory).unwrap();
    let mut plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    // A bug in a rule could decide this.
    for unit in plan.units.ids().take(2) {
        plan.units[unit].decision = Decision::Remove(RemoveReason::BeyondKeepCount);
        let images = vec![plan.units[unit].unit.root];
        plan.removals.push(UnitRemoval { unit, images, referrers: vec![] });
    }
    assert_eq!(plan.guard(&RunningImages::new()), Some(PlanBlocker::Emptied("a".to_owned())));
}

// See case P41 in docs/contributing/prior-art.md.
#[test]
fn a_quarantine_ends_on_its_date_and_never_removes_an_image_with_an_accepted_tag() {
    check(
        &two(),
        &[
            ("over", "quarantine:20261110"),
            ("waits", "quarantine:20261111"),
            ("twice", "quarantine:20261001 quarantine:20261120"),
            ("used", "quarantine:20261101, pulled 20"),
            ("good", "quarantine:20261001 a-v1.0.0"),
            ("bad", "quarantine:20261001 unmatched"),
            ("to-come", "quarantine:20271001"),
        ],
        &[],
        &expect![[r#"
            over: delete: it was quarantined on 2026-11-10, and the 14 days of the quarantine are over
            waits: keep: it is in quarantine until 2026-11-25
            twice: keep: it is in quarantine until 2026-12-04
            used: keep: it was pulled on 2026-11-04, within the last 30 days
            good: keep: number 1 of 1 of a (the newest 2 are kept)
            bad: keep: the tag unmatched matches neither the grammar nor a lifecycle prefix
            to-come: keep: the tag quarantine-20271001-d48a5ea5e37b-litellm-1.0.0 matches neither the grammar nor a lifecycle prefix
            good: untag quarantine-20261001-770e607624d6-litellm-1.0.0
        "#]],
    );
    // Beyond the count, the image is removed for that reason.
    check(
        &two(),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("good", "quarantine:20261001 a-v1.0.0"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 3 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 3 of a (the newest 2 and the highest 2 are kept)
            good: delete: number 3 of 3 of a (the newest 2 are kept)
        "#]],
    );
    let report = with(&[("Tags.Enforcement", json!("report"))]);
    check(
        &report,
        &[("good", "quarantine:20261001 a-v1.0.0")],
        &[],
        &expect![[r#"
            good: keep: number 1 of 1 of a (the newest 2 are kept)
        "#]],
    );
}

// See case P42 in docs/contributing/prior-art.md.
#[test]
fn a_component_is_never_counted_with_a_prefix_that_it_begins_with() {
    let one = with(&[
        ("Retention.Keep", json!(1)),
        ("LifecycleTagPrefixes", json!(["v", "vllm-x", "prod"])),
    ]);
    check(
        &one,
        &[
            ("vllm", "vllm-v1.0.0, pushed 90"),
            ("v3", "v3, pushed 10"),
            ("v2", "v2, pushed 20"),
            ("long", "vllm-x2, pushed 30"),
            ("longer", "vllm-x1, pushed 40"),
            ("odd", "something, pushed 50"),
            ("prod", "prod, pushed 60"),
            ("also", "prod-1 v1, pushed 70"),
        ],
        &[],
        &expect![[r#"
            vllm: keep: number 1 of 1 of vllm (the newest is kept)
            v3: keep: number 1 of 3 of the prefix v (the newest is kept)
            v2: delete: number 2 of 3 of the prefix v (the newest is kept)
            long: keep: number 1 of 2 of the prefix vllm-x (the newest is kept)
            longer: delete: number 2 of 2 of the prefix vllm-x (the newest is kept)
            odd: keep: the tag something matches neither the grammar nor a lifecycle prefix
            prod: keep: the channel prod points at it
            also: delete: number 2 of 2 of the prefix prod (the newest is kept); number 3 of 3 of the prefix v (the newest is kept)
        "#]],
    );
}

#[test]
fn in_scope_repository_only_the_lifecycle_policy_counts_images() {
    check(
        &with(&[("LifecycleScope", json!("repository")), ("Retention.Keep", json!(1))]),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("old", "a-v1.0.0"),
            ("over", "quarantine:20261110"),
            ("orphan", "sig:gone"),
        ],
        &[],
        &expect![[r#"
            new: keep: with LifecycleScope=repository, only the lifecycle policy of ECR expires tagged images
            old: keep: with LifecycleScope=repository, only the lifecycle policy of ECR expires tagged images
            over: delete: it was quarantined on 2026-11-10, and the 14 days of the quarantine are over
            orphan: delete: it refers to sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247, which does not exist any more
        "#]],
    );
}

#[test]
fn plans_have_equal_hashes_only_if_they_remove_the_same_images() {
    let hash = |policy: &Policy, images: &[(&str, &str)]| {
        let inventory = inventory(images);
        let graph = Graph::build(&inventory).unwrap();
        plan_retention(policy, &inventory, graph, &RunningImages::new(), now()).hash()
    };
    let mut images = vec![
        ("a", "a-v1.0.0, pushed 30"),
        ("b", "a-v2.0.0, pushed 20"),
        ("c", "a-v3.0.0, pushed 10"),
    ];
    let first = hash(&two(), &images);
    assert_eq!(first.len(), 16);
    images.reverse();
    assert_eq!(hash(&two(), &images), first);
    let archive = with(&[("Retention.Enforcement", json!("archive"))]);
    assert_ne!(hash(&archive, &images), first);
    images.push(("d", "a-v0.1.0, pushed 40"));
    assert_ne!(hash(&two(), &images), first);
}
