//! Images without a tag.

use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::lifecycle::native::NativeRules;
use crate::untagged::{is_untagged, prefix_of};

/// A policy that archives tagged images, with this mode for untagged images.
fn untagged(mode: &str) -> Policy {
    with(&[("Retention.Enforcement", json!("archive")), ("Retention.Untagged", json!(mode))])
}

#[test]
fn an_untagged_image_is_removed_after_its_days_unless_a_rule_keeps_it() {
    let images = [
        ("old", ", pushed 8"),
        ("young", ", pushed 6"),
        ("pulled", ", pushed 90, pulled 30"),
        ("runs", ", pushed 90"),
        ("restored", ", pushed 90, restored 3"),
        ("odd", ", odd"),
        ("unknown", ", pushed ?"),
        ("channel", "latest, pushed 90"),
        ("quarantined", "quarantine:20261120, pushed 90"),
        ("index", "a-v1.0.0, pushed 90, needs part"),
        ("part", ", pushed 90"),
        ("signature", "sig:index, pushed 90"),
        ("chart", "b-v1.0.0, pushed 90, of subject"),
        ("subject", ", pushed 90"),
        ("alone", ", pushed 90, needs left right"),
        ("left", ", pushed 90"),
        ("right", ", pushed 90"),
        ("signed", ", pushed 90, of alone"),
        ("old-chart", "b-v0.2.0, pushed 91, of old-subject"),
        ("old-subject", ", pushed 91"),
        ("between", "b-v0.9.0, pushed 90"),
    ];
    check(
        &untagged("delete"),
        &images,
        &["runs"],
        &expect![[r#"
            old: delete: it has had no tag since 2026-11-16, for more than 7 days
            young: keep: it has had no tag since 2026-11-18, for at most 7 days
            pulled: keep: it was pulled on 2026-10-25, within the last 30 days
            runs: keep: 3 workloads run it, according to Amazon Inspector
            restored: keep: it was restored on 2026-11-21, within the last 7 days
            odd: keep: it has a tag or a subject that cannot be parsed
            unknown: keep: ECR does not report when it was pushed
            channel: keep: the channel latest points at it
            quarantined: keep: it is in quarantine until 2026-12-04
            index: keep: number 1 of 1 of a (the newest 2 are kept)
            part: keep: it is part of @index: number 1 of 1 of a (the newest 2 are kept)
            signature: keep: it belongs to @index: number 1 of 1 of a (the newest 2 are kept)
            chart: keep: it belongs to @subject: it has no tag, but a tagged image that is kept refers to it
            subject: keep: it has no tag, but a tagged image that is kept refers to it
            alone: delete: it has had no tag since 2026-08-26, for more than 7 days
            left: delete: it is part of @alone: it has had no tag since 2026-08-26, for more than 7 days
            right: delete: it is part of @alone: it has had no tag since 2026-08-26, for more than 7 days
            signed: delete: it belongs to @alone: it has had no tag since 2026-08-26, for more than 7 days
            old-chart: keep: it belongs to @old-subject: it has no tag, but a tagged image that is kept refers to it
            old-subject: keep: it has no tag, but a tagged image that is kept refers to it
            between: keep: number 1 by push and number 2 by version of 3 of b (the newest 2 and the highest 2 are kept)
        "#]],
    );
}

#[test]
fn untagged_images_are_archived_or_reported_where_the_policy_says_so() {
    let images = [("old", ", pushed 90, needs part"), ("part", ", pushed 90")];
    check(
        &untagged("archive"),
        &images,
        &[],
        &expect![[r#"
            old: archive: it has had no tag since 2026-08-26, for more than 7 days
            part: archive: it is part of @old: it has had no tag since 2026-08-26, for more than 7 days
        "#]],
    );
    check(
        &untagged("report"),
        &images,
        &[],
        &expect![[r#"
            old: keep: it has had no tag since 2026-08-26, and with Untagged=report it is only reported
            part: keep: it is part of @old: it has had no tag since 2026-08-26, and with Untagged=report it is only reported
        "#]],
    );
    // The cleanup only reports, so the plan only reports untagged images too.
    let report = with(&[
        ("Retention.Enforcement", json!("report")),
        ("Retention.Untagged", json!("delete")),
    ]);
    check(
        &report,
        &images,
        &[],
        &expect![[r#"
            old: report: it has had no tag since 2026-08-26, for more than 7 days
            part: report: it is part of @old: it has had no tag since 2026-08-26, for more than 7 days
        "#]],
    );
    // The lifecycle policy of ECR expires untagged images.
    let native =
        with(&[("LifecycleScope", json!("repository")), ("Retention.Untagged", json!("delete"))]);
    check(
        &native,
        &images,
        &[],
        &expect![[r#"
            old: keep: it has no tag, and the lifecycle policy of ECR expires untagged images
            part: keep: it is part of @old: it has no tag, and the lifecycle policy of ECR expires untagged images
        "#]],
    );
}

#[test]
fn untagged_images_neither_count_in_the_percentage_nor_need_the_minimum_age() {
    let mut images: Vec<(String, String)> =
        (0..40).map(|nth| (format!("u{nth}"), ", pushed 2".to_owned())).collect();
    images.push(("v".to_owned(), "a-v1.0.0, pushed 50".to_owned()));
    let images: Vec<(&str, &str)> =
        images.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let policy =
        with(&[("Retention.UntaggedDays", json!(1)), ("Retention.Untagged", json!("delete"))]);
    let inventory = inventory(&images);
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    assert_eq!((plan.removals.len(), &plan.stopped), (40, &None));

    // Untagged images do not raise the limit for tagged images: 21 of 23 are too many.
    let mut more: Vec<(String, String)> = (0..23)
        .map(|nth| (format!("v{nth}"), format!("a-v1.{nth}.0, pushed {}", 99 - nth)))
        .collect();
    more.extend((0..100).map(|nth| (format!("u{nth}"), ", pushed 90".to_owned())));
    let more: Vec<(&str, &str)> =
        more.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let inventory = super::inventory(&more);
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let too_many = PlanBlocker::TooMany { removed: 21, of: 23, percent: 25 };
    assert_eq!(plan.stopped, Some(too_many));
}

/// ECR returns no manifest of an archived index, and a person may have archived the index.
#[test]
fn an_untagged_image_that_an_archived_index_may_need_is_not_deleted() {
    for (mode, expected) in [
        (
            "delete",
            expect![
                "keep: an archived index may need it, and ECR does not report which images that index needs"
            ],
        ),
        ("archive", expect!["archive: it has had no tag since 2026-08-26, for more than 7 days"]),
    ] {
        let policy = untagged(mode);
        let mut inventory = inventory(&[("part", ", pushed 90")]);
        inventory.has_unknown_archived_index = true;
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
        let id = image_id(&inventory, "part");
        expected.assert_eq(&format!("{}: {}", plan.decision_of(id), plan.reason_of(id)));
    }
}

#[test]
fn an_archived_index_keeps_an_image_that_an_untagged_index_needs_too() {
    check(
        &untagged("delete"),
        &[
            ("new", "a-v9.0.0, pushed 8"),
            ("newer", "a-v9.1.0, pushed 9"),
            ("archived", "a-v1.0.0, pushed 50, needs shared"),
            ("shared", ", pushed 50"),
            ("untagged", ", pushed 20, needs shared own"),
            ("own", ", pushed 20"),
        ],
        &[],
        &expect![[r#"
            new: keep: number 1 by push and number 2 by version of 3 of a (the newest 2 and the highest 2 are kept)
            newer: keep: number 2 by push and number 1 by version of 3 of a (the newest 2 and the highest 2 are kept)
            archived: archive: number 3 of 3 of a (the newest 2 are kept)
            shared: archive: it is part of @archived: number 3 of 3 of a (the newest 2 are kept)
            untagged: delete: it has had no tag since 2026-11-04, for more than 7 days
            own: delete: it is part of @untagged: it has had no tag since 2026-11-04, for more than 7 days
        "#]],
    );
}

#[test]
fn an_image_that_a_native_rule_would_expire_too_early_is_not_archived() {
    let foreign = json!({"rules": [{
        "rulePriority": 3,
        "description": "Untagged, a week",
        "selection": {
            "tagStatus": "untagged",
            "countType": "sinceImagePushed",
            "countUnit": "days",
            "countNumber": 7,
        },
        "action": {"type": "expire"},
    }]});
    let images = [
        ("new", "a-v9.0.0, pushed 8"),
        ("newer", "a-v9.1.0, pushed 9"),
        ("single", "a-v2.0.0, pushed 90"),
        ("signed", "a-v1.9.0, pushed 90"),
        ("signature", ", pushed 90, of signed"),
        ("index", "a-v1.0.0, pushed 91, needs part"),
        ("part", ", pushed 91"),
        ("untagged", ", pushed 90"),
    ];
    let policy = untagged("delete");
    let mut inventory = inventory(&images);
    inventory.native_rules = Some(NativeRules::read(&foreign.to_string()));
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let mut lines = String::new();
    for (id, (name, _)) in inventory.images.ids().zip(images) {
        lines += &format!("{name}: {}: {}\n", plan.decision_of(id), plan.reason_of(id));
    }
    lines = lines.replace(digest("index").as_str(), "@index");
    lines = lines.replace(digest("signed").as_str(), "@signed");
    expect![[r#"
        new: keep: number 1 by push and number 2 by version of 5 of a (the newest 2 and the highest 2 are kept)
        newer: keep: number 2 by push and number 1 by version of 5 of a (the newest 2 and the highest 2 are kept)
        single: archive: number 3 of 5 of a (the newest 2 are kept)
        signed: archive: number 3 by push and number 4 by version of 5 of a (the newest 2 and the highest 2 are kept)
        signature: archive: it belongs to @signed: number 3 by push and number 4 by version of 5 of a (the newest 2 and the highest 2 are kept)
        index: keep: it is not archived, because the lifecycle rule 3 of the repository, "Untagged, a week", could expire the image or an image of its unit too early
        part: keep: it is part of @index: it is not archived, because the lifecycle rule 3 of the repository, "Untagged, a week", could expire the image or an image of its unit too early
        untagged: delete: it has had no tag since 2026-08-26, for more than 7 days
    "#]].assert_eq(&lines);
}

/// A day: whether each image has a tag, and whether a sweep runs.
#[derive(Clone, Debug)]
struct Day {
    tagged: Vec<bool>,
    is_swept: bool,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_128),
        ..ProptestConfig::default()
    })]

    /// The record agrees with the definition: an image is never removed before the days after its push
    /// and after the last sweep that saw a tag, and is removed at most one sweep later.
    #[test]
    fn the_days_begin_at_the_push_or_after_the_last_sweep_that_saw_a_tag(
        days in prop::collection::vec(
            (prop::collection::vec(any::<bool>(), 3), any::<bool>())
                .prop_map(|(tagged, is_swept)| Day { tagged, is_swept }),
            1..30,
        ),
    ) {
        let names = ["one", "two", "three"];
        let start = now();
        let at = |day: usize| start + chrono::Duration::days(i64::try_from(day).unwrap());
        let mut record: Option<Sightings> = None;
        let mut last_tagged = [None; 3];
        for (day, Day { tagged, .. }) in days.iter().enumerate().filter(|(_, day)| day.is_swept) {
            let facts = tagged.iter().map(|tagged| if *tagged { "a-v1.0.0, pushed 5" } else { ", pushed 5" });
            let images: Vec<(&str, &str)> = names.into_iter().zip(facts).collect();
            let inventory = inventory(&images);
            let graph = Graph::build(&inventory).unwrap();
            let seen = observe_untagged(&inventory, &graph, record.as_ref(), at(day));
            for (nth, name) in names.iter().enumerate() {
                let id = image_id(&inventory, name);
                let unit = graph.units.iter().find(|unit| unit.root == id).unwrap();
                prop_assert_eq!(is_untagged(&inventory, unit), !tagged[nth]);
                let since = seen.get(prefix_of(&digest(name)));
                if tagged[nth] {
                    last_tagged[nth] = Some(at(day));
                    prop_assert_eq!(since, None);
                    continue;
                }
                let since = since.unwrap();
                if let Some(last) = last_tagged[nth] {
                    prop_assert!(since > last);
                    // No sweep ran between the two times.
                    let is_between = |day: usize| at(day) > last && at(day) < since;
                    let mut days = days.iter().enumerate();
                    prop_assert!(days.all(|(day, of)| !of.is_swept || !is_between(day)));
                } else {
                    prop_assert_eq!(since, start - chrono::Duration::days(5));
                }
            }
            record = Some(seen);
        }
    }
}
