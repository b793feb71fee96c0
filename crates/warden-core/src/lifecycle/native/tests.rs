use expect_test::expect;
use serde_json::{Value, json};

use super::*;
use crate::policy::tests::{GUIDE, policy};
use crate::retention::tests::{listed, now};

/// A lifecycle policy of these rules: each a selection and the action.
fn rules(rules: &[(Value, Value)]) -> NativeRules {
    let rules = (1..).zip(rules).map(|(priority, (selection, action))| {
        json!({
            "rulePriority": priority,
            "description": format!("rule number {priority}"),
            "selection": selection,
            "action": action,
        })
    });
    NativeRules::read(&json!({"rules": rules.collect::<Vec<_>>()}).to_string())
}

fn expire() -> Value {
    json!({"type": "expire"})
}

fn transition() -> Value {
    json!({"type": "transition", "targetStorageClass": "archive"})
}

fn count(mut selection: Value, number: u32) -> Value {
    selection["countType"] = json!("imageCountMoreThan");
    selection["countNumber"] = json!(number);
    selection
}

fn days(mut selection: Value, count_type: &str, number: u32) -> Value {
    selection["countType"] = json!(count_type);
    selection["countUnit"] = json!("days");
    selection["countNumber"] = json!(number);
    selection
}

fn any() -> Value {
    json!({"tagStatus": "any"})
}

fn untagged() -> Value {
    json!({"tagStatus": "untagged"})
}

fn patterns(patterns: &[&str]) -> Value {
    json!({"tagStatus": "tagged", "tagPatternList": patterns})
}

fn prefixes(prefixes: &[&str]) -> Value {
    json!({"tagStatus": "tagged", "tagPrefixList": prefixes})
}

fn archived_after(number: u32) -> Value {
    days(json!({"tagStatus": "any", "storageClass": "archive"}), "sinceImageTransitioned", number)
}

/// The priority of the rule that is a threat, 0 for a policy that cannot be parsed, and None for no
/// threat.
fn priority(threat: Option<LifecycleThreat>) -> Option<u64> {
    threat.map(|threat| match threat {
        LifecycleThreat::Rule { priority, .. } => priority,
        LifecycleThreat::Unreadable(_) => 0,
    })
}

#[test]
fn an_archived_unit_is_threatened_by_rules_for_its_other_images() {
    let part = "part";
    for (policy, other, expected) in [
        // No rule of the standard class applies to a unit of one image.
        (vec![(count(any(), 1), expire())], None, None),
        (vec![(count(any(), 1), expire())], Some(", pushed 1"), Some(1)),
        (vec![(count(untagged(), 1), expire())], Some(", pushed 1"), Some(1)),
        (vec![(count(untagged(), 1), expire())], Some("a-v1.0.0"), None),
        (vec![(count(patterns(&["a-*"]), 1), expire())], Some("a-v1.0.0"), Some(1)),
        (vec![(count(prefixes(&["a-"]), 1), expire())], Some("a-v1.0.0"), Some(1)),
        (vec![(count(prefixes(&["a-"]), 1), expire())], Some(", pushed 1"), None),
        // The first rule that selects the image decides, also if that rule keeps the image.
        (
            vec![
                (days(untagged(), "sinceImagePushed", 1_000), expire()),
                (count(any(), 1), expire()),
            ],
            Some(", pushed 1"),
            None,
        ),
        // The age of the image 90 days from now counts.
        (vec![(days(untagged(), "sinceImagePushed", 7), expire())], Some(", pushed 100"), Some(1)),
        (vec![(days(untagged(), "sinceImagePushed", 97), expire())], Some(", pushed 8"), Some(1)),
        (vec![(days(untagged(), "sinceImagePushed", 98), expire())], Some(", pushed 8"), None),
        (vec![(days(untagged(), "sinceImagePushed", 999), expire())], Some(", pushed ?"), Some(1)),
        // An image that ECR archives too is kept for 90 more days.
        (vec![(days(untagged(), "sinceImagePulled", 1), transition())], Some(", pushed 100"), None),
        (vec![(days(any(), "sinceImagePushed", 1), transition())], Some(", pushed 100"), None),
        // Rules for the archive. ECR accepts no number of days under 90.
        (vec![(archived_after(90), expire())], Some(", pushed 100"), None),
        (vec![(archived_after(89), expire())], None, Some(1)),
    ] {
        let others: Vec<ImageRecord> = other.into_iter().map(|text| listed(part, text).0).collect();
        let threat = rules(&policy).threat_to_archived(&others, now());
        assert_eq!(priority(threat), expected, "{policy:?} {other:?}");
    }
}

#[test]
fn a_quarantined_image_is_threatened_by_the_rule_that_selects_its_tags() {
    let tags = ["quarantine-20261124-0a0a0a0a0a0a-a-1.0.0".parse().unwrap()];
    let keep_quarantine = (days(patterns(&["quarantine-*"]), "sinceImagePushed", 365), expire());
    for (policy, pushed_days_ago, is_index, expected) in [
        (vec![(count(any(), 100), expire())], Some(0), false, Some(1)),
        (vec![(count(patterns(&["*"]), 100), expire())], Some(0), false, Some(1)),
        (vec![(count(patterns(&["v*"]), 100), expire())], Some(0), false, None),
        (vec![(count(prefixes(&["quarantine"]), 100), expire())], Some(0), false, Some(1)),
        // A list selects images that have a tag for each item.
        (vec![(count(prefixes(&["quarantine", "v"]), 100), expire())], Some(0), false, None),
        (vec![(count(untagged(), 1), expire())], Some(0), false, None),
        (vec![keep_quarantine.clone(), (count(any(), 1), expire())], Some(0), false, None),
        (vec![keep_quarantine.clone(), (count(any(), 1), expire())], Some(360), false, Some(1)),
        (vec![keep_quarantine, (count(any(), 1), expire())], None, false, Some(1)),
        (vec![(days(any(), "sinceImagePushed", 14), expire())], Some(0), false, None),
        (vec![(days(any(), "sinceImagePushed", 13), expire())], Some(0), false, Some(1)),
        // A transition archives the image, and a rule for the archive expires it at least 90 days later.
        (vec![(days(any(), "sinceImagePulled", 1), transition())], Some(9), false, None),
        (vec![(days(any(), "sinceImagePulled", 1), transition())], Some(9), true, Some(1)),
        (
            vec![
                (days(any(), "sinceImagePulled", 1), transition()),
                (archived_after(90), expire()),
            ],
            Some(9),
            false,
            None,
        ),
    ] {
        let pushed = pushed_days_ago.map(|days| now() - chrono::Duration::days(days));
        let rules = rules(&policy);
        let threat = rules.threat_to_quarantined(&tags, pushed, is_index, 14, now());
        assert_eq!(priority(threat), expected, "{policy:?} {pushed_days_ago:?}");
    }
    // A quarantine that is longer than the time that an image stays in the archive.
    let policy = rules(&[
        (days(any(), "sinceImagePulled", 1), transition()),
        (archived_after(90), expire()),
    ]);
    let threat = policy.threat_to_quarantined(&tags, Some(now()), false, 91, now());
    assert_eq!(priority(threat), Some(2));
}

#[test]
fn a_policy_that_cannot_be_parsed_completely_threatens_every_image() {
    let good = json!({
        "rulePriority": 1,
        "selection": days(untagged(), "sinceImagePushed", 999),
        "action": expire(),
    });
    let with = |pointer: &str, value: Value| {
        let mut rule = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        rule.pointer_mut(parent).unwrap()[name] = value;
        json!({"rules": [rule]}).to_string()
    };
    let tags = ["a".parse().unwrap()];
    let is_unreadable = |policy: &str| {
        let rules = NativeRules::read(policy);
        let threats = [
            rules.threat_to_archived(&[], now()),
            rules.threat_to_quarantined(&tags, Some(now()), false, 1, now()),
        ];
        threats.map(|threat| priority(threat) == Some(0)) == [true; 2]
    };
    assert!(!is_unreadable(&json!({"rules": [good]}).to_string()));
    assert!(!is_unreadable(r#"{"rules": []}"#));
    for policy in [
        String::new(),
        "{}".to_owned(),
        r#"{"rules": [], "version": 2}"#.to_owned(),
        with("/note", json!(1)),
        with("/rulePriority", json!("first")),
        with("/selection/tagStatus", json!("signed")),
        with("/selection/storageClass", json!("glacier")),
        with("/selection/countType", json!("sinceImageSigned")),
        with("/selection/countUnit", json!("hours")),
        with("/selection/countNumber", json!(-1)),
        with("/selection/tagPatternList", json!(["a*"])),
        with("/selection/vulnerable", json!(true)),
        with("/action/type", json!("copy")),
        with("/action/targetStorageClass", json!("archive")),
        // Combinations that ECR does not accept today.
        with("/selection/countType", json!("sinceImagePulled")),
        with("/selection/countType", json!("imageCountMoreThan")),
        with("/selection/storageClass", json!("archive")),
    ] {
        assert!(is_unreadable(&policy), "{policy}");
    }
}

#[test]
fn a_threat_names_the_rule_and_its_description_is_one_short_line() {
    let policy = json!({"rules": [{
        "rulePriority": 7,
        "description": format!("Keep\n<https://example.com|ten> {}", "x".repeat(200)),
        "selection": count(any(), 10),
        "action": expire(),
    }]});
    let rules = NativeRules::read(&policy.to_string());
    let threat = rules.threat_to_archived([&listed("part", "").0], now()).unwrap();
    expect![[r#"the lifecycle rule 7 of the repository, "Keep https:example.comten xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…", could expire the image or an image of its unit too early"#]].assert_eq(&threat.to_string());
    let unreadable = NativeRules::read("{}").threat_to_archived([], now()).unwrap();
    expect!["the lifecycle policy of the repository cannot be read, and a rule could expire the image too early: missing field `rules` at line 1 column 2"].assert_eq(&unreadable.to_string());
}

/// The rules that this stack deploys.
#[test]
fn the_deployed_rules_of_scope_component_are_no_threat() {
    for mode in ["report", "archive", "delete"] {
        let policy = policy(GUIDE, &[("Retention.Untagged", mode.into())]);
        let rules = NativeRules::read(&super::super::document(&policy));
        let images = [listed("part", ", pushed 900").0, listed("tagged", "a-v1.0.0").0];
        assert_eq!(rules.threat_to_archived(&images, now()), None);
        let tags = &images[1].tags;
        assert_eq!(rules.threat_to_quarantined(tags, None, true, 3_650, now()), None);
    }
}
