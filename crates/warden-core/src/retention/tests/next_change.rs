//! The time at which a plan changes, for each reason to keep an image.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

/// Checks an image `x` in each of these forms, beside two newer versions of the component `a`: the
/// time at which the plan changes, and the reason to keep the image.
fn check(policy: &Policy, images: &[&str], running: &[&str], expected: &Expect) {
    let mut lines = String::new();
    for image in images {
        let inventory = inventory(&[("2", "a-v2.0.0"), ("1", "a-v1.0.0"), ("x", image)]);
        let running = running.iter().map(|name| (digest(name), 3)).collect();
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(policy, &inventory, graph, &running, now());
        let next = plan.next_change(now());
        let next = next.map_or_else(|| "never".to_owned(), |at| at.format("%F %R").to_string());
        let reason = plan.reason_of(image_id(&inventory, "x"));
        lines += &format!("{image}: {next}: {reason}\n");
    }
    expected.assert_eq(&lines);
}

#[test]
fn a_plan_changes_when_the_protection_of_an_old_version_ends() {
    let images = [
        "a-v0.1.0, pushed 200, pulled 20",
        "a-v0.1.0, pushed 200, restored 2",
        "a-v0.1.0, pushed 200, activating",
        "b_1, pushed 3",
    ];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
        a-v0.1.0, pushed 200, pulled 20: 2026-12-04 12:00: it was pulled on 2026-11-04, within the last 30 days
        a-v0.1.0, pushed 200, restored 2: 2026-11-29 12:00: it was restored on 2026-11-22, within the last 7 days
        a-v0.1.0, pushed 200, activating: 2026-11-24 12:00: ECR is restoring it from the archive
        b_1, pushed 3: 2026-11-28 12:00: it was pushed on 2026-11-21, within the last 7 days
    "#]],
    );
}

#[test]
fn a_plan_never_changes_because_of_an_image_that_is_kept_without_a_time() {
    let images = [
        "a-v9.0.0, pushed 1, pulled 0",
        "b_1",
        "a-v0.1.0 prod, pushed 200",
        "a-v0.1.0, pushed 200, archived",
        "a-v0.1.0, pushed 200, odd",
        "a-v0.1.0, pushed ?",
    ];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
        a-v9.0.0, pushed 1, pulled 0: never: it was pulled on 2026-11-24, within the last 30 days
        b_1: never: the tag b_1 matches neither the grammar nor a lifecycle prefix
        a-v0.1.0 prod, pushed 200: never: the channel prod points at it
        a-v0.1.0, pushed 200, archived: never: it is archived, and only a lifecycle rule of ECR or a person deletes archived images
        a-v0.1.0, pushed 200, odd: never: it has a tag or a subject that cannot be parsed
        a-v0.1.0, pushed ?: never: ECR does not report when it was pushed
    "#]],
    );
    let native = with(&[("LifecycleScope", json!("repository"))]);
    check(
        &native,
        &["a-v0.1.0, pushed 200, pulled 2"],
        &[],
        &expect![[r#"
        a-v0.1.0, pushed 200, pulled 2: never: it was pulled on 2026-11-22, within the last 30 days
    "#]],
    );
}

#[test]
fn a_plan_changes_when_a_quarantine_ends_or_when_a_quarantine_tag_of_the_future_counts() {
    let images = ["quarantine:20261120", "quarantine:20270110"];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
        quarantine:20261120: 2026-12-04 00:00: it is in quarantine until 2026-12-04
        quarantine:20270110: 2027-01-09 00:00: the tag quarantine-20270110-2d711642b726-litellm-1.0.0 matches neither the grammar nor a lifecycle prefix
    "#]],
    );
}

#[test]
fn a_plan_changes_when_an_untagged_image_has_had_no_tag_for_long_enough() {
    let images = [", pushed 2", ", pushed 90, pulled 3"];
    check(
        &two(),
        &images,
        &[],
        &expect![[r#"
        , pushed 2: 2026-11-29 12:00: it has had no tag since 2026-11-22, for at most 7 days
        , pushed 90, pulled 3: 2026-12-21 12:00: it was pulled on 2026-11-21, within the last 30 days
    "#]],
    );
}

#[test]
fn a_plan_may_change_at_once_if_it_depends_on_running_images_or_unlisted_subjects() {
    let images = ["a-v0.1.0, pushed 200", "a-v9.0.0, pushed 1"];
    check(
        &two(),
        &images,
        &["x"],
        &expect![[r#"
        a-v0.1.0, pushed 200: 2026-11-24 12:00: 3 workloads run it, according to Amazon Inspector
        a-v9.0.0, pushed 1: never: 3 workloads run it, according to Amazon Inspector
    "#]],
    );
    let mut inventory = inventory(&[("x", ", pushed 90, of y")]);
    inventory.gone.clear();
    let policy = two();
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    assert_eq!(plan.next_change(now()), Some(now()));
}
