//! Policies without rules for tags or for the cleanup.

use expect_test::expect;
use serde_json::{Value, json};

use super::{check, with};

const IMAGES: [(&str, &str); 5] = [
    ("v3", "a-v3.0.0, pushed 10"),
    ("v2", "a-v2.0.0, pushed 20"),
    ("v1", "a-v1.0.0, pushed 50"),
    ("untagged", ", pushed 60"),
    ("quarantined", "quarantine:20261001, pushed 60"),
];

#[test]
fn without_rules_for_the_cleanup_every_image_is_kept() {
    check(
        &with(&[("Retention", Value::Null)]),
        &IMAGES,
        &[],
        &expect![[r#"
            v3: keep: the rule platform has no Retention, so nothing is removed
            v2: keep: the rule platform has no Retention, so nothing is removed
            v1: keep: the rule platform has no Retention, so nothing is removed
            untagged: keep: the rule platform has no Retention, so nothing is removed
            quarantined: keep: the rule platform has no Retention, so nothing is removed
        "#]],
    );
}

#[test]
fn without_a_grammar_only_untagged_images_and_ended_quarantines_are_removed() {
    let untagged = ("Retention.Untagged", json!("delete"));
    check(
        &with(&[("Tags.Grammar", Value::Null), untagged.clone()]),
        &IMAGES,
        &[],
        &expect![[r#"
            v3: keep: without a Grammar, the tag a-v3.0.0 names no version
            v2: keep: without a Grammar, the tag a-v2.0.0 names no version
            v1: keep: without a Grammar, the tag a-v1.0.0 names no version
            untagged: delete: it has had no tag since 2026-09-25, for more than 7 days
            quarantined: delete: it was quarantined on 2026-10-01, and the 14 days of the quarantine are over
        "#]],
    );
    // Without rules for tags, nobody knows how long a quarantine lasts.
    check(
        &with(&[("Tags", Value::Null), untagged]),
        &IMAGES,
        &[],
        &expect![[r#"
            v3: keep: without a Grammar, the tag a-v3.0.0 names no version
            v2: keep: without a Grammar, the tag a-v2.0.0 names no version
            v1: keep: without a Grammar, the tag a-v1.0.0 names no version
            untagged: delete: it has had no tag since 2026-09-25, for more than 7 days
            quarantined: keep: without a Grammar, the tag quarantine-20261001-c3ecfc91e8f0-litellm-1.0.0 names no version
        "#]],
    );
}
