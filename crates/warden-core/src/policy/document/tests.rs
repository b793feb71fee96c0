use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::properties::description::Kind;

/// Checks the mistakes of a policy, with one line for each.
fn check(policy: &Value, expected: &Expect) {
    let Invalid(problems) = PolicyDocument::read(&Node::from(policy)).unwrap_err();
    let lines: Vec<String> = problems.iter().map(|problem| format!("{problem}\n")).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn every_mistake_is_named_with_its_path_and_the_rule() {
    check(
        &json!({
            "Unmatched": "warn",
            "Rules": [
                {"Name": "a b", "Repositories": ["Team", "team-*"]},
                {
                    "Name": "platform",
                    "Repositories": ["infrastructure"],
                    "Owner": "<!channel>",
                    "Tags": {"Grammar": ["{component}-v{semvr}"], "Enforcment": "archive"},
                    "Retention": {"Keep": "0", "Expire": [], "Enforcement": "remove"},
                    "Scan": {"Threshold": "high"},
                },
                {"Repositories": [], "Tags": "report"},
                {"Name": "platform", "Repositories": "infrastructure", "Retention": null},
                "x",
            ],
            "Rule": [],
        }),
        &expect![[r#"
        "#]],
    );
}

#[test]
fn version_and_rules_are_required() {
    check(
        &json!({}),
        &expect![[r#"
        "#]],
    );
    check(
        &json!({"Version": 2, "Rules": {}}),
        &expect![[r#"
        "#]],
    );
    check(
        &json!([]),
        &expect![[r#"
        "#]],
    );
    expect![[r#""#]].assert_eq(&PolicyDocument::parse("{").unwrap_err().to_string());
}

#[test]
fn a_key_that_this_version_does_not_have_is_a_mistake() {
    let rule = |tags: Value, retention: Value, more: (&str, Value)| {
        let mut rule =
            json!({"Name": "a", "Repositories": ["*"], "Tags": tags, "Retention": retention});
        rule[more.0] = more.1;
        PolicyDocument::read(&Node::from(&json!({"Version": "1", "Rules": [rule]}))).is_ok()
    };
    let (tags, retention) = (json!({"Enforcement": "report"}), json!({"Enforcement": "report"}));
    let name = ("Name", json!("b"));
    assert!(rule(tags.clone(), retention.clone(), name.clone()));
    assert!(!rule(tags.clone(), retention.clone(), ("Consumers", json!([]))));
    for key in ["Ignored", "Channels"] {
        assert!(!rule(json!({"Enforcement": "report", key: []}), retention.clone(), name.clone()));
    }
    for key in ["Expire", "ProtectDeployed", "InUse", "KeepPerComponent"] {
        assert!(!rule(tags.clone(), json!({"Enforcement": "report", key: []}), name.clone()));
    }
}

#[test]
fn a_policy_has_at_most_100_kilobytes() {
    let policy = |count: usize| {
        let rule =
            |nth: usize| json!({"Name": format!("r{nth}"), "Repositories": ["x".repeat(200)]});
        json!({"Version": "1", "Rules": (0..count).map(rule).collect::<Vec<Value>>()})
    };
    let document = PolicyDocument::read(&Node::from(&policy(370))).unwrap();
    assert!((99_000..=MOST_DOCUMENT_BYTES).contains(&document.normalised().len()));
    check(
        &policy(400),
        &expect![[r#"
        "#]],
    );
}

#[test]
fn every_key_is_described_by_one_sentence_and_the_shown_defaults_are_those_of_the_reader() {
    fn check_each(descriptions: &[Description], path: &str) {
        for Description { name, about, kind, .. } in descriptions {
            assert!(about.ends_with('.'), "{path}{name}: {about:?}");
            match kind {
                Kind::Map(inner) => check_each(inner, &format!("{path}{name}.")),
                Kind::List(items) => {
                    if let Kind::Map(inner) = &**items {
                        check_each(inner, &format!("{path}{name}[]."));
                    }
                }
                _ => {}
            }
        }
    }
    check_each(&PolicyDocument::describe(), "");
}
