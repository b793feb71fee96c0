//! The age of tags, and the order of versions. A tag such as `a-v1.0.0@3` was pushed three days ago.

use expect_test::expect;
use serde_json::json;

use super::*;

// See case B1 in docs/contributing/prior-art.md.
#[test]
fn b1_a_new_tag_of_an_old_image_is_young() {
    check(
        &with(&[("Retention.Keep", json!(3))]),
        &[
            ("old", "app-v1.4.0@0, pushed 60"),
            ("v7", "app-v1.7.0, pushed 10"),
            ("v6", "app-v1.6.0, pushed 20"),
            ("v5", "app-v1.5.0, pushed 30"),
            ("v3", "app-v1.3.0, pushed 70"),
        ],
        &[],
        &expect![[r#"
            old: keep: its tag app-v1.4.0 was pushed on 2026-11-24, within the last 7 days
            v7: keep: number 2 by push and number 1 by version of 5 of app (the newest 3 and the highest 3 are kept)
            v6: keep: number 3 by push and number 2 by version of 5 of app (the newest 3 and the highest 3 are kept)
            v5: keep: number 4 by push and number 3 by version of 5 of app (the newest 3 and the highest 3 are kept)
            v3: delete: number 5 of 5 of app (the newest 3 are kept)
        "#]],
    );
}

// See case B2 in docs/contributing/prior-art.md.
#[test]
fn b2_patches_of_an_older_release_do_not_remove_the_highest_version() {
    check(
        &with(&[("Retention.Keep", json!(3))]),
        &[
            ("v2", "app-v2.0.0, pushed 60"),
            ("p0", "app-v1.9.0, pushed 50"),
            ("p1", "app-v1.9.1, pushed 45"),
            ("p2", "app-v1.9.2, pushed 40"),
            ("p3", "app-v1.9.3, pushed 35"),
            ("p4", "app-v1.9.4, pushed 30"),
            ("p5", "app-v1.9.5, pushed 25"),
        ],
        &[],
        &expect![[r#"
            v2: keep: number 7 by push and number 1 by version of 7 of app (the newest 3 and the highest 3 are kept)
            p0: delete: number 6 by push and number 7 by version of 7 of app (the newest 3 and the highest 3 are kept)
            p1: delete: number 5 by push and number 6 by version of 7 of app (the newest 3 and the highest 3 are kept)
            p2: delete: number 4 by push and number 5 by version of 7 of app (the newest 3 and the highest 3 are kept)
            p3: keep: number 3 by push and number 4 by version of 7 of app (the newest 3 and the highest 3 are kept)
            p4: keep: number 2 by push and number 3 by version of 7 of app (the newest 3 and the highest 3 are kept)
            p5: keep: number 1 by push and number 2 by version of 7 of app (the newest 3 and the highest 3 are kept)
        "#]],
    );
}

// See case B3 in docs/contributing/prior-art.md.
#[test]
fn b3_an_import_in_alphabetical_order_does_not_remove_the_highest_versions() {
    let mut versions: Vec<String> = (1..16).map(|minor| format!("app-v1.{minor}.0")).collect();
    versions.sort();
    let texts: Vec<String> =
        (0..15).map(|nth| format!("{}, pushed {}", versions[nth], 60 - nth)).collect();
    let images: Vec<(&str, &str)> =
        versions.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    let inventory = inventory(&images);
    let policy = with(&[("Retention.Keep", json!(5))]);
    let graph = Graph::build(&inventory).unwrap();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let mut removed: Vec<&str> = plan.removed().map(|image| image.tags[0].as_str()).collect();
    removed.sort_unstable();
    // The newest five are 1.5 to 1.9, and the highest five are 1.11 to 1.15.
    assert_eq!(removed, ["app-v1.1.0", "app-v1.10.0", "app-v1.2.0", "app-v1.3.0", "app-v1.4.0"]);
}

#[test]
fn an_image_is_as_new_as_its_newest_tag_of_the_component() {
    check(
        &two(),
        &[
            // The tag of another component does not count in this one.
            ("promoted", "a-v1.0.0 b-v1.0.0@9, pushed 100"),
            ("again", "a-v2.0.0 a-v2.0.1@20, pushed 90"),
            ("v4", "a-v4.0.0, pushed 30"),
            ("v3", "a-v3.0.0, pushed 40"),
            ("sha", "feature-x@3, pushed 50"),
        ],
        &[],
        &expect![[r#"
            promoted: keep: number 1 of 1 of b (the newest 2 are kept)
            again: keep: number 1 by push and number 3 by version of 4 of a (the newest 2 and the highest 2 are kept)
            v4: keep: number 2 by push and number 1 by version of 4 of a (the newest 2 and the highest 2 are kept)
            v3: keep: number 3 by push and number 2 by version of 4 of a (the newest 2 and the highest 2 are kept)
            sha: keep: its tag feature-x was pushed on 2026-11-21, within the last 7 days
        "#]],
    );
}

#[test]
fn an_image_with_a_tag_of_unknown_age_is_kept_and_takes_no_place_of_a_newer_one() {
    let mut inventory = inventory(&[
        ("unknown", "a-v1.0.0, pushed 60"),
        ("v4", "a-v4.0.0, pushed 20"),
        ("v3", "a-v3.0.0, pushed 30"),
        ("v2", "a-v2.0.0, pushed 40"),
    ]);
    let unknown = image_id(&inventory, "unknown");
    inventory.images[unknown].tag_times.clear();
    let graph = Graph::build(&inventory).unwrap();
    let policy = two();
    let plan = plan_retention(&policy, &inventory, graph, &RunningImages::new(), now());
    let decisions = inventory.images.map(|_| ());
    let decisions: Vec<&str> = decisions.ids().map(|image| plan.decision_of(image)).collect();
    assert_eq!(decisions, ["keep", "keep", "keep", "delete"]);
    expect!["ECR Warden does not know when one of its tags was pushed"]
        .assert_eq(&plan.reason_of(unknown));
}

#[test]
fn tags_of_the_same_age_have_the_same_rank() {
    check(
        &two(),
        &[
            // A sweep without a record recorded three tags with the same time, so they have the same age.
            ("v6", "a-v6.0.0@9, pushed 60"),
            ("v5", "a-v5.0.0@9, pushed 40"),
            ("v4", "a-v4.0.0@9, pushed 50"),
            ("v3", "a-v3.0.0@20, pushed 60"),
            // Builds of one version.
            ("b1", "b-v1.0.0@9, pushed 60"),
            ("b2", "b-v1.0.0@9, pushed 50"),
            ("b3", "b-v1.0.0@9, pushed 40"),
        ],
        &[],
        &expect![[r#"
            v6: keep: number 1 of 4 of a (the newest 2 are kept)
            v5: keep: number 1 by push and number 2 by version of 4 of a (the newest 2 and the highest 2 are kept)
            v4: keep: number 1 by push and number 3 by version of 4 of a (the newest 2 and the highest 2 are kept)
            v3: delete: number 4 of 4 of a (the newest 2 are kept)
            b1: keep: number 1 of 3 of b (the newest 2 are kept)
            b2: keep: number 1 of 3 of b (the newest 2 are kept)
            b3: keep: number 1 of 3 of b (the newest 2 are kept)
        "#]],
    );
}
