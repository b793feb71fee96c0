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
                {
                    "Name": "channels",
                    "Repositories": ["team-a"],
                    "Tags": {
                        "Grammar": ["{component}-{channel}"],
                        "Channels": [],
                        "Ignored": ["a b"],
                        "Enforcement": "report",
                    },
                },
                {
                    "Name": "names",
                    "Repositories": ["team-b"],
                    "Tags": {"Channels": ["Prod", "1a", "a--b"], "Enforcement": "report"},
                },
                {"Name": "platform", "Repositories": "infrastructure", "Retention": null},
                "x",
            ],
            "Rule": [],
        }),
        &expect![[r#"
            Version: this required property is missing
            Unmatched: expected ignore or report, got "warn"
            Rules[0].Name: expected 1 to 64 letters, digits, '_' and '-', got "a b"
            Rules[0].Repositories[0]: expected a repository name, or lower-case letters, digits, '.', '_', '-', '/' and '*', got "Team"
            Rules[1] (platform).Owner: expected one line of at most 128 characters, without [ ] ( ) < > ` | " *, got "<!channel>"
            Rules[1] (platform).Tags.Grammar[0]: unknown placeholder {semvr}; the nearest placeholder is {semver}, got "{component}-v{semvr}"
            Rules[1] (platform).Tags.Enforcement: this required property is missing
            Rules[1] (platform).Tags.Enforcment: unknown property; the nearest known name is Enforcement
            Rules[1] (platform).Retention.Keep: expected a whole number from 1 to 100000, got "0"
            Rules[1] (platform).Retention.Enforcement: expected report or archive or delete, got "remove"
            Rules[1] (platform).Scan.Threshold: expected CRITICAL or HIGH or MEDIUM or LOW or INFORMATIONAL, got "high"
            Rules[2].Name: this required property is missing
            Rules[2].Repositories: expected at least one item
            Rules[2].Tags: expected an object
            Rules[3] (channels).Tags.Ignored[0]: expected 1 to 128 letters, digits, '.', '_', '-' and '*', got "a b"
            Rules[3] (channels).Tags.Channels: the template {component}-{channel} needs at least one channel
            Rules[4] (names).Tags.Channels[0]: expected lower-case letters and digits joined by single hyphens, with a letter at the beginning, got "Prod"
            Rules[4] (names).Tags.Channels[1]: expected lower-case letters and digits joined by single hyphens, with a letter at the beginning, got "1a"
            Rules[4] (names).Tags.Channels[2]: expected lower-case letters and digits joined by single hyphens, with a letter at the beginning, got "a--b"
            Rules[5] (platform).Repositories: expected a list, such as ["a", "b"]
            Rules[5] (platform).Retention: expected an object, got nothing (null)
            Rules[6]: expected an object
            Rules[5] (platform).Name: Rules[1] has the name platform too
            Rule: unknown property; the nearest known name is Rules
        "#]],
    );
}

#[test]
fn version_and_rules_are_required() {
    check(
        &json!({}),
        &expect![[r#"
            Version: this required property is missing
            Rules: this required property is missing
        "#]],
    );
    check(
        &json!({"Version": 2, "Rules": {}}),
        &expect![[r#"
            Version: expected 1, got "2"
            Rules: expected a list
        "#]],
    );
    check(
        &json!([]),
        &expect![[r#"
            ResourceProperties: missing; expected an object
        "#]],
    );
    expect!["policy: expected JSON: EOF while parsing an object at line 1 column 1"]
        .assert_eq(&PolicyDocument::parse("{").unwrap_err().to_string());
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
    for key in ["ProtectDeployed", "InUse", "KeepPerComponent"] {
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
    let document = PolicyDocument::read(&Node::from(&policy(377))).unwrap();
    assert!((99_000..=MOST_DOCUMENT_BYTES).contains(&document.normalised().len()));
    check(
        &policy(400),
        &expect![[r#"
            Rules: the normalised policy has 105550 bytes; at most 100000 are allowed
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
