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
        &with(&[("Governance.Retention", Value::Null)]),
        &IMAGES,
        &[],
        &expect![[r#"
        "#]],
    );
}

#[test]
fn without_a_grammar_only_untagged_images_and_ended_quarantines_are_removed() {
    let untagged = ("Governance.Retention.Untagged", json!("delete"));
    check(
        &with(&[("Governance.Tags.Grammar", Value::Null), untagged.clone()]),
        &IMAGES,
        &[],
        &expect![[r#"
        "#]],
    );
    // Without rules for tags, nobody knows how long a quarantine lasts.
    check(
        &with(&[("Governance.Tags", Value::Null), untagged]),
        &IMAGES,
        &[],
        &expect![[r#"
        "#]],
    );
}
